import type { ImageLayout, NewlineLayout, PixelRect, TileLayout, TokenId } from '../protocol';

/** Where a patch is: which image of the prompt, which tile of it, which cell of the tile (zero-based). */
export interface PatchPlace {
  image: number;
  tile: number;
  row: number;
  column: number;
}

/** What a token id stands for. CLS and context tokens belong to a tile, newlines to a row of patches. */
export type TokenPlace =
  | ({ kind: 'patch' } & PatchPlace)
  | { kind: 'class' | 'context'; image: number; tile: number }
  | { kind: 'newline'; image: number; index: number };

/** Tiles of one image that do not overlap, so that they can be drawn at once. */
export interface Plane {
  /** Indices into {@link ImageLayout.tiles}. */
  tiles: number[];
  /** Aligned with `tiles`: row and column of each tile's first patch in the whole plane. */
  places: { row: number; column: number }[];
  rows: number;
  columns: number;
  /** The tokens that end its rows, or all of it; they lie in a column of their own behind the patches. */
  newlines: NewlineLayout[];
}

/** @returns undefined for an id that no image of the prompt owns. */
export function locateToken(images: readonly ImageLayout[], id: TokenId): TokenPlace | undefined {
  for (const [image, layout] of images.entries()) {
    const newline = layout.newlines?.findIndex((candidate) => candidate.id === id) ?? -1;
    if (newline >= 0) return { kind: 'newline', image, index: newline };
    if (id === layout.classTokenId) return { kind: 'class', image, tile: 0 };
    if (id === layout.contextTokenId) return { kind: 'context', image, tile: 0 };
    for (const [tile, { firstId, rows, columns, classTokenId, contextTokenId }] of layout.tiles.entries()) {
      if (id === classTokenId) return { kind: 'class', image, tile };
      if (id === contextTokenId) return { kind: 'context', image, tile };
      const raster = id - firstId;
      if (raster < 0 || raster >= rows * columns) continue;
      return { kind: 'patch', image, tile, row: Math.floor(raster / columns), column: raster % columns };
    }
  }
  return undefined;
}

/** Source pixels that a patch covers; partly or wholly outside the picture where padding was seen. */
export function patchRect(tile: TileLayout, row: number, column: number): PixelRect {
  if (tile.edges) {
    const { x, y } = tile.edges;
    return { x: x[column], y: y[row], width: x[column + 1] - x[column], height: y[row + 1] - y[row] };
  }
  const width = tile.source.width / tile.columns;
  const height = tile.source.height / tile.rows;
  return { x: tile.source.x + column * width, y: tile.source.y + row * height, width, height };
}

/** A newline's cell, in parts of a patch's width, and how far it stands from the last patch. */
const NEWLINE_WIDTH = 0.5;
const NEWLINE_GAP = 0.2;

/** Where a newline is drawn: a thin cell behind the row that it ends. It stands for nothing in the picture. */
export function newlineRect(layout: ImageLayout, { row }: NewlineLayout): PixelRect {
  const tile = layout.tiles[layout.tiles.length - 1];
  const patch = tile.source.width / tile.columns;
  return {
    x: row.x + row.width + NEWLINE_GAP * patch,
    y: row.y,
    width: NEWLINE_WIDTH * patch,
    height: row.height,
  };
}

/** Where a token lies on the map, in source pixels: a patch, or the cell of a newline. */
export function tokenRect(images: readonly ImageLayout[], id: TokenId): PixelRect | undefined {
  const place = locateToken(images, id);
  if (!place) return undefined;
  const layout = images[place.image];
  if (place.kind === 'patch') return patchRect(layout.tiles[place.tile], place.row, place.column);
  return place.kind === 'newline' ? newlineRect(layout, layout.newlines![place.index]) : undefined;
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

/** The smallest rectangle around the picture, everything that the tower saw, and the newlines behind it. */
export function extentOf(layout: ImageLayout): PixelRect {
  let [left, top, right, bottom] = [0, 0, layout.width, layout.height];
  const newlines = (layout.newlines ?? []).map((newline) => ({ source: newlineRect(layout, newline) }));
  for (const { source } of [...layout.tiles, ...newlines]) {
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
  return groups.map((tiles, group) => {
    const layouts = tiles.map((tile) => layout.tiles[tile]);
    const down = offsets(
      layouts.map(({ source, rows }) => ({ at: source.y, size: source.height, cells: rows })),
    );
    const across = offsets(
      layouts.map(({ source, columns }) => ({ at: source.x, size: source.width, cells: columns })),
    );
    return {
      tiles,
      places: layouts.map((_, index) => ({ row: down.starts[index], column: across.starts[index] })),
      rows: down.total,
      columns: across.total,
      newlines: group === groups.length - 1 ? (layout.newlines ?? []) : [],
    };
  });
}

/** Along one axis: how many cells lie before each tile. Tiles that begin at the same place stand in one row or column. */
function offsets(tiles: readonly { at: number; size: number; cells: number }[]): {
  starts: number[];
  total: number;
} {
  const starts = new Array<number>(tiles.length);
  let total = 0;
  let current: { at: number; size: number; cells: number } | undefined;
  const order = [...tiles.keys()].sort((a, b) => tiles[a].at - tiles[b].at);
  for (const index of order) {
    const tile = tiles[index];
    if (!current || tile.at - current.at > ALIGNED * current.size) {
      total += current?.cells ?? 0;
      current = tile;
    }
    starts[index] = total;
  }
  return { starts, total: total + (current?.cells ?? 0) };
}

/** Row and column of a patch counted over the whole plane, zero-based. */
export function planeCell(plane: Plane, place: PatchPlace): { row: number; column: number } {
  const start = plane.places[plane.tiles.indexOf(place.tile)];
  return { row: start.row + place.row, column: start.column + place.column };
}

/** A token of a plane with its row and column in it, zero-based. */
export interface PlaneToken {
  id: TokenId;
  row: number;
  column: number;
}

/** All tokens of a plane, tile by tile, then its newlines, which stand in the column behind the last one. */
export function planeTokens(layout: ImageLayout, plane: Plane): PlaneToken[] {
  const patches = plane.tiles.flatMap((tile, index) => {
    const { firstId, rows, columns } = layout.tiles[tile];
    const start = plane.places[index];
    return Array.from({ length: rows * columns }, (_, raster) => ({
      id: firstId + raster,
      row: start.row + Math.floor(raster / columns),
      column: start.column + (raster % columns),
    }));
  });
  const newlines = plane.newlines.map(({ id }, index) => ({
    id,
    row: newlineRow(plane, index),
    column: plane.columns,
  }));
  return [...patches, ...newlines];
}

/** The row (zero-based) that a newline of a plane ends; newlines stand in the column behind the last one. */
export function newlineRow(plane: Plane, index: number): number {
  return plane.rows - plane.newlines.length + index;
}

/** The patch of a plane that covers a point of the source image, or the newline that is drawn there, or undefined. */
export function patchAt(layout: ImageLayout, plane: Plane, x: number, y: number): TokenId | undefined {
  const newline = plane.newlines.find((candidate) => holds(newlineRect(layout, candidate), x, y));
  if (newline) return newline.id;
  for (const index of plane.tiles) {
    const { source, rows, columns, firstId, edges } = layout.tiles[index];
    const column = edges ? cellOf(edges.x, x) : Math.floor(((x - source.x) / source.width) * columns);
    const row = edges ? cellOf(edges.y, y) : Math.floor(((y - source.y) / source.height) * rows);
    if (row >= 0 && row < rows && column >= 0 && column < columns) return firstId + row * columns + column;
  }
  return undefined;
}

function holds({ x: left, y: top, width, height }: PixelRect, x: number, y: number): boolean {
  return x >= left && x < left + width && y >= top && y < top + height;
}

/** The cell between two edges that holds a position; -1 where none does. */
function cellOf(edges: readonly number[], position: number): number {
  const after = edges.findIndex((edge) => edge > position);
  return after < 0 ? -1 : after - 1;
}

/** Tiles whose beginnings differ by less than this part of a tile stand in one row or column. */
const ALIGNED = 0.1;

/** Touching tiles may differ by rounding; less than this part of a tile is not an overlap. */
const ROUNDING = 0.01;

function overlap(a: TileLayout, b: TileLayout): boolean {
  const common = intersection(a.source, b.source);
  return common.width > ROUNDING * a.source.width && common.height > ROUNDING * a.source.height;
}
