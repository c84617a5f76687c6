/**
 * `npm run eval`: every reduction and control on the held-out set and on the real screenshots, through our own engine. Writes docs/results/reduction.{json,md}
 * and its curves.
 *
 *   node dist/evaluateReductions.js [--model FOLDER] [--words N] [--real N] [--calibration N] [--costs N] [--minutes M] [--processes N]
 *                                   [--quick] [--output FOLDER] [--log FOLDER] [--render]
 *
 * The numbers count pictures; each is asked everything that its set asks about it. Outcomes are kept as they come (`--log`, by default out/eval), so that an
 * interrupted run goes on where it stopped; `--minutes` ends the asking; what has been asked until then is
 * reported, after the parts of compositions were asked about the same pictures (some minutes more). `--processes` (by default one per core, at most four) ask at the same time; times are measured by one alone. `--render` measures nothing
 * and writes report and curves of the results that are there.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';

import { LlavaModel } from '../../server/llava/model';
import { evenly, readEvaluationSet, REAL_SCREENS, ROOT, SETS } from '../evaluationSet';
import { calibrate, CARRIER, LADDER, pictureFacts, type PictureFacts } from './calibration';
import { codeHash, questionsHash, specsHash, weightsHash } from './inputs';
import { leftAtEnd, OutcomeLog } from './outcomes';
import { ASKING_PROCESS, askInProcesses, serveAsking } from './parallel';
import { drawCurves, renderReport } from './report';
import { askAll, type Cost, measureCosts, type Subject, subjectsOf } from './run';
import {
  automaticEntries,
  availableHeads,
  entries as allEntries,
  type Entry,
  QUICK_METHODS,
  withAlone,
} from './specs';
import { askedAbout, type ReductionResults, summarize } from './summary';

export interface EvaluationOptions {
  readonly model: string;
  /** Pictures asked about of the synthetic held-out set, of the real screenshots, and (of both together) for the calibration. */
  readonly words: number;
  readonly real: number;
  readonly calibration: number;
  /** Pictures on which times are measured. */
  readonly costs: number;
  readonly minutes?: number;
  /** Processes that ask at the same time; 1 asks in this one. */
  readonly processes: number;
  /** A few methods at one budget, two questions a picture. */
  readonly quick?: boolean;
  readonly output: string;
  readonly log: string;
}

/** Questions a picture in a quick run. */
const QUICK_QUESTIONS = 2;

/** @returns what was written. */
export async function evaluateReductions(options: EvaluationOptions): Promise<string[]> {
  const until = options.minutes === undefined ? undefined : Date.now() + options.minutes * 60_000;
  const model = await LlavaModel.open(options.model);
  try {
    const weights = await weightsHash(options.model);
    const code = await codeHash();
    const file = path.join(options.log, `${weights.slice(0, 12)}-${code.slice(0, 12)}.jsonl`);
    /** @returns all outcomes there are then. */
    const ask = async (
      subjects: readonly Subject[],
      list: readonly Entry[],
      stage: string,
      end?: number,
    ): Promise<OutcomeLog> => {
      const onProgress = progress(stage);
      const log = new OutcomeLog(file);
      if (options.processes > 1) {
        const asking = { model: options.model, log: file, subjects, entries: list, until: end };
        await askInProcesses(__filename, options.processes, asking, onProgress);
        return new OutcomeLog(file);
      }
      await askAll(model, subjects, list, log, { until: end, onProgress });
      return log;
    };

    // Odd pictures calibrate, even ones are tested on.
    const few = options.quick ? QUICK_QUESTIONS : Infinity;
    const words = subjectsOf(readEvaluationSet(SETS.words), few);
    const real = subjectsOf(readEvaluationSet(REAL_SCREENS), few);
    const half = (subjects: readonly Subject[], parity: number): Subject[] =>
      subjects.filter((_, index) => index % 2 === parity);
    const calibrating = interleave(
      evenly(half(words, 1), Math.ceil(options.calibration / 2)),
      evenly(half(real, 1), Math.floor(options.calibration / 2)),
    );
    const testing = interleave(evenly(half(words, 0), options.words), evenly(half(real, 0), options.real));

    const facts = new Map<string, PictureFacts>();
    for (const subject of [...calibrating, ...testing]) {
      facts.set(`${subject.set} ${subject.image}`, await pictureFacts(model, subject));
    }
    const budgets = options.quick ? [64] : LADDER;
    const ladder: Entry[] = ['none', ...budgets.map((budget) => `${CARRIER}:keep=${budget}`)].map((spec) => ({
      method: spec,
      kind: 'method',
      budget: undefined,
      spec,
    }));
    const { all: calibrated } = await ask(calibrating, ladder, 'calibration');
    const calibration = calibrate(calibrated, calibrating, facts, budgets);

    const all = [...facts.values()][0].patches;
    const meant = allEntries(all, availableHeads(model.checkpoint.heads));
    const listed = options.quick
      ? meant.filter(
          ({ method, budget }) => QUICK_METHODS.includes(method) && (budget === 64 || budget === all),
        )
      : [...meant, ...automaticEntries(testing.map(({ set, image }) => facts.get(`${set} ${image}`)!))];
    const { all: listedOutcomes } = await ask(testing, listed, 'evaluation', until);
    const list = withAlone(listed, (spec) =>
      leftAtEnd(listedOutcomes.filter((outcome) => outcome.spec === spec)),
    );
    const { all: outcomes } = await ask(askedAbout(testing, listed, listedOutcomes), list, 'compositions');
    const costs: Cost[] = await measureCosts(model, testing.slice(0, options.costs), list);

    const { name, hash, parameters } = model.summary;
    const results = summarize({
      model: { name, hash, parameters, weights },
      code,
      questions: questionsHash(),
      specs: specsHash(list),
      device: model.device,
      entries: list,
      subjects: testing,
      outcomes,
      costs,
      calibration,
    });
    return await writeResults(results, options.output);
  } finally {
    await model.dispose();
  }
}

/** The results with the report and curves that are made of them. @returns what was written. */
async function writeResults(results: ReductionResults, output: string): Promise<string[]> {
  await mkdir(output, { recursive: true });
  const files: Record<string, string> = {
    'reduction.json': `${JSON.stringify(results, undefined, 1)}\n`,
    'reduction.md': renderReport(results),
    ...drawCurves(results),
  };
  for (const [file, text] of Object.entries(files)) await writeFile(path.join(output, file), text);
  return Object.keys(files).map((file) => path.join(output, file));
}

/** One of each in turn, so that a run that is cut short has seen both sets. */
function interleave(a: readonly Subject[], b: readonly Subject[]): Subject[] {
  const placed = [a, b].flatMap((list) =>
    list.map((subject, index) => ({ subject, at: (index + 0.5) / list.length })),
  );
  return placed.sort((left, right) => left.at - right.at).map(({ subject }) => subject);
}

function progress(stage: string): (done: number, of: number) => void {
  return (done, of) => process.stderr.write(`${stage}: ${done} of ${of} pictures\n`);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      model: { type: 'string', default: path.join(ROOT, 'model') },
      words: { type: 'string', default: '30' },
      real: { type: 'string', default: '38' },
      calibration: { type: 'string', default: '40' },
      costs: { type: 'string', default: '6' },
      minutes: { type: 'string' },
      processes: { type: 'string', default: String(Math.min(4, availableParallelism())) },
      quick: { type: 'boolean', default: false },
      render: { type: 'boolean', default: false },
      output: { type: 'string', default: path.join(ROOT, 'docs', 'results') },
      log: { type: 'string', default: path.join(ROOT, 'out', 'eval') },
    },
  });
  if (values.render) {
    const json = await readFile(path.join(values.output, 'reduction.json'), 'utf8');
    process.stdout.write(
      `${(await writeResults(JSON.parse(json) as ReductionResults, values.output)).join('\n')}\n`,
    );
    return;
  }
  const written = await evaluateReductions({
    ...values,
    words: Number(values.words),
    real: Number(values.real),
    calibration: Number(values.calibration),
    costs: Number(values.costs),
    processes: Number(values.processes),
    minutes: values.minutes === undefined ? undefined : Number(values.minutes),
  });
  process.stdout.write(`${written.join('\n')}\n`);
}

if (require.main === module) {
  if (process.argv.includes(ASKING_PROCESS)) serveAsking();
  else void main();
}
