import type { TraceStage } from '../../protocol';
import { patchesPerSide } from '../checkpoint/config';
import { Decoding, type DecodingOptions, type Prompt } from '../decoding';
import type { ChunkLimits } from '../promptChunks';
import { throwIfCancelled } from '../errors';
import type { LayerScore, Reduction } from '../reduction/reduction';
import { CPU_PLAN, type DevicePlan } from './device';
import { GraphSessions } from './graphSessions';
import { INSTRUCTION_ROW, SYSTEM_ROW } from './decoderCache';
import {
  inHalfPrecision,
  normalNumbers,
  quantizedProduct,
  selfTestModels,
  speedTestModel,
  type SyntheticModel,
} from './selfTestModels';
import { floats, floatTensor, offeredDevices, Session } from './session';

/** Largest difference from the CPU that passes, relative to the largest magnitude of the output. */
export const FLOAT32_TOLERANCE = 1e-3;
/** The CPU multiplies 4-bit weights by activations of 8 bits, which alone is worth this much; others need not. */
export const QUANTIZED_TOLERANCE = 0.03;

/**
 * CUDA multiplies float32 matrices with mantissas of 10 bits ("TF32") on cards since Ampere, which onnxruntime-node cannot switch off: up to 0.007 on an
 * H100. A wrong kernel is off by a tenth and more.
 */
const TF32_TOLERANCE = 0.02;

/**
 * In half precision against float32 on the same weights. onnxruntime's WebGPU kernels sum products in half precision: the
 * largest error of the test's models, whose attention is far from even, is 0.06 on Mesa's lavapipe (and 0.007 where the CPU
 * rounds between operations only); lavapipe's wrong kernel is off by 0.13.
 */
export const HALF_TOLERANCE = 0.1;

/** Rows of the prompts: attention kernels that are wrong are so from 32 rows up; odd numbers meet the rests of tiles. */
const PROMPT_ROWS = [64, 97, 200];
/** Text before and after the image in a prompt. */
const TEXT_ROWS = 8;
const STEPS = 4;

/** Prompts of the two measurements of speed; the longer one is that of an image of ViT-L. */
const SHORT_ROWS = 2 * TEXT_ROWS + 8;
const LONG_ROWS = 2 * TEXT_ROWS + 576;
const TIMED_RUNS = 2;
const TIMED_LAYERS = [1, 3] as const;
/** The question that speeds are compared by: ViT-L, a decoder of as many layers, and a short answer. */
const TOWER_LAYERS = 24;
const MODEL_LAYERS = 24;
const ANSWER_TOKENS = 16;
/** A graphics card may lose a short race against the CPU, but not by this factor. */
const HOPELESS = 20;

/** One kind of graph on one synthetic model. */
export interface SelfTestCase {
  readonly name: string;
  /** Largest difference from the CPU, relative to the output's largest magnitude; NaN where the device computed NaN. */
  readonly error: number;
  readonly tolerance: number;
}

export interface SelfTestReport {
  /** Devices that this build of onnxruntime knows. */
  readonly offered: readonly string[];
  /** Milliseconds for a typical question, counted up from a few layers; undefined where the device is not offered. */
  readonly speed: { readonly cpu: number; readonly device: number } | undefined;
  /** Empty where the device is not offered, or slow and only a faster one was of interest. */
  readonly cases: readonly SelfTestCase[];
}

export interface SelfTestOptions {
  /** A device that is slower than the CPU is not tested further: on a software adapter that would take minutes. */
  readonly onlyIfFaster?: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: (fraction: number) => void;
}

/**
 * Runs the engine's own graphs with random weights and inputs on a device and on the CPU, and compares every output.
 * To be called in a process that may be lost: a driver can crash or hang in it.
 *
 * @throws DeviceError where the device cannot take or run a graph; CancelledError.
 */
export async function selfTest(plan: DevicePlan, options: SelfTestOptions = {}): Promise<SelfTestReport> {
  const offered = offeredDevices();
  if (!offered.includes(plan.device)) return { offered, speed: undefined, cases: [] };
  const speed = await measureSpeed(plan, options.signal);
  if (options.onlyIfFaster && speed.device > speed.cpu) return { offered, speed, cases: [] };
  const models = selfTestModels();
  const cases: SelfTestCase[] = [await compareQuantized(plan)];
  for (const [index, model] of models.entries()) {
    options.onProgress?.((index + 1) / (models.length + 1));
    cases.push(...(await compareWithCpu(model, plan, options)));
  }
  return { offered, speed, cases };
}

/** Written so that NaN fails. */
export function passes({ error, tolerance }: SelfTestCase): boolean {
  return error <= tolerance;
}

/** One case for every kind of graph of a model. */
export async function compareWithCpu(
  model: SyntheticModel,
  plan: DevicePlan,
  { rows = PROMPT_ROWS, signal }: { readonly rows?: readonly number[]; readonly signal?: AbortSignal } = {},
): Promise<SelfTestCase[]> {
  const half = plan.float === 'float16';
  const subject = half ? inHalfPrecision(model) : model;
  const expected = await allOutputs(subject, CPU_PLAN, rows, signal);
  const actual = await allOutputs(subject, plan, rows, signal);
  return Array.from(expected, ([name, values]) => ({
    name: `${name} (${subject.name})`,
    error: Math.max(...values.map((value, index) => relativeError(actual.get(name)![index], value))),
    tolerance: half ? HALF_TOLERANCE : plan.device === 'cuda' ? TF32_TOLERANCE : FLOAT32_TOLERANCE,
  }));
}

/** Products with 4-bit weights, for one row and for many. */
async function compareQuantized(plan: DevicePlan): Promise<SelfTestCase> {
  const { model, columns } = quantizedProduct('float32');
  const { model: own } = quantizedProduct(plan.float ?? 'float32');
  const [expected, actual] = [await Session.create(model, 'cpu'), await Session.create(own, plan.device)];
  let error = 0;
  try {
    for (const rows of [1, ...PROMPT_ROWS]) {
      const feeds = { input: floatTensor(normalNumbers(14, rows * columns), [rows, columns]) };
      const [right, mine] = [await expected.run(feeds), await actual.run(feeds)];
      error = Math.max(error, relativeError(floats(mine.output), floats(right.output)));
    }
  } finally {
    await expected.dispose();
    await actual.dispose();
  }
  return { name: '4-bit product', error, tolerance: QUANTIZED_TOLERANCE };
}

/** Largest difference relative to the largest expected magnitude; NaN where anything is NaN or the lengths differ. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return NaN;
  let scale = 0;
  let worst = 0;
  for (let i = 0; i < expected.length; i++) {
    scale = Math.max(scale, Math.abs(expected[i]));
    worst = Math.max(worst, Math.abs(actual[i] - expected[i]));
  }
  return worst / scale;
}

/** Outputs by the kind of graph that made them. */
type Outputs = Map<string, Float32Array[]>;

async function allOutputs(
  model: SyntheticModel,
  plan: DevicePlan,
  promptRows: readonly number[],
  signal: AbortSignal | undefined,
): Promise<Outputs> {
  const sessions = new GraphSessions(model.config, model.tensors, plan);
  const outputs: Outputs = new Map();
  const add = (name: string, values: Float32Array): void => {
    outputs.set(name, [...(outputs.get(name) ?? []), values.slice()]);
  };
  try {
    await runTower(model, sessions, add);
    for (const rows of promptRows) {
      throwIfCancelled(signal);
      await runDecoder(model, sessions, rows, [], 'attention', add);
      const halve = (score: LayerScore): Reduction =>
        halveAtLayerOne(score, (scores) => add('score of a reduction', scores));
      const reductions = [halve('textQueries'), thinAtFirstStep];
      await runDecoder(model, sessions, rows, reductions, 'reduced attention', add);
      const thirds = { wholeBytes: 0, chunkRows: Math.ceil(rows / 3) };
      await runDecoder(
        model,
        sessions,
        rows,
        [halve('lastQueryNoRotary')],
        'attention in chunks',
        add,
        thirds,
      );
    }
  } finally {
    await sessions.dispose();
  }
  return outputs;
}

async function runTower(
  { config }: SyntheticModel,
  sessions: GraphSessions,
  add: (name: string, values: Float32Array) => void,
): Promise<void> {
  const { imageSize, hasClassToken } = config.vision;
  const pixels = floatTensor(normalNumbers(11, 3 * imageSize ** 2), [1, 3, imageSize, imageSize]);
  const whole = await (await sessions.vision({ attention: true, keys: true })).run({ pixels });
  const bare = await (await sessions.vision({ attention: false, keys: false })).run({ pixels });
  // Not every output there is: a device's tower may report more than was asked for.
  for (const tensor of [whole.features, whole.attention, whole.keys, bare.features])
    add('vision tower', floats(tensor));
  const rows = patchesPerSide(config.vision) ** 2 + (hasClassToken ? 1 : 0);
  const width = config.vision.hiddenSize;
  const features = floatTensor(normalNumbers(12, rows * width), [rows, width]);
  add('projector', floats((await (await sessions.projector()).run({ features })).embeddings));
}

async function runDecoder(
  model: SyntheticModel,
  sessions: GraphSessions,
  rows: number,
  reductions: readonly Reduction[],
  name: string,
  add: (name: string, values: Float32Array) => void,
  chunks?: ChunkLimits,
): Promise<void> {
  let stage = `${name} over the prompt`;
  await using run = decoding(model, sessions, rows, reductions, {
    onAttention: (row) => add(stage, row.attention),
    chunks,
  });
  add(stage, (await run.prefill(prompt(model, rows))).logits);
  stage = `${name} over the cache`;
  for (let step = 0; step < STEPS; step++) add(stage, (await run.step(step + 1)).logits);
}

function decoding(
  { config }: SyntheticModel,
  sessions: GraphSessions,
  rows: number,
  reductions: readonly Reduction[],
  options: Pick<DecodingOptions, 'onAttention' | 'chunks'> = {},
): Decoding {
  const stages: TraceStage[] = [];
  const { text } = config;
  const shape = { layers: text.numHiddenLayers, hasClassToken: false, imageTokens: rows - 2 * TEXT_ROWS };
  return new Decoding(
    {
      text,
      sessions,
      reductions,
      shape,
      signal: undefined,
      stages,
      contextId: rows,
      onSelectionTime: () => undefined,
      ...options,
    },
    rows + STEPS,
  );
}

/** Random rows: text, image tokens, text. */
function prompt({ config }: SyntheticModel, rows: number): Prompt {
  const columns = config.text.hiddenSize;
  const images = rows - 2 * TEXT_ROWS;
  const text = (label: number): number[] => new Array<number>(TEXT_ROWS).fill(label);
  const imageTokens = Array.from({ length: images }, (_, index) => index);
  return {
    hidden: { data: normalNumbers(13 + rows, rows * columns), rows, columns },
    labels: [...text(SYSTEM_ROW), ...imageTokens, ...text(INSTRUCTION_ROW)],
    imageTokens,
    raster: Int32Array.from(imageTokens),
  };
}

/** Keeps every second image token, whatever the scores: which ones must not hang on the last digits of a device. */
function halveAtLayerOne(score: LayerScore, onScores: (scores: Float32Array) => void): Reduction {
  return {
    id: 'self-test',
    spec: 'self-test',
    layerBoundaries: () => [{ layer: 1, score }],
    atLayer: ({ scores }) => {
      onScores(scores);
      const even = Array.from({ length: Math.ceil(scores.length / 2) }, (_, index) => 2 * index);
      return { tokens: even.map((index) => ({ kind: 'kept', index })) };
    },
  };
}

/** Drops every third image token from the cache after the first step. */
const thinAtFirstStep: Reduction = {
  id: 'self-test',
  spec: 'self-test',
  atStep: ({ step, headAttention }) =>
    step === 1
      ? Uint32Array.from({ length: headAttention.columns }, (_, i) => i).filter((i) => i % 3 !== 0)
      : undefined,
};

/**
 * Milliseconds for a typical question, on the CPU and on the device. A first, short measurement decides whether the longer one is worth its
 * time: on software adapters it is not.
 */
async function measureSpeed(
  plan: DevicePlan,
  signal: AbortSignal | undefined,
): Promise<{ cpu: number; device: number }> {
  const onDevice = (model: SyntheticModel): SyntheticModel =>
    plan.float === 'float16' ? inHalfPrecision(model) : model;
  const [few, more] = TIMED_LAYERS.map((layers) => speedTestModel(layers));
  const short = {
    cpu: total(await timeDecoder(few, CPU_PLAN, SHORT_ROWS, signal)),
    device: total(await timeDecoder(onDevice(few), plan, SHORT_ROWS, signal)),
  };
  if (short.device > HOPELESS * short.cpu) return short;
  const typical = async (where: DevicePlan, model: (of: SyntheticModel) => SyntheticModel): Promise<number> =>
    typicalQuestion(
      await timeDecoder(model(few), where, LONG_ROWS, signal),
      await timeDecoder(model(more), where, LONG_ROWS, signal),
    );
  return { cpu: await typical(CPU_PLAN, (model) => model), device: await typical(plan, onDevice) };
}

/** Milliseconds. */
interface DecoderTimes {
  readonly prefill: number;
  readonly step: number;
}

function total({ prefill, step }: DecoderTimes): number {
  return prefill + STEPS * step;
}

/**
 * A run on a device costs some milliseconds whatever it computes, which a few layers would charge to every layer. So the layers
 * between the two models are counted up to those of a model.
 */
function typicalQuestion(few: DecoderTimes, more: DecoderTimes): number {
  const [fewLayers, moreLayers] = TIMED_LAYERS;
  const whole = (part: keyof DecoderTimes, layers: number): number => {
    const perLayer = Math.max(more[part] - few[part], 0) / (moreLayers - fewLayers);
    return more[part] + (layers - moreLayers) * perLayer;
  };
  return (
    whole('prefill', TOWER_LAYERS) +
    whole('prefill', MODEL_LAYERS) +
    ANSWER_TOKENS * whole('step', MODEL_LAYERS)
  );
}

/** One prompt and a few steps: the best of some runs after one that compiles. */
async function timeDecoder(
  model: SyntheticModel,
  plan: DevicePlan,
  rows: number,
  signal: AbortSignal | undefined,
): Promise<DecoderTimes> {
  const sessions = new GraphSessions(model.config, model.tensors, plan);
  const start = prompt(model, rows);
  let [prefill, step] = [Infinity, Infinity];
  try {
    for (let run = 0; run <= TIMED_RUNS; run++) {
      throwIfCancelled(signal);
      await using decoder = decoding(model, sessions, rows, []);
      const began = performance.now();
      await decoder.prefill(start);
      let before = performance.now();
      if (run > 0) prefill = Math.min(prefill, before - began);
      for (let token = 0; token < STEPS; token++) {
        await decoder.step(token + 1);
        const after = performance.now();
        if (run > 0) step = Math.min(step, after - before);
        before = after;
      }
    }
  } finally {
    await sessions.dispose();
  }
  return { prefill, step };
}
