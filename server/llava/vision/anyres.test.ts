import { describe, expect, it } from 'vitest';
import { anyresTokens, planDetails, selectBestResolution, type Size } from './anyres';

/** [height, width] as checkpoints write them. */
const sizes = (pairs: number[][]): Size[] => pairs.map(([height, width]) => ({ width, height }));

/** llava-v1.6-*: CLIP ViT-L/14 at 336 pixels. */
const NEXT = {
  pinpoints: sizes([
    [336, 672],
    [672, 336],
    [672, 672],
    [1008, 336],
    [336, 1008],
  ]),
  maxTiles: undefined,
};
const CLIP = { size: 336, patchSize: 14, patches: 24 };

/** llava-onevision-*: SigLIP so400m/14 at 384 pixels, six by six tiles, anyres_max_9. */
const ONE_TO_SIX = [1, 2, 3, 4, 5, 6];
const ONEVISION = {
  pinpoints: sizes(ONE_TO_SIX.flatMap((rows) => ONE_TO_SIX.map((columns) => [384 * rows, 384 * columns]))),
  maxTiles: 9,
};
const SIGLIP = { size: 384, patchSize: 14, patches: 27 };

describe('a screenshot of 1920 x 1080', () => {
  const screenshot = { width: 1920, height: 1080 };

  it('becomes 1948 tokens of LLaVA v1.6', () => {
    expect(anyresTokens(screenshot, CLIP, NEXT)).toBe(1948);
    const plan = planDetails(screenshot, CLIP, NEXT);
    expect(plan).toMatchObject({
      canvas: { width: 672, height: 672 },
      scaled: { width: 672, height: 378 },
      offset: { x: 0, y: 147 },
      window: { top: 10, left: 0, rows: 28, columns: 48 },
      rows: 28,
      columns: 48,
    });
  });

  it('becomes 7269 tokens of LLaVA-OneVision, shrunk from 75 x 135 patches to 60 x 108', () => {
    expect(anyresTokens(screenshot, SIGLIP, ONEVISION)).toBe(7269);
    const plan = planDetails(screenshot, SIGLIP, ONEVISION);
    expect(plan).toMatchObject({
      canvas: { width: 1920, height: 1152 },
      tileRows: 3,
      tileColumns: 5,
      window: { top: 3, left: 0, rows: 75, columns: 135 },
      rows: 60,
      columns: 108,
    });
  });
});

// Computed with transformers' own functions (LlavaNextProcessor and LlavaOnevisionProcessor, _get_number_of_features).
const EXPECTED: readonly (readonly [width: number, height: number, next: number, onevision: number])[] = [
  [1, 1, 1176, 1485],
  [10, 10, 1176, 1485],
  [336, 336, 1176, 1485],
  [672, 672, 2928, 3699],
  [384, 384, 2928, 1485],
  [385, 384, 2928, 1512],
  [1080, 1920, 1968, 7317],
  [3840, 2160, 1948, 7317],
  [2560, 1440, 1948, 7317],
  [1366, 768, 1850, 5967],
  [3000, 200, 868, 2522],
  [200, 3000, 936, 2673],
  [1000, 999, 2928, 7371],
  [999, 1000, 2928, 7371],
  [640, 480, 2340, 2929],
  [123, 4567, 792, 1701],
  [5000, 1, 576, 757],
  [2304, 2304, 2928, 7371],
  [2305, 2303, 2928, 7371],
  [551, 2332, 1944, 7047],
  [3472, 3287, 2830, 7281],
  [3129, 259, 1014, 2848],
  [1045, 483, 1848, 3845],
  [2030, 3117, 2160, 7329],
  [1842, 1935, 2832, 7286],
  [2669, 1555, 1948, 7256],
  [3231, 860, 2036, 7901],
  [385, 1999, 1656, 6075],
  [117, 3660, 792, 1701],
  [3424, 1597, 1848, 7329],
  [1773, 2489, 2256, 7353],
];

describe('image tokens of other pictures equal those of transformers', () => {
  it.each(EXPECTED)('%i x %i', (width, height, next, onevision) => {
    expect(anyresTokens({ width, height }, CLIP, NEXT)).toBe(next);
    expect(anyresTokens({ width, height }, SIGLIP, ONEVISION)).toBe(onevision);
  });
});

describe('selectBestResolution', () => {
  it('takes the first of canvases that serve equally well', () => {
    const canvas = selectBestResolution({ width: 10, height: 10 }, NEXT.pinpoints);
    expect(canvas).toEqual({ width: 672, height: 336 });
  });
});
