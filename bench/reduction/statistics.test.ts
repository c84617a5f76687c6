import { expect, it } from 'vitest';

import { mcNemar, median, pairedDifference } from './statistics';

it.each([
  // Binomial tails by hand: 2 * (1 + 10) / 2^10, 2 * 1 / 2^5, capped at 1.
  [1, 9, (2 * 11) / 1024],
  [0, 5, 2 / 32],
  [4, 4, 1],
  [0, 0, 1],
])('McNemar with %i and %i', (a, b, p) => {
  expect(mcNemar(a, b)).toBeCloseTo(p, 12);
  expect(mcNemar(b, a)).toBeCloseTo(p, 12);
});

it('pairs are compared question by question, and pictures are resampled as wholes', () => {
  const pair = (cluster: string, first: boolean, second: boolean) => ({ cluster, first, second });
  // On one picture of ten the first way answers everything that the second does not.
  const pairs = Array.from({ length: 40 }, (_, index) => pair(`p${index % 10}`, index % 10 === 0, false));
  const found = pairedDifference(pairs);
  expect(found.difference).toBeCloseTo(0.1, 12);
  // As independent questions 4 of 40 would exclude 0; as one picture of ten it does not.
  expect(found.low).toBe(0);
  expect(found.high).toBeGreaterThanOrEqual(0.3);
  expect(
    pairedDifference(pairs.map(({ cluster, first, second }) => pair(cluster, second, first))).difference,
  ).toBeCloseTo(-0.1, 12);
});

it('the median of an even number of values lies between the middle ones', () => {
  expect(median([4, 1, 3, 2])).toBe(2.5);
  expect(median([5, 1, 3])).toBe(3);
});
