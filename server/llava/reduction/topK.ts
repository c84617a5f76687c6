import { DeviceError } from '../errors';
import type { SelectedToken, Selection } from './reduction';

/**
 * Indices of the `count` highest scores, ascending. Equal scores: the lower index wins. O(N log N).
 * @throws DeviceError where a score is not a number: whatever would be kept then would be kept by accident.
 */
export function topK(scores: ArrayLike<number>, count: number): Uint32Array {
  return ranking(scores).slice(0, Math.max(0, count)).sort();
}

/** All indices, highest score first; equal scores in index order. */
export function ranking(scores: ArrayLike<number>): Uint32Array {
  const order = new Uint32Array(scores.length);
  for (let i = 0; i < order.length; i++) {
    requireNumber(scores[i]);
    order[i] = i;
  }
  return order.sort((a, b) => scores[b] - scores[a] || a - b);
}

/** @throws DeviceError where a value that a choice hangs on is not a number. */
export function requireNumber(value: number): void {
  if (!Number.isNaN(value)) return;
  throw new DeviceError({
    code: 'device.not-a-number',
    message: 'The model computed values that are not numbers.',
    why: 'A value that the reduction ranks by is NaN: half precision overflowed, the device is faulty, or the weights are damaged.',
    nextStep:
      'Ask again with another device (for example cpu) or without a reduction; if that does not help, download the checkpoint again.',
  });
}

/** The ascending indices as tokens that go on unchanged. */
export function keptTokens(indices: Iterable<number>): SelectedToken[] {
  return Array.from(indices, (index) => ({ kind: 'kept', index }));
}

/** All of `count` tokens go on unchanged. */
export function keepAll(count: number, scores?: Selection['scores']): Selection {
  return { tokens: keptTokens(indices(count)), scores };
}

/** 0 .. count-1. */
export function indices(count: number): Uint32Array {
  return Uint32Array.from({ length: count }, (_, index) => index);
}
