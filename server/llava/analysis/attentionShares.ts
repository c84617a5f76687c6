import type { TokenType, TypeShare, TypeShares, VisionAttention } from '../../protocol';
import { INSTRUCTION_ROW, type RowLabel, SYSTEM_ROW } from '../runtime/decoderCache';

/**
 * The three phenomena that visual-token reduction rests on, as numbers of one run: how much attention each type of token gets by
 * decoder layer (FastV) and by generation step (DyRate), and how few patches hold most of the vision tower's attention (VisionZip).
 */

export const TOKEN_TYPES = [
  'system',
  'image',
  'instruction',
  'output',
] as const satisfies readonly TokenType[];

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

/** Percentages of the patches that {@link patchConcentration} reports on. */
const TOP_PERCENT = [1, 5, 10] as const;

/**
 * How few patches hold how much of the attention.
 *
 * @param attention attention that each patch gets (of CLS, or received) [patches]; any positive scale.
 */
export function patchConcentration(
  attention: ArrayLike<number>,
): Pick<VisionAttention, 'shares' | 'sorted' | 'top'> {
  const values = Array.from(attention);
  const total = values.reduce((sum, value) => sum + value, 0);
  const shares = values.map((value) => (total > 0 ? value / total : 0));
  const sorted = shares.toSorted((a, b) => b - a);
  const top = TOP_PERCENT.map((percent) => {
    const patches = Math.max(1, Math.round((percent / 100) * sorted.length));
    return { percent, patches, share: sorted.slice(0, patches).reduce((sum, share) => sum + share, 0) };
  });
  return { shares, sorted, top };
}

function grouped(rows: Iterable<PlacedRow>, key: (row: PlacedRow) => number): TypeShares[] {
  const groups: PlacedRow[][] = [];
  for (const row of rows) (groups[key(row)] ??= []).push(row);
  // A run that recorded some layers or steps only has no holes in what it shows.
  return Array.from(groups, (group) => meanShares(group ?? []));
}

function meanShares(rows: readonly LabelledRow[]): TypeShares {
  // Efficiency is averaged where there are tokens of the type: before the answer has one, its tokens do not get nothing.
  const sums = TOKEN_TYPES.map(() => ({ share: 0, tokens: 0, efficiency: 0, present: 0 }));
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
      if (tokens === 0) return;
      sums[type].efficiency += share / tokens;
      sums[type].present++;
    });
  }
  const count = Math.max(1, rows.length);
  const mean = (type: number): TypeShare => ({
    share: sums[type].share / count,
    tokens: sums[type].tokens / count,
    efficiency: sums[type].efficiency / Math.max(1, sums[type].present),
  });
  return { system: mean(0), image: mean(1), instruction: mean(2), output: mean(3) };
}

function tokenType(label: RowLabel): TokenType {
  if (label >= 0) return 'image';
  return label === SYSTEM_ROW ? 'system' : label === INSTRUCTION_ROW ? 'instruction' : 'output';
}
