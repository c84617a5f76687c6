import { describe, expect, it } from 'vitest';

import { relativeError, selfTest } from './selfTest';

describe('the difference of two outputs', () => {
  it('is relative to the largest expected magnitude', () => {
    expect(relativeError([1, -4, 2], [1, -4, 2])).toBe(0);
    expect(relativeError([1, -4, 2.5], [1, -4, 2])).toBeCloseTo(0.125);
  });

  it.each([
    ['NaN', [NaN, 1], [0, 1]],
    ['a missing number', [1], [1, 1]],
    ['nothing to compare with', [], []],
  ])('does not pass for %s', (_, actual, expected) => {
    expect(relativeError(actual, expected) <= 1e-3).toBe(false);
  });

  it('is infinite for infinity', () => {
    expect(relativeError([Infinity, 1], [2, 1])).toBe(Infinity);
  });
});

describe('the self-test', () => {
  it('finds the CPU equal to itself in every kind of graph', async () => {
    const { offered, speed, cases } = await selfTest({ device: 'cpu', attention: 'plain' });
    expect(offered).toContain('cpu');
    expect(speed!.cpu).toBeGreaterThan(0);
    const kinds = ['vision tower', 'projector', 'attention over the prompt', 'attention over the cache'];
    expect(cases.map(({ name }) => name)).toContain('4-bit product');
    for (const kind of [
      ...kinds,
      'score of a reduction',
      'reduced attention over the cache',
      'attention in chunks',
    ]) {
      expect(cases.filter(({ name }) => name.startsWith(kind)).length).toBeGreaterThanOrEqual(3);
    }
    for (const { error } of cases) expect(error).toBe(0);
  });

  it('tests nothing on a device that onnxruntime does not offer', async () => {
    const absent = process.platform === 'win32' ? 'coreml' : 'dml';
    expect(await selfTest({ device: absent, attention: 'plain' })).toMatchObject({
      speed: undefined,
      cases: [],
    });
  });
});
