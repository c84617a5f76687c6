import { describe, expect, it } from 'vitest';

import { alternate, pairedLaps, pairedRatio, quantile, summarize, summarizeLaps } from './statistics';

describe('statistics of runs', () => {
  it('are median and range', () => {
    expect(summarize([3, 1, 10])).toEqual({ median: 3, minimum: 1, maximum: 10, runs: 3 });
    expect(summarize([4, 1, 2, 3]).median).toBe(2.5);
    expect(quantile([0, 10, 20, 30, 40], 0.99)).toBeCloseTo(39.6, 9);
    expect(() => summarize([])).toThrow();
  });

  it('of pairs are ratios pair by pair: a drift of the machine cancels out', () => {
    const drift = [1, 3, 10];
    expect(
      pairedRatio(
        drift.map((speed) => 2 * speed),
        drift,
      ),
    ).toEqual({ median: 2, minimum: 2, maximum: 2, runs: 3 });
    expect(() => pairedRatio([1], [1, 2])).toThrow();
  });

  it('come from runs in turn, back and forth, after one that does not count', async () => {
    const order: string[] = [];
    let time = 0;
    const subject = (name: string) => async () => {
      order.push(name);
      return { stage: { wall: time, cpu: 2 * time++ } };
    };
    const rounds = await alternate({ a: subject('a'), b: subject('b') }, 2);
    expect(order).toEqual(['a', 'b', 'b', 'a', 'a', 'b']);
    const laps = (...times: number[]) => ({ stage: times.map((wall) => ({ wall, cpu: 2 * wall })) });
    expect(rounds).toEqual({ a: laps(3, 4), b: laps(2, 5) });
    expect(pairedLaps(rounds.b.stage, rounds.a.stage).cpu.maximum).toBe(1.25);
    expect(summarizeLaps(rounds.a.stage).cpu.median).toBe(7);
  });
});
