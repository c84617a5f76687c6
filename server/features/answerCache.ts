import { createHash } from 'node:crypto';
import cacache from 'cacache';
import type { AnswerResult, SamplingOptions, Settings } from '../protocol';

/** Changes when the meaning of a stored answer changes; old entries are then never found and grow out. */
const FORMAT = 2;
/** After a size limit was reached this part of it stays, so that not every new answer removes one. */
const KEEP_FRACTION = 0.8;

/** The published types lack the option without which an entry leaves a mark of its removal behind for ever. */
const removeEntry = cacache.rm.entry as (
  directory: string,
  key: string,
  options: { removeFully: boolean },
) => Promise<unknown>;

/** Everything that an answer depends on. */
export interface AnswerKey {
  /** SHA-256 of the encoded files, in order. */
  images: string[];
  question: string;
  system?: string;
  rawPrompt?: string;
  /** {@link ModelSummary.hash}. */
  model: string;
  /** As the settings say; what `auto` chooses is the same on one machine. */
  precision: Settings['precision'];
  /** The canonical spec. */
  reduction: string;
  fit: 'pad' | 'crop';
  sampling: SamplingOptions;
}

/** The key as text: equal for equal questions, whatever the order of their fields. */
export function answerKeyText(key: AnswerKey): string {
  const { images, question, system, rawPrompt, model, precision, reduction, fit, sampling } = key;
  const { maxTokens, temperature, topP, seed } = sampling;
  const fields = [
    FORMAT,
    images,
    question,
    system,
    rawPrompt,
    model,
    precision,
    reduction,
    fit,
    maxTokens,
    temperature,
    topP,
    seed,
  ];
  return createHash('sha256')
    .update(JSON.stringify(fields.map((field) => field ?? null)))
    .digest('hex');
}

/**
 * Answers on disk, by what they depend on. Entries are content-addressed and checked when read, so a damaged one is an
 * answer that is not there; several windows may use one folder. The cache is a help, never a must: its faults are logged,
 * not thrown.
 */
export class AnswerCache {
  readonly #directory: string | undefined;
  readonly #log: (line: string) => void;
  #maxBytes = 0;
  /** Answers on their way to the disk, by name: they are known already. */
  readonly #coming = new Map<string, AnswerResult>();
  /** One change of the folder after the other. */
  #changes: Promise<unknown> = Promise.resolve();

  /** @param directory undefined: nothing is kept. */
  constructor(directory: string | undefined, log: (line: string) => void) {
    this.#directory = directory;
    this.#log = log;
  }

  /** @param bytes 0 = nothing is kept and nothing is found. */
  setMaxBytes(bytes: number): void {
    if (bytes === this.#maxBytes) return;
    this.#maxBytes = bytes;
    void this.#change(() => this.#trim());
  }

  async get(key: AnswerKey): Promise<AnswerResult | undefined> {
    const directory = this.#directory;
    if (directory === undefined || this.#maxBytes === 0) return undefined;
    const name = answerKeyText(key);
    const coming = this.#coming.get(name);
    if (coming) return coming;
    try {
      const { data, integrity, size } = await cacache.get(directory, name);
      const result = parseAnswer(data);
      // The index keeps the time of the last use, by which the oldest leave first.
      if (result) void this.#change(() => cacache.index.insert(directory, name, integrity, { size }));
      return result;
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code !== 'ENOENT') {
        this.#log(`A cached answer could not be read and is forgotten: ${describe(error)}`);
        void this.#change(() => this.#forget(directory, name));
      }
      return undefined;
    }
  }

  async put(key: AnswerKey, result: AnswerResult): Promise<void> {
    const directory = this.#directory;
    if (directory === undefined) return;
    const data = JSON.stringify(result);
    if (data.length > this.#maxBytes) return;
    const name = answerKeyText(key);
    this.#coming.set(name, result);
    await this.#change(async () => {
      await cacache.put(directory, name, data);
      await this.#trim();
    });
    if (this.#coming.get(name) === result) this.#coming.delete(name);
  }

  /** Forgets everything. @returns how much there was. */
  async clear(): Promise<{ answers: number; bytes: number }> {
    const directory = this.#directory;
    const removed = { answers: 0, bytes: 0 };
    if (directory === undefined) return removed;
    await this.#change(async () => {
      for (const { size } of Object.values(await cacache.ls(directory))) {
        removed.answers += 1;
        removed.bytes += size ?? 0;
      }
      await cacache.rm.all(directory);
    });
    return removed;
  }

  /** Resolves when all changes so far are on disk. */
  async settled(): Promise<void> {
    await this.#changes;
  }

  /** Removes an answer with its content: damaged content that stayed would be taken for the same content written again. */
  async #forget(directory: string, name: string): Promise<void> {
    const info = (await cacache.get.info(directory, name)) as cacache.CacheObject | null;
    await removeEntry(directory, name, { removeFully: true });
    if (info) await cacache.rm.content(directory, info.integrity);
  }

  /** Removes the answers that were not used for longest until the rest is small enough. */
  async #trim(): Promise<void> {
    const directory = this.#directory;
    if (directory === undefined) return;
    const entries = Object.values(await cacache.ls(directory));
    let bytes = entries.reduce((sum, { size }) => sum + (size ?? 0), 0);
    if (bytes <= this.#maxBytes) return;
    entries.sort((a, b) => a.time - b.time);
    for (const { key, size } of entries) {
      if (bytes <= this.#maxBytes * KEEP_FRACTION) break;
      await this.#forget(directory, key);
      bytes -= size ?? 0;
    }
  }

  #change(change: () => Promise<unknown>): Promise<void> {
    const done = this.#changes.then(change).then(
      () => undefined,
      (error: unknown) => this.#log(`The answer cache could not be changed: ${describe(error)}`),
    );
    this.#changes = done;
    return done;
  }
}

/** The integrity check has passed, so this is what was written; another version may have meant something else by it. */
function parseAnswer(data: Buffer): AnswerResult | undefined {
  const value = JSON.parse(data.toString('utf8')) as AnswerResult;
  return typeof value.answer === 'string' && value.trace.version === 1 ? value : undefined;
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
