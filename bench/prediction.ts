/**
 * `npm run bench:prediction`: what `fovea inspect` predicts for a question, memory and time until the first token, against what a process
 * needs that answers it. Random checkpoints in the shapes of real models, made in a temporary folder and removed. Writes
 * docs/results/prediction.md.
 *
 *   node dist/prediction.js [--cases 0,1] [--out FOLDER] [--json]
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';

import { MEMORY_OPTIONS } from '../server/inference/memoryOptions';
import { predictQuestion } from '../server/llava/analysis/prediction';
import { measureSpeed, predictTime } from '../server/llava/analysis/speed';
import { openCheckpoint } from '../server/llava/checkpoint/open';
import type { Precision } from '../server/llava/checkpoint/precision';
import { LlavaModel } from '../server/llava/model';
import { ROOT } from './evaluationSet';
import { screenshot } from './performance/engineStages';
import { median } from './performance/statistics';
import { codeHash, describeMachine, isShared, load, privateBytes } from './performance/machine';
import { type RandomCheckpoint, writeRandomCheckpoint } from './randomCheckpoint';

const SIZE = { width: 1920, height: 1080 };
const ANSWER_TOKENS = 4;
/** About new pictures, after one that loads the sessions: single questions of the same work differ by a fifth. */
const TIMED_QUESTIONS = 5;

interface Case {
  readonly name: string;
  readonly shape: RandomCheckpoint;
  readonly precision: Precision;
  /** Image tokens that enter the decoder; all by default. */
  readonly keep?: number;
}

const ONE_SQUARE = { tower: 'tiny', decoder: 'smol' } as const;
const NEXT = { family: 'llava_next', tower: 'tiny' } as const;
const ONEVISION = { family: 'llava_onevision', tower: 'tiny-384' } as const;

const CASES: readonly Case[] = [
  { name: 'SmolLM2-135M', shape: ONE_SQUARE, precision: 'fp32' },
  { name: 'SmolLM2-135M', shape: ONE_SQUARE, precision: 'q4' },
  { name: 'SmolLM2-135M', shape: ONE_SQUARE, precision: 'q4', keep: 64 },
  {
    name: 'ViT-L/14-336 + SmolLM2-135M',
    shape: { tower: 'clip-l-336', decoder: 'smol' },
    precision: 'q4',
  },
  { name: 'v1.6, small decoder', shape: { ...NEXT, decoder: 'small' }, precision: 'fp32' },
  { name: 'v1.6, small decoder', shape: { ...NEXT, decoder: 'small' }, precision: 'fp32', keep: 480 },
  {
    name: 'v1.6 with ViT-L/14-336, SmolLM2-135M',
    shape: { ...NEXT, tower: 'clip-l-336', decoder: 'smol' },
    precision: 'q4',
  },
  { name: 'OneVision, small decoder', shape: { ...ONEVISION, decoder: 'small' }, precision: 'fp32' },
  {
    name: 'OneVision, small decoder',
    shape: { ...ONEVISION, decoder: 'small' },
    precision: 'fp32',
    keep: 729,
  },
  {
    name: 'OneVision, Qwen2-0.5B, 4 of 24 layers',
    shape: { ...ONEVISION, decoder: 'qwen-0.5b', layers: 4 },
    precision: 'q4',
  },
];

interface Pair {
  readonly measured: number;
  readonly predicted: number;
}

/** Bytes and milliseconds. */
interface Comparison {
  readonly name: string;
  /** Programs that wanted a core, mean of the last minute. */
  readonly load: number;
  readonly precision: Precision;
  readonly imageTokens: number;
  readonly memory: Pair;
  readonly cpu: Pair;
  readonly wall: Pair;
}

interface Measured {
  /** Of the process at its peak, in bytes. */
  readonly memory: number;
  /** Milliseconds from the prepared image to the first token, of a model whose sessions are there. */
  readonly wall: number;
  readonly cpu: number;
  readonly imageTokens: number;
  readonly textTokens: number;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      answer: { type: 'string' },
      precision: { type: 'string' },
      keep: { type: 'string' },
      questions: { type: 'string', default: '1' },
      cases: { type: 'string' },
      json: { type: 'boolean', default: false },
      out: { type: 'string', default: path.join(ROOT, 'docs', 'results') },
    },
  });
  if (values.answer !== undefined) {
    await answer(values.answer, values.precision as Precision, values.keep, Number(values.questions));
    return;
  }
  const chosen = values.cases?.split(',').map(Number) ?? CASES.keys();
  const rows: Comparison[] = [];
  for (const index of chosen) {
    const entry = CASES[index];
    const folder = mkdtempSync(path.join(tmpdir(), 'fovea-prediction-'));
    try {
      const row = await compare(entry, folder);
      process.stderr.write(`${renderRow(row)}\n`);
      rows.push(row);
      // Written as it comes: the long prompts take minutes, and what is known shall not be lost with them.
      if (!values.json) writeFileSync(path.join(values.out, 'prediction.md'), render(rows));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
  if (values.json) process.stdout.write(JSON.stringify(rows));
}

async function compare({ name, shape, precision, keep }: Case, folder: string): Promise<Comparison> {
  writeRandomCheckpoint(folder, shape);
  const checkpoint = await openCheckpoint(folder);
  const cacheDirectory = path.join(folder, 'converted');
  // Conversion is no part of a question.
  await (await LlavaModel.open(folder, { precision, cacheDirectory })).dispose();
  const first = await measure(folder, precision, keep, { questions: 1, watchMemory: true });
  const rows = [first.imageTokens + first.textTokens];
  const before = await measureSpeed(checkpoint, precision, rows);
  // Unwatched: reading what a process holds takes a core from it.
  const timed = await measure(folder, precision, keep, {
    questions: 1 + TIMED_QUESTIONS,
    watchMemory: false,
  });
  const measured = { ...timed, memory: first.memory };
  const after = await measureSpeed(checkpoint, precision, rows);
  const predicted = predictQuestion(checkpoint, precision, {
    image: SIZE,
    ...(keep === undefined ? {} : { imageTokens: keep }),
    textTokens: measured.textTokens,
    answerTokens: ANSWER_TOKENS,
  });
  // The machine's speed while the question ran lies between the two.
  const times = [before, after].map((speed) => predictTime(predicted, speed));
  const between = (clock: 'cpu' | 'wall'): number => (times[0][clock] + times[1][clock]) / 2;
  return {
    ...{ name, precision, imageTokens: measured.imageTokens, load: load() },
    memory: { measured: measured.memory, predicted: predicted.memoryBytes },
    cpu: { measured: measured.cpu, predicted: between('cpu') },
    wall: { measured: measured.wall, predicted: between('wall') },
  };
}

function renderRow({ name, precision, imageTokens, memory, cpu, wall }: Comparison): string {
  const mb = (bytes: number): string => `${(bytes / 1e6).toFixed(0)} MB`;
  const ms = (time: number): string => `${time.toFixed(0)} ms`;
  const cells = (pair: Pair, show: (value: number) => string): string[] => {
    const percent = Math.round(100 * (pair.predicted / pair.measured - 1));
    return [show(pair.measured), show(pair.predicted), `${percent > 0 ? '+' : ''}${percent} %`];
  };
  const all = [name, precision, String(imageTokens), cells(memory, mb), cells(cpu, ms), cells(wall, ms)];
  return `| ${all.flat().join(' | ')} |`;
}

function measure(
  directory: string,
  precision: Precision,
  keep: number | undefined,
  { questions, watchMemory }: { questions: number; watchMemory: boolean },
): Promise<Measured> {
  const args = [__filename, '--answer', directory, '--precision', precision];
  args.push('--questions', String(questions));
  if (keep !== undefined) args.push('--keep', String(keep));
  // Memory of a process started as the inference process is; time of one like that which predicts it, as the command line is.
  const options = watchMemory ? MEMORY_OPTIONS : { execArgv: [], env: {} };
  const child = spawn(process.execPath, [...options.execArgv, ...args], {
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let peak = 0;
  const timer = setInterval(() => {
    if (watchMemory) peak = Math.max(peak, privateBytes(child.pid!) ?? 0);
  }, 20);
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => (text += part));
  return new Promise((resolve, reject) => {
    child.once('close', (code) => {
      clearInterval(timer);
      if (code === 0) resolve({ ...(JSON.parse(text) as Omit<Measured, 'memory'>), memory: peak });
      else reject(new Error(`the process that answers ended with ${code}`));
    });
  });
}

/**
 * In a process of its own: questions one after the other, as the inference process answers them; tells the median time of those after the
 * first, or that of the only one.
 */
async function answer(
  directory: string,
  precision: Precision,
  keep: string | undefined,
  questions: number,
): Promise<void> {
  const model = await LlavaModel.open(directory, {
    precision,
    cacheDirectory: path.join(directory, 'converted'),
  });
  const [walls, cpus]: [number[], number[]] = [[], []];
  let tokens: Pick<Measured, 'imageTokens' | 'textTokens'> | undefined;
  for (let question = 0; question < questions; question++) {
    let cpuBefore = process.cpuUsage();
    let wallBefore = performance.now();
    let [cpu, wall] = [0, 0];
    let textTokens = 0;
    const { costs } = await model.ask(
      {
        images: [await screenshot(question, SIZE)],
        question: 'What is the title of the dialog?',
        reduction: keep === undefined ? 'none' : `uniform:keep=${keep}`,
        sampling: { maxTokens: ANSWER_TOKENS },
      },
      {
        onPrompt: ({ labels, imageTokens }) => (textTokens = labels.length - imageTokens.length),
        onProgress: ({ stage }) => {
          if (stage === 'vision') [cpuBefore, wallBefore] = [process.cpuUsage(), performance.now()];
          if (stage !== 'answer') return;
          wall = performance.now() - wallBefore;
          const { user, system } = process.cpuUsage(cpuBefore);
          cpu = (user + system) / 1000;
        },
      },
    );
    tokens = { imageTokens: costs.imageTokens.atDecoder, textTokens };
    if (question === 0 && questions > 1) continue;
    walls.push(wall);
    cpus.push(cpu);
  }
  process.stdout.write(JSON.stringify({ wall: median(walls), cpu: median(cpus), ...tokens }));
  await model.dispose();
}

/** What `fovea inspect` promises, in both directions. */
const PROMISED = 0.15;

function render(rows: readonly Comparison[]): string {
  const within = (pairOf: (row: Comparison) => Pair): string => {
    const kept = rows.filter((row) => {
      const { measured, predicted } = pairOf(row);
      return Math.abs(predicted / measured - 1) <= PROMISED;
    });
    return `${kept.length} of ${rows.length}`;
  };
  const loads = rows.map((row) => row.load);
  const busy = isShared(Math.max(...loads), availableParallelism());
  return `# What \`fovea inspect\` predicts, and what a question needs

Made by \`npm run bench:prediction\` on ${new Date().toISOString().slice(0, 10)}: ${describeMachine()}. Sources \`${codeHash()}\`. One question about a screenshot of ${SIZE.width} x ${SIZE.height}, CPU, random
checkpoints with the geometry of their families. Memory is private memory at its peak, of a process started as the inference process is,
weights that are mapped from files not counted. Time is of a process started as the command line is, from the prepared image to the first token, with the model loaded, median of ${TIMED_QUESTIONS}
questions about new pictures; "CPU" is what all cores computed, which is what can be compared on a machine that others use.

Programs that wanted a core while it ran: ${Math.min(...loads).toFixed(1)} to ${Math.max(...loads).toFixed(1)} on ${availableParallelism()} cores${
    busy
      ? '. **The machine was shared**: wall times are longer than they need be, and what others do changes between prediction and question'
      : ''
  }.

Within ${100 * PROMISED} %: memory in ${within(({ memory }) => memory)} rows, CPU in ${within(({ cpu }) => cpu)}, wall in ${within(({ wall }) => wall)}.

| model | precision | image tokens | memory | predicted | | CPU | predicted | | wall | predicted | |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
${rows.map(renderRow).join('\n')}

The prediction of memory is a sum over what lies in memory at the same time (server/llava/analysis/memory.ts; its constants are fitted to peaks of
these and other shapes). That of time has no fitted constants: two layers of the tower and up to four of the decoder run on the spot, in the model's shapes
and with weights that mean nothing, through the engine's own graphs, chunks and caches
(speed.ts). Here it is measured before and after the questions, and the mean of both is compared. Not predicted are the arranging of the image's tokens
and the garbage that a question leaves to be collected; and the same layers take up to a tenth longer in a process that has answered than in a new one. For
the 2880 patches of the v1.6 rows that is some 40 ms of processor time together, which shows beside a tower and a decoder as small as theirs.
`;
}

void main();
