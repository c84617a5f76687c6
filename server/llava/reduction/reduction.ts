import type { ReductionDescription } from '../../protocol';
import type { Matrix } from '../matrix';
import type { AutomaticBudget } from './automaticBudget';
import type { Grid, PatchPixels } from './patches';
import type { TrainedHeads } from './trainedHeads';

/**
 * The interface of every visual-token reduction: a plain object of optional hooks over typed arrays. A reduction knows
 * no ONNX, no session, no file; it answers with WHICH tokens go on and which merged into what, never with pixels.
 *
 * Inside a hook tokens are named by their index in what the hook received (0 .. count-1). The pipeline (generate.ts)
 * translates to {@link TokenId}s, applies the selection and writes the trace.
 */

/** What a reduction leaves of the tokens it received. */
export interface Selection {
  /**
   * The tokens that go on, in the order in which they go on. Text is untouched by construction.
   * - `kept`: unchanged.
   * - `merged`: sum of weights[i] * token[sources[i]]; `target` is the source under whose id it goes on. With a `vector` [textDim] the method has
   *   projected it itself (LLaMA-VID), and it does not pass the projector.
   * - `context`: a new token computed from all of them (LLaMA-VID). `vector` [textDim] is already in the decoder's
   *   embedding space and does not pass the projector; `weights` [received] tell how much each token contributed.
   */
  readonly tokens: readonly SelectedToken[];
  /** What the method ranked by, aligned with the received tokens. */
  readonly scores?: { readonly name: string; readonly values: Float32Array };
  /** One sentence for people where the method decided something itself. */
  readonly note?: string;
}

export type SelectedToken =
  | { readonly kind: 'kept'; readonly index: number }
  | {
      readonly kind: 'merged';
      readonly target: number;
      readonly sources: Uint32Array;
      readonly weights: Float32Array;
      readonly vector?: Float32Array;
    }
  | { readonly kind: 'context'; readonly weights: Float32Array; readonly vector: Float32Array };

/**
 * Where a tile stands among the tower inputs of its image. Of a plain image there is one; of a tiled one the overview comes first, then
 * the details tile by tile. A budget is for the whole image: see tileBudget in budget.ts.
 */
export interface TilePlace {
  /** 0 = the only one, or the overview. */
  readonly index: number;
  /** Patches of the tiles before this one, and of all tiles. */
  readonly before: number;
  readonly total: number;
  /** The rasters of the image: the overview (or only square), and the details across all tiles. */
  readonly planes: readonly Grid[];
}

/** After the vision tower, before the projector: one tower input (tile) at a time. */
export interface VisionInput {
  /** Of a tile of details: without the patches that hold padding only, and shrunk where the model shrinks them. */
  readonly grid: Grid;
  readonly tile: TilePlace;
  /**
   * The selected feature layer: patches in raster order [patches, dim]; where the tower has a CLS token and the method
   * asked for it, row `patches` is the CLS token's feature (index = grid.rows * grid.columns).
   */
  readonly features: Matrix;
  /** Index of the CLS token in `features`, or undefined (SigLIP). */
  readonly classToken: number | undefined;
  /** Attention of the CLS query over the patches in the layer that made the features, summed over heads [patches]. CLIP only. */
  readonly classAttention?: Float32Array;
  /** Attention a patch receives, mean over all patch queries and heads [patches]. Towers without CLS only. */
  readonly receivedAttention?: Float32Array;
  /** Key projection of that layer (with bias, unscaled), mean over heads [patches, headDim]. */
  readonly keys?: Matrix;
  /**
   * Cosine similarity of the patches' features [patches, patches], where the engine has a faster way to it than the
   * hook (a matrix product on the device). A hook that needs it and does not find it computes it.
   */
  readonly similarity?: Matrix;
  /** Hidden states of the question's text tokens (decoder input embeddings) [tokens, textDim]. */
  readonly questionEmbeddings: Matrix;
  /** Heads that were trained for this checkpoint. */
  readonly heads?: TrainedHeads;
  readonly signal?: AbortSignal;
}

/** A picture that tokens tile without overlap: the only square of a plain image; the overview; the details across all tiles. */
export interface TokenPlane extends Grid {
  /** Raster index of its first patch: planes are numbered through. */
  readonly first: number;
  readonly pixels: PatchPixels;
}

/**
 * After the projector: all image tokens of one image, in prompt order, through all tiles. Newlines are not among them: each stays as long
 * as a token of its row does.
 */
export interface EmbeddingsInput {
  readonly planes: readonly TokenPlane[];
  /** [tokens, textDim] */
  readonly embeddings: Matrix;
  /** For every token its raster index through all planes, or -1 (CLS, context). */
  readonly raster: Int32Array;
  /** Importance scores that an earlier place produced, aligned with the tokens: CLS attention or received attention. */
  readonly importance?: Float32Array;
  /** Cosine similarity of the tokens [tokens, tokens], as in {@link VisionInput.similarity}. */
  readonly similarity?: Matrix;
  readonly questionEmbeddings: Matrix;
  readonly signal?: AbortSignal;
}

export type LayerScore =
  /** Attention of the last prompt position over the image tokens, layer-1, mean over heads. */
  | 'lastQuery'
  /** Attention received, summed over all prompt queries, mean over heads. */
  | 'columnSum'
  /** As lastQuery, with queries and keys before the rotary embedding (FEATHER). */
  | 'lastQueryNoRotary'
  /** Attention from all text positions after the image, mean over heads and those queries (SparseVLM). */
  | 'textQueries';

/** Before decoder layer `layer`, at prefill: all image tokens of the prompt that are still there. */
export interface LayerInput {
  readonly layer: number;
  readonly layers: number;
  /** How many image tokens entered the decoder; fractions of a budget refer to it. */
  readonly enteredDecoder: number;
  /** Aligned with the current image tokens. Softmax was taken over the whole prompt. */
  readonly scores: Float32Array;
  /** For every current image token the raster index in its image, or -1 (CLS, context, newline). */
  readonly raster: Int32Array;
  readonly signal?: AbortSignal;
}

/** Before an answer token is computed: the image tokens that are still in the cache. */
export interface StepInput {
  /** 0 = the step that predicts the second answer token. */
  readonly step: number;
  readonly enteredDecoder: number;
  /** Attention of the previous position per head (mean over layers) [heads, image tokens still cached]. */
  readonly headAttention: Matrix;
  /** Attention mass of that position by token type per head [heads, 4]: system (before the image), image, instruction (after it), output. */
  readonly typeMass: Matrix;
  /** Attention of the prompt's last position over the cached image tokens, mean over heads and over the layers that hold a token: a fixed order. */
  readonly importance: Float32Array;
  /** Heads that were trained for this checkpoint. */
  readonly heads?: TrainedHeads;
}

/** Before the vision tower: how large the content of the model's square may be. */
export interface PixelsInput {
  /** The tower's own raster. */
  readonly grid: Grid;
}

export interface ModelShape {
  readonly layers: number;
  readonly hasClassToken: boolean;
  readonly imageTokens: number;
}

export interface Reduction {
  /** Registry id. */
  readonly id: string;
  /** Canonical spec: id, every number and budget, and the choices that differ from their defaults. */
  readonly spec: string;

  /**
   * Where a budget is `auto`: the same reduction with a number of tokens in its place. The engine resolves every reduction before it
   * calls a hook, for each image by itself before the decoder, and for all of them together inside it. An unresolved one keeps everything.
   */
  resolve?(automatic: AutomaticBudget): Reduction;
  /** How the budget of a resolved reduction was chosen. */
  readonly automatic?: AutomaticBudget;

  /** For a method that needs a trained head: whether these hold it. The engine refuses it otherwise (heads.ts, requireHeads). */
  usesHead?(heads: TrainedHeads): boolean;

  /**
   * The raster that the image's content is to fill: the engine shrinks what would have filled the whole model square (of a tiled image:
   * the overview) to this many patches (times the patch size) and pastes it into the top left corner; the rest is the padding colour.
   * Dropping the patches outside, and the details, is `atVision`'s part. Undefined leaves the image as it is.
   */
  atPixels?(input: PixelsInput): Grid | undefined;

  /**
   * Which extra outputs of the vision tower the hooks before the decoder need; `attention` also makes
   * {@link EmbeddingsInput.importance}.
   */
  readonly visionNeeds?: {
    readonly classToken?: boolean;
    readonly attention?: boolean;
    readonly keys?: boolean;
  };
  /** A hook before the decoder looks at the question, so that nothing behind it can be computed before the question is known. */
  readonly readsQuestion?: boolean;
  /** The hook before the decoder reads `similarity`. A wish: an engine that has no fast way to it may ignore this. */
  readonly wantsSimilarity?: boolean;
  atVision?(input: VisionInput): Selection;

  atEmbeddings?(input: EmbeddingsInput): Selection;

  /**
   * The decoder layers before which `atLayer` is called, ascending, and the score each wants. The engine refuses layers
   * that the model does not have (1 .. layers-1 can be asked for).
   */
  layerBoundaries?(model: ModelShape): readonly { layer: number; score: LayerScore }[];
  /** Answers with `kept` tokens only, ascending. */
  atLayer?(input: LayerInput): Selection;

  /** Answers with the indices to keep (ascending), or undefined to leave the cache as it is. */
  atStep?(input: StepInput): Uint32Array | undefined;
}

/** How many tokens may stay: a number of tokens, or a fraction (0 < fraction <= 1) of what the parameter refers to. */
export type Budget =
  | { readonly kind: 'tokens'; readonly tokens: number }
  | { readonly kind: 'fraction'; readonly fraction: number }
  /** Chosen by looking at the picture (automaticBudget.ts). */
  | { readonly kind: 'auto' };

export type { ReductionDescription, ReductionParameter, ReductionPlace } from '../../protocol';

/** Parameter name -> value, range-checked, defaults filled in. */
export type ParameterValues = Readonly<Record<string, number | string | Budget>>;

export interface ReductionMethod {
  readonly description: ReductionDescription;
  /** @param values parameters parsed and range-checked, defaults filled in. */
  create(values: ParameterValues): Reduction;
}
