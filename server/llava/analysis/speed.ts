import type { Checkpoint, TensorMap, TensorSource } from '../checkpoint/checkpoint';
import { type LlavaConfig, towerSquare } from '../checkpoint/config';
import { expectedTensors } from '../checkpoint/expectedTensors';
import { decoderBytes, type Precision } from '../checkpoint/precision';
import { planSidecar, withSidecar } from '../checkpoint/sidecarPlan';
import { Decoding, labelRows } from '../decoding';
import { hashOf } from '../featureCache';
import { chunkStarts } from '../promptChunks';
import { createDecoderRunner } from '../runtime/createDecoderRunner';
import { CPU_PLAN } from '../runtime/device';
import { GraphSessions } from '../runtime/graphSessions';
import { floatTensor } from '../runtime/session';
import { planDetails } from '../vision/anyres';
import { preprocessDetails } from '../vision/preprocess';
import { towerMacs } from './flops';
import type { Prediction } from './prediction';

/**
 * How fast this machine is at this moment at what a model computes. Nothing is fitted: a few layers of tower and decoder in
 * the model's shapes, with weights that mean nothing, run through the engine's own graphs, chunks and caches.
 */
export interface MachineSpeed {
  /** Preparing and hashing one number of a tower's input, by one core. */
  readonly pixelValue: Duration;
  /** One multiply-accumulate of the tower; the projector's products are alike. */
  readonly towerMac: Duration;
  /** One layer of the decoder over prompts of some lengths, ascending. */
  readonly layers: readonly (Duration & { readonly rows: number })[];
  /** Reading one byte of weights for a single row, as the vocabulary projection does. */
  readonly weightByte: Duration;
}

/** Milliseconds. */
export interface Duration {
  /** That pass. */
  readonly wall: number;
  /** That all cores compute: what other programs disturb less. */
  readonly cpu: number;
}

/** Layers that are measured: one alone would share none of its overhead with others. */
const TOWER_LAYERS = 2;
const DECODER_LAYERS = 4;
/** Bytes of the decoder layers that are measured, at most, as far as one layer fits; the machine needs two copies for a moment. */
const MAX_LAYER_BYTES = 256e6;
/**
 * Beyond this length one layer is measured: such a prompt takes its time, and does not follow from shorter ones, because its
 * attention scores outgrow the processor's caches.
 */
const LONG_ROWS = 1400;
/**
 * Runs of each measurement, and its milliseconds, at least; it ends with the run in which the third number of milliseconds is over.
 * Of single runs of the same work one in five is a fifth dearer than the others, so that two are not enough.
 */
const MIN_RUNS = 5;
const MEASURED_MS = 100;
const SLOW_MS = 1000;

/**
 * Takes some times what a question costs in as many layers as are measured: a second for models of some hundred millions of
 * parameters, ten for 7B.
 *
 * @param rows lengths of the prompts, text included, that will be predicted.
 */
export async function measureSpeed(
  { config, preprocessor }: Pick<Checkpoint, 'config' | 'preprocessor'>,
  precision: Precision,
  rows: readonly number[],
): Promise<MachineSpeed> {
  return {
    pixelValue: await measurePixels(config, preprocessor),
    towerMac: await measureTower(config),
    ...(await measureDecoder(config, precision, rows)),
  };
}

/** Until the first token, without loading the model, decoding and scaling the image, and choosing tokens. */
export function predictTime(
  {
    cost,
    pixelValues,
    rows,
    layers,
    headBytes,
  }: Omit<Prediction, 'imageTokens' | 'cacheBytes' | 'memoryBytes'>,
  speed: MachineSpeed,
): Duration {
  const of = (clock: keyof Duration): number =>
    pixelValues * speed.pixelValue[clock] +
    (cost.tower + cost.projector) * speed.towerMac[clock] +
    layers * layerTime(speed.layers, rows, clock) +
    headBytes * speed.weightByte[clock];
  return { wall: of('wall'), cpu: of('cpu') };
}

/** On a line between lengths that were measured; outside them in proportion to the nearest one. */
function layerTime(layers: MachineSpeed['layers'], rows: number, clock: keyof Duration): number {
  const next = layers.findIndex((point) => point.rows >= rows);
  const above = layers[next] ?? layers[layers.length - 1];
  const below = layers[next - 1];
  if (!below) return (above[clock] * rows) / above.rows;
  const share = (rows - below.rows) / (above.rows - below.rows);
  return below[clock] + share * (above[clock] - below[clock]);
}

async function measurePixels(
  { vision, anyres }: LlavaConfig,
  preprocessor: Checkpoint['preprocessor'],
): Promise<Duration> {
  const tower = towerSquare(vision);
  const size = { width: tower.size, height: tower.size };
  const pixels = new Float32Array(3 * tower.size ** 2);
  const image = { ...size, rgb: new Uint8Array(pixels.length) };
  const tile =
    anyres && preprocessDetails(image, preprocessor, planDetails(size, tower, anyres), tower).tiles[0];
  return scaled(await measure(async () => void hashOf(tile ? tile() : pixels)), 1 / pixels.length);
}

async function measureTower(config: LlavaConfig): Promise<Duration> {
  const shallow: LlavaConfig = {
    ...config,
    vision: { ...config.vision, numHiddenLayers: TOWER_LAYERS },
    visionFeatureLayer: [-1],
  };
  const { imageSize } = config.vision;
  const sessions = new GraphSessions(shallow, weightsOf(shallow, 'fp32', 'model.vision_tower.'), CPU_PLAN);
  try {
    const session = await sessions.vision({ attention: false, keys: false });
    const pixels = floatTensor(numbers(3 * imageSize ** 2), [1, 3, imageSize, imageSize]);
    return scaled(await measure(() => session.run({ pixels })), 1 / towerMacs(shallow));
  } finally {
    await sessions.dispose();
  }
}

async function measureDecoder(
  config: LlavaConfig,
  precision: Precision,
  rows: readonly number[],
): Promise<Pick<MachineSpeed, 'layers' | 'weightByte'>> {
  const ofLayers = (numHiddenLayers: number): LlavaConfig => ({
    ...config,
    // The vocabulary's share is counted by its bytes.
    text: { ...config.text, numHiddenLayers, vocabSize: 1, tieWordEmbeddings: false },
  });
  const layers = Math.max(
    1,
    Math.min(
      Math.max(...rows) > LONG_ROWS ? 1 : DECODER_LAYERS,
      config.text.numHiddenLayers,
      Math.floor(MAX_LAYER_BYTES / decoderBytes(ofLayers(1), precision)),
    ),
  );
  const shallow = ofLayers(layers);
  const { text } = shallow;
  const sessions = new GraphSessions(
    shallow,
    weightsOf(shallow, precision, 'model.language_model.', 'lm_head.'),
    CPU_PLAN,
  );
  const prompt = (length: number): Parameters<Decoding['prefill']>[0] => ({
    hidden: { data: numbers(length * text.hiddenSize), rows: length, columns: text.hiddenSize },
    labels: labelRows(Array.from({ length }, (_, row) => (row === length - 1 ? 'text' : 'image'))),
    imageTokens: Array.from({ length: length - 1 }, (_, token) => token),
    raster: new Int32Array(length - 1),
  });
  // As layers that others follow: of the last one of a decoder hardly anything is computed.
  const passThrough = async ({ hidden, labels }: ReturnType<typeof prompt>): Promise<void> => {
    const runner = createDecoderRunner(text, sessions, hidden.rows);
    const starts = chunkStarts(text.numAttentionHeads, hidden.rows);
    for (const [chunk, start] of starts.entries()) {
      const end = starts[chunk + 1] ?? hidden.rows;
      const positions = Array.from({ length: end - start }, (_, row) => start + row);
      await runner.run(
        { from: 0, to: layers, head: 'none', attention: 'mean' },
        {
          input: await runner.select(hidden, positions),
          labels: labels.slice(start, end),
          positions,
          inChunks: starts.length > 1,
        },
      );
    }
    runner.dispose();
  };
  try {
    const points: MachineSpeed['layers'][number][] = [];
    for (const length of new Set(rows.toSorted((a, b) => a - b))) {
      const input = prompt(length);
      const time = await measure(() => passThrough(input));
      points.push({ rows: length, ...scaled(time, 1 / layers) });
    }
    const [{ rows: shortest }] = points;
    await using decoding = new Decoding(
      {
        text,
        sessions,
        reductions: [],
        shape: { layers, hasClassToken: false, imageTokens: shortest - 1 },
        signal: undefined,
        stages: [],
        contextId: 0,
        onSelectionTime: () => undefined,
      },
      shortest,
    );
    await decoding.prefill(prompt(shortest));
    const step = await measure(() => decoding.step(0));
    return { layers: points, weightByte: scaled(step, 1 / decoderBytes(shallow, precision)) };
  } finally {
    await sessions.dispose();
  }
}

/** Median of some runs, after one that does not count. */
async function measure(work: () => Promise<unknown>): Promise<Duration> {
  await work();
  const walls: number[] = [];
  const cpus: number[] = [];
  const start = performance.now();
  const needsMore = (spent: number): boolean =>
    spent < MEASURED_MS || (walls.length < MIN_RUNS && spent < SLOW_MS);
  while (walls.length === 0 || needsMore(performance.now() - start)) {
    const before = performance.now();
    const cpuBefore = process.cpuUsage();
    await work();
    const { user, system } = process.cpuUsage(cpuBefore);
    walls.push(performance.now() - before);
    cpus.push((user + system) / 1000);
  }
  return { wall: median(walls), cpu: median(cpus) };
}

function scaled({ wall, cpu }: Duration, factor: number): Duration {
  return { wall: wall * factor, cpu: cpu * factor };
}

/** Weights that lie in memory, all the same numbers, in the form that the engine has them in for a precision. */
function weightsOf(config: LlavaConfig, precision: Precision, ...prefixes: readonly string[]): TensorMap {
  const outlines = expectedTensors(config)
    .filter(({ name }) => prefixes.some((prefix) => name.startsWith(prefix)))
    .map(({ name, shape }): [string, TensorSource] => {
      const byteLength = shape.reduce((product, side) => product * side, Float32Array.BYTES_PER_ELEMENT);
      return [name, { name, dtype: 'F32', shape, file: '', offset: 0, byteLength }];
    });
  const checkpoint = { config, tensors: new Map(outlines) };
  const tensors = withSidecar(checkpoint.tensors, planSidecar(checkpoint, precision, new Map()), () => '');
  return new Map(Array.from(tensors, ([name, source]) => [name, filled(source)]));
}

function filled(source: TensorSource): TensorSource {
  const { quantization } = source;
  const zeroPoints = quantization?.zeroPoints;
  return {
    ...source,
    file: '',
    offset: 0,
    bytes: bytesFor(source),
    ...(quantization && {
      quantization: {
        ...quantization,
        scales: filled(quantization.scales),
        ...(zeroPoints && { zeroPoints: filled(zeroPoints) }),
      },
    }),
  };
}

function bytesFor({ dtype, byteLength }: TensorSource): Uint8Array {
  if (dtype !== 'U8') return new Uint8Array(numbers(byteLength / Float32Array.BYTES_PER_ELEMENT).buffer);
  const bytes = new Uint8Array(byteLength);
  repeat(bytes, (index) => (index * 37) % 256);
  return bytes;
}

/** Neither zeros, which some processors multiply faster, nor so large that sums overflow. */
function numbers(count: number): Float32Array {
  const values = new Float32Array(count);
  repeat(values, (index) => ((index % 13) - 6) / 100);
  return values;
}

const PERIOD = 13 * 256;

/** Computes the first numbers and copies them on: large matrices would take longer to fill than to multiply. */
function repeat(values: Float32Array | Uint8Array, valueAt: (index: number) => number): void {
  const first = Math.min(PERIOD, values.length);
  for (let index = 0; index < first; index++) values[index] = valueAt(index);
  for (let done = first; done < values.length; done *= 2)
    values.copyWithin(done, 0, Math.min(done, values.length - done));
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const upper = sorted.length >> 1;
  // The upper one of an even number would be the slower of two runs.
  return sorted.length % 2 === 1 ? sorted[upper] : (sorted[upper - 1] + sorted[upper]) / 2;
}
