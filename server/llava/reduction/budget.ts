import type { Budget, TilePlace } from './reduction';

/**
 * Reads a budget as a spec writes it: `64` (tokens), `0.5` or `50%` (a fraction), `all`. `1` is one token.
 * @returns undefined where the text is none of these or lies outside its range.
 */
export function parseBudget(text: string, minimum: 0 | 1): Budget | undefined {
  if (text === 'all') return { kind: 'fraction', fraction: 1 };
  if (/^\d+$/.test(text)) {
    const tokens = Number(text);
    return Number.isSafeInteger(tokens) && tokens >= minimum ? { kind: 'tokens', tokens } : undefined;
  }
  const match = /^(\d*\.\d+|\d+e-\d+|\d*\.\d+e-\d+|\d+(?=%))(%?)$/i.exec(text);
  if (!match) return undefined;
  const percent = match[2] === '%';
  // A percentage becomes the decimal fraction that a person would have written (33.3 % = 0.333, not 0.33299999999999996).
  const fraction = percent ? Number((Number(match[1]) / 100).toPrecision(12)) : Number(match[1]);
  const inRange = fraction > 0 && (percent ? fraction <= 1 : fraction < 1);
  return inRange ? { kind: 'fraction', fraction } : undefined;
}

/** The canonical text of a budget; {@link parseBudget} reads it back. */
export function formatBudget(budget: Budget): string {
  if (budget.kind === 'auto') return 'auto';
  if (budget.kind === 'tokens') return String(budget.tokens);
  return budget.fraction === 1 ? 'all' : String(budget.fraction);
}

/**
 * How many tokens a budget allows; a fraction is rounded, halves up.
 * @param whole what a fraction refers to.
 * @param present how many tokens there are to keep (at most `whole`).
 */
export function budgetTokens(budget: Budget, whole: number, present = whole): number {
  if (budget.kind === 'auto') return present;
  // A fraction of something never means nothing: a model without any image token would answer about no image.
  const wanted = budget.kind === 'tokens' ? budget.tokens : Math.max(1, Math.round(budget.fraction * whole));
  return Math.min(wanted, present);
}

/**
 * The part of an image's budget that falls to one tile, in proportion to its patches. The parts of all tiles sum to the budget exactly,
 * and none exceeds its tile.
 */
export function tileBudget(budget: Budget, tile: TilePlace, patches: number): number {
  return tileShare(budgetTokens(budget, tile.total), tile, patches);
}

/** {@link tileBudget} of a number of tokens that is not larger than the image's. */
export function tileShare(tokens: number, { before, total }: TilePlace, patches: number): number {
  const until = (end: number): number => Math.round((tokens * end) / total);
  return until(before + patches) - until(before);
}
