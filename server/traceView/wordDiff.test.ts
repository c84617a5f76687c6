import { describe, expect, it } from 'vitest';
import { randomNumbers } from '../../webview/testing/syntheticResult';
import { differingWords, mergedWords } from './wordDiff';

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

describe('mergedWords', () => {
  it('has what was left out before what came instead', () => {
    const words = mergedWords(['the', 'red', 'wide', 'button', 'here'], ['the', 'blue', 'button']);
    expect(words.map(({ word, in: where }) => `${word} ${where}`)).toEqual([
      'the both',
      'red first',
      'wide first',
      'blue second',
      'button both',
      'here first',
    ]);
  });

  it('holds both texts whole and in order', () => {
    const random = randomNumbers(6);
    const text = (): string[] =>
      Array.from({ length: Math.floor(9 * random()) }, () => 'abc'[Math.floor(3 * random())]);
    for (let round = 0; round < 200; round += 1) {
      const [x, y] = [text(), text()];
      const merged = mergedWords(x, y);
      const without = (other: string): string[] =>
        merged.filter((word) => word.in !== other).map(({ word }) => word);
      expect(without('second')).toEqual(x);
      expect(without('first')).toEqual(y);
      expect(merged.filter((word) => word.in === 'both')).toHaveLength(longest(x, y));
    }
  });
});

/** By trying everything. */
function longest(x: readonly string[], y: readonly string[]): number {
  if (x.length === 0 || y.length === 0) return 0;
  if (x[0] === y[0]) return 1 + longest(x.slice(1), y.slice(1));
  return Math.max(longest(x.slice(1), y), longest(x, y.slice(1)));
}
