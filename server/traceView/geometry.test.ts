import { describe, expect, it } from 'vitest';
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
} from './geometry';

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
    expect(locateToken([padded], padded.classTokenId)).toEqual({ kind: 'class', image: 0 });
    expect(locateToken([padded], padded.contextTokenId)).toEqual({ kind: 'context', image: 0 });
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
    expect(planeCell(tiled, details, { image: 0, tile: 4, row: 0, column: 5 })).toEqual({
      row: 24,
      column: 29,
    });
  });
});

it('intersects to nothing where rectangles do not meet', () => {
  const a = { x: 0, y: 0, width: 10, height: 10 };
  expect(intersection(a, { x: 20, y: 0, width: 5, height: 5 })).toMatchObject({ width: 0 });
  expect(intersection(a, { x: 5, y: 6, width: 50, height: 50 })).toEqual({ x: 5, y: 6, width: 5, height: 4 });
});
