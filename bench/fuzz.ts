/**
 * `npm run fuzz -- FOLDER`: every random checkpoint in the folder (training/reference/fuzz.py makes them) against what
 * transformers computed from it: pixels, prompt ids, logits and greedy tokens. Prints what differs, and ends with 1 if anything does.
 *
 *   node dist/fuzz.js FOLDER [--only NAME]... [--device webgpu]
 */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';

import { readSafetensorsHeader } from '../server/llava/checkpoint/safetensors';
import { FoveaError } from '../server/llava/errors';
import { prepareImages } from '../server/llava/prompt';
import { LlavaModel } from '../server/llava/model';
import type { DevicePlan } from '../server/llava/runtime/device';

const DEVICES = ['cpu', 'webgpu'] as const;

/** Of a tensor's scale, as the tests have it. */
const TOLERANCE = 2e-4;
/** Of the scale of logits: choices closer than this may fall either way. */
const NEAR_TIE = 1e-3;

interface Reference {
  /** Why transformers does not run the checkpoint. */
  readonly refusal: string | null;
  readonly questions: readonly {
    readonly images: readonly string[];
    readonly question: string;
    readonly system: string | null;
    readonly promptIds: readonly number[];
    readonly answerIds: readonly number[];
  }[];
}

interface Tensor {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** What was found about one checkpoint. */
interface Finding {
  readonly kind: 'differs' | 'refused' | 'refused by transformers only' | 'failed';
  readonly what: string;
}

async function readFloats(file: string): Promise<Map<string, Tensor>> {
  const { tensors, dataOffset } = await readSafetensorsHeader(file);
  const bytes = await readFile(file);
  return new Map(
    tensors.map(({ name, shape, begin, end }) => {
      const start = bytes.byteOffset + dataOffset;
      return [name, { shape, data: new Float32Array(bytes.buffer.slice(start + begin, start + end)) }];
    }),
  );
}

/** The largest difference, of the expected values' scale; infinite where lengths differ or something is not a number. */
function distance(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Infinity;
  let scale = Number.MIN_VALUE;
  let largest = 0;
  for (let i = 0; i < expected.length; i++) {
    scale = Math.max(scale, Math.abs(expected[i]));
    const difference = Math.abs(actual[i] - expected[i]);
    if (Number.isNaN(difference)) return Infinity;
    largest = Math.max(largest, difference);
  }
  return largest / scale;
}

async function comparePixels(
  model: LlavaModel,
  images: readonly Uint8Array[],
  { shape, data }: Tensor,
): Promise<string | undefined> {
  const prepared = await prepareImages(model.checkpoint, images, { fit: 'crop' });
  // [images, 3, side, side], or [images, tiles, 3, side, side] with as many tiles as the picture with most of them.
  const tiles = shape.length === 5 ? shape[1] : 1;
  const square = data.length / (shape[0] * tiles);
  for (const [index, { inputs }] of prepared.entries()) {
    for (const [tile, pixels] of inputs.entries()) {
      const start = (index * tiles + tile) * square;
      const off = distance(pixels(), data.subarray(start, start + square));
      if (!(off <= TOLERANCE)) return `pixels of image ${index}, tile ${tile}: ${off}`;
    }
  }
  return undefined;
}

/** Step by step, as long as both chose the same tokens. An answer that ends earlier at its last position or end of text is none of this. */
function compareAnswer(
  logits: readonly Float32Array[],
  answerIds: readonly number[],
  expectedIds: readonly number[],
  { shape: [, vocabulary], data }: Tensor,
): string | undefined {
  for (let step = 0; step < Math.min(expectedIds.length, logits.length); step++) {
    const expected = data.subarray(step * vocabulary, (step + 1) * vocabulary);
    const off = distance(logits[step], expected);
    if (!(off <= TOLERANCE)) return `logits of step ${step}: ${off}`;
    if (answerIds[step] === expectedIds[step]) continue;
    const [first, second] = expected.toSorted((a, b) => b - a);
    return first - second > NEAR_TIE * Math.abs(first) ? `token of step ${step}` : undefined;
  }
  return undefined;
}

async function compareQuestions(folder: string, model: LlavaModel, reference: Reference): Promise<Finding[]> {
  const findings: Finding[] = [];
  const tensors = await readFloats(path.join(folder, 'reference', 'tensors.safetensors'));
  for (const [index, entry] of reference.questions.entries()) {
    const images = await Promise.all(
      entry.images.map((name) => readFile(path.join(folder, 'reference', name))),
    );
    const logits: Float32Array[] = [];
    const say = (kind: Finding['kind'], what: string): void => {
      findings.push({ kind, what: `question ${index}: ${what}` });
    };
    try {
      const pixels = await comparePixels(model, images, tensors.get(`${index}.pixels`)!);
      if (pixels) say('differs', pixels);
      const result = await model.ask(
        {
          images,
          question: entry.question,
          system: entry.system ?? undefined,
          fit: 'crop',
          sampling: { maxTokens: entry.answerIds.length },
        },
        { onLogits: (scores) => logits.push(scores.slice()) },
      );
      const same = JSON.stringify(result.promptTokenIds) === JSON.stringify(entry.promptIds);
      const answer = compareAnswer(
        logits,
        result.answerTokenIds,
        entry.answerIds,
        tensors.get(`${index}.logits`)!,
      );
      if (!same) say('differs', `prompt ids ${result.promptTokenIds.join()} for ${entry.promptIds.join()}`);
      else if (answer) say('differs', answer);
    } catch (error) {
      say(error instanceof FoveaError ? 'refused' : 'failed', describe(error));
    }
  }
  return findings;
}

function describe(error: unknown): string {
  if (error instanceof FoveaError) return `${error.code}: ${error.message}`;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

async function compareCheckpoint(
  folder: string,
  cacheDirectory: string,
  plan: DevicePlan,
): Promise<Finding[]> {
  const text = await readFile(path.join(folder, 'reference', 'questions.json'), 'utf8');
  const reference = JSON.parse(text) as Reference;
  let model: LlavaModel;
  try {
    model = await LlavaModel.open(folder, { precision: 'fp32', cacheDirectory, plan });
  } catch (error) {
    if (!(error instanceof FoveaError)) return [{ kind: 'failed', what: describe(error) }];
    return reference.refusal === null ? [{ kind: 'refused', what: describe(error) }] : [];
  }
  try {
    return reference.refusal === null
      ? await compareQuestions(folder, model, reference)
      : [{ kind: 'refused by transformers only', what: reference.refusal }];
  } finally {
    await model.dispose();
  }
}

async function main(): Promise<void> {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: { only: { type: 'string', multiple: true }, device: { type: 'string', default: 'cpu' } },
  });
  const [root] = positionals;
  if (root === undefined)
    throw new Error('usage: node dist/fuzz.js FOLDER [--only NAME]... [--device webgpu]');
  const device = DEVICES.find((name) => name === values.device);
  if (!device) throw new Error(`--device is ${values.device}, not one of ${DEVICES.join(', ')}`);
  const plan: DevicePlan = { device, attention: 'plain' };
  const cacheDirectory = await mkdtemp(path.join(os.tmpdir(), 'fovea-fuzz-'));
  const counts = new Map<Finding['kind'], number>();
  let checkpoints = 0;
  try {
    for (const name of (await readdir(root)).sort()) {
      if (values.only && !values.only.includes(name)) continue;
      checkpoints++;
      for (const { kind, what } of await compareCheckpoint(path.join(root, name), cacheDirectory, plan)) {
        counts.set(kind, (counts.get(kind) ?? 0) + 1);
        console.log(`${name} ${kind}: ${what}`);
      }
    }
  } finally {
    await rm(cacheDirectory, { recursive: true, force: true });
  }
  const found = [...counts].map(([kind, count]) => `${count} ${kind}`).join(', ');
  console.log(`${checkpoints} checkpoints: ${found || 'all equal'}`);
  process.exitCode = counts.has('differs') || counts.has('failed') ? 1 : 0;
}

void main();
