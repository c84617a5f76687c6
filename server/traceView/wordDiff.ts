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

export function plainWords(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== '');
}
