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
    padsToSquare: false,
    background: [Math.trunc(mean[0] * 255), Math.trunc(mean[1] * 255), Math.trunc(mean[2] * 255)],
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

describe('preprocessImage', () => {
  const config = preprocessor('clip', 48);

  it('cuts the very pixels that it normalises into patches', () => {
    const width = 90;
    const height = 61;
    const rgb = Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * 7919) % 256);
    const patchSize = 16;
    const { pixelValues, ...made } = preprocessImage({ width, height, rgb }, config, 'pad', patchSize);
    const pixels = made.pixels();
    expect(pixels).toMatchObject({ patches: 9, patchSize });
    for (let y = 0; y < 48; y++) {
      for (let x = 0; x < 48; x++) {
        const patch = Math.floor(y / patchSize) * 3 + Math.floor(x / patchSize);
        const inside = (y % patchSize) * patchSize + (x % patchSize);
        for (let c = 0; c < 3; c++) {
          const byte = pixels.data[(patch * patchSize * patchSize + inside) * 3 + c];
          const value = (byte / 255 - config.mean[c]) / config.std[c];
          expect(Math.abs(pixelValues[c * 48 * 48 + y * 48 + x] - value)).toBeLessThan(1e-6);
        }
      }
    }
  });

  it('reports the rectangle of the patches where the square has a rest', () => {
    const image = { width: 96, height: 48, rgb: new Uint8Array(96 * 48 * 3) };
    const { source, pixels } = preprocessImage(image, config, 'pad', 14);
    expect(pixels().patches).toBe(9);
    expect(source).toEqual({ x: 0, y: -24, width: 84, height: 84 });
  });

  it.each([
    [1, 1],
    [20_000, 1],
    [1, 20_000],
  ])('takes an image of %i x %i', (width, height) => {
    const rgb = new Uint8Array(width * height * 3).fill(200);
    for (const fit of ['pad', 'crop'] as const) {
      for (const shortestEdge of [48, undefined]) {
        const { pixelValues } = preprocessImage({ width, height, rgb }, { ...config, shortestEdge }, fit, 16);
        expect(pixelValues.every(Number.isFinite)).toBe(true);
        if (fit === 'crop') expect(new Set(pixelValues).size).toBe(3);
      }
    }
  });
});

describe('content smaller than the square', () => {
  const config = {
    size: 48,
    rescaleFactor: 1 / 255,
    mean: [0.5, 0.25, 0.75],
    std: [1, 1, 1],
    resample: 3,
    shortestEdge: undefined,
    padsToSquare: false,
    background: [127, 63, 191],
  } as const;
  const image = { width: 96, height: 96, rgb: new Uint8Array(96 * 96 * 3).fill(200) };

  it.each(['pad', 'crop'] as const)(
    'fills the top left patches and leaves the rest to the fill colour (%s)',
    (fit) => {
      const pixels = preprocessImage(image, config, fit, 8, { rows: 2, columns: 3 }).pixels();
      const patch = (row: number, column: number): number[] => {
        const start = (row * 6 + column) * 8 * 8 * 3;
        return [...pixels.data.subarray(start, start + 8 * 8 * 3)];
      };
      for (let row = 0; row < 6; row++) {
        for (let column = 0; column < 6; column++) {
          const inside = row < 2 && column < 3;
          const expected = inside ? [200, 200, 200] : [127, 63, 191];
          expect(patch(row, column)).toEqual(Array.from({ length: 64 }, () => expected).flat());
        }
      }
    },
  );

  it('tells where a patch then lies in the source', () => {
    const { source } = preprocessImage(image, config, 'pad', 8, { rows: 2, columns: 3 });
    // 3 of 6 columns show 96 source pixels, so 6 columns would show 192; 2 of 6 rows, so 288.
    expect(source).toEqual({ x: 0, y: 0, width: 192, height: 288 });
  });

  it('changes nothing where the content is the whole square', () => {
    const made = [{ rows: 6, columns: 6 }, undefined].map((content) => {
      const { pixels, ...rest } = preprocessImage(image, config, 'pad', 8, content);
      return { ...rest, pixels: pixels() };
    });
    expect(made[0]).toEqual(made[1]);
  });
});
