import type { PreprocessorConfig } from '../checkpoint/checkpoint';
import { patchesPerSide } from '../checkpoint/config';
import type { Grid, PatchPixels } from '../reduction/reduction';
import type { PixelRect } from '../../protocol';
import { coveredByPatches, fitSquare, type Fit, type SquareFit } from './geometry';
import { resample, type RgbImage } from './resample';

/** One image as the vision tower takes it. */
export interface PreprocessedImage {
  /** Normalised [3, size, size]. */
  readonly pixelValues: Float32Array;
  /** The same pixels before normalisation, by patch. */
  readonly pixels: PatchPixels;
  /** What the patches cover, in source pixels: the rectangle of a {@link TileLayout}. */
  readonly source: PixelRect;
}

/**
 * Makes the tower's square of an image.
 *
 * - `crop` is the checkpoint's own processor. CLIP: the short side is scaled to `shortestEdge` and the middle cut out (a
 *   16:9 screenshot loses 44 % of its width). SigLIP: the image is squeezed to the square, nothing is cut.
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
  const { size, mean, resample: filter, shortestEdge } = preprocessor;
  const fitted = fitSquare(image.width, image.height, size, fit, shortestEdge);
  // The integer part, as LLaVA's expand2square takes it.
  const fill: Rgb = [Math.trunc(mean[0] * 255), Math.trunc(mean[1] * 255), Math.trunc(mean[2] * 255)];
  const width = content ? Math.min(size, content.columns * patchSize) : size;
  const height = content ? Math.min(size, content.rows * patchSize) : size;
  const shrunk = shrink(fitted, width / size, height / size);
  const picture = resample(image, {
    canvas: shrunk.canvas,
    fill,
    scaled: shrunk.scaled,
    window: { ...shrunk.window, width, height },
    filter,
  });
  const rgb = width === size && height === size ? picture : paste(picture, width, height, size, fill);
  return {
    pixelValues: normalize(rgb, size, preprocessor),
    pixels: cutPatches(rgb, size, patchSize),
    source: coveredByPatches(shrunk.source, size, patchSize),
  };
}

type Rgb = [number, number, number];

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
function paste(picture: Uint8Array, width: number, height: number, size: number, fill: Rgb): Uint8Array {
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
    for (let i = 0; i < area; i++) values[channel * area + i] = table[rgb[i * 3 + channel]];
  }
  return values;
}

/** @param rgb [size, size, 3] */
function cutPatches(rgb: Uint8Array, size: number, patchSize: number): PatchPixels {
  const side = patchesPerSide({ imageSize: size, patchSize });
  const rowBytes = patchSize * 3;
  const data = new Uint8Array(side * side * patchSize * rowBytes);
  let target = 0;
  for (let row = 0; row < side; row++) {
    for (let column = 0; column < side; column++) {
      for (let y = row * patchSize; y < (row + 1) * patchSize; y++) {
        const begin = (y * size + column * patchSize) * 3;
        data.set(rgb.subarray(begin, begin + rowBytes), target);
        target += rowBytes;
      }
    }
  }
  return { data, patches: side * side, patchSize };
}
