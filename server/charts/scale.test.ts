import { describe, expect, it } from 'vitest';

import { indexTicks, linearScale, logScale } from './scale';

describe('a linear scale', () => {
  it.each([
    [0, 1],
    [0, 0.0037],
    [-2.48, 0.036],
    [-1e-5, 3e-5],
    [0, 123456],
    [5, 5],
    [0, 0],
  ])('covers %d to %d with few round ticks', (low, high) => {
    const { ticks, at } = linearScale(low, high, [100, 0]);
    expect(ticks.length).toBeGreaterThanOrEqual(2);
    expect(ticks.length).toBeLessThanOrEqual(8);
    expect(ticks[0]).toBeLessThanOrEqual(low + 1e-12);
    expect(ticks[ticks.length - 1]).toBeGreaterThanOrEqual(high - 1e-12);
    const step = ticks[1] - ticks[0];
    expect(['1', '2', '5']).toContain(step.toExponential(6)[0]);
    ticks.forEach((tick, index) => expect(tick).toBeCloseTo(ticks[0] + index * step, 9));
    expect(at(ticks[0])).toBeCloseTo(100, 9);
    expect(at(ticks[ticks.length - 1])).toBeCloseTo(0, 9);
  });

  it('is linear in between', () => {
    const { at } = linearScale(0, 10, [0, 200]);
    expect([0, 2.5, 5, 10].map(at)).toEqual([0, 50, 100, 200]);
  });

  it('names decimals as people do', () => {
    expect(linearScale(0, 0.5, [0, 1]).ticks).toEqual([0, 0.1, 0.2, 0.3, 0.4, 0.5]);
  });
});

describe('a logarithmic scale', () => {
  it('has whole powers of ten around the values, and the same distance for the same factor', () => {
    const { ticks, at } = logScale(0.004, 7, [0, 400]);
    expect(ticks).toEqual([0.001, 0.01, 0.1, 1, 10]);
    expect(ticks.map(at)).toEqual([0, 100, 200, 300, 400].map((place) => expect.closeTo(place, 9)));
    expect(at(0.5) - at(0.05)).toBeCloseTo(100, 9);
  });

  it('thins its ticks over many powers', () => {
    expect(logScale(1e-12, 1, [0, 1]).ticks.length).toBeLessThanOrEqual(7);
  });

  it('cannot show what has no logarithm', () => {
    const { shows } = logScale(1, 10, [0, 1]);
    expect([0, -1, NaN, Infinity, 3].map(shows)).toEqual([false, false, false, false, true]);
  });

  it('puts what lies below it on its edge', () => {
    const { at } = logScale(0.01, 1, [0, 100]);
    expect([1e-30, 0.001, 0.01].map(at)).toEqual([0, 0, 0]);
  });

  it('does with a single value', () => {
    const { at } = logScale(1, 1, [0, 10]);
    expect(at(1)).toBe(0);
  });
});

describe('ticks over things that are counted', () => {
  it.each([1, 2, 7, 12, 32, 577, 100_000])('%d things have a few ticks from 0 on', (count) => {
    const ticks = indexTicks(count, 10);
    expect(ticks[0]).toBe(0);
    expect(ticks.length).toBeLessThanOrEqual(11);
    expect(ticks[ticks.length - 1]).toBeLessThan(count);
    expect(ticks.length > 1 || count === 1).toBe(true);
  });
});
