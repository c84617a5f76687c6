import { distinctPatches } from './distinctPatches';
import type { PicturePlane } from './patches';

/**
 * The rule behind the budget `auto`: as many tokens as the picture has distinct patches, times RATIO, but never fewer than MINIMUM.
 * Both were chosen by `npm run eval` on pictures that its results are not measured on: the fewest tokens that lose no more than a point
 * against the best fixed budget there (docs/results/reduction.md, "Automatic budget"; a test compares these numbers with it).
 */
export const AUTOMATIC_BUDGET: { readonly ratio: number; readonly minimum: number } = {
  ratio: 0.8,
  minimum: 96,
};

/** A number of tokens that was chosen by looking at a picture, and why. */
export interface AutomaticBudget {
  readonly tokens: number;
  /** One sentence for people. */
  readonly reason: string;
}

/** The rule itself. */
export function automaticTokens(distinct: number, patches: number): number {
  const { ratio, minimum } = AUTOMATIC_BUDGET;
  return Math.min(patches, Math.max(minimum, Math.round(ratio * distinct)));
}

/** The budget for the pictures whose planes these are. */
export function automaticBudget(planes: readonly PicturePlane[]): AutomaticBudget {
  const { ratio, minimum } = AUTOMATIC_BUDGET;
  const patches = planes.reduce((sum, { rows, columns }) => sum + rows * columns, 0);
  const distinct = planes.reduce((sum, plane) => sum + distinctPatches(plane), 0);
  const tokens = automaticTokens(distinct, patches);
  const rule =
    tokens === patches
      ? 'so many that nothing is dropped'
      : tokens === minimum
        ? `never fewer than ${minimum} tokens`
        : ratio === 1
          ? 'one token for each'
          : ratio < 1
            ? `tokens for ${Math.round(100 * ratio)} % of them`
            : `${ratio} tokens for each`;
  return {
    tokens,
    reason: `Chosen automatically: ${tokens} of ${patches} tokens. ${distinct} patches differ from their neighbours (${rule}).`,
  };
}
