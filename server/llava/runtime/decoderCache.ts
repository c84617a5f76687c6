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

/** A layer's rows that outlive the question that computed them; a cache of the same runner's kind can take them over. */
export interface KeptRows {
  /** Memory that they take, wherever it is. */
  readonly reservedBytes: number;
  dispose(): void;
}

/** Keys and values of all layers, wherever they lie. */
export interface DecoderCache {
  readonly layers: readonly CachedRows[];
  readonly bytes: number;
  /** Drops the image tokens for which `keeps` says no from every layer that still holds them; text stays. */
  dropImageTokens(keeps: (imageToken: number) => boolean): Promise<void>;
  /** Rows that {@link keep} answered with become those of the first layers, which are empty. */
  takeOver(kept: readonly KeptRows[], labels: readonly RowLabel[]): void;
  /** The first `rows` rows of the first `depth` layers: a copy, or moved out of this cache, which nobody may use afterwards. */
  keep(rows: number, depth: number, how: 'copy' | 'move'): Promise<KeptRows[]>;
}

/**
 * Kept rows in the place of the first of `layers`, under the labels of another prompt.
 *
 * @param kind of `layers`: what another runner has kept lies elsewhere.
 */
export function takeOverRows<Layer extends KeptRows & { readonly labels: RowLabel[] }>(
  layers: Layer[],
  kept: readonly KeptRows[],
  labels: readonly RowLabel[],
  kind: abstract new (...parameters: never[]) => Layer,
): void {
  kept.forEach((layer, index) => {
    if (!(layer instanceof kind)) throw new Error('These rows are of another kind of cache.');
    layer.labels.splice(0, labels.length, ...labels);
    layers[index] = layer;
  });
}
