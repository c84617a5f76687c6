import { describe, expect, it } from 'vitest';
import type { ImageLayout, TileLayout } from '../../protocol';
import { mulberry32 } from '../reduction/random';
import {
  coveredByPatches,
  fitSquare,
  patchAt,
  patchesPerSide,
  patchRect,
  tokenAt,
  tokenRect,
} from './geometry';

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
    expect(patchesPerSide(384, 14)).toBe(27);
    const covered = coveredByPatches({ x: 10, y: 20, width: 768, height: 384 }, 384, 14);
    expect(covered).toEqual({ x: 10, y: 20, width: 756, height: 378 });
  });

  const tiles: TileLayout[] = Array.from({ length: 50 }, () => ({
    firstId: integer(0, 1000),
    rows: integer(1, 40),
    columns: integer(1, 40),
    source: {
      x: random() * 200 - 100,
      y: random() * 200 - 100,
      width: 1 + random() * 3000,
      height: 1 + random() * 3000,
    },
  }));

  it('map to rectangles and back', () => {
    for (const tile of tiles) {
      for (let row = 0; row < tile.rows; row++) {
        for (let column = 0; column < tile.columns; column++) {
          const { x, y, width, height } = patchRect(tile, row, column);
          // Any point inside, not only the centre.
          const [dx, dy] = [0.01 + random() * 0.98, 0.01 + random() * 0.98];
          expect(patchAt(tile, x + dx * width, y + dy * height)).toEqual({ row, column });
        }
      }
    }
  });

  it('tile their rectangle: the areas add up, and neighbours touch', () => {
    for (const tile of tiles) {
      const last = patchRect(tile, tile.rows - 1, tile.columns - 1);
      expect(last.x + last.width).toBeCloseTo(tile.source.x + tile.source.width, 6);
      expect(last.y + last.height).toBeCloseTo(tile.source.y + tile.source.height, 6);
      const { width, height } = patchRect(tile, 0, 0);
      expect(width * height * tile.rows * tile.columns).toBeCloseTo(
        tile.source.width * tile.source.height,
        3,
      );
    }
  });

  it('are none outside', () => {
    for (const tile of tiles) {
      const { x, y, width, height } = tile.source;
      for (const [px, py] of [
        [x - 1, y],
        [x, y - 1],
        [x + width + 1, y],
        [x, y + height + 1],
        [NaN, y],
      ])
        expect(patchAt(tile, px, py)).toBeUndefined();
    }
  });
});

describe('tokens of a layout', () => {
  const source = { x: -10, y: 0, width: 120, height: 120 };
  const layout: ImageLayout = {
    width: 100,
    height: 120,
    fit: 'tiles',
    modelSize: 8,
    tiles: [
      { firstId: 100, rows: 4, columns: 4, source },
      { firstId: 116, rows: 4, columns: 4, source: { ...source, x: 0, width: 60 } },
    ],
    firstId: 100,
    patches: 32,
    classTokenId: 132,
    contextTokenId: 133,
  };

  it('have a rectangle each, and its centre leads back to a token there', () => {
    for (let id = 100; id < 132; id++) {
      const rect = tokenRect(layout, id)!;
      const back = tokenAt(layout, rect.x + rect.width / 2, rect.y + rect.height / 2)!;
      const tile = layout.tiles[id < 116 ? 0 : 1];
      expect(tokenRect(layout, id)).toEqual(
        patchRect(tile, Math.floor((id - tile.firstId) / 4), (id - tile.firstId) % 4),
      );
      // The finer, later tile wins where both saw the point.
      if (id >= 116) expect(back).toBe(id);
      else expect(back === id || back >= 116).toBe(true);
    }
  });

  it('without a place have no rectangle', () => {
    for (const id of [99, 132, 133, 500]) expect(tokenRect(layout, id)).toBeUndefined();
    expect(tokenAt(layout, 500, 500)).toBeUndefined();
  });
});
