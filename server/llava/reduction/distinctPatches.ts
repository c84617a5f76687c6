import { patchComparison } from './patchPixels';
import type { PicturePlane } from './patches';

/** Levels (0 to 255) by which a channel of a pixel must differ for two patches to be different: beyond what scaling and JPEG leave. */
const DIFFERENT = 8;

/**
 * How many patches of a raster differ from both their left and their upper neighbour. Flat areas and borders that go on count once, so
 * this is how much a screen shows rather than how large it is; in a photograph it is nearly all of them.
 */
export function distinctPatches({ rows, columns, pixels }: PicturePlane): number {
  const difference = patchComparison(pixels);
  const repeats = (patch: number, other: number): boolean => difference(patch, other, DIFFERENT) <= DIFFERENT;
  let distinct = 0;
  for (let patch = 0; patch < rows * columns; patch++) {
    const left = patch % columns > 0 && repeats(patch, patch - 1);
    const above = patch >= columns && repeats(patch, patch - columns);
    if (!left && !above) distinct++;
  }
  return distinct;
}
