import type { PixelRect } from '../../protocol';

/**
 * The geometry of tiled models ("anyres", LLaVA-NeXT and LLaVA-OneVision): which canvas a picture gets, how it is cut into
 * tiles, which patches hold picture and not padding, and how many tokens that makes. Numbers only; the same as
 * transformers' `select_best_resolution`, `get_patch_output_size`, `unpad_image` and `pack_image_features`.
 */

export interface Size {
  readonly width: number;
  readonly height: number;
}

/** What a checkpoint says about its tiles. */
export interface AnyresConfig {
  /** The canvases that a picture may get, in the checkpoint's order. Sides are multiples of the tower's square. */
  readonly pinpoints: readonly Size[];
  /** OneVision ("anyres_max_9"): more patches than these many tiles have are shrunk to as many. */
  readonly maxTiles: number | undefined;
}

/** The tower's square. */
export interface TowerSquare {
  /** Side in pixels. */
  readonly size: number;
  readonly patchSize: number;
  /** Patches along a side; together they may cover less than the square (384 = 27 * 14 + 6). */
  readonly patches: number;
}

/** A part of the raster of all tiles' patches, in patches. */
export interface PatchWindow {
  readonly top: number;
  readonly left: number;
  readonly rows: number;
  readonly columns: number;
}

/** How the details of one picture become tokens. */
export interface DetailPlan {
  /** What is cut into tiles, in pixels. */
  readonly canvas: Size;
  /** The picture on the canvas: scaled with its aspect ratio, in the middle; black around it. */
  readonly scaled: Size;
  readonly offset: { readonly x: number; readonly y: number };
  readonly tileRows: number;
  readonly tileColumns: number;
  /** The patches that are left when the padding is cut away. */
  readonly window: PatchWindow;
  /** Rows and columns of tokens: those of the window, or fewer where it was shrunk. */
  readonly rows: number;
  readonly columns: number;
}

/** The canvas that shows most of the picture's pixels, and of these the one with least room around it. */
export function selectBestResolution(picture: Size, pinpoints: readonly Size[]): Size {
  let best = pinpoints[0];
  let mostShown = 0;
  let leastWasted = Infinity;
  for (const canvas of pinpoints) {
    const scale = Math.min(canvas.width / picture.width, canvas.height / picture.height);
    const width = Math.trunc(picture.width * scale);
    const height = Math.trunc(picture.height * scale);
    const shown = Math.min(width * height, picture.width * picture.height);
    const wasted = canvas.width * canvas.height - shown;
    if (shown > mostShown || (shown === mostShown && wasted < leastWasted)) {
      best = canvas;
      mostShown = shown;
      leastWasted = wasted;
    }
  }
  return best;
}

/** The picture's size on its canvas: one side fills it, the other is rounded up. */
export function sizeOnCanvas(picture: Size, canvas: Size): Size {
  const horizontal = canvas.width / picture.width;
  const vertical = canvas.height / picture.height;
  return horizontal < vertical
    ? { width: canvas.width, height: Math.min(Math.ceil(picture.height * horizontal), canvas.height) }
    : { width: Math.min(Math.ceil(picture.width * vertical), canvas.width), height: canvas.height };
}

/** Cuts as many patches off both sides as hold padding only (a half-filled row stays; an odd one is left below). */
export function unpadded(picture: Size, rows: number, columns: number): PatchWindow {
  // Seven decimals, as transformers rounds before it cuts, so that 28.000000001 is 28 and 27.9999999 too.
  const whole = (value: number): number => Math.trunc(Number(value.toFixed(7)));
  if (picture.width / picture.height > columns / rows) {
    const filled = whole(picture.height * (columns / picture.width));
    const top = Math.floor((rows - filled) / 2);
    return { top, left: 0, rows: rows - 2 * top, columns };
  }
  const filled = whole(picture.width * (rows / picture.height));
  const left = Math.floor((columns - filled) / 2);
  return { top: 0, left, rows, columns: columns - 2 * left };
}

/** A window is shrunk when it has this many times as many patches along a side as the model's limit. */
const SHRINK_FROM = 1.1;

export function planDetails(picture: Size, tower: TowerSquare, config: AnyresConfig): DetailPlan {
  const canvas = selectBestResolution(picture, config.pinpoints);
  const scaled = sizeOnCanvas(picture, canvas);
  const tileRows = Math.floor(canvas.height / tower.size);
  const tileColumns = Math.floor(canvas.width / tower.size);
  const window = unpadded(picture, tileRows * tower.patches, tileColumns * tower.patches);
  let { rows, columns } = window;
  if (config.maxTiles !== undefined) {
    const ratio = Math.sqrt((rows * columns) / (config.maxTiles * tower.patches ** 2));
    if (ratio > SHRINK_FROM) {
      rows = floorDivide(rows, ratio);
      columns = floorDivide(columns, ratio);
    }
  }
  return {
    canvas,
    scaled,
    offset: {
      x: Math.floor((canvas.width - scaled.width) / 2),
      y: Math.floor((canvas.height - scaled.height) / 2),
    },
    tileRows,
    tileColumns,
    window,
    rows,
    columns,
  };
}

/** Python's `//` of floats: the floor of the exact quotient, where the rounded one may be a whole number too large. */
function floorDivide(dividend: number, divisor: number): number {
  return Math.round((dividend - (dividend % divisor)) / divisor);
}

/** Image tokens of a tiled picture: the overview, the details, and a newline after each row of these. */
export function anyresTokens(picture: Size, tower: TowerSquare, config: AnyresConfig): number {
  const { rows, columns } = planDetails(picture, tower, config);
  return tower.patches ** 2 + rows * columns + rows;
}

/** Along one axis: the canvas pixel where patch position `position` (may be fractional) of all tiles' patches lies. */
export function canvasPixel(position: number, tower: TowerSquare, tiles: number): number {
  const tile = Math.min(Math.floor(position / tower.patches), tiles - 1);
  // A tile ends where its last patch ends; the rest of its square, which no patch sees, lies between tiles.
  return tile * tower.size + (position - tile * tower.patches) * tower.patchSize;
}

/** A rectangle of the canvas in pixels of the source picture. */
export function toSource(rect: PixelRect, plan: DetailPlan, picture: Size): PixelRect {
  const horizontal = picture.width / plan.scaled.width;
  const vertical = picture.height / plan.scaled.height;
  return {
    x: (rect.x - plan.offset.x) * horizontal,
    y: (rect.y - plan.offset.y) * vertical,
    width: rect.width * horizontal,
    height: rect.height * vertical,
  };
}

/** Along one axis, how shrunk token `index` is mixed of two neighbouring patches (bilinear, centres aligned). */
export function bilinearTap(
  index: number,
  tokens: number,
  patches: number,
): { first: number; second: number; weight: number } {
  const scale = Math.fround(patches / tokens);
  const position = Math.max(0, Math.fround(Math.fround(index + 0.5) * scale - 0.5));
  const first = Math.min(Math.floor(position), patches - 1);
  const second = Math.min(first + 1, patches - 1);
  return { first, second, weight: Math.fround(position - first) };
}
