/**
 * `npm run bench`: how fast the engine is, against the FLOPs model, the machine's peak, a control and other programs. Writes
 * docs/results/performance.json and performance.md.
 *
 *   node dist/performance.js [--shapes A,B] [--rounds N] [--cache FOLDER] [--out FOLDER] [--peers FOLDER] [--mtmd PROGRAM] [--quick]
 *                            [--only memory|peers|mtmd]
 *
 * `--shapes` measures these shapes alone and puts them beside what earlier runs have written.
 * `--peers` is a folder where `npm install --ignore-scripts node-llama-cpp` was run; without it that program is not measured.
 * `--mtmd` is llama.cpp's llama-mtmd-cli (performance/llamaMtmd.ts says how to build it); without it that program is not measured.
 * Linux only.
 * `--render` writes performance.md again from what is in performance.json.
 * `--only memory` measures memory, which other programs do not disturb, `--only peers` the programs in `--peers`, `--only mtmd` the first token against `--mtmd`;
 * they leave the other results as they are.
 * `--cache` keeps the random checkpoints (a few GB). `--quick` runs every stage once on a tiny model and writes nothing unless
 * `--out` is given.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';

import { PRECISIONS, type Precision } from '../server/llava/checkpoint/precision';
import { ROOT } from './evaluationSet';
import { type EngineResults, measureEngine } from './performance/engineStages';
import { measureFirstTokenPeer } from './performance/firstTokenPeer';
import { measurePeers } from './performance/peers';
import { codeHash, describeMachine, isShared, load } from './performance/machine';
import { measureColdStart, measureMemory, memoryOfThisProcess } from './performance/processes';
import { renderPerformance } from './performance/renderResults';
import type { PerformanceResults } from './performance/results';
import { checkpointOf, shapeOf } from './performance/shapes';

const SAMPLE = path.join(ROOT, 'media', 'samples', 'dialog.png');

interface Plan {
  readonly shapes: readonly { readonly name: string; readonly precision: Precision }[];
  readonly memory: readonly { readonly name: string; readonly precision: Precision }[];
  /** The shape whose text side other programs are given. */
  readonly peers: string;
  /** The shape that llama-mtmd-cli is given. */
  readonly mtmd: string;
  readonly coldStarts: number;
}

const FULL: Plan = {
  shapes: [
    { name: 'embedded', precision: 'fp32' },
    { name: 'smol', precision: 'fp32' },
    { name: 'smol', precision: 'q4' },
    { name: 'qwen-0.5b', precision: 'fp32' },
    { name: '7b-short', precision: 'q4' },
  ],
  memory: [
    { name: 'embedded', precision: 'fp32' },
    { name: 'smol-text', precision: 'fp32' },
    { name: 'smol-text', precision: 'q4' },
    { name: 'smol', precision: 'q4' },
  ],
  peers: 'smol-text',
  mtmd: 'smol',
  coldStarts: 15,
};

const QUICK: Plan = {
  shapes: [{ name: 'tiny', precision: 'fp32' }],
  memory: [{ name: 'tiny', precision: 'q4' }],
  peers: 'tiny',
  mtmd: 'tiny',
  coldStarts: 1,
};

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      shapes: { type: 'string' },
      rounds: { type: 'string' },
      cache: { type: 'string', default: path.join(tmpdir(), 'fovea-bench') },
      out: { type: 'string' },
      quick: { type: 'boolean', default: false },
      only: { type: 'string' },
      render: { type: 'boolean', default: false },
      peers: { type: 'string' },
      mtmd: { type: 'string' },
      memory: { type: 'string' },
      precision: { type: 'string', default: 'fp32' },
    },
  });
  const cacheDirectory = path.join(values.cache, 'converted');
  if (values.memory !== undefined) {
    const memory = await memoryOfThisProcess(values.memory, {
      cacheDirectory,
      precision: precisionOf(values.precision),
    });
    process.stdout.write(JSON.stringify({ memory }));
    return;
  }
  // Of what was built, whatever is edited while this runs.
  const code = codeHash();
  const plan = values.quick ? QUICK : FULL;
  const chosen = values.shapes?.split(',');
  for (const name of chosen ?? []) shapeOf(name);
  const shapes = plan.shapes.filter(({ name }) => chosen?.includes(name) ?? true);
  const command = ['npm run bench', ...commandOptions(process.argv.slice(2))].join(' ');
  const say = (text: string): void => void process.stderr.write(`${text}\n`);

  const out = values.out ?? (values.quick ? undefined : path.join(ROOT, 'docs', 'results'));
  const earlier = out === undefined ? undefined : await readResults(out);
  if (values.render && out !== undefined && earlier) return write(out, earlier);
  const { cache, mtmd: program } = values;
  const measureMtmd = async (): Promise<PerformanceResults['firstTokenPeer']> =>
    program === undefined
      ? undefined
      : measureFirstTokenPeer({
          ...{ program, shape: plan.mtmd, cache, cacheDirectory, command, code },
          rounds: Number(values.rounds ?? shapeOf(plan.mtmd).rounds),
          threads: availableParallelism(),
          onRound: (round) => say(`llama-mtmd-cli: round ${round}`),
        });
  const measureOthers = (): Promise<PerformanceResults['peers']> =>
    measurePeers({
      folder: values.peers,
      directory: checkpointOf(plan.peers, cache),
      shape: shapeOf(plan.peers),
      rounds: values.rounds === undefined ? shapeOf(plan.peers).rounds : Number(values.rounds),
      cacheDirectory,
      // Threads that wait for each other by spinning, as llama.cpp's do, stand still where others want the cores.
      threads: isShared(load(), availableParallelism()) ? 1 : availableParallelism(),
    });
  if (values.only !== undefined) {
    if (out === undefined || !earlier) throw new Error('--only needs a performance.json to put it into.');
    if (values.only === 'memory') {
      const memory = await measureMemories(plan, cache, cacheDirectory, say);
      return write(out, { ...earlier, memory, memoryCode: code });
    }
    if (values.only === 'peers' && values.peers !== undefined)
      return write(out, { ...earlier, peers: await measureOthers() });
    if (values.only !== 'mtmd' || program === undefined)
      throw new Error('--only takes "memory", "peers" with --peers FOLDER, or "mtmd" with --mtmd PROGRAM.');
    return write(out, { ...earlier, firstTokenPeer: await measureMtmd() });
  }

  const planned = plan.shapes.map(({ name, precision }) => ({
    shape: name,
    title: shapeOf(name).title,
    precision,
  }));
  const frame = { machine: describeMachine(), cores: availableParallelism(), planned };
  let engine: readonly EngineResults[] = chosen && earlier ? earlier.engine : [];
  for (const { name, precision } of shapes) {
    const shape = shapeOf(name);
    const rounds = values.rounds === undefined ? shape.rounds : Number(values.rounds);
    const run = await measureEngine(checkpointOf(name, values.cache), {
      ...{ shape: name, precision, rounds, cacheDirectory, command, code },
      onRound: (round) => say(`${shape.title}, ${precision}: round ${round} of ${rounds}`),
    });
    engine = inOrder(planned, [...engine.filter((other) => !isSame(other, run)), run]);
    // As it comes: the larger shapes take minutes, and those that are done shall not be lost with them.
    if (out !== undefined && earlier) await write(out, { ...earlier, ...frame, engine });
  }
  if (chosen && earlier) return;
  const memory = await measureMemories(plan, values.cache, cacheDirectory, say);
  say('other programs');
  const peers = await measureOthers();
  // Has its own date and sources, so an earlier one may stand beside the rest.
  const firstTokenPeer = (await measureMtmd()) ?? earlier?.firstTokenPeer;
  say('start of a process');
  const coldStart = await measureColdStart(path.join(ROOT, 'model'), SAMPLE, plan.coldStarts);

  const results: PerformanceResults = {
    ...frame,
    engine,
    others: { measuredAt: new Date().toISOString(), command, code },
    memory,
    coldStart,
    peers,
    firstTokenPeer,
  };
  if (out === undefined) process.stdout.write(renderPerformance(results));
  else await write(out, results);
}

/** What was asked for on the command line; where files lie is nobody's business. */
function commandOptions(args: readonly string[]): string[] {
  const kept = args.filter((arg, index) => !isPlace(arg) && !isPlace(args[index - 1] ?? ''));
  return kept.length > 0 ? ['--', ...kept] : [];
}

function isPlace(option: string): boolean {
  return ['--cache', '--out', '--peers', '--mtmd'].includes(option);
}

/** What an earlier run has written. */
async function readResults(folder: string): Promise<PerformanceResults | undefined> {
  const text = await readFile(path.join(folder, 'performance.json'), 'utf8').catch(() => undefined);
  return text === undefined ? undefined : (JSON.parse(text) as PerformanceResults);
}

type Subject = Pick<EngineResults, 'shape' | 'precision'>;

function isSame(a: Subject, b: Subject): boolean {
  return a.shape === b.shape && a.precision === b.precision;
}

function inOrder(planned: readonly Subject[], runs: readonly EngineResults[]): EngineResults[] {
  const rank = (run: Subject): number => {
    const place = planned.findIndex((entry) => isSame(run, entry));
    return place < 0 ? planned.length : place;
  };
  return runs.toSorted((a, b) => rank(a) - rank(b));
}

async function measureMemories(
  plan: Plan,
  cache: string,
  cacheDirectory: string,
  say: (text: string) => void,
): Promise<PerformanceResults['memory']> {
  const memory: PerformanceResults['memory'][number][] = [];
  for (const { name, precision } of plan.memory) {
    const { title } = shapeOf(name);
    say(`${title}, ${precision}: memory`);
    const directory = checkpointOf(name, cache);
    const measured = await measureMemory(__filename, directory, { cacheDirectory, precision });
    if (measured) memory.push({ title, precision, memory: measured });
  }
  return memory;
}

async function write(out: string, results: PerformanceResults): Promise<void> {
  await mkdir(out, { recursive: true });
  await writeFile(path.join(out, 'performance.json'), `${JSON.stringify(results, null, 1)}\n`);
  await writeFile(path.join(out, 'performance.md'), renderPerformance(results));
}

function precisionOf(text: string): Precision {
  const precision = PRECISIONS.find((name) => name === text);
  if (!precision) throw new Error(`There is no precision "${text}".`);
  return precision;
}

void main();
