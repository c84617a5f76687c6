import { readFileSync } from 'node:fs';
import path from 'node:path';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';

import { LlavaModel } from '../server/llava/model';
import { temporaryDirectory } from '../server/llava/testing/temporaryDirectory';
import { writeRandomCheckpoint } from './randomCheckpoint';

describe('a random checkpoint', () => {
  it.each([
    { dtype: 'F32', maxShardBytes: undefined },
    { dtype: 'BF16', maxShardBytes: 200_000 },
  ] as const)('is opened and asked like any other: %o', async (options) => {
    const folder = path.join(temporaryDirectory(), 'random');
    writeRandomCheckpoint(folder, { decoder: 'tiny', tower: 'tiny', layers: 2, ...options });
    const model = await LlavaModel.open(folder, { cacheDirectory: temporaryDirectory() });
    const image = await sharp({
      create: { width: 64, height: 48, channels: 3, background: '#c02030' },
    })
      .png()
      .toBuffer();
    const { costs, answerTokenIds, firstStep } = await model.ask({
      images: [image],
      question: 'What?',
      sampling: { maxTokens: 3 },
    });
    expect(costs.imageTokens.atDecoder).toBe(576);
    expect(answerTokenIds.length).toBeGreaterThan(0);
    expect(firstStep.topLogits.every(Number.isFinite)).toBe(true);
    await model.dispose();
  });

  it('is the same for the same seed and another for another', () => {
    const write = (seed: number): Buffer => {
      const folder = path.join(temporaryDirectory(), 'random');
      writeRandomCheckpoint(folder, { decoder: 'tiny', tower: 'tiny', layers: 1, seed });
      return readFileSync(path.join(folder, 'model.safetensors'));
    };
    const first = write(1);
    expect(write(1).equals(first)).toBe(true);
    expect(write(2).equals(first)).toBe(false);
  });
});
