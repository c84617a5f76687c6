import type { PixelRect } from '../../protocol';
import { patchesPerSide } from '../checkpoint/config';

/** `pad`: the whole image, centred on a square. `crop`: what the checkpoint's own processor shows the tower. */
export type Fit = 'pad' | 'crop';

/** How an image becomes a square for the tower: canvas -> scaled -> window. */
export interface SquareFit {
  /** What is scaled, in source pixels: the image itself, or the square around it (then it lies partly outside). */
  readonly canvas: PixelRect;
  /** Size of the canvas after scaling. */
  readonly scaled: { readonly width: number; readonly height: number };
  /** Top left corner, in the scaled canvas, of the square that the tower sees. */
  readonly window: { readonly x: number; readonly y: number };
  /** The square that the tower sees, in source pixels. */
  readonly source: PixelRect;
}

/**
 * @param width source width in pixels, after EXIF rotation
 * @param modelSize side of the tower's square in pixels
 * @param shortestEdge `crop` only: CLIP's processor scales the short side to this and cuts the middle out; undefined =
 *   SigLIP's processor, which cuts nothing but squeezes the image to the square
 * @param padsToSquare `crop` only: LLaVA's processor with do_pad does so to the square around the image
 */
export function fitSquare(
  width: number,
  height: number,
  modelSize: number,
  fit: Fit,
  shortestEdge?: number,
  padsToSquare = false,
): SquareFit {
  let canvas: PixelRect = { x: 0, y: 0, width, height };
  let scaled = { width: modelSize, height: modelSize };
  if (fit === 'pad' || padsToSquare) {
    const side = Math.max(width, height);
    // Whole pixels, as LLaVA's expand2square pastes. (0 - 0 is 0, where -0 would be a number of its own.)
    const x = 0 - Math.floor((side - width) / 2);
    const y = 0 - Math.floor((side - height) / 2);
    canvas = { x, y, width: side, height: side };
  }
  if (fit === 'crop' && shortestEdge !== undefined) {
    const [short, long] = [Math.min(canvas.width, canvas.height), Math.max(canvas.width, canvas.height)];
    // The long side is rounded down, as transformers does.
    const end = Math.floor((shortestEdge * long) / short);
    scaled =
      canvas.width === short ? { width: shortestEdge, height: end } : { width: end, height: shortestEdge };
  }
  const window = {
    x: Math.floor((scaled.width - modelSize) / 2),
    y: Math.floor((scaled.height - modelSize) / 2),
  };
  // Multiplied before divided, so that what is whole stays whole.
  const source = {
    x: canvas.x + (window.x * canvas.width) / scaled.width,
    y: canvas.y + (window.y * canvas.height) / scaled.height,
    width: (modelSize * canvas.width) / scaled.width,
    height: (modelSize * canvas.height) / scaled.height,
  };
  return { canvas, scaled, window, source };
}

/** The part of the tower's square that its patches cover. */
export function coveredByPatches(source: PixelRect, imageSize: number, patchSize: number): PixelRect {
  const covered = (patchesPerSide({ imageSize, patchSize }) * patchSize) / imageSize;
  return { ...source, width: source.width * covered, height: source.height * covered };
}
