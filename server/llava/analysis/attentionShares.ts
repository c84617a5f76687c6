import { INSTRUCTION_ROW, type RowLabel, SYSTEM_ROW } from '../runtime/keyValueCache';

/**
 * The three phenomena that visual-token reduction rests on, as numbers of one run: how much attention each type of token gets by
 * decoder layer (FastV) and by generation step (DyRate), and how few patches hold most of the vision tower's attention (VisionZip).
 */

/** `system`: text before the picture; `instruction`: text behind it; `output`: the answer so far. */
export const TOKEN_TYPES = ['system', 'image', 'instruction', 'output'] as const;
export type TokenType = (typeof TOKEN_TYPES)[number];

/** What one type of token gets. */
export interface TypeShare {
  /** Attention mass, 0..1; over all types it sums to 1. */
  readonly share: number;
  /** How many tokens of the type there were (a mean, where rows were averaged). */
  readonly tokens: number;
  /** Share per token; 0 where there were none. The paper's "attention efficiency". */
  readonly efficiency: number;
}

export type TypeShares = Readonly<Record<TokenType, TypeShare>>;

/** One attention row: where one position looked in one layer, mean over heads. */
export interface LabelledRow {
  /** Softmax weights, [tokens]. */
  readonly attention: ArrayLike<number>;
  /** What each token is; aligned with `attention`. */
  readonly labels: readonly RowLabel[];
}

/** A row with its place in the run. */
export interface PlacedRow extends LabelledRow {
  readonly layer: number;
  /** Which answer token the position predicted; 0 = the first. */
  readonly step: number;
}

/** Attention by token type of one row. */
export function typeShares(row: LabelledRow): TypeShares {
  return meanShares([row]);
}

/** Attention by token type for every decoder layer, averaged over generation steps; index = layer. */
export function sharesByLayer(rows: Iterable<PlacedRow>): TypeShares[] {
  return grouped(rows, (row) => row.layer);
}

/** Attention by token type for every generation step, averaged over decoder layers; index = step. */
export function sharesByStep(rows: Iterable<PlacedRow>): TypeShares[] {
  return grouped(rows, (row) => row.step);
}

/** How the vision tower spreads its attention over the patches. */
export interface PatchConcentration {
  /** Shares of the patches, highest first; they sum to 1. */
  readonly sorted: number[];
  /** Share that the highest 1, 5 and 10 % of the patches hold together. */
  readonly top1Percent: number;
  readonly top5Percent: number;
  readonly top10Percent: number;
}

/** @param attention attention that each patch gets (of CLS, or received); any positive scale. */
export function patchConcentration(attention: ArrayLike<number>): PatchConcentration {
  const values = Float64Array.from(attention);
  const total = values.reduce((sum, value) => sum + value, 0);
  const sorted = [...values.sort().reverse()].map((value) => (total > 0 ? value / total : 0));
  return {
    sorted,
    top1Percent: topShare(sorted, 0.01),
    top5Percent: topShare(sorted, 0.05),
    top10Percent: topShare(sorted, 0.1),
  };
}

/** Share of the first `fraction` of the sorted patches; at least one patch. */
function topShare(sorted: readonly number[], fraction: number): number {
  const count = Math.max(1, Math.round(fraction * sorted.length));
  return sorted.slice(0, count).reduce((sum, share) => sum + share, 0);
}

function grouped(rows: Iterable<PlacedRow>, key: (row: PlacedRow) => number): TypeShares[] {
  const groups: PlacedRow[][] = [];
  for (const row of rows) (groups[key(row)] ??= []).push(row);
  // A run that recorded some layers or steps only has no holes in what it shows.
  return Array.from(groups, (group) => meanShares(group ?? []));
}

function meanShares(rows: readonly LabelledRow[]): TypeShares {
  const sums = TOKEN_TYPES.map(() => ({ share: 0, tokens: 0, efficiency: 0 }));
  for (const { attention, labels } of rows) {
    const own = TOKEN_TYPES.map(() => ({ share: 0, tokens: 0 }));
    labels.forEach((label, token) => {
      const type = own[TOKEN_TYPES.indexOf(tokenType(label))];
      type.share += attention[token];
      type.tokens++;
    });
    own.forEach(({ share, tokens }, type) => {
      sums[type].share += share;
      sums[type].tokens += tokens;
      sums[type].efficiency += tokens > 0 ? share / tokens : 0;
    });
  }
  const count = Math.max(1, rows.length);
  const mean = (type: number): TypeShare => ({
    share: sums[type].share / count,
    tokens: sums[type].tokens / count,
    efficiency: sums[type].efficiency / count,
  });
  return { system: mean(0), image: mean(1), instruction: mean(2), output: mean(3) };
}

function tokenType(label: RowLabel): TokenType {
  if (label >= 0) return 'image';
  return label === SYSTEM_ROW ? 'system' : label === INSTRUCTION_ROW ? 'instruction' : 'output';
}
