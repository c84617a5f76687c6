import { describe, expect, it } from 'vitest';
import { randomNumbers } from '../../webview/testing/syntheticResult';
import { differingWords } from './wordDiff';

describe('differingWords', () => {
  it('marks what the other text lacks', () => {
    const { a, b } = differingWords(['the', 'red', 'button'], ['the', 'blue', 'round', 'button']);
    expect(a).toEqual([false, true, false]);
    expect(b).toEqual([false, true, true, false]);
  });

  it('leaves the same words in the same order, as many as a longest common subsequence has', () => {
    const random = randomNumbers(5);
    const text = (): string[] =>
      Array.from({ length: Math.floor(9 * random()) }, () => 'abc'[Math.floor(3 * random())]);
    for (let round = 0; round < 200; round += 1) {
      const [x, y] = [text(), text()];
      const { a, b } = differingWords(x, y);
      const common = x.filter((_, index) => !a[index]);
      expect(y.filter((_, index) => !b[index])).toEqual(common);
      expect(common).toHaveLength(longest(x, y));
    }
  });
});

/** By trying everything. */
function longest(x: readonly string[], y: readonly string[]): number {
  if (x.length === 0 || y.length === 0) return 0;
  if (x[0] === y[0]) return 1 + longest(x.slice(1), y.slice(1));
  return Math.max(longest(x.slice(1), y), longest(x, y.slice(1)));
}
