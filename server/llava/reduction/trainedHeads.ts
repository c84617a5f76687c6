import type { Matrix } from '../matrix';

/** y = weight x + bias. */
export interface Linear {
  /** [out, in] */
  readonly weight: Matrix;
  /** [out]; none where absent. */
  readonly bias?: Float32Array;
}

/** How a DyRate classifier was trained; both answer in the same way. */
export type DyRateVariant = 'gumbel' | 'expectation';

/** Classifier of the share of image tokens that may be dropped, from where the last position looked. */
export interface DyRateHead {
  readonly variant: DyRateVariant;
  /** What a kept token cost in training; the larger, the fewer are kept. */
  readonly lambda: number;
  /** Length of the pooled attention profile of each head; see dyRateFeatures. */
  readonly profile: number;
  /** [hidden, heads * (4 + profile)], followed by GELU. */
  readonly hidden: Linear;
  /** [rates, hidden]; rate k of K drops the share k / K. */
  readonly rates: Linear;
}

/** The attention by which a question gathers one context token from all patches, and the projector of averaged patches. */
export interface LlamaVidHead {
  /** Trained queries that read the question [queries, textDim]. */
  readonly queries: Matrix;
  readonly textKey: Linear;
  readonly textValue: Linear;
  /** From what a query read to what it looks for: [visionDim, textDim]. */
  readonly query: Linear;
  /** [visionDim, visionDim] */
  readonly key: Linear;
  /** Layer norm of the patches' features [visionDim]. */
  readonly featureNorm: { readonly weight: Float32Array; readonly bias: Float32Array };
  /** From the gathered feature into the decoder's embedding space: [textDim, visionDim]. */
  readonly context: Linear;
  /** From an averaged feature into the decoder's embedding space, with GELU between the two. */
  readonly content: readonly [Linear, Linear];
}

/** Heads that were trained for one checkpoint and lie beside it. */
export interface TrainedHeads {
  readonly dyRate: readonly DyRateHead[];
  readonly llamaVid?: LlamaVidHead;
}
