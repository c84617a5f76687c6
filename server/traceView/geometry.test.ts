import { describe, expect, it } from 'vitest';
import type { ImageLayout, TileLayout } from '../protocol';
import { syntheticLayout } from '../../webview/testing/syntheticResult';
import {
  extentOf,
  intersection,
  locateToken,
  patchAt,
  patchRect,
  pictureShare,
  planeCell,
  planesOf,
  planeTokens,
  tokenRect,
} from './geometry';
import { tokenName } from './wording';

const padded = syntheticLayout('pad', 24, 1920, 1080);
const cropped = syntheticLayout('crop', 24, 1920, 1080);
const tiled = syntheticLayout('tiles', 24, 1920, 1080);

describe('where a token lies', () => {
  it.each([
    ['pad', padded],
    ['crop', cropped],
    ['tiles', tiled],
  ])('finds every patch of an image again at its own centre (%s)', (_, layout) => {
    for (const plane of planesOf(layout)) {
      for (const tile of plane.tiles) {
        const { firstId, rows, columns } = layout.tiles[tile];
        for (let raster = 0; raster < rows * columns; raster += 1) {
          const place = locateToken([layout], firstId + raster);
          expect(place).toEqual({
            kind: 'patch',
            image: 0,
            tile,
            row: Math.floor(raster / columns),
            column: raster % columns,
          });
          const { x, y, width, height } = patchRect(
            layout.tiles[tile],
            Math.floor(raster / columns),
            raster % columns,
          );
          expect(patchAt(layout, plane, x + width / 2, y + height / 2)).toBe(firstId + raster);
        }
      }
    }
  });

  it('knows the CLS and the context token, and ids of nobody', () => {
    expect(locateToken([padded], padded.classTokenId)).toEqual({ kind: 'class', image: 0, tile: 0 });
    expect(locateToken([padded], padded.contextTokenId)).toEqual({ kind: 'context', image: 0, tile: 0 });
    expect(locateToken([padded], 10_000)).toBeUndefined();
  });

  it('gives the source pixels of a 16:9 picture that was padded: 80 pixels a patch, beginning 420 above it', () => {
    expect(patchRect(padded.tiles[0], 0, 0)).toEqual({ x: 0, y: -420, width: 80, height: 80 });
    expect(patchRect(padded.tiles[0], 23, 23)).toEqual({ x: 1840, y: 1420, width: 80, height: 80 });
    expect(pictureShare(padded, patchRect(padded.tiles[0], 0, 0))).toBe(0);
    expect(pictureShare(padded, patchRect(padded.tiles[0], 5, 3))).toBe(0.75);
    expect(pictureShare(padded, patchRect(padded.tiles[0], 12, 3))).toBe(1);
  });

  it('reaches from the padding or the picture, whichever is larger', () => {
    expect(extentOf(padded)).toEqual({ x: 0, y: -420, width: 1920, height: 1920 });
    expect(extentOf(cropped)).toEqual({ x: 0, y: 0, width: 1920, height: 1080 });
  });

  it('has no patch outside of what the tower saw', () => {
    const [plane] = planesOf(cropped);
    expect(patchAt(cropped, plane, 10, 500)).toBeUndefined();
    expect(patchAt(cropped, plane, 960, 500)).toBeDefined();
  });
});

describe('planes of a tiled model', () => {
  it('are the overview, and the details side by side', () => {
    const planes = planesOf(tiled);
    expect(planes.map(({ tiles, rows, columns }) => [tiles, rows, columns])).toEqual([
      [[0], 24, 24],
      [[1, 2, 3, 4], 48, 48],
    ]);
  });

  it('count rows and columns over all their tiles', () => {
    const [, details] = planesOf(tiled);
    expect(planeCell(details, { image: 0, tile: 4, row: 0, column: 5 })).toEqual({
      row: 24,
      column: 29,
    });
  });
});

describe('a tiled layout without its padding, as LLaVA v1.6 has it', () => {
  // 1920 x 1080 on 672 x 672: 14 rows of each tile hold picture; the overview is the whole picture.
  const tile = (firstId: number, x: number, y: number, own: Partial<TileLayout> = {}): TileLayout => ({
    firstId,
    rows: 14,
    columns: 24,
    source: { x, y, width: 960, height: 560 },
    ...own,
  });
  const layout: ImageLayout = {
    width: 1920,
    height: 1080,
    fit: 'tiles',
    modelSize: 336,
    tiles: [
      { firstId: 0, rows: 24, columns: 24, source: { x: 0, y: 0, width: 1920, height: 1080 } },
      tile(576, 0, -20, { classTokenId: 1922, contextTokenId: 1923 }),
      tile(912, 960, -20),
      // Not as high as the others: rows of planes count what is there.
      tile(1248, 0, 540, { rows: 13, source: { x: 0, y: 540, width: 960, height: 520 } }),
      tile(1560, 960, 540, { rows: 13, source: { x: 960, y: 540, width: 960, height: 520 } }),
    ],
    firstId: 0,
    patches: 1872,
    classTokenId: 1872,
    contextTokenId: 1873,
    newlines: Array.from({ length: 27 }, (_, row) => ({
      id: 2000 + row,
      row: { x: 0, y: -20 + 40 * row, width: 1920, height: 40 },
    })),
  };
  const [overview, details] = planesOf(layout);

  it('has rows and columns of all its tiles, and newlines in its details', () => {
    expect([overview.rows, overview.columns, overview.newlines.length]).toEqual([24, 24, 0]);
    expect([details.rows, details.columns, details.newlines.length]).toEqual([27, 48, 27]);
    expect(planeCell(details, { image: 0, tile: 4, row: 2, column: 3 })).toEqual({ row: 16, column: 27 });
    const tokens = planeTokens(layout, details);
    expect(new Set(tokens.map(({ row, column }) => `${row} ${column}`)).size).toBe(27 * 49);
    expect(tokens.at(-1)).toEqual({ id: 2026, row: 26, column: 48 });
  });

  it('draws newlines behind the rows that they end, over nothing of the picture', () => {
    const rect = tokenRect([layout], 2003)!;
    expect(rect).toMatchObject({ y: 100, height: 40 });
    expect(rect.x).toBeGreaterThanOrEqual(1920);
    expect(patchAt(layout, details, rect.x + rect.width / 2, 110)).toBe(2003);
    expect(patchAt(layout, overview, rect.x + rect.width / 2, 110)).toBeUndefined();
    const extent = extentOf(layout);
    expect(extent.x + extent.width).toBeCloseTo(rect.x + rect.width);
  });

  it('names them', () => {
    expect(locateToken([layout], 2003)).toEqual({ kind: 'newline', image: 0, index: 3 });
    expect(tokenName([layout], 2003)).toBe('newline of row 4');
    expect(tokenName([layout], 1922)).toBe('CLS token of tile 1');
    expect(tokenName([layout], 1872)).toBe('CLS token of the overview');
    expect(tokenRect([layout], 1922)).toBeUndefined();
  });

  it('takes the edges of shrunk details where it has them', () => {
    const shrunk: TileLayout = {
      firstId: 0,
      rows: 1,
      columns: 3,
      source: { x: 0, y: 0, width: 100, height: 20 },
      edges: { x: [0, 50, 60, 100], y: [0, 20] },
    };
    expect(patchRect(shrunk, 0, 1)).toEqual({ x: 50, y: 0, width: 10, height: 20 });
    const image = { ...layout, tiles: [shrunk], newlines: [] };
    const [plane] = planesOf(image);
    expect([-1, 0, 49, 50, 59.9, 60, 99, 100].map((x) => patchAt(image, plane, x, 5))).toEqual([
      undefined,
      0,
      0,
      1,
      1,
      2,
      2,
      undefined,
    ]);
  });
});

it('intersects to nothing where rectangles do not meet', () => {
  const a = { x: 0, y: 0, width: 10, height: 10 };
  expect(intersection(a, { x: 20, y: 0, width: 5, height: 5 })).toMatchObject({ width: 0 });
  expect(intersection(a, { x: 5, y: 6, width: 50, height: 50 })).toEqual({ x: 5, y: 6, width: 5, height: 4 });
});
