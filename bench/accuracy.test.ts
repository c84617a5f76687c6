import { describe, expect, it } from 'vitest';

import { accuracy, isExact, summarize } from './accuracy';
import { evenly } from './evaluationSet';

describe('accuracy', () => {
  // Wilson intervals from the published table of Newcombe (1998), "Two-sided confidence intervals for the single proportion".
  it.each([
    [81, 263, 0.2553, 0.3662],
    [15, 148, 0.0624, 0.1605],
    [0, 20, 0, 0.1611],
    [1, 29, 0.0061, 0.1718],
  ])('%i of %i', (right, of, low, high) => {
    const found = accuracy({ right, of });
    expect(found.low).toBeCloseTo(low, 4);
    expect(found.high).toBeCloseTo(high, 4);
    expect(found.share).toBe(right / of);
  });

  it('says nothing about nothing', () => {
    expect(accuracy({ right: 0, of: 0 })).toMatchObject({ low: 0, high: 1 });
  });
});

it('an answer is right letter by letter', () => {
  expect(isExact(' OK, Cancel', 'OK, Cancel')).toBe(true);
  expect(isExact('ok, Cancel', 'OK, Cancel')).toBe(false);
  expect(isExact('OK', 'OK, Cancel')).toBe(false);
});

it('summarizes by type', () => {
  const { all, byType } = summarize([
    { type: 'title', exact: true },
    { type: 'title', exact: false },
    { type: 'theme', exact: true },
  ]);
  expect([all.right, all.of]).toEqual([2, 3]);
  expect(Object.keys(byType)).toEqual(['theme', 'title']);
  expect(byType.title.share).toBe(0.5);
});

it('takes an even part of a set', () => {
  const items = Array.from({ length: 10 }, (_, index) => index);
  expect(evenly(items, 5)).toEqual([0, 2, 4, 6, 8]);
  expect(evenly(items, 20)).toEqual(items);
  expect(evenly(items, 3)).toHaveLength(3);
});
