import { existsSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';

import { Decoding } from './decoding';
import { DeviceError } from './errors';
import { LlavaModel } from './model';
import type { AnswerResult } from '../protocol';
import { compareWithCpu, passes } from './runtime/selfTest';
import { selfTestModels } from './runtime/selfTestModels';
import { GraphSessions } from './runtime/graphSessions';
import { expectClose, fixtureImage, readFixture } from './testing/fixtures';
import { temporaryDirectory } from './testing/temporaryDirectory';

/*
 * The graphs in half precision and the decoder that keeps caches on a device, with the CPU in the device's place: it computes
 * the same graphs and rounds to half precision between operations. test/webgpu runs them on a real adapter.
 */

const HALF = { device: 'cpu', attention: 'plain', float: 'float16' } as const;
/** Of an output's scale; half precision holds three digits. */
const TOLERANCE = 0.01;
const TOKENS = 6;

async function ask(
  model: LlavaModel,
  name: string,
  reduction: string,
): Promise<{ result: AnswerResult; logits: Float32Array[] }> {
  const fixture = readFixture(name);
  const logits: Float32Array[] = [];
  const result = await model.ask(
    {
      images: fixture.description.images.map((_, index) => fixtureImage(fixture, index)),
      question: fixture.description.question,
      fit: 'crop',
      reduction,
      sampling: { maxTokens: TOKENS },
    },
    { onLogits: (row) => logits.push(row.slice()), reuse: false },
  );
  return { result, logits };
}

describe('half precision', () => {
  it.each([
    ['clip-llama', true],
    ['siglip-qwen2-float16', false],
    ['clip-llama-llama3-bfloat16', true],
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
      const parts = actual.result.answerTokenIds.findIndex(
        (id, index) => id !== expected.result.answerTokenIds[index],
      );
      // Behind a token that is a tie the answers may be two different ones.
      const comparable = parts < 0 ? TOKENS : parts + 1;
      expect(comparable).toBeGreaterThan(1);
      for (let step = 0; step < Math.min(comparable, actual.logits.length); step++)
        expectClose(actual.logits[step], expected.logits[step], TOLERANCE);
    }
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
    using decoding = new Decoding(
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
