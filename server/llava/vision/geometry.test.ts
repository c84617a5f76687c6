import { describe, expect, it } from 'vitest';
import { patchesPerSide } from '../checkpoint/config';
import { mulberry32 } from '../mulberry32';
import { coveredByPatches, fitSquare } from './geometry';

const random = mulberry32(17);
const integer = (low: number, high: number): number => low + Math.floor(random() * (high - low + 1));
const SIZES = [
  [1, 1],
  [1, 20_000],
  [20_000, 1],
  [1920, 1080],
  [1080, 1920],
  [337, 336],
  ...Array.from({ length: 100 }, () => [integer(1, 5000), integer(1, 5000)]),
];

describe('fitSquare pad', () => {
  it('shows the whole image, centred to the pixel, in a square', () => {
    for (const [width, height] of SIZES) {
      const { source, canvas, scaled, window } = fitSquare(width, height, 336, 'pad');
      expect(source).toEqual(canvas);
      expect(source.width).toBe(Math.max(width, height));
      expect(source.height).toBe(source.width);
      const right = source.x + source.width - width;
      const below = source.y + source.height - height;
      for (const [before, after] of [
        [-source.x, right],
        [-source.y, below],
      ]) {
        expect(before).toBeGreaterThanOrEqual(0);
        // An odd rest goes to the right and below.
        expect(after - before === 0 || after - before === 1).toBe(true);
      }
      expect(scaled).toEqual({ width: 336, height: 336 });
      expect(window).toEqual({ x: 0, y: 0 });
    }
  });
});

describe('fitSquare crop', () => {
  it("shows the middle of the square around the image where LLaVA's processor pads", () => {
    // 60 x 20 -> 60 x 60 with 20 above and below -> 40 x 40 -> the middle 30 x 30, 5 from each side.
    const { canvas, scaled, window, source } = fitSquare(60, 20, 30, 'crop', 40, true);
    expect(canvas).toEqual({ x: 0, y: -20, width: 60, height: 60 });
    expect(scaled).toEqual({ width: 40, height: 40 });
    expect(window).toEqual({ x: 5, y: 5 });
    expect(source).toEqual({ x: 7.5, y: -12.5, width: 45, height: 45 });
  });

  it('cuts the middle of the long side out, as CLIP does', () => {
    const { source } = fitSquare(1920, 1080, 336, 'crop', 336);
    // 1920 -> 597 columns, of which 336 from 130 on: 56 % of the width.
    expect(source.x).toBeCloseTo((130 * 1920) / 597, 9);
    expect(source.width).toBeCloseTo((336 * 1920) / 597, 9);
    expect([source.y, source.height]).toEqual([0, 1080]);
  });

  it('stays inside the image, and keeps its shape up to the rounding of one pixel', () => {
    for (const [width, height] of SIZES) {
      const { source, scaled } = fitSquare(width, height, 336, 'crop', 336);
      expect(source.x).toBeGreaterThanOrEqual(0);
      expect(source.y).toBeGreaterThanOrEqual(0);
      expect(source.x + source.width).toBeLessThanOrEqual(width * (1 + 1e-12));
      expect(source.y + source.height).toBeLessThanOrEqual(height * (1 + 1e-12));
      expect(Math.min(scaled.width, scaled.height)).toBe(336);
      const exactLong = (336 * Math.max(width, height)) / Math.min(width, height);
      expect(exactLong - Math.max(scaled.width, scaled.height)).toBeGreaterThanOrEqual(0);
      expect(exactLong - Math.max(scaled.width, scaled.height)).toBeLessThan(1);
    }
  });

  it('cuts a margin off on all sides where the processor scales to more than the square', () => {
    const { source } = fitSquare(256, 256, 224, 'crop', 256);
    expect(source).toEqual({ x: 16, y: 16, width: 224, height: 224 });
  });

  it('squeezes the whole image where there is no shortest edge, as SigLIP does', () => {
    for (const [width, height] of SIZES) {
      const { source } = fitSquare(width, height, 384, 'crop');
      expect(source).toEqual({ x: 0, y: 0, width, height });
    }
  });
});

describe('patches', () => {
  it('leave out the rest that makes no whole patch', () => {
    expect(patchesPerSide({ imageSize: 384, patchSize: 14 })).toBe(27);
    const covered = coveredByPatches({ x: 10, y: 20, width: 768, height: 384 }, 384, 14);
    expect(covered).toEqual({ x: 10, y: 20, width: 756, height: 378 });
  });
});
