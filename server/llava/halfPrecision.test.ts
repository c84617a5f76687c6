import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';

import { Decoding } from './decoding';
import { DeviceError } from './errors';
import { LlavaModel } from './model';
import { compareWithCpu, passes } from './runtime/selfTest';
import { selfTestModels } from './runtime/selfTestModels';
import { GraphSessions } from './runtime/graphSessions';
import { askWatching, expectCloseLogits, type FixtureAnswer, fixtureQuestion } from './testing/askFixture';
import { readFixture } from './testing/fixtures';
import { temporaryDirectory } from './testing/temporaryDirectory';

/*
 * The graphs in half precision and the decoder that keeps caches on a device, with the CPU in the device's place: it computes
 * the same graphs and rounds to half precision between operations. test/webgpu runs them on a real adapter.
 */

const HALF = { device: 'cpu', attention: 'plain', float: 'float16' } as const;
/** Of an output's scale; half precision holds three digits. */
const TOLERANCE = 0.01;
/** With 4-bit weights the CPU computes with activations of 8 bits in one of the two. */
const QUANTIZED_TOLERANCE = 0.05;
const TOKENS = 6;

const ask = (model: LlavaModel, name: string, reduction: string): Promise<FixtureAnswer> => {
  const question = fixtureQuestion(readFixture(name), {
    fit: 'crop',
    reduction,
    sampling: { maxTokens: TOKENS },
  });
  return askWatching(model, question, { reuse: false });
};

describe('half precision', () => {
  it.each([
    ['clip-llama', true],
    ['siglip-qwen2-float16', false],
    ['clip-llama-llama3-bfloat16', true],
    ['siglip-qwen2-longrope-windows', true],
  ])('answers about %s as float32 does, with caches of half the size', async (name, converted) => {
    const cacheDirectory = temporaryDirectory();
    const open = (precision: 'fp32' | 'fp16'): Promise<LlavaModel> =>
      LlavaModel.open(readFixture(name).directory, { precision, cacheDirectory });
    const half = await open('fp16');
    // A checkpoint in half precision is read as it lies there.
    expect(existsSync(path.join(cacheDirectory, half.checkpoint.hash))).toBe(converted);
    const full = await open('fp32');
    for (const reduction of [
      'none',
      'fastv:layer=1,keep=0.5,score=columnSum',
      'fastv:layer=1,keep=0.5,score=lastQueryNoRotary',
    ]) {
      const [actual, expected] = [await ask(half, name, reduction), await ask(full, name, reduction)];
      expect(actual.result.precision).toBe('fp16');
      expect(actual.result.costs.cacheBytes).toBe(expected.result.costs.cacheBytes / 2);
      expectCloseLogits(actual, expected, TOLERANCE, 2);
    }
    await half.dispose();
    await full.dispose();
  });

  it('computes with 4-bit weights too, from the same converted file', async () => {
    const cacheDirectory = temporaryDirectory();
    const { directory } = readFixture('clip-llama');
    const full = await LlavaModel.open(directory, { precision: 'q4', cacheDirectory });
    const converted = readdirSync(path.join(cacheDirectory, full.checkpoint.hash));
    const half = await LlavaModel.open(directory, { precision: 'q4f16', cacheDirectory });
    expect(readdirSync(path.join(cacheDirectory, full.checkpoint.hash))).toEqual(converted);
    const reduction = 'fastv:layer=1,keep=0.5,score=columnSum';
    const [actual, expected] = [
      await ask(half, 'clip-llama', reduction),
      await ask(full, 'clip-llama', reduction),
    ];
    expect(actual.result.precision).toBe('q4f16');
    expect(actual.result.costs.cacheBytes).toBe(expected.result.costs.cacheBytes / 2);
    expectCloseLogits(actual, expected, QUANTIZED_TOLERANCE, 1);
    await half.dispose();
    await full.dispose();
  });

  it('passes the self-test of devices', async () => {
    const [, , windowed] = selfTestModels();
    const cases = await compareWithCpu(windowed, HALF, { rows: [97] });
    expect(cases.length).toBeGreaterThan(5);
    expect(cases.filter((entry) => !passes(entry))).toEqual([]);
    // It is another computation: float32 on the same weights would agree to 1e-5.
    expect(Math.max(...cases.map(({ error }) => error))).toBeGreaterThan(1e-4);
  });

  it('says so where a model outgrows it', async () => {
    const [{ config, tensors }] = selfTestModels();
    const sessions = new GraphSessions(config, tensors, HALF);
    const rows = 4;
    await using decoding = new Decoding(
      {
        text: config.text,
        sessions,
        reductions: [],
        shape: { layers: config.text.numHiddenLayers, hasClassToken: false, imageTokens: 0 },
        signal: undefined,
        stages: [],
        contextId: 0,
        onSelectionTime: () => undefined,
      },
      rows,
    );
    const columns = config.text.hiddenSize;
    const prompt = {
      hidden: { data: new Float32Array(rows * columns).fill(1e5), rows, columns },
      labels: new Array<number>(rows).fill(-1),
      imageTokens: [],
      raster: new Int32Array(0),
    };
    const error = await decoding.prefill(prompt).catch((thrown: unknown) => thrown);
    await sessions.dispose();
    expect(error).toBeInstanceOf(DeviceError);
    expect(error).toMatchObject({
      code: 'device.half-overflow',
      nextStep: expect.stringContaining('precision'),
    });
  });
});
