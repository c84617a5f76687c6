import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { PreprocessorConfig } from '../checkpoint/checkpoint';
import { fixturePath, readTensors } from '../testing/fixtures';
import { decodeImage } from './decode';
import { preprocessImage } from './preprocess';

/** What transformers' own image processors made of the sources beside it (training/reference/). */
interface PixelFixture {
  normalisation: Record<'clip' | 'siglip', { mean: number[]; std: number[] }>;
  cases: {
    source: string;
    processor: 'clip' | 'siglip';
    fit: 'crop' | 'pad' | 'stretch';
    size: number;
    tensor: string;
  }[];
}

const fixture = JSON.parse(readFileSync(fixturePath('pixels', 'fixture.json'), 'utf8')) as PixelFixture;
const tensors = readTensors(fixturePath('pixels', 'tensors.safetensors'));

function preprocessor(processor: 'clip' | 'siglip', size: number): PreprocessorConfig {
  const { mean, std } = fixture.normalisation[processor];
  return {
    size,
    rescaleFactor: 1 / 255,
    mean: mean as [number, number, number],
    std: std as [number, number, number],
    resample: 3,
    shortestEdge: processor === 'clip' ? size : undefined,
  };
}

describe('preprocessImage makes the pixels of transformers', () => {
  it.each(fixture.cases)('$tensor', async ({ source, processor, fit, size, tensor }) => {
    const image = await decodeImage(readFileSync(fixturePath('pixels', source)));
    const config = preprocessor(processor, size);
    const { pixelValues } = preprocessImage(image, config, fit === 'pad' ? 'pad' : 'crop', 16);
    const expected = tensors[tensor].data;
    expect(pixelValues.length).toBe(expected.length);
    const area = size * size;
    let worst = 0;
    for (let i = 0; i < expected.length; i++) {
      const channel = Math.floor(i / area);
      const byte = (pixelValues[i] * config.std[channel] + config.mean[channel]) * 255;
      const difference = Math.abs(byte - expected[i]);
      if (!(difference <= worst)) worst = difference;
    }
    // The allowance is for undoing the normalisation in float32: every byte is the same.
    expect(worst).toBeLessThan(1e-3);
  });
});
