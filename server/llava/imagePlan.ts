import type { ImageLayout, NewlineLayout, PixelRect, TileLayout, TokenId } from '../protocol';
import { type LlavaConfig, patchesPerSide, towerSquare, type VisionConfig } from './checkpoint/config';
import type { Grid } from './reduction/patches';
import {
  bilinearTap,
  canvasPixel,
  toSource,
  type DetailPlan,
  type Size,
  type TowerSquare,
} from './vision/anyres';
import type { Fit } from './vision/geometry';

/**
 * How the patches of the vision tower become the tokens of one image: which tower inputs there are, which of their patches
 * are tokens (or are mixed into one), under which ids, and in which order they enter the decoder.
 */
export interface ImagePlan {
  /** What the trace says about the image. */
  readonly layout: ImageLayout;
  /** Aligned with `layout.tiles`: tower inputs with at least one token. The first is the overview. */
  readonly tiles: readonly TilePlan[];
  /** Rasters that the tokens lie in: the overview, and the details of a tiled image across all tiles. */
  readonly planes: readonly PlanePlan[];
  /** [patches] For every patch, by id, its raster index; planes are numbered through. Ascending = order in the prompt. */
  readonly raster: Int32Array;
  readonly newlines: readonly NewlinePlan[];
  /** The tower inputs that tokens are made of, ascending. */
  readonly inputs: readonly number[];
  /** Patches that pass the projector when nothing is reduced. */
  readonly projected: number;
  /** The first id that belongs to no token of this image. */
  readonly endId: TokenId;
}

export interface TilePlan {
  /** Index of the tower input. */
  readonly input: number;
  readonly grid: Grid;
  /** Index of its first patch among all patches of the image. */
  readonly before: number;
  readonly classTokenId: TokenId;
  readonly contextTokenId: TokenId;
  /** How its tokens come from the tower's patches; undefined: they are the patches of its input in raster order. */
  readonly mix: PatchMix | undefined;
}

/** Tokens as weighted sums of patches; the patches of all tower inputs are numbered through. */
export interface PatchMix {
  /** How many patches each token takes: 1, or 4 where it lies between patches. */
  readonly taps: 1 | 4;
  /** [tokens * taps] */
  readonly patches: Uint32Array;
  /** [tokens * taps]; for one tap all are 1. */
  readonly weights: Float32Array;
}

export interface PlanePlan extends Grid {
  /** Raster index of its first patch. */
  readonly first: number;
}

export interface NewlinePlan {
  readonly id: TokenId;
  /** It follows the last token whose raster index lies in [from, to). */
  readonly from: number;
  readonly to: number;
}

/** What the tower saw of an image, for a layout. */
export interface SeenImage extends Size {
  readonly fit: Fit;
  /** What the patches of the overview (the only square of plain models) cover, in source pixels. */
  readonly source: PixelRect;
}

/**
 * The plan of an image that the tower sees as one square; its token ids begin at `firstId`.
 * @param newline OneVision ends each of several pictures with one newline.
 */
export function planSquare(
  vision: VisionConfig,
  image: SeenImage,
  firstId: TokenId,
  newline = false,
): ImagePlan {
  const side = patchesPerSide(vision);
  const plane = { rows: side, columns: side, first: 0 };
  return assemble(vision, image, image.fit, firstId, {
    tiles: [overviewTile(vision, image.source)],
    planes: [plane],
    rows: newline ? [{ from: 0, to: side * side, row: image.source }] : [],
  });
}

/** The plan of an image as a tiled model sees it: overview and details. */
export function planTiles(
  vision: VisionConfig,
  image: SeenImage,
  details: DetailPlan,
  firstId: TokenId,
): ImagePlan {
  const tower = towerSquare(vision);
  const overview = { rows: tower.patches, columns: tower.patches, first: 0 };
  const first = tower.patches ** 2;
  const plane = { rows: details.rows, columns: details.columns, first };
  const empty = plane.rows === 0 || plane.columns === 0;
  const tiles = [overviewTile(vision, image.source), ...(empty ? [] : detailTiles(tower, image, details))];
  const bottom = axis(tower, details, 'rows').edges.map((y) => toSource(line(y), details, image).y);
  const across = axis(tower, details, 'columns').edges.map((x) => toSource(line(x), details, image).x);
  return assemble(vision, image, 'tiles', firstId, {
    tiles,
    planes: empty ? [overview] : [overview, plane],
    rows: Array.from({ length: plane.rows }, (_, row) => ({
      from: first + row * plane.columns,
      to: first + (row + 1) * plane.columns,
      row: {
        x: across[0],
        y: bottom[row],
        width: across[across.length - 1] - across[0],
        height: bottom[row + 1] - bottom[row],
      },
    })),
  });
}

// ---------------------------------------------------------------------------------------------- tiles

/** One tile before ids are given. `at` and `stride` place it in the raster of its plane. */
interface DraftTile {
  readonly input: number;
  readonly rows: number;
  readonly columns: number;
  readonly source: PixelRect;
  readonly edges?: { x: number[]; y: number[] };
  readonly mix: PatchMix | undefined;
  /** Raster index of its first patch, and of one row further minus it. */
  readonly at: number;
  readonly stride: number;
}

function overviewTile(vision: VisionConfig, source: PixelRect): DraftTile {
  const side = patchesPerSide(vision);
  return { input: 0, rows: side, columns: side, source, mix: undefined, at: 0, stride: side };
}

function detailTiles(tower: TowerSquare, image: Size, details: DetailPlan): DraftTile[] {
  const rows = axis(tower, details, 'rows');
  const columns = axis(tower, details, 'columns');
  const shrunk = details.rows < details.window.rows || details.columns < details.window.columns;
  const first = tower.patches ** 2;
  const tiles: DraftTile[] = [];
  for (let i = 0; i < details.tileRows; i++) {
    for (let j = 0; j < details.tileColumns; j++) {
      const [top, bottom] = rows.parts[i];
      const [left, right] = columns.parts[j];
      if (top === bottom || left === right) continue;
      // The last edge of an even tile is its last patch's end, not the next tile's beginning.
      const width = shrunk ? columns.edges[right] - columns.edges[left] : (right - left) * tower.patchSize;
      const height = shrunk ? rows.edges[bottom] - rows.edges[top] : (bottom - top) * tower.patchSize;
      const canvas = { x: columns.edges[left], y: rows.edges[top], width, height };
      tiles.push({
        input: 1 + i * details.tileColumns + j,
        rows: bottom - top,
        columns: right - left,
        source: toSource(canvas, details, image),
        ...(shrunk
          ? {
              edges: {
                x: columns.edges.slice(left, right + 1).map((edge) => toSource(line(edge), details, image).x),
                y: rows.edges.slice(top, bottom + 1).map((edge) => toSource(line(edge), details, image).y),
              },
            }
          : {}),
        mix: shrunk
          ? mixShrunk(tower, details, [top, bottom], [left, right])
          : pickPatches(tower, details, [top, bottom], [left, right]),
        at: first + top * details.columns + left,
        stride: details.columns,
      });
    }
  }
  return tiles;
}

type Range = readonly [from: number, to: number];

/** One axis of the raster of detail tokens. */
interface Axis {
  /** The tokens of every tile. */
  readonly parts: readonly Range[];
  /** [tokens + 1] Where each token begins, in pixels of the canvas, and where the last one ends. */
  readonly edges: readonly number[];
}

function axis(tower: TowerSquare, details: DetailPlan, name: 'rows' | 'columns'): Axis {
  const [tokens, patches, offset, tiles] =
    name === 'rows'
      ? [details.rows, details.window.rows, details.window.top, details.tileRows]
      : [details.columns, details.window.columns, details.window.left, details.tileColumns];
  const ratio = patches / tokens;
  const edges = Array.from({ length: tokens + 1 }, (_, edge) =>
    // What rounding makes of the last edge must not reach beyond the last patch.
    canvasPixel(edge === tokens ? offset + patches : offset + edge * ratio, tower, tiles),
  );
  const tileOf = (token: number): number => Math.floor((offset + (token + 0.5) * ratio) / tower.patches);
  const parts: Range[] = [];
  for (let tile = 0, from = 0; tile < tiles; tile++) {
    let to = from;
    while (to < tokens && tileOf(to) === tile) to++;
    parts.push([from, to]);
    from = to;
  }
  return { parts, edges };
}

/** Number of a patch, by its row and column among all tiles' patches. */
function patchNumber(tower: TowerSquare, details: DetailPlan, row: number, column: number): number {
  const side = tower.patches;
  const input = 1 + Math.floor(row / side) * details.tileColumns + Math.floor(column / side);
  return input * side * side + (row % side) * side + (column % side);
}

function pickPatches(tower: TowerSquare, details: DetailPlan, rows: Range, columns: Range): PatchMix {
  const { top, left } = details.window;
  const patches: number[] = [];
  for (let row = rows[0]; row < rows[1]; row++) {
    for (let column = columns[0]; column < columns[1]; column++)
      patches.push(patchNumber(tower, details, top + row, left + column));
  }
  return { taps: 1, patches: Uint32Array.from(patches), weights: new Float32Array(patches.length).fill(1) };
}

/** torch's bilinear interpolation: each token from the two by two patches around its middle. */
function mixShrunk(tower: TowerSquare, details: DetailPlan, rows: Range, columns: Range): PatchMix {
  const { window } = details;
  const patches: number[] = [];
  const weights: number[] = [];
  for (let row = rows[0]; row < rows[1]; row++) {
    const down = bilinearTap(row, details.rows, window.rows);
    for (let column = columns[0]; column < columns[1]; column++) {
      const right = bilinearTap(column, details.columns, window.columns);
      for (const [y, weightY] of [
        [down.first, 1 - down.weight],
        [down.second, down.weight],
      ]) {
        for (const [x, weightX] of [
          [right.first, 1 - right.weight],
          [right.second, right.weight],
        ]) {
          patches.push(patchNumber(tower, details, window.top + y, window.left + x));
          weights.push(weightY * weightX);
        }
      }
    }
  }
  return { taps: 4, patches: Uint32Array.from(patches), weights: Float32Array.from(weights) };
}

function line(position: number): PixelRect {
  return { x: position, y: position, width: 0, height: 0 };
}

// ---------------------------------------------------------------------------------------------- ids

interface Draft {
  readonly tiles: readonly DraftTile[];
  readonly planes: readonly PlanePlan[];
  readonly rows: readonly { readonly from: number; readonly to: number; readonly row: PixelRect }[];
}

function assemble(
  vision: VisionConfig,
  image: SeenImage,
  fit: ImageLayout['fit'],
  firstId: TokenId,
  { tiles: drafts, planes, rows }: Draft,
): ImagePlan {
  const patches = drafts.reduce((sum, tile) => sum + tile.rows * tile.columns, 0);
  const raster = new Int32Array(patches);
  const tiles: TilePlan[] = [];
  const layouts: TileLayout[] = [];
  let before = 0;
  drafts.forEach(({ input, rows: tileRows, columns, source, edges, mix, at, stride }, index) => {
    const classTokenId = firstId + patches + 2 * index;
    const contextTokenId = classTokenId + 1;
    const grid = { rows: tileRows, columns };
    tiles.push({ input, grid, before, classTokenId, contextTokenId, mix });
    layouts.push({
      firstId: firstId + before,
      ...grid,
      source,
      ...(edges ? { edges } : {}),
      ...(index > 0 ? { classTokenId, contextTokenId } : {}),
    });
    for (let row = 0; row < tileRows; row++) {
      for (let column = 0; column < columns; column++)
        raster[before + row * columns + column] = at + row * stride + column;
    }
    before += tileRows * columns;
  });
  const firstNewline = firstId + patches + 2 * drafts.length;
  const newlines = rows.map(({ from, to }, index) => ({ id: firstNewline + index, from, to }));
  const newlineLayouts: NewlineLayout[] = rows.map(({ row }, index) => ({ id: firstNewline + index, row }));
  const layout: ImageLayout = {
    width: image.width,
    height: image.height,
    fit,
    modelSize: vision.imageSize,
    tiles: layouts,
    firstId,
    patches,
    classTokenId: tiles[0].classTokenId,
    contextTokenId: tiles[0].contextTokenId,
    ...(newlineLayouts.length > 0 ? { newlines: newlineLayouts } : {}),
  };
  const tower = patchesPerSide(vision) ** 2;
  const needed = neededPatches(tiles, tower);
  return {
    layout,
    tiles,
    planes,
    raster,
    newlines,
    inputs: [...new Set(needed.map((patch) => Math.floor(patch / tower)))].sort((a, b) => a - b),
    projected: needed.length,
    endId: firstNewline + newlines.length,
  };
}

/** The patches that the tokens of some tiles are made of, each once, numbered through all tower inputs of `tower` patches. */
function neededPatches(tiles: readonly TilePlan[], tower: number): number[] {
  const needed = new Set<number>();
  for (const { mix, input } of tiles) {
    if (mix) mix.patches.forEach((patch, tap) => mix.weights[tap] > 0 && needed.add(patch));
    else for (let patch = 0; patch < tower; patch++) needed.add(input * tower + patch);
  }
  return [...needed];
}

/** Image tokens that the unreduced model uses for one image. */
export function unreducedTokens(
  { config }: { readonly config: LlavaConfig },
  layout: Pick<ImageLayout, 'patches' | 'newlines'> | undefined,
): number {
  const { vision, visionFeatureSelectStrategy } = config;
  const patches = layout?.patches ?? patchesPerSide(vision) ** 2;
  const newlines = layout?.newlines?.length ?? 0;
  return patches + newlines + (vision.hasClassToken && visionFeatureSelectStrategy === 'full' ? 1 : 0);
}
