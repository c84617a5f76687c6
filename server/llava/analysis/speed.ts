import { tensorInMemory, type TensorSource } from '../checkpoint/checkpoint';
import { type LlavaConfig, patchesPerSide } from '../checkpoint/config';
import type { Precision } from '../checkpoint/precision';
import { quantizedSizes } from '../checkpoint/quantize';
import { linear } from '../graph/layers';
import { GraphBuilder } from '../graph/onnx';
import { CHUNK_ROWS } from '../promptChunks';
import { floatTensor, Session } from '../runtime/session';
import type { PrefillCost } from './flops';

/** How fast this machine computes products of a model's shapes on the CPU at this moment, in multiply-accumulates per millisecond. */
export interface MachineSpeed {
  readonly tower: Rate;
  readonly decoder: Rate;
}

export interface Rate {
  /** Of the time that passes. */
  readonly wall: number;
  /** Of the time that all cores compute: what other programs disturb less. */
  readonly cpu: number;
}

/** Milliseconds until the first token, without loading the model, decoding the image and choosing tokens. */
export interface PredictedTime {
  readonly wall: number;
  readonly cpu: number;
}

/**
 * The share of their time that tower and decoder spend in products, as far as the products' own speed tells: norms, activations,
 * softmax and the copies between them are no multiply-accumulates. Fitted to docs/results/prediction.md.
 */
const SHARE_OF_PRODUCTS = { tower: 0.85, decoder: 0.8 };
/** Milliseconds of one core for every value of a tower's input: scaling the picture, and the hash by which it is known again. */
const MS_PER_PIXEL_VALUE = 30e-6;

/** Sides of the matrices that are multiplied, at most: larger ones are no faster. */
const MAX_SIDE = 2048;
/** Milliseconds of each of the two measurements, at least; and runs. */
const MEASURED_MS = 120;
const MIN_RUNS = 5;

/** Takes less than a second. */
export async function measureSpeed(config: LlavaConfig, precision: Precision): Promise<MachineSpeed> {
  const { vision, text } = config;
  const tower = await productRate(
    patchesPerSide(vision) ** 2,
    vision.hiddenSize,
    vision.intermediateSize,
    'fp32',
  );
  const decoder = await productRate(CHUNK_ROWS, text.hiddenSize, text.intermediateSize, precision);
  return { tower, decoder };
}

/** @param pixelValues of all tower inputs. */
export function predictTime(
  { cost, pixelValues }: { readonly cost: PrefillCost; readonly pixelValues: number },
  speed: MachineSpeed,
): PredictedTime {
  const of = (clock: keyof Rate): number =>
    pixelValues * MS_PER_PIXEL_VALUE +
    (cost.tower + cost.projector) / (speed.tower[clock] * SHARE_OF_PRODUCTS.tower) +
    (cost.decoder + cost.head) / (speed.decoder[clock] * SHARE_OF_PRODUCTS.decoder);
  return { wall: of('wall'), cpu: of('cpu') };
}

/** [rows, inner] x [inner, outer], as {@link linear} computes it. */
async function productRate(rows: number, inner: number, outer: number, precision: Precision): Promise<Rate> {
  const [columns, width] = [Math.min(inner, MAX_SIDE), Math.min(outer, MAX_SIDE)];
  const graph = new GraphBuilder('speed');
  const input = graph.input('input', 'float32', [rows, columns]);
  const weight = precision === 'q4' ? quantizedWeight(width, columns) : plainWeight(width, columns);
  const output = linear(graph, new Map([[weight.name, weight]]), input, 'product', false);
  // One number comes back: copying the result is no part of the product.
  graph.output('sum', graph.add('ReduceSum', [output], { keepdims: 0 }), 'float32', []);
  const session = await Session.create(graph.build(), 'cpu');
  try {
    const feeds = { input: floatTensor(numbers(rows * columns), [rows, columns]) };
    await session.run(feeds);
    const walls: number[] = [];
    const cpus: number[] = [];
    const start = performance.now();
    while (walls.length < MIN_RUNS || performance.now() - start < MEASURED_MS) {
      const before = performance.now();
      const cpuBefore = process.cpuUsage();
      await session.run(feeds);
      const { user, system } = process.cpuUsage(cpuBefore);
      walls.push(performance.now() - before);
      cpus.push((user + system) / 1000);
    }
    const macs = rows * columns * width;
    return { wall: macs / median(walls), cpu: macs / median(cpus) };
  } finally {
    await session.dispose();
  }
}

function plainWeight(rows: number, columns: number): TensorSource {
  const values = numbers(rows * columns);
  return tensorInMemory('product.weight', 'F32', [rows, columns], new Uint8Array(values.buffer));
}

function quantizedWeight(rows: number, columns: number): TensorSource {
  const sizes = quantizedSizes(rows, columns, 4);
  const values = Uint8Array.from({ length: sizes.values }, (_, index) => (index * 37) % 256);
  const scales = new Float32Array(sizes.scales).fill(0.01);
  return {
    ...tensorInMemory('product.weight', 'U8', [rows, sizes.blocksPerRow, sizes.bytesPerBlock], values),
    quantization: {
      bits: 4,
      columns,
      scales: tensorInMemory('product.scales', 'F32', [sizes.scales], new Uint8Array(scales.buffer)),
    },
  };
}

/** Neither zeros, which some processors multiply faster, nor so large that sums overflow. */
function numbers(count: number): Float32Array {
  return Float32Array.from({ length: count }, (_, index) => ((index % 13) - 6) / 100);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}
