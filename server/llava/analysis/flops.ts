import { featureStates, type LlavaConfig, patchesPerSide, type TextConfig } from '../checkpoint/config';

/**
 * Multiply-accumulates (MACs; one is two FLOPs) of the matrix products of a LLaVA model. Norms, activations, softmax and
 * rotary embeddings are left out, as the papers leave them out; attention is counted over all pairs, as they count it, although a causal
 * mask needs only half of them. A long prompt, which goes through the decoder in chunks of rows, computes little more than that half. The
 * last layer is counted like the others, although one row of it is wanted ({@link lastLayerShare}).
 */

/** How much of the model one prompt uses. */
export interface PrefillTokens {
  /** Tower runs. */
  readonly images: number;
  /** Image tokens that pass the projector. */
  readonly projected: number;
  /** Prompt tokens (text and image) in each decoder layer. */
  readonly tokensPerLayer: readonly number[];
}

/** MACs of the parts of a prefill. */
export interface PrefillCost {
  readonly tower: number;
  readonly projector: number;
  readonly decoder: number;
  /** The vocabulary projection of the last position. */
  readonly head: number;
}

/** MACs of tower, projector and decoder until the logits of the first answer token are there. */
export function prefillMacs(config: LlavaConfig, tokens: PrefillTokens): number {
  const { tower, projector, decoder, head } = prefillCost(config, tokens);
  return tower + projector + decoder + head;
}

/** {@link prefillMacs} by part. */
export function prefillCost(config: LlavaConfig, tokens: PrefillTokens): PrefillCost {
  const { text } = config;
  return {
    tower: tokens.images * towerMacs(config),
    projector: tokens.projected * projectorMacsPerToken(config),
    decoder: tokens.tokensPerLayer.reduce((sum, rows) => sum + decoderLayerMacs(text, rows, rows), 0),
    head: text.hiddenSize * text.vocabSize,
  };
}

/**
 * MACs of one answer token after the first.
 * @param cachedPerLayer keys in each layer's cache, the token's own included.
 */
export function decodeMacs({ text }: LlavaConfig, cachedPerLayer: readonly number[]): number {
  return cachedPerLayer.reduce(
    (sum, cached) => sum + decoderLayerMacs(text, 1, cached),
    text.hiddenSize * text.vocabSize,
  );
}

/** Bytes of keys and values. */
export function cacheBytes(
  text: TextConfig,
  tokensPerLayer: readonly number[],
  bytesPerValue: 2 | 4 = 4,
): number {
  const perToken = 2 * text.numKeyValueHeads * text.headDim * bytesPerValue;
  return tokensPerLayer.reduce((sum, tokens) => sum + tokens * perToken, 0);
}

/** MACs of the tower for one image: the patch embedding and the layers up to the deepest one that gives features. */
export function towerMacs(config: LlavaConfig): number {
  const { vision } = config;
  const patches = patchesPerSide(vision) ** 2;
  const rows = patches + (vision.hasClassToken ? 1 : 0);
  const embedding = patches * vision.patchSize ** 2 * 3 * vision.hiddenSize;
  const layers = Math.max(...featureStates(config));
  return embedding + layers * plainLayerMacs(rows, vision.hiddenSize, vision.intermediateSize);
}

function projectorMacsPerToken({ vision, text, visionFeatureLayer }: LlavaConfig): number {
  return vision.hiddenSize * visionFeatureLayer.length * text.hiddenSize + text.hiddenSize ** 2;
}

/** What of the decoder's last layer a prefill computes for all rows, and not for the last one alone: queries, keys and values. */
export function lastLayerShare(text: TextConfig, rows: number): number {
  const width = (text.numAttentionHeads + 2 * text.numKeyValueHeads) * text.headDim;
  return (rows * text.hiddenSize * width) / decoderLayerMacs(text, rows, rows);
}

/** q, k, v and output projections (grouped-query: fewer keys and values), scores and mix over `keys`, gated feed-forward. */
function decoderLayerMacs(text: TextConfig, rows: number, keys: number): number {
  const queries = text.numAttentionHeads * text.headDim;
  const keyValues = text.numKeyValueHeads * text.headDim;
  const projections = rows * text.hiddenSize * (2 * queries + 2 * keyValues);
  const attention = 2 * rows * keys * queries;
  const feedForward = 3 * rows * text.hiddenSize * text.intermediateSize;
  return projections + attention + feedForward;
}

/** C(n) = 4nd^2 + 2n^2d + 2ndm: a layer with full attention and a feed-forward of two matrices. */
export function plainLayerMacs(rows: number, dim: number, feedForward: number): number {
  return 4 * rows * dim ** 2 + 2 * rows ** 2 * dim + 2 * rows * dim * feedForward;
}

/** What FastV's paper reports as "FLOPs ratio". */
export interface FastVShape {
  readonly layers: number;
  /** Hidden size and feed-forward size of the decoder. */
  readonly dim: number;
  readonly feedForward: number;
  /** Layers that see all tokens (K). */
  readonly layer: number;
  /** Prompt tokens before and after. */
  readonly tokens: number;
  readonly kept: number;
}

/** [K*C(n) + (T-K)*C(n')] / (T*C(n)) with the paper's C (arXiv 2403.06764, section 4): the decoder's share that is left. */
export function fastVRatio({ layers, dim, feedForward, layer, tokens, kept }: FastVShape): number {
  const full = plainLayerMacs(tokens, dim, feedForward);
  const reduced = plainLayerMacs(kept, dim, feedForward);
  return (layer * full + (layers - layer) * reduced) / (layers * full);
}
