/** What a cached row belongs to: an image token (its index among the tokens that entered the decoder) or a kind of text. */
export type RowLabel = number;
export const SYSTEM_ROW: RowLabel = -1;
export const INSTRUCTION_ROW: RowLabel = -2;
export const OUTPUT_ROW: RowLabel = -3;

/** The rows that a layer has cached. */
export interface CachedRows {
  readonly length: number;
  /** What every row is. */
  readonly labels: readonly RowLabel[];
  readonly positions: readonly number[];
}

/** Keys and values of all layers, wherever they lie. */
export interface DecoderCache {
  readonly layers: readonly CachedRows[];
  readonly bytes: number;
  /** Drops the image tokens for which `keeps` says no from every layer that still holds them; text stays. */
  dropImageTokens(keeps: (imageToken: number) => boolean): Promise<void>;
}
