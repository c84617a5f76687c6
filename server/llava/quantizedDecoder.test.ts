import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';

import type { TensorMap, TensorSource } from './checkpoint/checkpoint';
import { openCheckpoint } from './checkpoint/open';
import { prepareWeights } from './checkpoint/sidecar';
import { copyCheckpoint, dequantize } from './checkpoint/testing';
import { LlavaModel } from './model';
import { fixtureImage, readFixture } from './testing/fixtures';
import { temporaryDirectory } from './testing/temporaryDirectory';

/*
 * The 4-bit decoder computes what the float32 decoder computes from the weights that the codes mean: merged projections
 * are split where they should be, biases are those of their rows, the tied head has its own codes.
 */

const DECODER = 'model.language_model';

function bytesOf({ file, offset, byteLength }: TensorSource): Uint8Array {
  return new Uint8Array(readFileSync(file).subarray(offset, offset + byteLength));
}

function meaning(tensors: TensorMap, name: string): { rows: number; data: Float32Array } {
  const source = tensors.get(name)!;
  const { bits, columns, scales, zeroPoints } = source.quantization!;
  const rows = source.shape[0];
  const data = dequantize(rows, columns, bits, {
    values: bytesOf(source),
    scales: new Float32Array(bytesOf(scales).buffer),
    zeroPoints: zeroPoints ? bytesOf(zeroPoints) : new Uint8Array(0),
  });
  return { rows, data };
}

/** Replaces float32 weights of the checkpoint, in its files, by those that the 4-bit codes mean. */
function roundWeights(original: TensorMap, quantized: TensorMap, layers: number): void {
  const replace = (merged: string, names: readonly string[]): void => {
    const { data } = meaning(quantized, merged);
    let position = 0;
    for (const name of names) {
      const { file, offset, byteLength, dtype } = original.get(name)!;
      expect(dtype).toBe('F32');
      const whole = readFileSync(file);
      const part = data.slice(position, position + byteLength / 4);
      whole.set(new Uint8Array(part.buffer), offset);
      writeFileSync(file, whole);
      position += part.length;
    }
    expect(position).toBe(data.length);
  };
  for (let layer = 0; layer < layers; layer++) {
    const attention = `${DECODER}.layers.${layer}.self_attn`;
    const feedForward = `${DECODER}.layers.${layer}.mlp`;
    replace(
      `${attention}.qkv_proj.weight`,
      ['q', 'k', 'v'].map((name) => `${attention}.${name}_proj.weight`),
    );
    replace(`${attention}.o_proj.weight`, [`${attention}.o_proj.weight`]);
    replace(
      `${feedForward}.gate_up_proj.weight`,
      ['gate', 'up'].map((name) => `${feedForward}.${name}_proj.weight`),
    );
    replace(`${feedForward}.down_proj.weight`, [`${feedForward}.down_proj.weight`]);
  }
}

const SCORES = ['lastQuery', 'columnSum', 'lastQueryNoRotary'];

describe.each(['clip-llama', 'siglip-qwen2', 'siglip-llama-bias-linear'])('%s in 4 bits', (name) => {
  it('gives the logits of the decoder with the rounded weights', async () => {
    const fixture = readFixture(name);
    const cacheDirectory = temporaryDirectory();
    const directory = copyCheckpoint(name, path.join(temporaryDirectory(), 'checkpoint'));
    const checkpoint = await openCheckpoint(directory);
    const tensors = await prepareWeights(checkpoint, 'q4', { cacheDirectory });
    // The head's 8 bits are exact within the tolerance, and a tied one shares its table with the embedding.
    expect(tensors.get('lm_head.weight')!.quantization!.bits).toBe(8);
    const question = {
      images: fixture.description.images.map((_, index) => fixtureImage(fixture, index)),
      question: fixture.description.question,
      fit: 'crop',
      sampling: { maxTokens: 6 },
    } as const;
    const ask = async (precision: 'fp32' | 'q4'): Promise<Float32Array[]> => {
      const model = await LlavaModel.open(directory, { cacheDirectory, precision });
      const logits: Float32Array[] = [];
      await model.ask(question, { onLogits: (row) => logits.push(row.slice()) });
      const scores = await Promise.all(
        SCORES.map((score) => model.ask({ ...question, reduction: `fastv:layer=1,keep=0.5,score=${score}` })),
      );
      await model.dispose();
      return [
        ...logits.slice(0, 2),
        ...scores.map(({ trace }) => Float32Array.from(trace.stages[0].scores!.values)),
      ];
    };
    const quantized = await ask('q4');
    const exact = await ask('fp32');
    roundWeights(checkpoint.tensors, tensors, checkpoint.config.text.numHiddenLayers);
    const rounded = await ask('fp32');
    // Prefill and the first step from the cache, later ones follow the tokens that were chosen; and what reductions look at.
    expect(quantized).toHaveLength(2 + SCORES.length);
    quantized.forEach((actual, index) => {
      // What is left is the rounding of activations to 8 bits; rows in the wrong order would make it about 1.
      expect(distance(actual, rounded[index])).toBeLessThan(0.05);
      // And the test can tell: the weights before rounding give something else, and so do the scores of other rows.
      if (index < 2) expect(distance(exact[index], rounded[index])).toBeGreaterThan(0.05);
      else {
        const shifted = distance(actual.slice(1), rounded[index].slice(0, -1));
        expect(shifted).toBeGreaterThan(3 * distance(actual, rounded[index]));
      }
    });
  });
});

/** Root of the summed squares of the differences, relative to `b`. */
function distance(a: Float32Array, b: Float32Array): number {
  const square = (values: Float32Array): number => values.reduce((sum, value) => sum + value ** 2, 0);
  return Math.sqrt(square(a.map((value, i) => value - b[i])) / square(b));
}
