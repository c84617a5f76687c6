import { copyFileSync, mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import cacache from 'cacache';
import { CancellationTokenSource, ResponseError } from 'vscode-languageserver/node';

import { evenly, readEvaluationSet, SETS } from '../../bench/evaluationSet';
import { LlavaModel } from '../../server/llava/model';
import { formatReduction, parseReduction } from '../../server/llava/reduction/parse';
import { mulberry32 } from '../../server/llava/mulberry32';
import {
  ReadAheadRequest,
  RestartInferenceRequest,
  type AskRequest,
  type Settings,
} from '../../server/protocol';
import { createSetup, EMBEDDED_MODEL, isAlive, removeSetup, TestServer, until } from '../server/harness';
import { canListProcesses, descendants, residentBytes } from './processes';

/** Questions under way at the same time. */
const CONCURRENT = 3;
const CANCEL_SHARE = 0.15;
const KILL_SHARE = 0.04;
const SETTINGS_SHARE = 0.1;
/** How many questions are announced before they are asked, and how long before, at most. */
const AHEAD_SHARE = 0.4;
const AHEAD_MS = 300;
/** How many questions are one of the last {@link RECENT} again. */
const REPEAT_SHARE = 0.2;
const RECENT = 20;
/** Answers that are read back from the cache at the end, at most. */
const CHECKED = 50;
/** Answers of these lengths: long enough to be told apart, short enough for hundreds of them. */
const MAX_TOKENS = [6, 10, 16];
const REDUCTIONS = [
  'none',
  'fastv:layer=2,keep=50%',
  'fastv:layer=3,keep=64',
  'visionzip:dominant=100,contextual=20',
  'uniform:keep=144',
  'mmr:keep=100+fastv:layer=2,keep=50%',
].map((spec) => formatReduction(parseReduction(spec)));
const FITS = ['pad', 'crop'] as const;
/** Two logits that lie nearer than this are a tie: what was computed for an earlier question is equal to about 1e-5 only. */
const TIE = 1e-3;

export interface SoakOptions {
  readonly questions: number;
  readonly images: number;
  readonly seed: number;
  /** Milliseconds within which a question that is to be cancelled is cancelled. */
  readonly cancelWithin?: number;
  readonly onProgress?: (line: string) => void;
}

export interface SoakReport {
  readonly questions: number;
  readonly images: number;
  readonly seed: number;
  readonly answered: number;
  /** Of those answered: from the answer cache. */
  readonly cached: number;
  readonly cancelled: number;
  /** Cancelled too late: the answer was there already. */
  readonly cancelledTooLate: number;
  readonly kills: number;
  /** Requests that failed because their process was killed, as they must; each was asked again. */
  readonly crashed: number;
  /** Questions that were refused because too many processes had ended; the inference process was then restarted by request. */
  readonly stopped: number;
  readonly settingChanges: number;
  /** Images that were read before their question came, and those that made way for something else. */
  readonly readAhead: number;
  readonly madeWay: number;
  /** Answers that are not what the engine says undisturbed. */
  readonly wrong: readonly string[];
  /** Answers that differ from it after two tokens that are as likely as each other. */
  readonly ties: number;
  /** Failures that nothing explains. */
  readonly unexpected: readonly string[];
  /** Answers that were in the cache at the end, all of them compared with the first answer; and what its own check found. */
  readonly cacheEntries: number;
  readonly cacheDamaged: number;
  readonly cacheChecked: number;
  readonly inferenceProcesses: number;
  /** Processes that were still alive after the server had ended. */
  readonly orphans: number;
  readonly memory: readonly MemorySample[];
  readonly seconds: number;
}

export interface MemorySample {
  readonly asked: number;
  /** Resident bytes of the language server and of the inference process. */
  readonly server: number;
  readonly inference: number | undefined;
}

interface Asked {
  readonly image: number;
  readonly question: string;
  readonly reduction: string;
  readonly fit: Settings['fit'];
  readonly maxTokens: number;
}

/**
 * Asks through the language server, with the embedded model, while questions are cancelled, inference processes are killed and
 * settings change; then compares every answer with the engine's own, undisturbed and with nothing reused.
 */
export async function runSoak(options: SoakOptions): Promise<SoakReport> {
  const start = performance.now();
  const setup = await createSetup();
  try {
    const soak = new Soak(
      options,
      setup.workspace,
      await TestServer.start({ setup, settings: settingsOf() }),
    );
    return {
      ...(await soak.run(path.join(setup.folder, 'answers'))),
      seconds: (performance.now() - start) / 1000,
    };
  } finally {
    await removeSetup(setup);
  }
}

function settingsOf(change: Partial<Settings> = {}): Partial<Settings> {
  return { reduction: 'none', fit: 'pad', device: 'cpu', ...change };
}

class Soak {
  private readonly random: () => number;
  private readonly files: string[];
  private readonly texts: string[];
  private readonly answers = new Map<string, { asked: Asked; results: AskRequest.Result[] }>();
  private readonly asked: { image: number; params: AskRequest.Params }[] = [];
  private readonly processes = new Set<number>();
  private readonly memory: MemorySample[] = [];
  /** All settings that any question under way may have seen. */
  private settings: Partial<Settings>[] = [settingsOf()];
  private underWay = 0;
  private readonly counts = {
    answered: 0,
    cached: 0,
    cancelled: 0,
    cancelledTooLate: 0,
    kills: 0,
    crashed: 0,
    stopped: 0,
    settingChanges: 0,
    readAhead: 0,
    madeWay: 0,
  };
  private readonly unexpected: string[] = [];
  private readonly wrong: string[] = [];

  constructor(
    private readonly options: SoakOptions,
    workspace: string,
    private readonly server: TestServer,
  ) {
    this.random = mulberry32(options.seed);
    const set = readEvaluationSet(SETS.words);
    const images = evenly([...new Set(set.questions.map(({ image }) => image))], options.images);
    mkdirSync(workspace, { recursive: true });
    this.files = images.map((image, index) => {
      const file = path.join(workspace, `screen-${index}.png`);
      copyFileSync(path.join(set.folder, image), file);
      return file;
    });
    this.texts = [...new Set(evenly(set.questions, 400).map(({ question }) => question))].slice(0, 12);
  }

  async run(cacheDirectory: string): Promise<Omit<SoakReport, 'seconds'>> {
    const { questions, images, seed, onProgress } = this.options;
    let next = 0;
    const worker = async (): Promise<void> => {
      while (next < questions) {
        const number = next++;
        await this.one();
        if (number % Math.max(1, Math.floor(questions / 50)) === 0) {
          this.measureMemory(number + 1);
          onProgress?.(`${number + 1} of ${questions}: ${JSON.stringify(this.counts)}`);
        }
      }
    };
    await Promise.all(Array.from({ length: CONCURRENT }, worker));
    const cacheChecked = await this.checkCache();
    const pid = this.server.process.pid!;
    await this.server.stop();
    // A killed process needs a moment to be gone.
    const alive = (): number[] => [pid, ...this.processes].filter(isAlive);
    await until(() => alive().length === 0, 'the end of all processes').catch(() => undefined);
    const orphans = alive().length;
    const { badContentCount = 0, totalEntries = 0 } = await cacache.verify(cacheDirectory);
    onProgress?.(`comparing ${this.answers.size} different questions with the engine`);
    const ties = await this.compareWithEngine();
    return {
      questions,
      images,
      seed,
      ...this.counts,
      wrong: this.wrong,
      ties,
      unexpected: this.unexpected,
      cacheEntries: totalEntries,
      cacheDamaged: badContentCount,
      cacheChecked,
      inferenceProcesses: this.processes.size,
      orphans,
      memory: this.memory,
    };
  }

  /** One question, with whatever befalls it. */
  private async one(): Promise<void> {
    const { random } = this;
    if (random() < SETTINGS_SHARE) await this.changeSettings();
    // People ask again what they have asked before.
    const again = random() < REPEAT_SHARE ? this.asked.at(-1 - Math.floor(random() * RECENT)) : undefined;
    const { image, params } = again ?? this.newQuestion();
    this.asked.push({ image, params });
    const cancelAfter = random() < CANCEL_SHARE ? random() * (this.options.cancelWithin ?? 600) : undefined;
    if (canListProcesses && random() < KILL_SHARE) setTimeout(() => this.kill(), random() * 400);
    if (random() < AHEAD_SHARE) {
      void this.readAhead(params.images);
      await new Promise((resolve) => setTimeout(resolve, random() * AHEAD_MS));
    }
    for (let attempt = 0; attempt < 8; attempt++) {
      if (await this.ask(params, image, attempt === 0 ? cancelAfter : undefined)) return;
    }
    this.unexpected.push(`${params.question}: eight attempts failed`);
  }

  private newQuestion(): { image: number; params: AskRequest.Params } {
    const { random } = this;
    const image = this.pick(this.files.map((_, index) => index));
    const params: AskRequest.Params = {
      images: [{ uri: pathToFileURL(this.files[image]).href }],
      question: this.pick(this.texts),
      sampling: { maxTokens: this.pick(MAX_TOKENS) },
      // Half of the questions leave these to the settings.
      ...(random() < 0.5 ? { reduction: this.pick(REDUCTIONS), fit: this.pick(FITS) } : {}),
      ...(random() < 0.3 ? { fresh: true } : {}),
    };
    return { image, params };
  }

  private async readAhead(images: AskRequest.Params['images']): Promise<void> {
    try {
      await this.server.request(ReadAheadRequest.type, { images });
      this.counts.readAhead++;
    } catch (error) {
      const code = dataCode(error);
      if (code === 'cancelled') this.counts.madeWay++;
      // Its process was killed, which the question that follows hears of too.
      else if (!code?.startsWith('inference.')) this.unexpected.push(`reading ahead: ${String(error)}`);
    }
  }

  /** @returns whether it is settled: answered, or cancelled as wanted. */
  private async ask(
    params: AskRequest.Params,
    image: number,
    cancelAfter: number | undefined,
  ): Promise<boolean> {
    if (this.underWay++ === 0) this.settings = this.settings.slice(-1);
    const source = new CancellationTokenSource();
    const timer = cancelAfter === undefined ? undefined : setTimeout(() => source.cancel(), cancelAfter);
    try {
      const { result, pieces } = await this.server.ask(params, { token: source.token });
      if (source.token.isCancellationRequested) this.counts.cancelledTooLate++;
      this.note(params, image, result, pieces);
      return true;
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      const code = dataCode(error);
      if (source.token.isCancellationRequested) {
        this.counts.cancelled++;
        return true;
      }
      if (code === 'inference.crashed') this.counts.crashed++;
      else if (code === 'inference.stopped') {
        this.counts.stopped++;
        await this.server.request(RestartInferenceRequest.type, undefined as never);
      } else if (code !== 'inference.restarted') {
        this.unexpected.push(`${code ?? 'no code'}: ${text}`);
        return true;
      }
      return false;
    } finally {
      clearTimeout(timer);
      source.dispose();
      this.underWay--;
    }
  }

  /** What can be said of an answer at once; the rest is compared at the end. */
  private note(
    params: AskRequest.Params,
    image: number,
    result: AskRequest.Result,
    pieces: readonly string[],
  ): void {
    this.counts.answered++;
    if (result.cached) this.counts.cached++;
    const { answer, reduction, question, trace } = result.result;
    const { fit } = trace.images[0];
    const say = (fault: string): void => void this.wrong.push(`${JSON.stringify(params)}: ${fault}`);
    if (fit === 'tiles') return say('this model has no tiles');
    const asked: Asked = { image, question, reduction, fit, maxTokens: params.sampling!.maxTokens! };
    if (question !== params.question) say(`the question was ${params.question}`);
    if (pieces.join('').trim() !== answer) say(`the stream said ${pieces.join('')}, the answer ${answer}`);
    if (result.images[0].name !== path.basename(this.files[image]))
      say(`the image is ${result.images[0].name}`);
    const allowed =
      params.reduction === undefined ? this.settings : [{ reduction: params.reduction, fit: params.fit }];
    if (!allowed.some((settings) => settings.reduction === reduction && settings.fit === fit))
      say(`allowed was ${JSON.stringify(allowed)}`);
    const key = JSON.stringify(asked);
    const entry = this.answers.get(key) ?? { asked, results: [] };
    entry.results.push(result);
    this.answers.set(key, entry);
  }

  private kill(): void {
    const pid = this.server.process.pid;
    const inference = pid === undefined ? [] : descendants(pid);
    for (const child of inference) {
      this.processes.add(child);
      try {
        process.kill(child, 'SIGKILL');
        this.counts.kills++;
      } catch {
        // It ended by itself meanwhile.
      }
    }
  }

  private async changeSettings(): Promise<void> {
    const settings = settingsOf({
      reduction: this.pick(REDUCTIONS),
      fit: this.pick(FITS),
      idleUnloadMinutes: this.pick([0, 0.01, 10]),
      cache: { maxSizeMB: this.pick([5, 200]) },
      image: { maxMegapixels: this.pick([50, 100]) },
    });
    this.settings.push(settings);
    this.counts.settingChanges++;
    await this.server.configure(settings);
  }

  private measureMemory(asked: number): void {
    const pid = this.server.process.pid!;
    const children = descendants(pid);
    for (const child of children) this.processes.add(child);
    const sizes = children.flatMap((child) => residentBytes(child) ?? []);
    const server = residentBytes(pid);
    if (server === undefined) return;
    this.memory.push({ asked, server, inference: sizes.length > 0 ? Math.max(...sizes) : undefined });
  }

  /** Asks the latest questions again; what comes from the cache has to be what was answered before. @returns how many did. */
  private async checkCache(): Promise<number> {
    let checked = 0;
    // The latest first: the cache is small, and every answer that it lacks drives out the oldest that it holds.
    for (const { asked, results } of [...this.answers.values()].reverse().slice(0, CHECKED)) {
      const { image, question, reduction, fit, maxTokens } = asked;
      const again = await this.server.ask({
        images: [{ uri: pathToFileURL(this.files[image]).href }],
        question,
        reduction,
        fit,
        sampling: { maxTokens },
      });
      results.push(again.result);
      if (again.result.cached) checked++;
    }
    return checked;
  }

  private async compareWithEngine(): Promise<number> {
    let ties = 0;
    const model = await LlavaModel.open(EMBEDDED_MODEL);
    try {
      for (const { asked, results } of this.answers.values()) {
        const { image, question, reduction, fit, maxTokens } = asked;
        const logits: Float32Array[] = [];
        const expected = await model.ask(
          {
            images: [readFileSync(this.files[image])],
            question,
            reduction,
            fit,
            sampling: { maxTokens },
          },
          { reuse: false, onLogits: (row) => logits.push(row.slice()) },
        );
        for (const { result } of results) {
          const at = result.answerTokenIds.findIndex((id, index) => id !== expected.answerTokenIds[index]);
          const same = at < 0 && result.answerTokenIds.length === expected.answerTokenIds.length;
          if (same && result.answer === expected.answer) continue;
          if (at >= 0 && at < logits.length && isTie(logits[at], result.answerTokenIds[at])) ties++;
          else
            this.wrong.push(`${JSON.stringify(asked)}: "${result.answer}" instead of "${expected.answer}"`);
        }
      }
    } finally {
      await model.dispose();
    }
    return ties;
  }

  private pick<Value>(values: readonly Value[]): Value {
    return values[Math.floor(this.random() * values.length)];
  }
}

/** Whether this token was as likely as the most likely one. */
function isTie(logits: Float32Array, token: number): boolean {
  const highest = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  return highest - logits[token] < TIE;
}

function dataCode(error: unknown): string | undefined {
  const data: unknown = error instanceof ResponseError ? error.data : undefined;
  return typeof data === 'object' && data !== null && 'code' in data ? String(data.code) : undefined;
}
