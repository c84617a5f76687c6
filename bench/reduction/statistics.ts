import { mulberry32 } from '../../server/llava/mulberry32';

/** How two ways did on the same questions: mean difference, its 95 % interval, and how likely so much is by chance. */
export interface PairedDifference {
  /** Share of right answers of the first minus that of the second. */
  readonly difference: number;
  readonly low: number;
  readonly high: number;
  /** Two-sided McNemar test (exact binomial over the questions on which they disagree). */
  readonly p: number;
}

/** One question's outcome under both ways. `cluster`: questions about one picture succeed and fail together. */
export interface Pair {
  readonly cluster: string;
  readonly first: boolean;
  readonly second: boolean;
}

/** Enough for intervals that do not change by more than a fraction of a point from seed to seed. */
const RESAMPLES = 1000;

/** The interval resamples whole pictures with replacement (cluster bootstrap, percentiles). */
export function pairedDifference(pairs: readonly Pair[]): PairedDifference {
  if (pairs.length === 0) return { difference: 0, low: -1, high: 1, p: 1 };
  const clusters = new Map<string, { sum: number; count: number }>();
  let better = 0;
  let worse = 0;
  for (const { cluster, first, second } of pairs) {
    const entry = clusters.get(cluster) ?? { sum: 0, count: 0 };
    entry.sum += Number(first) - Number(second);
    entry.count++;
    clusters.set(cluster, entry);
    if (first && !second) better++;
    if (second && !first) worse++;
  }
  const list = [...clusters.values()];
  const random = mulberry32(1);
  const means = Array.from({ length: RESAMPLES }, () => {
    let sum = 0;
    let count = 0;
    for (let draw = 0; draw < list.length; draw++) {
      const picked = list[Math.floor(random() * list.length)];
      sum += picked.sum;
      count += picked.count;
    }
    return sum / count;
  }).sort((a, b) => a - b);
  return {
    difference: (better - worse) / pairs.length,
    low: means[Math.floor(0.025 * RESAMPLES)],
    high: means[Math.ceil(0.975 * RESAMPLES) - 1],
    p: mcNemar(better, worse),
  };
}

/** Two-sided exact McNemar test: of `a + b` disagreements at least so one-sided a split, where both sides are equally likely. */
export function mcNemar(a: number, b: number): number {
  const n = a + b;
  if (n === 0) return 1;
  let term = 0.5 ** n;
  // Beyond some thousand disagreements 0.5^n underflows; no evaluation here comes near.
  let tail = term;
  for (let k = 1; k <= Math.min(a, b); k++) {
    term *= (n - k + 1) / k;
    tail += term;
  }
  return Math.min(1, 2 * tail);
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
