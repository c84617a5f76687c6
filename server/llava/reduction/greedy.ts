import { requireNumber } from './topK';

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

/**
 * Candidates by value, the highest first (equal values: the lower index), for choices whose values only ever fall: whoever leads
 * is asked for its present value, sinks to its place, and is the choice where it still leads. A binary heap: a scan of all
 * candidates for every question would cost more than the question.
 */
export class FallingCandidates {
  private readonly heap: Uint32Array;
  private size: number;

  constructor(private readonly values: Float64Array) {
    this.size = values.length;
    this.heap = Uint32Array.from(values, (_, index) => index);
    for (let place = (this.size >> 1) - 1; place >= 0; place--) this.sink(place);
  }

  /** The candidate with the highest value. */
  get leader(): number {
    return this.heap[0];
  }

  /**
   * Gives the leader a value that is not above the one it had.
   * @throws DeviceError where it is not a number, and the choice would never end.
   */
  lowerLeader(value: number): void {
    requireNumber(value);
    this.values[this.heap[0]] = value;
    this.sink(0);
  }

  removeLeader(): void {
    this.heap[0] = this.heap[--this.size];
    this.sink(0);
  }

  private sink(place: number): void {
    const { heap, size, values } = this;
    const candidate = heap[place];
    const value = values[candidate];
    for (;;) {
      let child = 2 * place + 1;
      if (child >= size) break;
      let below = heap[child];
      if (child + 1 < size) {
        const other = heap[child + 1];
        if (values[other] > values[below] || (values[other] === values[below] && other < below)) {
          child++;
          below = other;
        }
      }
      if (value > values[below] || (value === values[below] && candidate < below)) break;
      heap[place] = below;
      place = child;
    }
    heap[place] = candidate;
  }
}
