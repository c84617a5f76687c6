/**
 * `npm run bench:precision`: what 4-bit weights cost in quality, and what making them costs; writes
 * docs/results/precision.json and docs/results/precision.md. Their speed and memory: `npm run bench`.
 *
 *   node dist/precision.js [--questions N] [--scratch FOLDER] [--shape NAME]...
 *
 * `--scratch` takes the random checkpoints (several GB with llama-7b; a temporary folder by default); `--shape` limits them.
 */
import { fork } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';

import type { Checkpoint, TensorSource } from '../server/llava/checkpoint/checkpoint';
import { widenFloat16 } from '../server/llava/checkpoint/halfPrecision';
import { openCheckpoint } from '../server/llava/checkpoint/open';
import { CPU_PRECISIONS, type Precision } from '../server/llava/checkpoint/precision';
import { quantizedSizes, quantizeRows } from '../server/llava/checkpoint/quantize';
import { prepareWeights, sidecarBytes } from '../server/llava/checkpoint/sidecar';
import { LlavaModel } from '../server/llava/model';
import { mulberry32 } from '../server/llava/mulberry32';
import { floats, floatTensor, idTensor } from '../server/llava/runtime/session';
import { decodePrompt } from '../server/llava/testing/decodePrompt';
import { accuracy, isExact } from './accuracy';
import { evenly, hashQuestions, readEvaluationSet, ROOT, SETS } from './evaluationSet';
import { compareLogits, type Distances, meanDistances } from './logitDistance';
import { codeHash, describeMachine, load } from './performance/machine';
import { type ConversionResult, type PrecisionResults, renderPrecisionResults } from './precisionResults';
import { type RandomCheckpoint, writeRandomCheckpoint } from './randomCheckpoint';

/** Fewer layers than the real models have: an error grows with every layer, but these grow alike in both columns. */
const SHAPES: Record<string, RandomCheckpoint> = {
  tiny: { decoder: 'tiny', tower: 'tiny' },
  smol: { decoder: 'smol', tower: 'tiny' },
  'qwen-0.5b': { decoder: 'qwen-0.5b', tower: 'tiny', layers: 4 },
  'llama-7b': { decoder: 'llama-7b', tower: 'tiny', layers: 1, dtype: 'BF16' },
};
/** Towers whose features in 8 bits are compared with those in float32. */
const TOWERS = ['clip-l-336', 'siglip-so400m-384'] as const;
/** Positions that are compared for every random checkpoint, in one prompt of random tokens. */
const POSITIONS = 96;
/** What is converted with a watch on time and memory: layers of LLaVA-1.5-7B, in half precision as it is published. */
const CONVERSION: RandomCheckpoint = {
  decoder: 'llama-7b',
  tower: 'tiny',
  layers: 3,
  dtype: 'BF16',
  maxShardBytes: 1e9,
};

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      questions: { type: 'string', default: '400' },
      shape: { type: 'string', multiple: true, default: Object.keys(SHAPES) },
      scratch: { type: 'string' },
      convert: { type: 'string' },
      cache: { type: 'string' },
    },
  });
  if (values.convert !== undefined && values.cache !== undefined)
    return convertHere(values.convert, values.cache);

  const sources = codeHash();
  const scratch = values.scratch ?? (await mkdtemp(path.join(os.tmpdir(), 'fovea-precision-')));
  try {
    const embedded = await measureEmbedded(Number(values.questions), path.join(scratch, 'embedded'));
    const random: PrecisionResults['random'] = [];
    for (const name of values.shape) {
      say(`random weights: ${name}`);
      random.push({ name, ...(await measureRandom(SHAPES[name], path.join(scratch, name))) });
    }
    const towers: PrecisionResults['towers'] = [];
    for (const name of TOWERS) {
      say(`tower: ${name}`);
      towers.push({ name, ...(await measureTower(name, path.join(scratch, name))) });
    }
    say('conversion');
    const conversion = await measureConversion(path.join(scratch, 'conversion'));
    const results: PrecisionResults = {
      machine: describeMachine(),
      load: load(),
      sources,
      embedded,
      random,
      towers,
      conversion,
    };
    const output = path.join(ROOT, 'docs', 'results');
    await mkdir(output, { recursive: true });
    await writeFile(path.join(output, 'precision.json'), `${JSON.stringify(results, undefined, 1)}\n`);
    await writeFile(path.join(output, 'precision.md'), renderPrecisionResults(results));
    say(path.join('docs', 'results', 'precision.md'));
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

// ---------------------------------------------------------------------------------------------- embedded model

async function measureEmbedded(count: number, cacheDirectory: string): Promise<PrecisionResults['embedded']> {
  const directory = path.join(ROOT, 'model');
  const set = readEvaluationSet(SETS.words);
  const questions = evenly(set.questions, count);
  const models = {
    fp32: await LlavaModel.open(directory, { precision: 'fp32', cacheDirectory }),
    q4: await LlavaModel.open(directory, { precision: 'q4', cacheDirectory }),
    q4q8: await LlavaModel.open(directory, { precision: 'q4q8', cacheDirectory }),
  };
  const right = { fp32: 0, q4: 0, q4q8: 0 };
  let same = 0;
  let sameWithTower = 0;
  const distances: Distances[] = [];
  for (const [index, { image, question, answer }] of questions.entries()) {
    const images = [await readFile(path.join(set.folder, image))];
    const answers: string[] = [];
    const logits: Float32Array[] = [];
    for (const precision of ['fp32', 'q4', 'q4q8'] as const) {
      let first = true;
      const result = await models[precision].ask(
        { images, question, fit: 'pad' },
        {
          onLogits: (row) => {
            if (first) logits.push(row.slice());
            first = false;
          },
        },
      );
      answers.push(result.answer);
      if (isExact(result.answer, answer)) right[precision]++;
    }
    if (answers[0] === answers[1]) same++;
    if (answers[1] === answers[2]) sameWithTower++;
    distances.push(compareLogits(logits[0], logits[1]));
    if ((index + 1) % 50 === 0) say(`embedded model: ${index + 1} of ${questions.length} questions`);
  }
  const { name, hash } = models.fp32.summary;
  const { checkpoint } = models.fp32;
  for (const model of Object.values(models)) await model.dispose();
  return {
    name,
    hash,
    questions: hashQuestions(),
    fp32: accuracy({ right: right.fp32, of: questions.length }),
    q4: accuracy({ right: right.q4, of: questions.length }),
    q4q8: accuracy({ right: right.q4q8, of: questions.length }),
    sameAnswer: accuracy({ right: same, of: questions.length }),
    sameWithTower: accuracy({ right: sameWithTower, of: questions.length }),
    firstToken: meanDistances(distances),
    weights: await weightErrors(checkpoint),
  };
}

/** Error of the decoder's weights, relative to them: as converted, and with symmetric codes for comparison. */
async function weightErrors(checkpoint: Checkpoint): Promise<{ zeroPoints: number; symmetric: number }> {
  const sums = { zeroPoints: 0, symmetric: 0, square: 0 };
  for (const tensor of checkpoint.tensors.values()) {
    if (!/language_model.*_proj\.weight$/.test(tensor.name)) continue;
    const values = await readNumbers(tensor);
    const [rows, columns] = tensor.shape;
    const sizes = quantizedSizes(rows, columns, 4);
    const codes = {
      values: new Uint8Array(sizes.values),
      scales: new Float32Array(sizes.scales),
      zeroPoints: new Uint8Array(sizes.zeroPoints),
    };
    quantizeRows(values, columns, 4, codes);
    const zeroBytes = Math.ceil(sizes.blocksPerRow / 2);
    const nibble = (bytes: Uint8Array, index: number): number =>
      (bytes[index >> 1] >> ((index & 1) * 4)) & 15;
    for (let row = 0; row < rows; row++)
      for (let block = 0; block < sizes.blocksPerRow; block++) {
        const start = row * columns + block * 32;
        const part = values.subarray(start, Math.min(start + 32, (row + 1) * columns));
        const index = row * sizes.blocksPerRow + block;
        const zero = nibble(codes.zeroPoints.subarray(row * zeroBytes), block);
        const extreme = part.reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a), 0);
        const scale = extreme / -8 || 1;
        part.forEach((value, i) => {
          const restored = (nibble(codes.values, index * 32 + i) - zero) * codes.scales[index];
          const plain = Math.min(7, Math.max(-8, Math.round(value / scale))) * scale;
          sums.zeroPoints += (restored - value) ** 2;
          sums.symmetric += (plain - value) ** 2;
          sums.square += value ** 2;
        });
      }
  }
  return {
    zeroPoints: Math.sqrt(sums.zeroPoints / sums.square),
    symmetric: Math.sqrt(sums.symmetric / sums.square),
  };
}

/** The embedded model is stored in float16. */
async function readNumbers({ file, offset, byteLength }: TensorSource): Promise<Float32Array> {
  const bytes = (await readFile(file)).subarray(offset, offset + byteLength);
  const halves = new Uint16Array(new Uint8Array(bytes).buffer);
  const values = new Float32Array(halves.length);
  widenFloat16(halves, new Uint32Array(values.buffer));
  return values;
}

// ---------------------------------------------------------------------------------------------- random weights

async function measureRandom(
  shape: RandomCheckpoint,
  folder: string,
): Promise<{ distances: Distances; layers: number }> {
  const directory = path.join(folder, 'checkpoint');
  const cacheDirectory = path.join(folder, 'cache');
  writeRandomCheckpoint(directory, shape);
  try {
    let vocabulary = 0;
    let layers = 0;
    const logits: Float32Array[] = [];
    for (const precision of CPU_PRECISIONS) {
      const model = await LlavaModel.open(directory, { precision, cacheDirectory });
      const { text } = model.checkpoint.config;
      [vocabulary, layers] = [text.vocabSize, text.numHiddenLayers];
      const random = mulberry32(7);
      const ids = Array.from({ length: POSITIONS }, () => Math.floor(random() * 256));
      const output = await (await model.sessions.embedding()).run({ ids: idTensor(ids) });
      const prompt = {
        hidden: { data: floats(output.hidden), rows: ids.length, columns: text.hiddenSize },
        labels: ids.map(() => -1),
        imageTokens: [],
        raster: new Int32Array(0),
      };
      logits.push(await decodePrompt(model, prompt));
      await model.dispose();
    }
    const row = (all: Float32Array, index: number): Float32Array =>
      all.subarray(index * vocabulary, (index + 1) * vocabulary);
    const distances = Array.from({ length: POSITIONS }, (_, index) =>
      compareLogits(row(logits[0], index), row(logits[1], index)),
    );
    return { layers, distances: meanDistances(distances) };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Cosine between the features of every patch in 8 bits and in float32, of a tower with random weights and random pixels. */
async function measureTower(
  tower: RandomCheckpoint['tower'],
  folder: string,
): Promise<{ mean: number; worst: number }> {
  const directory = path.join(folder, 'checkpoint');
  const cacheDirectory = path.join(folder, 'cache');
  writeRandomCheckpoint(directory, { decoder: 'tiny', tower });
  try {
    const features = async (precision: Precision): Promise<{ data: Float32Array; width: number }> => {
      const model = await LlavaModel.open(directory, { precision, cacheDirectory });
      const { imageSize, hiddenSize } = model.checkpoint.config.vision;
      const random = mulberry32(9);
      const pixels = Float32Array.from({ length: 3 * imageSize ** 2 }, () => random() * 4 - 2);
      const session = await model.sessions.vision({ attention: false, keys: false });
      const output = await session.run({ pixels: floatTensor(pixels, [1, 3, imageSize, imageSize]) });
      const data = floats(output.features);
      await model.dispose();
      return { data, width: hiddenSize };
    };
    const [{ data: full, width }, { data: bytes }] = [await features('fp32'), await features('q4q8')];
    const cosines = Array.from({ length: full.length / width }, (_, row) => {
      const [a, b] = [full, bytes].map((data) => data.subarray(row * width, (row + 1) * width));
      const dot = (x: Float32Array, y: Float32Array): number =>
        x.reduce((sum, value, index) => sum + value * y[index], 0);
      return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
    });
    return {
      mean: cosines.reduce((sum, cosine) => sum + cosine, 0) / cosines.length,
      worst: Math.min(...cosines),
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

// ---------------------------------------------------------------------------------------------- conversion

/** In a process of its own, so that its memory is the conversion's. */
async function measureConversion(folder: string): Promise<ConversionResult> {
  const directory = path.join(folder, 'checkpoint');
  const cache = path.join(folder, 'cache');
  writeRandomCheckpoint(directory, CONVERSION);
  try {
    const child = fork(process.argv[1], ['--convert', directory, '--cache', cache], { execArgv: [] });
    return await new Promise((resolve, reject) => {
      child.once('message', (message) => resolve(message as ConversionResult));
      child.once('exit', (code) => reject(new Error(`the conversion ended with code ${code}`)));
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function convertHere(directory: string, cacheDirectory: string): Promise<void> {
  const checkpoint = await openCheckpoint(directory);
  const start = performance.now();
  let peak = await privateBytes();
  const watch = setInterval(() => void privateBytes().then((bytes) => (peak = Math.max(peak, bytes))), 50);
  await prepareWeights(checkpoint, 'q4', { cacheDirectory });
  clearInterval(watch);
  const { user, system } = process.cpuUsage();
  const { total } = await sidecarBytes(checkpoint, 'q4', cacheDirectory);
  const sizes = [...checkpoint.tensors.values()].map(({ byteLength }) => byteLength);
  const result: ConversionResult = {
    parameters: checkpoint.parameters,
    sourceBytes: sizes.reduce((sum, bytes) => sum + bytes, 0),
    sidecarBytes: total,
    seconds: (performance.now() - start) / 1000,
    processorSeconds: (user + system) / 1e6,
    peakPrivateBytes: peak,
    threads: os.availableParallelism(),
  };
  process.send?.(result);
  process.disconnect();
}

/** Memory that belongs to this process alone, threads included. */
async function privateBytes(): Promise<number> {
  const file = '/proc/self/smaps_rollup';
  if (!existsSync(file)) return process.memoryUsage().rss;
  const kilobytes = [...(await readFile(file, 'utf8')).matchAll(/^Private_\w+:\s+(\d+) kB$/gm)];
  return kilobytes.reduce((sum, [, count]) => sum + Number(count) * 1024, 0);
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

void main();
