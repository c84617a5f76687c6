import sharp from 'sharp';

import { cacheBytes, decodeMacs, prefillCost } from '../../server/llava/analysis/flops';
import type { Precision } from '../../server/llava/checkpoint/precision';
import { prepareWeights } from '../../server/llava/checkpoint/sidecar';
import type { Prompt } from '../../server/llava/decoding';
import { generate, type Generation } from '../../server/llava/generate';
import { LlavaModel } from '../../server/llava/model';
import { mulberry32 } from '../../server/llava/mulberry32';
import type { GenerationContext, Question } from '../../server/llava/question';
import { type CacheInOutRun, openCacheInOut } from './cacheInOut';
import { Clock, type Lap } from './clock';
import { load, PEAK_MACS, peakProduct } from './machine';
import { plainDecoding } from './plainDecoding';
import { type Shape, shapeOf } from './shapes';
import {
  alternate,
  median,
  pairedLaps,
  type Subject,
  summarize,
  summarizeLaps,
  type Summary,
  type Times,
} from './statistics';

/** Prompt tokens of the pruned run, text included: the size that the targets name. */
const PRUNED_PROMPT = 128;

/** Bytes per weight that a step reads; 4-bit blocks of 32 carry a float32 scale. The 8-bit vocabulary projection is counted as 4-bit. */
const WEIGHT_BYTES: Record<Precision, number> = { fp32: 4, fp16: 2, q4: 0.625, q4f16: 0.625, q4q8: 0.625 };

/** Every method with a budget of 64 of 576 tokens, as far as it takes one. */
const SELECTIONS = [
  'fastv:layer=2,keep=64',
  'fastv:layer=2,keep=64,score=columnSum',
  'fastv:layer=2,keep=64,score=lastQueryNoRotary',
  'visionzip:dominant=54,contextual=10',
  'mmr:keep=64',
  'scope:keep=64',
  'divprune:keep=64',
  'pyramiddrop',
  'sparsevlm:layer=2,keep=64',
  'uigraph:keep=64',
  'pixelprune',
  'random:keep=64,seed=1',
  'uniform:keep=64',
  'pool',
  'downscale:grid=8',
];

/** A stage against what the FLOPs model (server/llava/analysis/flops.ts) says that it computes. */
export interface Stage {
  readonly time: Times;
  /** Multiply-accumulates. */
  readonly macs: number;
  /** Multiply-accumulates per second of processor time / those of a large product, run by run. */
  readonly ofPeak: Summary;
}

export interface Speedup {
  readonly spec: string;
  /** Prompt tokens, mean over layers. */
  readonly tokens: number;
  /** Time of the whole prefill / of the reduced one, run by run. */
  readonly measured: Times;
  /** The same by the FLOPs model. */
  readonly expected: number;
}

export interface Selecting {
  readonly spec: string;
  /** Milliseconds. */
  readonly time: Summary;
  /** Share of the prefill time that it saves, fastest runs of both; undefined where it saves none. */
  readonly ofSaved: number | undefined;
}

export interface EngineResults {
  /** In shapes.ts. */
  readonly shape: string;
  readonly title: string;
  readonly parameters: number;
  readonly precision: Precision;
  /** When it was measured (ISO 8601), by which command, and the hash of the sources. */
  readonly measuredAt: string;
  readonly command: string;
  readonly code: string;
  readonly promptTokens: number;
  /** Programs that wanted a core, mean of the last minute, at every round. */
  readonly load: Summary;
  /** A product of 2048 x 2048 x 2048. */
  readonly peak: Times;
  readonly encode: Stage;
  readonly prefill: Stage;
  readonly speedups: readonly Speedup[];
  /** One answer token after a prompt with all image tokens, and after the shortest one. */
  readonly decode: Stage & { readonly weightBytes: number; readonly cacheBytes: number };
  readonly decodePruned: Stage;
  /** The control: one answer token when the whole cache goes through the session at every step, and that / ours. */
  readonly cacheInOut: Times;
  readonly cacheInOutRatio: Times;
  /** From the question to the first token, in milliseconds: everything, with few tokens, and as second question about an image. */
  readonly firstToken: { readonly whole: Times; readonly pruned: Times; readonly followUp: Times };
  /** First token of a question / of the second one about its image, run by run. */
  readonly followUpRatio: Times;
  readonly selections: readonly Selecting[];
}

export interface EngineOptions {
  readonly shape: string;
  readonly command: string;
  readonly code: string;
  readonly precision: Precision;
  readonly rounds: number;
  readonly cacheDirectory: string;
  readonly onRound?: (round: number) => void;
}

export async function measureEngine(directory: string, options: EngineOptions): Promise<EngineResults> {
  const { cacheDirectory, precision } = options;
  const model = await LlavaModel.open(directory, { cacheDirectory, precision });
  try {
    return await measureOpen(model, shapeOf(options.shape), options);
  } finally {
    await model.dispose();
  }
}

async function measureOpen(
  model: LlavaModel,
  shape: Shape,
  { shape: name, command, code, rounds, precision, cacheDirectory, onRound }: EngineOptions,
): Promise<EngineResults> {
  const { config, parameters } = model.checkpoint;
  const { text } = config;
  const layers = text.numHiddenLayers;
  const question: Question = {
    images: [await screenshot(1)],
    question: 'What is the title of the dialog?',
    sampling: { maxTokens: 1 },
  };
  const promptOf = async (reduction: string): Promise<Prompt> => {
    let prompt: Prompt | undefined;
    await model.ask({ ...question, reduction }, { reuse: false, onPrompt: (entered) => (prompt = entered) });
    return prompt!;
  };
  const whole = await promptOf('none');
  const imageTokens = whole.imageTokens.length;
  const textTokens = whole.labels.length - imageTokens;
  const pruning = `uniform:keep=${Math.max(1, PRUNED_PROMPT - textTokens)}`;
  const pruned = await promptOf(pruning);
  const cuts = ['50%', '25%', '11%'].map((keep) => `fastv:layer=2,keep=${keep}`);
  const tensors = await prepareWeights(model.checkpoint, precision, { cacheDirectory });
  const control = await openCacheInOut(text, tensors);
  const peak = await peakProduct();

  const results: Record<string, Generation> = {};
  // The tower is the same for every method; where it is not what is measured, its output is taken over, and nothing else.
  const { checkpoint, tokenizer, sessions, features } = model;
  const withFeatures = { checkpoint, tokenizer, sessions, features };
  const asked =
    (reduction: string, context: GenerationContext = { checkpoint, tokenizer, sessions }): Subject =>
    async () => {
      const { result, laps } = await timedAsk(context, { ...question, reduction });
      results[reduction] = result;
      return laps;
    };
  const loads: number[] = [];
  const rows = await alternate(
    {
      peak: async () => {
        loads.push(load());
        const clock = new Clock();
        await peak();
        return { product: clock.lap() };
      },
      whole: asked('none'),
      pruned: asked(pruning),
      ...Object.fromEntries(cuts.map((spec) => [spec, asked(spec, withFeatures)])),
      ...Object.fromEntries(SELECTIONS.map((spec) => [spec, asked(spec, withFeatures)])),
      followUp: async () => {
        // Another question goes before, so that the one that is timed is the second about its image.
        await model.ask({ ...question, question: 'Is there a button?' });
        return (await timedAsk(model, question)).laps;
      },
      decode: async () => ({ step: await decodeTime(model, whole, shape.decodeSteps) }),
      decodePruned: async () => ({ step: await decodeTime(model, pruned, shape.decodeSteps) }),
      cacheInOut: async () => ({
        step: await cacheInOutTime(control(), whole.labels.length, shape.decodeSteps),
      }),
    },
    rounds,
    onRound,
  );

  const product = rows.peak.product;
  const stage = (laps: readonly Lap[], macs: number): Stage => ({
    time: summarizeLaps(laps),
    macs,
    ofPeak: summarize(laps.map(({ cpu }, round) => macs / cpu / (PEAK_MACS / product[round].cpu))),
  });
  const everywhere = (count: number): number[] => new Array<number>(layers).fill(count);
  const decoderMacs = (tokensPerLayer: readonly number[]): number => {
    const { decoder, head } = prefillCost(config, { images: 1, projected: imageTokens, tokensPerLayer });
    return decoder + head;
  };
  const { tower, projector } = prefillCost(config, { images: 1, projected: imageTokens, tokensPerLayer: [] });
  const towerAndProjector = tower + projector;
  const wholeMacs = decoderMacs(everywhere(whole.labels.length));
  const speedup = (spec: string, subject: string, tokensPerLayer: readonly number[]): Speedup => ({
    spec,
    tokens: tokensPerLayer.reduce((sum, count) => sum + count, 0) / layers,
    measured: pairedLaps(rows.whole.prefill, rows[subject].prefill),
    expected: wholeMacs / decoderMacs(tokensPerLayer),
  });
  const stepMacs = ({ labels }: Prompt): number =>
    decodeMacs(config, everywhere(labels.length + shape.decodeSteps / 2));
  return {
    shape: name,
    title: shape.title,
    parameters,
    precision,
    measuredAt: new Date().toISOString(),
    command,
    code,
    promptTokens: whole.labels.length,
    load: summarize(loads),
    peak: summarizeLaps(product),
    encode: stage(rows.whole.vision, towerAndProjector),
    prefill: stage(rows.whole.prefill, wholeMacs),
    speedups: [
      speedup(pruning, 'pruned', everywhere(pruned.labels.length)),
      ...cuts.map((spec) => speedup(spec, spec, tokensPerLayerOf(results[spec], layers, textTokens))),
    ],
    decode: {
      ...stage(rows.decode.step, stepMacs(whole)),
      weightBytes: WEIGHT_BYTES[precision] * decodeMacs(config, everywhere(0)),
      cacheBytes: cacheBytes(text, everywhere(whole.labels.length)),
    },
    decodePruned: stage(rows.decodePruned.step, stepMacs(pruned)),
    cacheInOut: summarizeLaps(rows.cacheInOut.step),
    cacheInOutRatio: pairedLaps(rows.cacheInOut.step, rows.decode.step),
    firstToken: {
      whole: summarizeLaps(rows.whole.firstToken),
      pruned: summarizeLaps(rows.pruned.firstToken),
      followUp: summarizeLaps(rows.followUp.firstToken),
    },
    followUpRatio: pairedLaps(rows.whole.firstToken, rows.followUp.firstToken),
    selections: SELECTIONS.map((spec) => selecting(spec, rows.whole.prefill, rows[spec])),
  };
}

function selecting(
  spec: string,
  wholePrefill: readonly Lap[],
  laps: Readonly<Record<string, readonly Lap[]>>,
): Selecting {
  const time = summarize(laps.selection.map(({ wall }) => wall));
  // The fastest runs: what they have least of is other programs.
  const fastest = (prefill: readonly Lap[]): number => Math.min(...prefill.map(({ wall }) => wall));
  const saved = fastest(wholePrefill) - fastest(laps.prefill);
  return { spec, time, ofSaved: saved > 0 ? time.minimum / saved : undefined };
}

/** Asks, and takes the time at the borders of the stages. */
export async function timedAsk(
  context: GenerationContext,
  question: Question,
): Promise<{ result: Generation; laps: Record<string, Lap> }> {
  const whole = new Clock();
  const clock = new Clock();
  const laps: Record<string, Lap> = {};
  const result = await generate(context, question, {
    onProgress: ({ stage }) => {
      const lap = clock.lap();
      if (stage === 'prefill') laps.vision = lap;
      if (stage === 'answer') Object.assign(laps, { prefill: lap, firstToken: whole.lap() });
    },
  });
  const { selection } = result.costs.timings;
  return { result, laps: { ...laps, selection: { wall: selection, cpu: selection } } };
}

/** Prompt tokens in each layer, from the trace of a method that acts inside the decoder. */
function tokensPerLayerOf({ trace, costs }: Generation, layers: number, textTokens: number): number[] {
  return Array.from({ length: layers }, (_, layer) => {
    const last = trace.stages.findLast(({ place }) => place.at === 'layer' && place.layer <= layer);
    return textTokens + (last ? last.kept.length : costs.imageTokens.atDecoder);
  });
}

/** One answer token after the prompt, median; the token is always the same one, so no answer ends early. */
async function decodeTime(model: LlavaModel, prompt: Prompt, steps: number): Promise<Lap> {
  const decoding = plainDecoding(model, {
    imageTokens: prompt.imageTokens.length,
    capacity: prompt.labels.length + steps,
  });
  await decoding.prefill(prompt);
  return medianLap(steps, () => decoding.step(1));
}

/** The same for a decode loop as it is usual, with the cache as input and output of every step. */
async function cacheInOutTime(run: CacheInOutRun, promptTokens: number, steps: number): Promise<Lap> {
  await run.feed(Array.from({ length: promptTokens }, (_, index) => 1 + (index % 50)));
  return medianLap(steps, () => run.feed([1]));
}

async function medianLap(times: number, work: () => Promise<unknown>): Promise<Lap> {
  const laps: Lap[] = [];
  const clock = new Clock();
  for (let time = 0; time < times; time++) {
    await work();
    laps.push(clock.lap());
  }
  return { wall: median(laps.map(({ wall }) => wall)), cpu: median(laps.map(({ cpu }) => cpu)) };
}

/** A 16:9 screenshot: rectangles of many colours, so that no method finds it empty. */
export async function screenshot(
  seed: number,
  { width: columns, height: rows }: { width: number; height: number } = { width: 1280, height: 720 },
): Promise<Uint8Array> {
  const random = mulberry32(seed);
  const rectangles = Array.from({ length: 60 }, () => {
    const [x, y, width, height] = [columns, rows, 300, 80].map((limit) => Math.floor(random() * limit));
    const colour = Math.floor(random() * 0xffffff)
      .toString(16)
      .padStart(6, '0');
    return `<rect x="${x}" y="${y}" width="${width + 8}" height="${height + 8}" fill="#${colour}"/>`;
  });
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${columns}" height="${rows}"><rect width="${columns}" height="${rows}" fill="#f4f4f4"/>${rectangles.join('')}</svg>`;
  return sharp(Buffer.from(svg)).png().toBuffer();
}
