import type { PatchPixels } from './patches';

/** The largest difference of any channel of any pixel between two patches, 0..255; stops counting once it exceeds `enough`. */
export function largestDifference(
  { data, patchSize }: PatchPixels,
  a: number,
  b: number,
  enough: number,
): number {
  const values = patchSize * patchSize * 3;
  const offsetA = a * values;
  const offsetB = b * values;
  let largest = 0;
  for (let at = 0; at < values && largest <= enough; at++) {
    const difference = Math.abs(data[offsetA + at] - data[offsetB + at]);
    if (difference > largest) largest = difference;
  }
  return largest;
}
