import type { ImageLayout, PixelRect, TileLayout, TokenId } from '../protocol';

/** Where a patch is: which image of the prompt, which tile of it, which cell of the tile (zero-based). */
export interface PatchPlace {
  image: number;
  tile: number;
  row: number;
  column: number;
}

/** What a token id stands for. */
export type TokenPlace =
  ({ kind: 'patch' } & PatchPlace) | { kind: 'class'; image: number } | { kind: 'context'; image: number };

/** Tiles of one image that do not overlap, so that they can be drawn at once. */
export interface Plane {
  /** Indices into {@link ImageLayout.tiles}. */
  tiles: number[];
  /** Sorted left edges and top edges of its tiles: a patch's row and column in the whole plane follow from them. */
  lefts: number[];
  tops: number[];
  rows: number;
  columns: number;
}

/** @returns undefined for an id that no image of the prompt owns. */
export function locateToken(images: readonly ImageLayout[], id: TokenId): TokenPlace | undefined {
  for (const [image, layout] of images.entries()) {
    if (id === layout.classTokenId) return { kind: 'class', image };
    if (id === layout.contextTokenId) return { kind: 'context', image };
    for (const [tile, { firstId, rows, columns }] of layout.tiles.entries()) {
      const raster = id - firstId;
      if (raster < 0 || raster >= rows * columns) continue;
      return { kind: 'patch', image, tile, row: Math.floor(raster / columns), column: raster % columns };
    }
  }
  return undefined;
}

/** Source pixels that a patch covers; partly or wholly outside the picture where padding was seen. */
export function patchRect(tile: TileLayout, row: number, column: number): PixelRect {
  const width = tile.source.width / tile.columns;
  const height = tile.source.height / tile.rows;
  return { x: tile.source.x + column * width, y: tile.source.y + row * height, width, height };
}

/** The common part of two rectangles; zero width or height where there is none. */
export function intersection(a: PixelRect, b: PixelRect): PixelRect {
  const x = Math.max(a.x, b.x);
  const y = Math.max(a.y, b.y);
  return {
    x,
    y,
    width: Math.max(0, Math.min(a.x + a.width, b.x + b.width) - x),
    height: Math.max(0, Math.min(a.y + a.height, b.y + b.height) - y),
  };
}

/** How much of a patch shows the picture and not padding, 0..1. */
export function pictureShare(layout: ImageLayout, rect: PixelRect): number {
  const seen = intersection(rect, pictureRect(layout));
  return (seen.width * seen.height) / (rect.width * rect.height);
}

export function pictureRect(layout: ImageLayout): PixelRect {
  return { x: 0, y: 0, width: layout.width, height: layout.height };
}

/** The smallest rectangle around the picture and everything that the tower saw. */
export function extentOf(layout: ImageLayout): PixelRect {
  let [left, top, right, bottom] = [0, 0, layout.width, layout.height];
  for (const { source } of layout.tiles) {
    left = Math.min(left, source.x);
    top = Math.min(top, source.y);
    right = Math.max(right, source.x + source.width);
    bottom = Math.max(bottom, source.y + source.height);
  }
  return { x: left, y: top, width: right - left, height: bottom - top };
}

/** Splits an image's tiles into planes, first come first served: the overview of a tiled model and its details. */
export function planesOf(layout: ImageLayout): Plane[] {
  const groups: number[][] = [];
  for (const [index, tile] of layout.tiles.entries()) {
    const group = groups.find((tiles) => tiles.every((other) => !overlap(layout.tiles[other], tile)));
    if (group) group.push(index);
    else groups.push([index]);
  }
  return groups.map((tiles) => {
    const lefts = edges(tiles.map((tile) => layout.tiles[tile].source.x));
    const tops = edges(tiles.map((tile) => layout.tiles[tile].source.y));
    const { rows, columns } = layout.tiles[tiles[0]];
    return { tiles, lefts, tops, rows: tops.length * rows, columns: lefts.length * columns };
  });
}

/** Row and column of a patch counted over the whole plane, zero-based. */
export function planeCell(
  layout: ImageLayout,
  plane: Plane,
  place: PatchPlace,
): { row: number; column: number } {
  const { source, rows, columns } = layout.tiles[place.tile];
  return {
    row: edgeIndex(plane.tops, source.y) * rows + place.row,
    column: edgeIndex(plane.lefts, source.x) * columns + place.column,
  };
}

/** The patch of a plane that covers a point of the source image, or undefined. */
export function patchAt(layout: ImageLayout, plane: Plane, x: number, y: number): TokenId | undefined {
  for (const index of plane.tiles) {
    const { source, rows, columns, firstId } = layout.tiles[index];
    const column = Math.floor(((x - source.x) / source.width) * columns);
    const row = Math.floor(((y - source.y) / source.height) * rows);
    if (row >= 0 && row < rows && column >= 0 && column < columns) return firstId + row * columns + column;
  }
  return undefined;
}

/** Touching tiles may differ by rounding; less than this part of a tile is not an overlap. */
const ROUNDING = 0.01;

function overlap(a: TileLayout, b: TileLayout): boolean {
  const common = intersection(a.source, b.source);
  return common.width > ROUNDING * a.source.width && common.height > ROUNDING * a.source.height;
}

function edges(values: number[]): number[] {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.filter((value, index) => index === 0 || value - sorted[index - 1] > 1);
}

function edgeIndex(sorted: readonly number[], value: number): number {
  return sorted.findIndex((edge) => Math.abs(edge - value) <= 1);
}
