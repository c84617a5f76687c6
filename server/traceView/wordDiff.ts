/**
 * Which words of two texts are not in their longest common subsequence.
 * Quadratic in the number of words, which answers keep small.
 *
 * @returns for every word of `a`, and of `b`, whether the other text lacks it
 */
export function differingWords(a: readonly string[], b: readonly string[]): { a: boolean[]; b: boolean[] } {
  const columns = b.length + 1;
  // lengths[i * columns + j]: longest common subsequence of a[i..] and b[j..]
  const lengths = new Uint16Array((a.length + 1) * columns);
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      lengths[i * columns + j] =
        a[i] === b[j]
          ? lengths[(i + 1) * columns + j + 1] + 1
          : Math.max(lengths[(i + 1) * columns + j], lengths[i * columns + j + 1]);
    }
  }
  const result = { a: a.map(() => true), b: b.map(() => true) };
  let i = 0;
  let j = 0;
  while (i < a.length && j < b.length) {
    if (a[i] === b[j]) {
      result.a[i] = false;
      result.b[j] = false;
      i += 1;
      j += 1;
    } else if (lengths[(i + 1) * columns + j] >= lengths[i * columns + j + 1]) i += 1;
    else j += 1;
  }
  return result;
}

/** A word of one of two texts, and which of them have it in its place. */
export interface ComparedWord {
  word: string;
  in: 'both' | 'first' | 'second';
}

/** Both texts as one, in order: where they part, first what only the first one has, then what only the second one has. */
export function mergedWords(first: readonly string[], second: readonly string[]): ComparedWord[] {
  const differs = differingWords(first, second);
  const merged: ComparedWord[] = [];
  let next = 0;
  const leftOut = (): void => {
    for (; differs.a[next]; next++) merged.push({ word: first[next], in: 'first' });
  };
  second.forEach((word, index) => {
    leftOut();
    merged.push({ word, in: differs.b[index] ? 'second' : 'both' });
    if (!differs.b[index]) next++;
  });
  leftOut();
  return merged;
}

export function plainWords(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== '');
}
