/** How many of how many answers were exactly right. */
export interface Tally {
  readonly right: number;
  readonly of: number;
}

/** Share with its 95 % confidence interval (Wilson 1927), which stays within 0..1 also for few or no successes. */
export interface Accuracy extends Tally {
  readonly share: number;
  readonly low: number;
  readonly high: number;
}

/** The 97.5 % quantile of the normal distribution. */
const Z = 1.959964;

export function accuracy({ right, of }: Tally): Accuracy {
  if (of === 0) return { right, of, share: 0, low: 0, high: 1 };
  const share = right / of;
  const spread = 1 + Z ** 2 / of;
  const centre = (share + Z ** 2 / (2 * of)) / spread;
  const half = (Z / spread) * Math.sqrt((share * (1 - share)) / of + Z ** 2 / (4 * of ** 2));
  return { right, of, share, low: Math.max(0, centre - half), high: Math.min(1, centre + half) };
}

/** An answer counts when it is the truth, letter by letter; white space around it does not. */
export function isExact(answer: string, truth: string): boolean {
  return answer.trim() === truth.trim();
}

/** Accuracy in all and by type, types in alphabetical order. */
export function summarize(outcomes: readonly { type: string; exact: boolean }[]): {
  all: Accuracy;
  byType: Record<string, Accuracy>;
} {
  const tally = (part: readonly { exact: boolean }[]): Accuracy =>
    accuracy({ right: part.filter(({ exact }) => exact).length, of: part.length });
  const types = [...new Set(outcomes.map(({ type }) => type))].sort();
  return {
    all: tally(outcomes),
    byType: Object.fromEntries(
      types.map((type) => [type, tally(outcomes.filter((outcome) => outcome.type === type))]),
    ),
  };
}
