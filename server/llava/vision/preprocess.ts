import type { PreprocessorConfig } from '../checkpoint/checkpoint';
import { patchesPerSide } from '../checkpoint/config';
import type { Grid, PatchPixels } from '../reduction/patches';
import type { PixelRect } from '../../protocol';
import type { DetailPlan, TowerSquare } from './anyres';
import { coveredByPatches, fitSquare, type Fit, type SquareFit } from './geometry';
import { resample, type RgbImage } from './resample';

/** One image as the vision tower takes it. */
export interface PreprocessedImage {
  /** Normalised [3, size, size]. */
  readonly pixelValues: Float32Array;
  /** The same pixels before normalisation, by patch: cut when they are first asked for, most questions never do before their answer. */
  pixels(): PatchPixels;
  /** What the patches cover, in source pixels: the rectangle of a {@link TileLayout}. */
  readonly source: PixelRect;
}

/**
 * Makes the tower's square of an image.
 *
 * - `crop` is the checkpoint's own processor. CLIP: the short side is scaled to `shortestEdge` and the middle cut out (a
 *   16:9 screenshot loses 44 % of its width). SigLIP: the image is squeezed to the square, nothing is cut.
 *   LLaVA's own processor may do either with the square around the image.
 * - `pad` is the original LLaVA: the image centred on a square of the mean colour, nothing is cut or squeezed.
 *
 * `content` shrinks what would fill the square to that many patches in its top left corner (the control `downscale`).
 *
 * The pixels equal those of transformers' processors (Pillow path) for the same source pixels.
 */
export function preprocessImage(
  image: RgbImage,
  preprocessor: PreprocessorConfig,
  fit: Fit,
  patchSize: number,
  content?: Grid,
): PreprocessedImage {
  const { size, background, resample: filter, shortestEdge, padsToSquare } = preprocessor;
  const patches = patchesPerSide({ imageSize: size, patchSize });
  const fitted = fitSquare(image.width, image.height, size, fit, shortestEdge, padsToSquare);
  // All patches are the whole square, also the rest of it that no patch covers.
  const side = (wanted: number): number => (wanted < patches ? wanted * patchSize : size);
  const width = content ? side(content.columns) : size;
  const height = content ? side(content.rows) : size;
  const shrunk = shrink(fitted, width / size, height / size);
  const picture = resample(image, {
    canvas: shrunk.canvas,
    fill: background,
    scaled: shrunk.scaled,
    window: { ...shrunk.window, width, height },
    filter,
  });
  const rgb = width === size && height === size ? picture : paste(picture, width, height, size, background);
  let cut: PatchPixels | undefined;
  return {
    pixelValues: normalize(rgb, size, preprocessor),
    pixels: () => (cut ??= cutPatches(rgb, patches, patches, patchSize, size)),
    source: coveredByPatches(shrunk.source, size, patchSize),
  };
}

/** The details of a tiled image as the vision tower takes them. */
export interface PreprocessedDetails {
  /** Normalised [3, size, size] of every tile in raster order, made when asked for: all at once would be much memory. */
  readonly tiles: readonly (() => Float32Array)[];
  /** The pixels of the detail tokens, by token in raster order; where they were shrunk, of the same part of the picture. */
  pixels(): PatchPixels;
}

/** The tiles of a tiled image: the picture on its canvas, black around it. The bytes equal those of transformers (Pillow path). */
export function preprocessDetails(
  image: RgbImage,
  preprocessor: PreprocessorConfig,
  plan: DetailPlan,
  tower: TowerSquare,
): PreprocessedDetails {
  const { size, patches: side, patchSize } = tower;
  const picture = resample(image, {
    canvas: { x: 0, y: 0, width: image.width, height: image.height },
    fill: [0, 0, 0],
    scaled: plan.scaled,
    window: { x: 0, y: 0, ...plan.scaled },
    filter: preprocessor.resample,
  });
  const tileRgb = (tile: number): Uint8Array => {
    const x = (tile % plan.tileColumns) * size - plan.offset.x;
    const y = Math.floor(tile / plan.tileColumns) * size - plan.offset.y;
    return cutOut(picture, plan.scaled, { x, y, width: size, height: size });
  };
  const count = plan.tileRows * plan.tileColumns;
  return {
    tiles: Array.from({ length: count }, (_, tile) => () => normalize(tileRgb(tile), size, preprocessor)),
    pixels: () => {
      const { window } = plan;
      const width = window.columns * patchSize;
      const height = window.rows * patchSize;
      const rgb = new Uint8Array(width * height * 3);
      // Patch by patch, since tiles may have a rest that no patch sees.
      for (let row = 0; row < window.rows; row++) {
        for (let column = 0; column < window.columns; column++) {
          const [down, right] = [window.top + row, window.left + column];
          const x = Math.floor(right / side) * size + (right % side) * patchSize - plan.offset.x;
          const y = Math.floor(down / side) * size + (down % side) * patchSize - plan.offset.y;
          const patch = cutOut(picture, plan.scaled, { x, y, width: patchSize, height: patchSize });
          for (let line = 0; line < patchSize; line++)
            rgb.set(
              patch.subarray(line * patchSize * 3, (line + 1) * patchSize * 3),
              ((row * patchSize + line) * width + column * patchSize) * 3,
            );
        }
      }
      if (plan.rows === window.rows && plan.columns === window.columns)
        return cutPatches(rgb, plan.rows, plan.columns, patchSize);
      const scaled = { width: plan.columns * patchSize, height: plan.rows * patchSize };
      const shrunk = resample(
        { width, height, rgb },
        {
          canvas: { x: 0, y: 0, width, height },
          fill: [0, 0, 0],
          scaled,
          window: { x: 0, y: 0, ...scaled },
          filter: 2,
        },
      );
      return cutPatches(shrunk, plan.rows, plan.columns, patchSize);
    },
  };
}

/** A rectangle of a picture; black where it reaches beyond. */
function cutOut(
  rgb: Uint8Array,
  size: { readonly width: number; readonly height: number },
  rect: PixelRect,
): Uint8Array {
  const cut = new Uint8Array(rect.width * rect.height * 3);
  const left = Math.max(0, rect.x);
  const right = Math.min(size.width, rect.x + rect.width);
  if (left >= right) return cut;
  for (let y = Math.max(0, rect.y); y < Math.min(size.height, rect.y + rect.height); y++) {
    const source = rgb.subarray((y * size.width + left) * 3, (y * size.width + right) * 3);
    cut.set(source, ((y - rect.y) * rect.width + left - rect.x) * 3);
  }
  return cut;
}

/** The fit whose window shows the same picture in a part of the square; the square then reaches beyond the picture. */
function shrink(fit: SquareFit, horizontal: number, vertical: number): SquareFit {
  if (horizontal === 1 && vertical === 1) return fit;
  const { canvas, scaled, window, source } = fit;
  return {
    canvas,
    scaled: {
      width: Math.max(1, Math.round(scaled.width * horizontal)),
      height: Math.max(1, Math.round(scaled.height * vertical)),
    },
    window: { x: Math.floor(window.x * horizontal), y: Math.floor(window.y * vertical) },
    source: { ...source, width: source.width / horizontal, height: source.height / vertical },
  };
}

/** @param picture [height, width, 3]   @returns [size, size, 3], the picture in the top left corner */
function paste(
  picture: Uint8Array,
  width: number,
  height: number,
  size: number,
  fill: PreprocessorConfig['background'],
): Uint8Array {
  const canvas = new Uint8Array(size * size * 3);
  for (let i = 0; i < canvas.length; i++) canvas[i] = fill[i % 3];
  for (let row = 0; row < height; row++) {
    canvas.set(picture.subarray(row * width * 3, (row + 1) * width * 3), row * size * 3);
  }
  return canvas;
}

/** @param rgb [size, size, 3]   @returns [3, size, size] */
function normalize(
  rgb: Uint8Array,
  size: number,
  { rescaleFactor, mean, std }: PreprocessorConfig,
): Float32Array {
  const area = size * size;
  const values = new Float32Array(3 * area);
  const table = new Float32Array(256);
  for (let channel = 0; channel < 3; channel++) {
    // Rounded to float32 after every step, as numpy does.
    const [center, spread] = [Math.fround(mean[channel]), Math.fround(std[channel])];
    for (let value = 0; value < 256; value++)
      table[value] = Math.fround(Math.fround(value * rescaleFactor) - center) / spread;
    lookUp(values.subarray(channel * area, (channel + 1) * area), table, rgb, channel);
  }
  return values;
}

/** @param rgb [values.length, 3] */
function lookUp(values: Float32Array, table: Float32Array, rgb: Uint8Array, channel: number): void {
  let source = channel;
  for (let i = 0; i < values.length; i++) {
    values[i] = table[rgb[source]];
    source += 3;
  }
}

/** @param rgb [.., width, 3]; what lies behind the last patch of a row or column is left out */
function cutPatches(
  rgb: Uint8Array,
  rows: number,
  columns: number,
  patchSize: number,
  width = columns * patchSize,
): PatchPixels {
  const rowBytes = patchSize * 3;
  const data = new Uint8Array(rows * columns * patchSize * rowBytes);
  let target = 0;
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      for (let y = row * patchSize; y < (row + 1) * patchSize; y++) {
        const begin = (y * width + column * patchSize) * 3;
        data.set(rgb.subarray(begin, begin + rowBytes), target);
        target += rowBytes;
      }
    }
  }
  return { data, patches: rows * columns, patchSize };
}
