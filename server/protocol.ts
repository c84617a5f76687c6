/**
 * Messages and plain data that cross a border: engine -> language server -> extension host -> token view.
 *
 * This file imports nothing, so that every program can import it. Every type here survives JSON.
 * `docs/protocol.md` documents it; a test fails when the two drift apart.
 */

// ---------------------------------------------------------------------------------------------- errors

/** What went wrong, by who can mend it. Each kind has one exit code on the command line. */
export type ErrorKind = 'input' | 'model' | 'device' | 'cancelled' | 'internal';

/** An error as plain data: survives process and LSP borders without losing what the user needs. */
export interface ErrorData {
  /** Stable, for programs: e.g. `image.truncated`, `model.missing-shard`, `device.unavailable`. */
  code: string;
  kind: ErrorKind;
  /** What happened, in one sentence. */
  message: string;
  /** Why it happened, if known. */
  why?: string;
  /** What the user can do next. */
  nextStep: string;
}

// ---------------------------------------------------------------------------------------------- trace

/**
 * Identifies one image token through all stages. Each image of the prompt owns a block of ids:
 * `firstId + raster index` for its patches, then {@link ImageLayout.classTokenId} for the tower's CLS token (where
 * there is one) and {@link ImageLayout.contextTokenId} for a token that a method synthesised from all patches.
 */
export type TokenId = number;

/** A rectangle in pixels of the SOURCE image (after EXIF rotation). May lie partly outside it where padding was seen. */
export interface PixelRect {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** One square that the vision tower saw: for plain LLaVA the whole (padded or cropped) image, for tiled models several. */
export interface TileLayout {
  /** Id of the tile's first patch; patches follow in raster order. */
  firstId: TokenId;
  rows: number;
  columns: number;
  /** Where the tile lies in the source image; a patch is the (row, column) cell of this rectangle. */
  source: PixelRect;
}

/** How one image of the prompt became image tokens. */
export interface ImageLayout {
  /** Source size in pixels, after EXIF rotation. */
  width: number;
  height: number;
  fit: 'pad' | 'crop' | 'tiles';
  /** Side of the square that the tower sees, in pixels. */
  modelSize: number;
  tiles: TileLayout[];
  firstId: TokenId;
  /** How many patch ids the image owns (all tiles). */
  patches: number;
  classTokenId: TokenId;
  contextTokenId: TokenId;
}

/** Several tokens that became one. Weights are those of the linear combination that was computed. */
export interface MergedToken {
  /** The id under which the merged token goes on. */
  id: TokenId;
  sources: TokenId[];
  weights: number[];
}

export type StagePlace =
  | { at: 'vision' }
  | { at: 'embeddings' }
  /** Before this decoder layer, at prefill. */
  | { at: 'layer'; layer: number }
  /** Before this answer token was computed. */
  | { at: 'step'; step: number };

/** What one reduction did at one place. received = kept + merged sources + dropped, as sets. */
export interface TraceStage {
  place: StagePlace;
  /** Registry id of the method, e.g. `fastv`. */
  method: string;
  /** The canonical spec of the method with its parameters, e.g. `fastv:layer=2,keep=0.5`. */
  spec: string;
  received: TokenId[];
  kept: TokenId[];
  merged: MergedToken[];
  dropped: TokenId[];
  /** The score the method ranked by, aligned with `received`; absent where a method ranks by nothing. */
  scores?: { name: string; values: number[] };
  /** Time of the selection alone, in milliseconds. */
  milliseconds: number;
  /** One sentence for people, where a method decided something itself (an automatic budget, say). */
  note?: string;
}

/** One token of the answer. */
export interface AnswerTokenTrace {
  id: number;
  /** The piece of text that this token added (may be empty in the middle of a multi-byte character). */
  text: string;
  /** Image tokens in the cache that this token could attend to in the deepest layer. */
  imageTokens: number;
  cacheBytes: number;
  milliseconds: number;
  /**
   * Attention of the position that predicted this token over the image tokens, mean over heads and over the decoder
   * layers that still held the token. Aligned with {@link ReductionTrace.decoderTokens}; 0 where a token was dropped everywhere.
   */
  attention: number[];
}

/** Milliseconds by stage of one question. */
export interface Timings {
  load: number;
  decode: number;
  preprocess: number;
  vision: number;
  projector: number;
  selection: number;
  prefill: number;
  /** All answer tokens after the first. */
  generate: number;
  firstToken: number;
  total: number;
}

/** The one truth that the token view draws, exports write, and tests assert. */
export interface ReductionTrace {
  version: 1;
  images: ImageLayout[];
  /** Ids of the image tokens that entered the decoder, in prompt order. */
  decoderTokens: TokenId[];
  stages: TraceStage[];
  answer: AnswerTokenTrace[];
}

/** Counts of one run that comparisons are made of. */
export interface RunCosts {
  imageTokens: {
    /** What the unreduced model would have used. */
    total: number;
    /** What entered the decoder. */
    atDecoder: number;
    /** After each stage of the trace, in order. */
    perStage: number[];
  };
  /** Key/value cache after prefill, in bytes. */
  cacheBytes: number;
  /** Multiply-accumulates of prefill (tower + projector + decoder), and what they would have been without reduction. */
  prefillMacs: number;
  prefillMacsUnreduced: number;
  timings: Timings;
}

/** Everything that one question produced. Also the object that `fovea ask --json` prints (without the trace). */
export interface AnswerResult {
  answer: string;
  answerTokenIds: number[];
  promptTokenIds: number[];
  /** The 20 highest raw logits of the first answer position. */
  firstStep: { topTokenIds: number[]; topLogits: number[] };
  /** Why generation ended. */
  finish: 'stop' | 'length';
  costs: RunCosts;
  trace: ReductionTrace;
  model: ModelSummary;
  device: string;
  /** The canonical reduction spec, `none` included. */
  reduction: string;
  question: string;
}

export interface ModelSummary {
  name: string;
  directory: string;
  family: string;
  parameters: number;
  /** SHA-256 over config and tensor headers + sizes: identifies the model in caches and exports. */
  hash: string;
}

// ---------------------------------------------------------------------------------------------- requests

export interface SamplingOptions {
  maxTokens?: number;
  /** 0 = greedy (the default). */
  temperature?: number;
  topP?: number;
  seed?: number;
}
