import { readdirSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';

import { tensorInMemory } from './checkpoint/checkpoint';
import { turnRows } from './checkpoint/quantize';
import type { DeviceError } from './errors';
import { linear } from './graph/layers';
import { GraphBuilder } from './graph/onnx';
import { LlavaModel } from './model';
import { byteProductsAreRight } from './runtime/byteProducts';
import { normalNumbers } from './runtime/selfTestModels';
import { floats, floatTensor, Session } from './runtime/session';
import { askWatching, expectCloseLogits, fixtureQuestion } from './testing/askFixture';
import { expectClose, readFixture } from './testing/fixtures';
import { temporaryDirectory } from './testing/temporaryDirectory';

/**
 * Of an output's scale. Both sides of a product are rounded to a hundredth of the largest number of their row, which random towers of a few
 * dozen columns average out little (seen: 0.04). That the rounding is right is the first test's matter.
 */
const TOLERANCE = 0.08;
/** The decoder's own products with activations of 8 bits come on top. */
const LOGITS_TOLERANCE = 0.1;

/** A product in 8 bits, in float64, from the operator's documentation: DynamicQuantizeLinear, integer product, scales. */
function product(input: Float32Array, weights: Float32Array, columns: number, bias: Float32Array): number[] {
  const rows = input.length / columns;
  const outputs = weights.length / columns;
  const largest = Array.from({ length: rows }, (_, row) =>
    Math.max(...input.subarray(row * columns, (row + 1) * columns).map(Math.abs)),
  );
  const scaled = Array.from(input, (value, index) =>
    Math.fround(value / largest[Math.floor(index / columns)]),
  );
  const [low, high] = [Math.min(0, ...scaled), Math.max(0, ...scaled)];
  const step = Math.fround((high - low) / 255);
  const zero = Math.round(-low / step);
  const codes = scaled.map((value) => Math.min(255, Math.max(0, Math.round(value / step) + zero)));
  const result: number[] = [];
  for (let row = 0; row < rows; row++)
    for (let output = 0; output < outputs; output++) {
      const matrix = weights.subarray(output * columns, (output + 1) * columns);
      const unit = Math.max(...matrix.map(Math.abs)) / 127;
      let sum = 0;
      for (let column = 0; column < columns; column++)
        sum += (codes[row * columns + column] - zero) * Math.round(matrix[column] / unit);
      result.push(sum * step * unit * largest[row] + bias[output]);
    }
  return result;
}

/** Other processors refuse the precision. */
const right = await byteProductsAreRight();

it.runIf(right)('a product in 8 bits is what its documentation says, row by row', async () => {
  const [rows, columns, outputs] = [9, 33, 20];
  const weights = normalNumbers(5, outputs * columns);
  const bias = normalNumbers(6, outputs);
  const input = normalNumbers(7, rows * columns).map(
    (value, index) => value * 10 ** (Math.floor(index / columns) - 4),
  );
  const codes = new Int8Array(weights.length);
  const scales = new Float32Array(outputs);
  turnRows(weights, columns, { codes, scales, firstRow: 0 });
  const bytesOf = ({ buffer }: Float32Array | Int8Array): Uint8Array => new Uint8Array(buffer as ArrayBuffer);
  const weight = {
    ...tensorInMemory('layer.weight', 'I8', [columns, outputs], bytesOf(codes)),
    rowScales: tensorInMemory('layer.scales', 'F32', [outputs], bytesOf(scales)),
  };
  const graph = new GraphBuilder('8-bit product');
  const tensors = new Map([
    ['layer.weight', weight],
    ['layer.bias', tensorInMemory('layer.bias', 'F32', [outputs], bytesOf(bias))],
  ]);
  const entering = graph.input('input', 'float32', ['n', columns]);
  graph.output('output', linear(graph, tensors, entering, 'layer', true), 'float32', ['n', outputs]);
  const session = await Session.create(graph.build(), 'cpu');
  const { output } = await session.run({ input: floatTensor(input, [rows, columns]) });
  const expected = product(input, weights, columns, bias);
  for (let row = 0; row < rows; row++) {
    const part = [row * outputs, (row + 1) * outputs] as const;
    expectClose(floats(output).subarray(...part), expected.slice(...part), 1e-5);
  }
  await session.dispose();
});

describe.runIf(right)('a vision tower in 8 bits', () => {
  it.each(['clip-llama', 'siglip-qwen2', 'llava-next-clip-mistral', 'siglip-qwen2-float16'])(
    'gives the features and signals of %s as float32 does',
    async (name) => {
      const { directory } = readFixture(name);
      const cacheDirectory = temporaryDirectory();
      const full = await LlavaModel.open(directory, { precision: 'fp32', cacheDirectory });
      const bytes = await LlavaModel.open(directory, { precision: 'q4q8', cacheDirectory });
      const { imageSize } = full.checkpoint.config.vision;
      // Rows of very different sizes: a part of the picture is a thousand times paler.
      const pixels = normalNumbers(3, 3 * imageSize ** 2).map((value, index) =>
        index % imageSize < imageSize / 2 ? value : value / 1000,
      );
      const feeds = { pixels: floatTensor(pixels, [1, 3, imageSize, imageSize]) };
      const run = async (model: LlavaModel): Promise<[string, Float32Array][]> => {
        const session = await model.sessions.vision({ attention: true, keys: true });
        return Object.entries(await session.run(feeds)).map(([output, tensor]) => [output, floats(tensor)]);
      };
      const [expected, actual] = [await run(full), new Map(await run(bytes))];
      expect(expected.map(([output]) => output).sort()).toEqual(['attention', 'features', 'keys']);
      for (const [output, values] of expected) expectClose(actual.get(output)!, values, TOLERANCE);
      // It is another computation.
      expect(actual.get('features')).not.toEqual(new Map(expected).get('features'));
      await full.dispose();
      await bytes.dispose();
    },
  );

  it('answers as with 4-bit weights alone, with and without reduction, and shares their file', async () => {
    const fixture = readFixture('clip-llama');
    const cacheDirectory = temporaryDirectory();
    const four = await LlavaModel.open(fixture.directory, { precision: 'q4', cacheDirectory });
    const folder = path.join(cacheDirectory, four.checkpoint.hash);
    const shared = readdirSync(folder);
    const eight = await LlavaModel.open(fixture.directory, { precision: 'q4q8', cacheDirectory });
    expect(readdirSync(folder)).toEqual(expect.arrayContaining(shared));
    expect(readdirSync(folder)).toHaveLength(shared.length + 1);
    for (const reduction of ['none', 'fastv:layer=1,keep=0.5']) {
      const question = fixtureQuestion(fixture, { fit: 'crop', reduction, sampling: { maxTokens: 6 } });
      const expected = await askWatching(four, question, { reuse: false });
      const actual = await askWatching(eight, question, { reuse: false });
      expect(actual.result.precision).toBe('q4q8');
      expectCloseLogits(actual, expected, LOGITS_TOLERANCE, 1);
    }
    await four.dispose();
    await eight.dispose();
  });
});

describe('a vision tower in 8 bits is refused', () => {
  const open = (device: 'cpu' | 'webgpu'): Promise<LlavaModel> =>
    LlavaModel.open(readFixture('clip-llama').directory, {
      precision: 'q4q8',
      plan: { device, attention: 'plain' },
      cacheDirectory: temporaryDirectory(),
    });

  it('by a processor whose products overflow, and by no other', async () => {
    const refusal = await open('cpu').then(
      (model) => model.dispose(),
      (error: DeviceError) => error.code,
    );
    expect(refusal).toBe(right ? undefined : 'device.no-byte-products');
  });

  it('by other devices', async () => {
    await expect(open('webgpu')).rejects.toMatchObject({ code: 'device.no-byte-products' });
  });
});
