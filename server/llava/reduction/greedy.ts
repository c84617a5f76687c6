/** The index of the highest value among those not yet taken; equal values: the lower index. -1 where all are taken. */
export function highestFree(values: ArrayLike<number>, taken: Uint8Array): number {
  let best = -1;
  for (let index = 0; index < taken.length; index++) {
    if (taken[index] === 0 && (best < 0 || values[index] > values[best])) best = index;
  }
  return best;
}

/** The indices that are marked, ascending. */
export function marked(taken: Uint8Array): number[] {
  const indices: number[] = [];
  taken.forEach((mark, index) => {
    if (mark) indices.push(index);
  });
  return indices;
}
