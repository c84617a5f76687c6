import { describe, expect, it } from 'vitest';
import { DeviceError } from '../errors';
import { mulberry32 } from '../mulberry32';
import { attention } from './testing';
import { keepAll, ranking, topK } from './topK';

describe('topK', () => {
  it('gives the indices of the highest scores, ascending', () => {
    expect([...topK([0.1, 0.9, 0.3, 0.8], 2)]).toEqual([1, 3]);
  });

  it('lets the lower index win among equal scores', () => {
    expect([...topK([1, 2, 1, 2, 1], 3)]).toEqual([0, 1, 3]);
    expect([...topK(new Float32Array(9), 4)]).toEqual([0, 1, 2, 3]);
  });

  it('agrees with picking the highest one by one', () => {
    for (const count of [1, 5, 100, 576]) {
      const scores = attention(576, mulberry32(count));
      const left = new Set(scores.keys());
      const picked: number[] = [];
      while (picked.length < count) {
        let best = -1;
        for (const index of left) if (best < 0 || scores[index] > scores[best]) best = index;
        left.delete(best);
        picked.push(best);
      }
      expect([...topK(scores, count)]).toEqual(picked.sort((a, b) => a - b));
    }
  });

  it('gives all of them where more are asked for, and none where none are', () => {
    expect([...topK([3, 1], 5)]).toEqual([0, 1]);
    expect([...topK([3, 1], 0)]).toEqual([]);
    expect([...topK([], 3)]).toEqual([]);
  });

  it('ranks infinities', () => {
    expect([...ranking([0, -Infinity, Infinity, -Infinity])]).toEqual([2, 0, 1, 3]);
  });

  it('refuses scores that are not numbers', () => {
    expect(() => topK([1, NaN, 2], 1)).toThrow(DeviceError);
  });
});

describe('keepAll', () => {
  it('names every token once, in order', () => {
    expect(keepAll(3).tokens).toEqual([
      { kind: 'kept', index: 0 },
      { kind: 'kept', index: 1 },
      { kind: 'kept', index: 2 },
    ]);
  });
});
