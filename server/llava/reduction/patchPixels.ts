import type { PatchPixels } from './patches';

/**
 * Compares patches of a raster: the largest difference of any channel of any pixel between two of them, 0..255; it stops counting once it
 * exceeds `enough`.
 */
export type PatchComparison = (a: number, b: number, enough: number) => number;

export function patchComparison({ data, patchSize }: PatchPixels): PatchComparison {
  const values = patchSize * patchSize * 3;
  // Neighbours on a screen are mostly equal: four values at a time show how far.
  const aligned = values % 4 === 0 && data.byteOffset % 4 === 0;
  const words = aligned ? new Uint32Array(data.buffer, data.byteOffset, data.length >> 2) : undefined;
  return (a, b, enough) => {
    const offsetA = a * values;
    const offsetB = b * values;
    let largest = 0;
    for (
      let at = words ? 4 * equalWords(words, a, b, values >> 2) : 0;
      at < values && largest <= enough;
      at++
    ) {
      const difference = Math.abs(data[offsetA + at] - data[offsetB + at]);
      if (difference > largest) largest = difference;
    }
    return largest;
  };
}

/** How many words of two blocks are equal from the first. */
function equalWords(words: Uint32Array, a: number, b: number, length: number): number {
  const offsetA = a * length;
  const offsetB = b * length;
  let at = 0;
  while (at < length && words[offsetA + at] === words[offsetB + at]) at++;
  return at;
}
