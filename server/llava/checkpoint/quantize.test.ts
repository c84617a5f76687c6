import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { linear } from '../graph/layers';
import { GraphBuilder } from '../graph/onnx';
import { mulberry32 } from '../mulberry32';
import { floats, floatTensor, Session } from '../runtime/session';
import { expectClose } from '../testing/fixtures';
import { temporaryDirectory } from '../testing/temporaryDirectory';
import type { TensorSource } from './checkpoint';
import { dequantize } from './testing';
import {
  type Bits,
  BLOCK_SIZE,
  NotFiniteError,
  type QuantizedRows,
  quantizedSizes,
  quantizeRows,
  turnRows,
} from './quantize';

interface Matrix {
  rows: number;
  columns: number;
  data: Float32Array;
}

/** Sums of twelve uniform numbers: nearly normal. */
function randomMatrix(rows: number, columns: number, seed = 1): Matrix {
  const random = mulberry32(seed);
  const normal = (): number => Array.from({ length: 12 }, random).reduce((a, b) => a + b, -6);
  return { rows, columns, data: Float32Array.from({ length: rows * columns }, () => normal() * 0.02) };
}

function quantize({ rows, columns, data }: Matrix, bits: Bits): QuantizedRows {
  const sizes = quantizedSizes(rows, columns, bits);
  const target = {
    values: new Uint8Array(sizes.values),
    scales: new Float32Array(sizes.scales),
    zeroPoints: new Uint8Array(sizes.zeroPoints),
  };
  quantizeRows(data, columns, bits, target);
  return target;
}

function relativeError(actual: Float32Array, expected: Float32Array): number {
  let error = 0;
  let square = 0;
  for (let i = 0; i < expected.length; i++) {
    error += (actual[i] - expected[i]) ** 2;
    square += expected[i] ** 2;
  }
  return Math.sqrt(error / square);
}

/** What a textbook does: symmetric codes of 4 bits, the scale from the largest magnitude. */
function symmetric({ rows, columns, data }: Matrix): Float32Array {
  const result = new Float32Array(data.length);
  for (let row = 0; row < rows; row++)
    for (let start = 0; start < columns; start += 32) {
      const block = data.subarray(row * columns + start, row * columns + Math.min(columns, start + 32));
      const extreme = block.reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a), 0);
      const scale = extreme / -8;
      block.forEach((value, i) => {
        const code = Math.min(7, Math.max(-8, Math.round(value / scale)));
        result[row * columns + start + i] = code * scale;
      });
    }
  return result;
}

const SHAPES = [
  [1, 1],
  [3, 31],
  [4, 32],
  [5, 33],
  [7, 64],
  [8, 100],
  [16, 576],
] as const;

describe.each(SHAPES)('a matrix of %i x %i', (rows, columns) => {
  const matrix = randomMatrix(rows, columns);

  it('in 4 bits: every weight is within half a step, or clipped', () => {
    const quantized = quantize(matrix, 4);
    const restored = dequantize(rows, columns, 4, quantized);
    const blocks = Math.ceil(columns / BLOCK_SIZE);
    restored.forEach((value, index) => {
      const [row, column] = [Math.floor(index / columns), index % columns];
      const scale = quantized.scales[row * blocks + Math.floor(column / BLOCK_SIZE)];
      const code = Math.round(value / scale);
      const block = matrix.data.subarray(
        row * columns + Math.floor(column / BLOCK_SIZE) * BLOCK_SIZE,
        row * columns + Math.min(columns, (Math.floor(column / BLOCK_SIZE) + 1) * BLOCK_SIZE),
      );
      const low = Math.min(0, ...block);
      const high = Math.max(0, ...block);
      const error = Math.abs(value - matrix.data[index]);
      // The range is covered by 15 steps; the fitted scale never strays far from that.
      expect(scale).toBeGreaterThan(((high - low) / 15) * 0.75);
      expect(scale).toBeLessThan(((high - low) / 15) * 1.25);
      expect(Math.abs(code)).toBeLessThanOrEqual(15);
      expect(error).toBeLessThanOrEqual(Math.max(scale / 2, (high - low) * 0.15) * 1.0001);
    });
  });

  it('in 8 bits: every weight is within half a step', () => {
    const quantized = quantize(matrix, 8);
    const restored = dequantize(rows, columns, 8, quantized);
    const blocks = Math.ceil(columns / BLOCK_SIZE);
    restored.forEach((value, index) => {
      const scale =
        quantized.scales[Math.floor(index / columns) * blocks + Math.floor((index % columns) / BLOCK_SIZE)];
      expect(Math.abs(value - matrix.data[index])).toBeLessThanOrEqual((scale / 2) * 1.0001);
    });
  });

  it.each([4, 8] as const)('%i bits: rows together are the same as rows alone', (bits) => {
    const together = quantize(matrix, bits);
    const sizes = quantizedSizes(1, columns, bits);
    for (let row = 0; row < rows; row++) {
      const data = matrix.data.subarray(row * columns, (row + 1) * columns);
      const alone = quantize({ rows: 1, columns, data }, bits);
      const part = <T extends Uint8Array | Float32Array>(all: T, size: number): T =>
        all.subarray(row * size, (row + 1) * size) as T;
      expect(alone.values).toEqual(part(together.values, sizes.values));
      expect(alone.scales).toEqual(part(together.scales, sizes.scales));
      expect(alone.zeroPoints).toEqual(part(together.zeroPoints, sizes.zeroPoints));
    }
  });
});

describe('quality', () => {
  const matrix = randomMatrix(128, 1024, 7);

  it('4 bits with fitted scales and zero points are better than symmetric ones', () => {
    const ours = relativeError(dequantize(128, 1024, 4, quantize(matrix, 4)), matrix.data);
    expect(ours).toBeLessThan(relativeError(symmetric(matrix), matrix.data) * 0.95);
  });

  it('8 bits are more than ten times as exact', () => {
    const error = (bits: Bits): number =>
      relativeError(dequantize(128, 1024, bits, quantize(matrix, bits)), matrix.data);
    expect(error(8)).toBeLessThan(error(4) / 10);
  });
});

describe.each([4, 8] as const)('special numbers in %i bits', (bits) => {
  const one = (values: readonly number[]): Float32Array => {
    const data = Float32Array.from(values);
    return dequantize(1, data.length, bits, quantize({ rows: 1, columns: data.length, data }, bits));
  };
  const block = (value: number): number[] => Array.from({ length: 32 }, () => value);

  it('zeros stay exactly zero, alone and among others', () => {
    expect([...one([...block(0), ...block(0)])]).toEqual([...block(0), ...block(0)]);
    const mixed = one([0, 3, -1, 0.5, 0, ...block(2).slice(5), ...block(0)]);
    expect([mixed[0], mixed[4]]).toEqual([0, 0]);
    expect([...mixed.subarray(32)]).toEqual(block(0));
  });

  it.each([1, -1, 1e-30, -1e30, 3e38, -3e38])('a block of equal numbers %d is exact', (value) => {
    expectClose(one(block(value)), block(value), 1e-6);
  });

  it('the largest numbers of both signs do not overflow', () => {
    const values = block(0).map((_, i) => (i % 2 === 0 ? 3.3e38 : -3.3e38));
    const restored = one(values);
    expect(restored.every(Number.isFinite)).toBe(true);
    expectClose(
      restored.map((value) => value / 1e38),
      values.map((value) => value / 1e38),
      0.04,
    );
  });

  it('numbers too small for a scale become zero', () => {
    expect([...one(block(1e-42))].every((value) => Math.abs(value) <= 1.2e-38)).toBe(true);
  });

  it.each([NaN, Infinity, -Infinity])('%d is refused, with its place', (value) => {
    const { data } = randomMatrix(3, 40);
    data[47] = value;
    const refused = (): unknown => quantize({ rows: 3, columns: 40, data }, bits);
    expect(refused).toThrow(NotFiniteError);
    expect(refused).toThrow('element 47');
  });
});

describe('onnxruntime', () => {
  const folder = temporaryDirectory();
  let files = 0;

  /** A tensor in a file of its own. */
  function stored(name: string, data: Uint8Array | Float32Array, shape: readonly number[]): TensorSource {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const file = path.join(folder, `${files++}.bin`);
    writeFileSync(file, bytes);
    const dtype = data instanceof Uint8Array ? 'U8' : 'F32';
    return { name, dtype, shape, file, offset: 0, byteLength: bytes.length };
  }

  /** x W^T + b as the engine's graphs compute it. */
  async function product(
    matrix: Matrix,
    bits: Bits,
    input: Float32Array,
    bias?: Float32Array,
  ): Promise<Float32Array> {
    const { rows, columns } = matrix;
    const quantized = quantize(matrix, bits);
    const sizes = quantizedSizes(rows, columns, bits);
    const scales = stored('scales', quantized.scales, [sizes.scales]);
    const zeroPoints =
      bits === 4 ? { zeroPoints: stored('qzeros', quantized.zeroPoints, [sizes.zeroPoints]) } : {};
    const tensors = new Map<string, TensorSource>();
    tensors.set('layer.weight', {
      ...stored('layer.qweight', quantized.values, [rows, sizes.blocksPerRow, sizes.bytesPerBlock]),
      quantization: { bits, columns, scales, ...zeroPoints },
    });
    if (bias) tensors.set('layer.bias', stored('layer.bias', bias, [rows]));
    const graph = new GraphBuilder('test');
    const x = graph.input('x', 'float32', ['n', columns]);
    graph.output('y', linear(graph, tensors, x, 'layer', bias !== undefined), 'float32', ['n', rows]);
    const session = await Session.create(graph.build(), 'cpu');
    const { y } = await session.run({ x: floatTensor(input, [input.length / columns, columns]) });
    await session.dispose();
    return floats(y);
  }

  it.each([
    [4, 24, 64],
    [4, 5, 33],
    [4, 16, 100],
    [4, 3, 31],
    [8, 24, 64],
    [8, 5, 33],
    [8, 16, 100],
  ] as const)('multiplies with exactly these weights: %i bits, %i x %i', async (bits, rows, columns) => {
    const matrix = randomMatrix(rows, columns);
    const weights = dequantize(rows, columns, bits, quantize(matrix, bits));
    // Rows with a single 1: exact in 8-bit activations too, and the product is a column of the matrix.
    const identity = new Float32Array(columns * columns);
    for (let i = 0; i < columns; i++) identity[i * (columns + 1)] = 1;
    const expected = new Float32Array(columns * rows);
    for (let i = 0; i < columns; i++)
      for (let row = 0; row < rows; row++) expected[i * rows + row] = weights[row * columns + i];
    expectClose(await product(matrix, bits, identity), expected, 1e-5);
  });

  it.each([4, 8] as const)('%i bits: for one row and for many, with bias, within 1 %%', async (bits) => {
    const matrix = randomMatrix(48, 160);
    const weights = dequantize(48, 160, bits, quantize(matrix, bits));
    const bias = randomMatrix(1, 48, 3).data;
    for (const count of [1, 2, 37]) {
      const input = randomMatrix(count, 160, 5).data.map((value) => value * 50);
      const expected = new Float32Array(count * 48);
      for (let n = 0; n < count; n++)
        for (let row = 0; row < 48; row++) {
          let sum = bias[row];
          for (let i = 0; i < 160; i++) sum += input[n * 160 + i] * weights[row * 160 + i];
          expected[n * 48 + row] = sum;
        }
      expectClose(await product(matrix, bits, input, bias), expected, 0.01);
    }
  });
});

describe('turned rows in 8 bits', () => {
  it('are within half a step of the weights, whatever the size of a row', () => {
    const [rows, columns] = [7, 40];
    const random = mulberry32(4);
    const source = Float32Array.from({ length: rows * columns }, (_, index) => {
      const row = Math.floor(index / columns);
      return row === 2 ? 0 : (random() - 0.5) * 10 ** (row - 3);
    });
    const target = { codes: new Int8Array(rows * columns), scales: new Float32Array(rows) };
    turnRows(source.subarray(0, 3 * columns), columns, { ...target, firstRow: 0 });
    turnRows(source.subarray(3 * columns), columns, { ...target, firstRow: 3 });
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        const weight = target.codes[column * rows + row] * target.scales[row];
        const step = Math.max(target.scales[row], Number.MIN_VALUE);
        expect(Math.abs(weight - source[row * columns + column]) / step).toBeLessThan(0.501);
      }
    }
    expect(target.scales[2]).toBe(0);
    expect(Math.max(...target.codes)).toBe(127);
  });

  it.each([NaN, Infinity, -Infinity])('must be numbers, not %s', (wrong) => {
    const source = Float32Array.of(1, 2, 3, wrong);
    const target = { codes: new Int8Array(4), scales: new Float32Array(2), firstRow: 0 };
    expect(() => turnRows(source, 2, target)).toThrow(expect.objectContaining({ index: 3 }));
  });
});
