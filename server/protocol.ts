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
  /** The https address of a page where that is done (the terms of a gated model); opened only when the user asks for it. */
  page?: string;
}

// ---------------------------------------------------------------------------------------------- trace

/**
 * Identifies one image token through all stages. Each image of the prompt owns a block of ids: for each of its tiles
 * `firstId + raster index` in the tile, then {@link ImageLayout.classTokenId} for the tower's CLS token (where
 * there is one) and {@link ImageLayout.contextTokenId} for a token that a method synthesised from all patches, then the
 * same two of every further tile, then {@link ImageLayout.newlines}.
 */
export type TokenId = number;

/** A rectangle in pixels of the SOURCE image (after EXIF rotation). May lie partly outside it where padding was seen. */
export interface PixelRect {
  x: number;
  y: number;
  width: number;
  height: number;
}

/**
 * Image tokens of one square that the vision tower saw: for plain LLaVA the whole (padded or cropped) image; for tiled models
 * the overview first, then the tiles that hold details, without the patches that hold padding only. A patch is what one token
 * stands for; where a model shrinks its details (OneVision), the token is mixed of several of the tower's patches.
 */
export interface TileLayout {
  /** Id of the tile's first patch; patches follow in raster order. */
  firstId: TokenId;
  rows: number;
  columns: number;
  /** Where the patches lie in the source image; a patch is the (row, column) cell of this rectangle. */
  source: PixelRect;
  /**
   * Edges of the columns (`columns` + 1) and rows (`rows` + 1) in source pixels, where they are not evenly spaced: patches of
   * shrunk details that reach over the border of a tile. A patch belongs to the tile that holds its middle.
   */
  edges?: { x: number[]; y: number[] };
  /** Of tiles after the first one, whose tokens these are; the first one's are the image's own. */
  classTokenId?: TokenId;
  contextTokenId?: TokenId;
}

/** A learned token that tells a tiled model where a row of its details ends (`image_newline`). */
export interface NewlineLayout {
  id: TokenId;
  /** The row of patches that it ends, in source pixels. */
  row: PixelRect;
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
  /** Top to bottom; absent for models without tiles. */
  newlines?: NewlineLayout[];
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
  /**
   * The score the method ranked by, aligned with `received` (newlines, which come last there before the decoder, are not
   * ranked and have none); absent where a method ranks by nothing.
   */
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
  /** Opening the model (first question) and making the graphs that this shape of question needs for the first time. */
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
    /** After each stage of the trace, in order: all image tokens of the prompt, also those that the stage did not look at. */
    perStage: number[];
  };
  /** Key/value cache after prefill, in bytes. */
  cacheBytes: number;
  /** Multiply-accumulates of prefill (tower + projector + decoder), and what they would have been without reduction. */
  prefillMacs: number;
  prefillMacsUnreduced: number;
  /** Images whose vision features were there before the question; their tower's time is not in `timings`. */
  imagesReused?: number;
  /**
   * What the decoder had done before the question, for another one about the same images or ahead of this one: the first `tokens` rows of the prompt in its first
   * `layers` layers. Their time is not in `timings`; `prefillMacs` counts them as if they had been computed.
   */
  prefixReused?: { tokens: number; layers: number };
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
  /** How the decoder's weights were held. */
  precision: 'fp32' | 'fp16' | 'q4' | 'q4f16' | 'q4q8';
  /** The canonical reduction spec, `none` included. */
  reduction: string;
  question: string;
  /**
   * Where the pictures were reduced: patches that look like text, how many of them did not reach the answer unchanged and alone, and the
   * same as a share (0..1) where a patch that some layers of the decoder have seen counts for the layers that have not.
   */
  fineText?: { patches: number; lost: number; share: number };
  /**
   * Where a picture has text: how high the smaller text of the picture with the smallest is, in pixels, in the picture itself and where
   * the vision tower sees it.
   */
  textHeight?: { source: number; seen: number };
  warning?: AnswerWarning;
}

/** Something that the user should know about an answer. */
export interface AnswerWarning {
  /**
   * `image.small-text`: the picture's text is probably unreadable at the model's size. `reduction.fine-text`: small text has probably become
   * unreadable by the reduction.
   */
  code: 'image.small-text' | 'reduction.fine-text';
  message: string;
  /** What to ask with instead, where that would help. */
  askAgain?: { reduction: string };
}

export interface ModelSummary {
  name: string;
  directory: string;
  family: string;
  parameters: number;
  /** SHA-256 over config and tensor headers + sizes: identifies the model in caches and exports. */
  hash: string;
}

// ---------------------------------------------------------------------------------------------- attention

/** `system`: text before the first picture; `instruction`: text behind it; `output`: the answer so far. */
export type TokenType = 'system' | 'image' | 'instruction' | 'output';

/** What one type of token gets. */
export interface TypeShare {
  /** Attention mass, 0..1; over all types it sums to 1. */
  readonly share: number;
  /** How many tokens of the type there were (a mean, where rows were averaged). */
  readonly tokens: number;
  /** Share per token; 0 where there were none. FastV's "attention efficiency". */
  readonly efficiency: number;
}

export type TypeShares = Readonly<Record<TokenType, TypeShare>>;

/** How the vision tower spreads its attention over the patches of one image. */
export interface VisionAttention {
  /** `class`: what the CLS token looks at, summed over heads. `received`: what a patch gets from all patches (towers without CLS). */
  kind: 'class' | 'received';
  /** The encoder layer that makes the features, counted from 1, and how many the tower has. */
  layer: number;
  layers: number;
  /** Share of every patch in raster order [patches]; they sum to 1. */
  shares: number[];
  /** The same, highest first. */
  sorted: number[];
  /** What the highest 1, 5 and 10 % of the patches hold together. */
  top: { percent: 1 | 5 | 10; patches: number; share: number }[];
}

/** The answer's likelihood when no image token is left from decoder layer `layer` on. */
export interface RemovalPoint {
  /** 0: the model never saw the image. The number of layers: nothing was removed. */
  layer: number;
  /** Of the whole unreduced answer, its end included, in nats. */
  logLikelihood: number;
  /** The first token of the answer that the model would now choose otherwise (greedily); absent where the answer stays as it is. */
  firstChange?: { index: number; id: number; text: string };
}

/** Attention of one question by type of token, and what the image tokens are worth layer by layer. Everything is measured without reduction. */
export interface AttentionAnalysis {
  version: 1;
  question: string;
  answer: string;
  /** The greedy answer, its end included. */
  answerTokens: { id: number; text: string }[];
  images: ImageLayout[];
  /** One per image; none where the features come from before the tower's first layer. */
  vision: VisionAttention[];
  /** Where the last position of the prompt looks, mean over heads; index = decoder layer. */
  layers: TypeShares[];
  /** Where the positions that predict the answer tokens look, mean over heads and answer tokens; index = decoder layer. */
  answerLayers: TypeShares[];
  /** Where the position that predicts an answer token looks, mean over heads and layers; index = answer token. */
  steps: TypeShares[];
  /** Share of all image tokens [answer tokens][decoder layers]. */
  imageShares: number[][];
  /** All image tokens removed from layer K on; index = K, from 0 to the number of layers. */
  removal: RemovalPoint[];
  model: ModelSummary;
  device: string;
  milliseconds: { answer: number; removal: number };
}

// ---------------------------------------------------------------------------------------------- requests

export interface SamplingOptions {
  maxTokens?: number;
  /** 0 = greedy (the default). */
  temperature?: number;
  topP?: number;
  seed?: number;
}

// ---------------------------------------------------------------------------------------------- language server

/*
 * The language server speaks LSP 3.17 plus the messages below. Each is a namespace with `method` and `type`. `type` is
 * a description without code, because this file imports nothing: each side turns it into the request type of its own
 * JSON-RPC library, e.g. `new ProtocolRequestType<Params, Result, Partial, void, void>(type.method)`.
 *
 * A request that fails answers with LSP's error code `RequestFailed` (-32803), `message` for people, and the whole
 * {@link ErrorData} in `data`; a cancelled one (`$/cancelRequest`) with `RequestCancelled` (-32800).
 */

/** A request by its method; `types` exists for the compiler only and is never set. */
export interface RequestDescription<Params, Result, Partial = void> {
  readonly method: string;
  readonly types?: { readonly params: Params; readonly result: Result; readonly partial: Partial };
}

/** A notification by its method; `types` exists for the compiler only and is never set. */
export interface NotificationDescription<Params> {
  readonly method: string;
  readonly types?: { readonly params: Params };
}

/** LSP's zero-based position; characters are UTF-16 code units. */
export interface TextPosition {
  line: number;
  character: number;
}

export interface TextRange {
  start: TextPosition;
  end: TextPosition;
}

/**
 * `initializationOptions` of the language server. All optional: any LSP client may leave them out, and gets the
 * embedded model, no answer cache on disk, hovers without command links, and the default settings.
 */
export interface ServerOptions {
  /** Absolute folder of the answer cache. Without it answers are not kept. */
  answerCacheDirectory?: string;
  /** Absolute folder for what the engine derives from a checkpoint (sidecars, emitted graphs). Default: a folder in the user's cache. */
  engineCacheDirectory?: string;
  /** Absolute folder of the checkpoint that came with the extension. Default: `model` beside the server's folder. */
  embeddedModelDirectory?: string;
  /** The client runs the commands of {@link HoverCommand}; hovers then carry links to them. */
  hoverCommands?: boolean;
  /** False in a workspace that the user does not trust: only questions that the user asked are answered. Default true. */
  workspaceTrusted?: boolean;
  /** Settings for clients without `workspace/configuration`; also taken from `workspace/didChangeConfiguration`. */
  settings?: unknown;
}

/**
 * Settings of section `fovea`, fetched with `workspace/configuration` (scope: the document, or the image's workspace folder) and again after
 * `workspace/didChangeConfiguration`. A value of the wrong type or out of range is replaced by its default and logged.
 */
export interface Settings {
  /** Checkpoint folder: absolute, `~/...`; empty = the embedded model. Key `fovea.model`. */
  model: string;
  /** Key `fovea.device`. */
  device: DeviceChoice;
  /** Key `fovea.precision`: how the decoder's weights are held. */
  precision: 'auto' | 'fp32' | 'fp16' | 'q4' | 'q4f16' | 'q4q8';
  /** Reduction spec such as `visionzip:keep=64+fastv:layer=2,keep=0.5`; `none` = no reduction. Key `fovea.reduction`. */
  reduction: string;
  /** How a picture that is not square becomes one, for models without tiles. Key `fovea.fit`. */
  fit: 'pad' | 'crop';
  /** Longest answer, in tokens. Key `fovea.maxTokens`. */
  maxTokens: number;
  /** Minutes without a question after which the model leaves memory; 0 = never. Key `fovea.idleUnloadMinutes`. */
  idleUnloadMinutes: number;
  /** Begin with an image while its question is being typed. Key `fovea.readAhead`. */
  readAhead: boolean;
  hover: {
    /** Key `fovea.hover.explain`. `off`: facts and picture only. */
    explain: 'onDemand' | 'onHover' | 'off';
  };
  cache: {
    /** Largest answer cache on disk, in megabytes (10^6 bytes); 0 = keep nothing. Key `fovea.cache.maxSizeMB`. */
    maxSizeMB: number;
  };
  image: {
    /** Largest picture that is decoded, in megapixels (10^6 pixels, all frames). Key `fovea.image.maxMegapixels`. */
    maxMegapixels: number;
  };
}

export type DeviceChoice = 'auto' | 'cpu' | 'webgpu' | 'cuda' | 'dml' | 'coreml';

/** What is used where the user set nothing. The extension's manifest states the same values; a test compares them. */
export const DEFAULT_SETTINGS: Settings = {
  model: '',
  device: 'auto',
  precision: 'auto',
  reduction: 'none',
  fit: 'pad',
  maxTokens: 256,
  idleUnloadMinutes: 10,
  readAhead: true,
  hover: { explain: 'onDemand' },
  cache: { maxSizeMB: 200 },
  image: { maxMegapixels: 50 },
};

/** The question that "Explain this image" asks: in the very words that the embedded model was trained on; larger models take any. */
export const EXPLAIN_QUESTION = 'Describe this screenshot.';

/** Where the bytes of an image are. */
export type ImageSource =
  /**
   * A `file:` or `data:` URI. A file outside the workspace folders is refused (`image.outside-workspace`) unless the
   * user picked it or agreed, which the client says with `outsideWorkspace: true`.
   */
  | { uri: string; outsideWorkspace?: boolean }
  /** The encoded file itself in base64 (clipboard, drop), with a name for people. */
  | { base64: string; name: string }
  /** The image that an open document mentions there ({@link ImageReferenceAtRequest} says which): hovers over long `data:` URIs. */
  | { mention: { textDocument: { uri: string }; position: TextPosition } };

/** What the header of an image file says, without decoding its pixels. */
export interface ImageFacts {
  /** File name, or what an image without a file is called. */
  name: string;
  format: ImageFormat;
  /** Bytes of the encoded file. */
  bytes: number;
  /** Size in pixels as stored, before EXIF rotation; undefined for an SVG without a size. */
  width?: number;
  height?: number;
  /** EXIF orientation 1..8 where it is not 1: 5..8 swap width and height on screen. */
  orientation?: number;
  /** More than one picture in the file (GIF, APNG, WebP). */
  animated?: boolean;
}

export type ImageFormat = 'png' | 'jpeg' | 'gif' | 'webp' | 'bmp' | 'svg' | 'avif' | 'tiff' | 'ico';

/** One mention of an image in a text document. */
export interface ImageReference {
  /** The destination itself: the path or URL, without quotes or brackets. */
  range: TextRange;
  /** The whole construct: `![alt](path)`, `<img ...>`, `url(...)`; the destination where there is none around it. */
  fullRange: TextRange;
  /** Alternative text where the construct has one (an empty one marks a decorative image). Text from the file: untrusted. */
  alt?: string;
  target: ImageTarget;
}

export type ImageTarget =
  /** An existing file that may be read; `uri` is the `file:` URI of its real path. */
  | { kind: 'file'; uri: string }
  /** A `data:` URI, whole, as {@link ImageSource} takes it. */
  | { kind: 'data'; uri: string }
  /** Named, never fetched. */
  | { kind: 'remote'; url: string }
  /** A file that is not there or may not be read; `error.code` is `image.not-found`, `image.outside-workspace`, ... */
  | { kind: 'unreadable'; error: ErrorData };

/**
 * Ask a question about images. Client -> server. Streams the answer's pieces through `partialResultToken`, loading and
 * prefill through `workDoneToken`. Identical requests in flight share one run; an answer in the cache comes at once (and
 * is streamed as one piece). `$/cancelRequest` ends it within one decoding step.
 */
export namespace AskRequest {
  export const method = 'fovea/ask';
  export interface Params {
    images: ImageSource[];
    /** Absent: {@link EXPLAIN_QUESTION}, so that the answer is the one that hovers show. */
    question?: string;
    /** A system text for the prompt's template; absent: the template's own. */
    system?: string;
    /** The whole prompt with its `<image>` marks, in place of question and template. */
    rawPrompt?: string;
    /** Absent: the setting. */
    reduction?: string;
    /** Absent: the setting. */
    fit?: 'pad' | 'crop';
    sampling?: SamplingOptions;
    /** True runs the model even when the answer is cached (and replaces it). */
    fresh?: boolean;
    /** False: nothing that is left of earlier questions is used, so that the costs of answers can be compared. */
    reuse?: boolean;
    /** LSP's tokens; strings or integers of the client's choice. */
    partialResultToken?: string | number;
    workDoneToken?: string | number;
  }
  /** The pieces that came since the last one: append them. The final answer repeats the whole text. */
  export interface Partial {
    pieces: string[];
    /** Index of the first piece among the answer's tokens. */
    index: number;
  }
  export interface Result {
    result: AnswerResult;
    /** The answer came from the cache; its timings are those of the run that made it. */
    cached: boolean;
    /** Facts of the images, in order. */
    images: ImageFacts[];
  }
  export const type: RequestDescription<Params, Result, Partial> = { method };
}

/**
 * Begin with images that somebody is about to ask about. Client -> server. Model, vision tower and as much of the decoder as does not
 * depend on the words of a question are done by the time that it comes. Ends when that is done, at once where the setting
 * `fovea.readAhead` is off, and as cancelled when anything else is asked for; a question about the same images waits for it, and shows its
 * progress. `$/cancelRequest` when there will be no question.
 */
export namespace ReadAheadRequest {
  export const method = 'fovea/readAhead';
  export interface Params {
    images: ImageSource[];
    /** The system text of the coming question; absent: the template's own. */
    system?: string;
  }
  export const type: RequestDescription<Params, null> = { method };
}

/**
 * Measure where the model looks while it answers a question, and how likely the answer is when the image tokens are dropped from any
 * decoder layer on ({@link AttentionAnalysis}). Client -> server, only when the user asked for it: it takes several times as long as
 * the answer. Without reduction, greedily, never cached; it waits in the queue of the questions, and identical requests in flight
 * share one run. Progress through `workDoneToken`; `$/cancelRequest` ends it within one layer or token.
 */
export namespace AnalyzeRequest {
  export const method = 'fovea/analyze';
  export interface Params {
    images: ImageSource[];
    /** Absent: {@link EXPLAIN_QUESTION}. */
    question?: string;
    /** A system text for the prompt's template; absent: the template's own. */
    system?: string;
    /** Absent: the setting. */
    fit?: 'pad' | 'crop';
    /** Longest answer, in tokens. Absent: the setting. */
    maxTokens?: number;
    workDoneToken?: string | number;
  }
  export type Result = AttentionAnalysis;
  export const type: RequestDescription<Params, Result> = { method };
}

/** Facts from an image's header. Client -> server. Never waits for the model. */
export namespace ImageFactsRequest {
  export const method = 'fovea/imageFacts';
  export interface Params {
    image: ImageSource;
  }
  export type Result = ImageFacts;
  export const type: RequestDescription<Params, Result> = { method };
}

/**
 * An image as every browser can show it, whatever its format (SVG and TIFF among them). Client -> server. It is decoded with the limits
 * of the settings, in a process of its own, so that it neither waits for a question nor can hurt one.
 */
export namespace PictureRequest {
  export const method = 'fovea/picture';
  export interface Params {
    image: ImageSource;
    /** Only this part of it, which is cut out before anything is scaled. */
    part?: PixelRect;
  }
  export interface Result {
    /** A PNG: upright, opaque, and scaled down where its longer side had more than 2048 pixels (4096 of a part, which a model is asked about). */
    base64: string;
  }
  export const type: RequestDescription<Params, Result> = { method };
}

/** The image that the text at a position mentions, or null. Client -> server. The document must be open (`textDocument/didOpen`). */
export namespace ImageReferenceAtRequest {
  export const method = 'fovea/imageReferenceAt';
  export interface Params {
    textDocument: { uri: string };
    position: TextPosition;
  }
  export type Result = ImageReference | null;
  export const type: RequestDescription<Params, Result> = { method };
}

/** All images that an open document mentions, in the order of the text. Client -> server. */
export namespace ImageReferencesRequest {
  export const method = 'fovea/imageReferences';
  export interface Params {
    textDocument: { uri: string };
  }
  export type Result = ImageReference[];
  export const type: RequestDescription<Params, Result> = { method };
}

/** The checkpoints that can be chosen without a download. Client -> server. Reads headers only. */
export namespace ListModelsRequest {
  export const method = 'fovea/listModels';
  export type Params = Record<string, never>;
  export interface Model {
    directory: string;
    name: string;
    /** Where it was found: in the extension, in the settings, among Fovea's downloads, or in the Hugging Face cache of this machine. */
    origin: 'embedded' | 'settings' | 'downloads' | 'hugging-face-cache';
    /** The value of `fovea.model` that chooses it (empty for the embedded one). */
    setting: string;
    /** This one answers questions now, by the settings. */
    chosen: boolean;
    summary?: ModelSummary;
    /** Why it cannot be used. */
    error?: ErrorData;
  }
  export type Result = Model[];
  export const type: RequestDescription<Params, Result> = { method };
}

/** Reads one checkpoint folder's headers and says what it is; fails with a `model.*` error. Client -> server. */
export namespace InspectModelRequest {
  export const method = 'fovea/inspectModel';
  export interface Params {
    /** Absolute folder, or `~/...`. */
    directory: string;
  }
  export type Result = ModelSummary;
  export const type: RequestDescription<Params, Result> = { method };
}

/** The models that are worth a try, what they need, and whether they are here. Client -> server. No network. */
export namespace ModelCatalogueRequest {
  export const method = 'fovea/modelCatalogue';
  export type Params = Record<string, never>;
  export interface Entry {
    /** Short name; {@link PlanDownloadRequest} takes it. */
    name: string;
    /** On the hub; absent for the model that comes with Fovea. */
    repository?: string;
    summary: string;
    licence: string;
    /** `model_type` of its config.json. */
    family: string;
    /** Whether this version of the engine can run it. */
    supported: boolean;
    parameters: number;
    /** Approximate size of the files. */
    downloadBytes: number;
    /** Approximate further disk space that the first question on the CPU takes. */
    conversionBytes: number;
    /** Approximate memory for quick answers on the CPU. */
    memoryBytes: number;
    /** What this machine has. */
    machineMemoryBytes: number;
    state: 'embedded' | 'complete' | 'partial' | 'absent';
    /** Its folders on this machine. */
    directories: string[];
  }
  export type Result = Entry[];
  export const type: RequestDescription<Params, Result> = { method };
}

/**
 * Find out what a download would do. Client -> server, when the user has chosen a model by name. Makes no request where the
 * model is on this machine; otherwise asks the hub for the list of files, and writes nothing. The client shows host, size
 * and licence, and asks for consent before it sends {@link DownloadRequest}.
 */
export namespace PlanDownloadRequest {
  export const method = 'fovea/planDownload';
  export interface Params {
    /** A name of the catalogue, or a hub id `organisation/name`. */
    model: string;
    /** Branch, tag or commit; absent: `main`. */
    revision?: string;
  }
  export interface Present {
    kind: 'present';
    /** The value of `fovea.model` that chooses it. */
    directory: string;
  }
  export interface Plan {
    kind: 'download';
    repository: string;
    /** What the revision is now; {@link DownloadRequest} names the plan by it. */
    commit: string;
    /** Who is asked for the files. */
    host: string;
    /** As the model card says; absent where it says nothing. */
    licence?: string;
    files: number;
    totalBytes: number;
    /** Of these, here already. */
    presentBytes: number;
    /** The folder that it will be in. */
    directory: string;
    /** Why this version could not use it: better not downloaded. */
    unsupported?: ErrorData;
  }
  export type Result = Present | Plan;
  export const type: RequestDescription<Params, Result> = { method };
}

/**
 * Download what a plan said. Client -> server, after consent; only a plan of this server is carried out. `$/cancelRequest`
 * stops it; what has arrived stays, and the next download goes on from there.
 */
export namespace DownloadRequest {
  export const method = 'fovea/download';
  export interface Params {
    repository: string;
    commit: string;
    partialResultToken?: string | number;
    workDoneToken?: string | number;
  }
  /** How far it has come. Each one replaces the one before. */
  export interface Partial {
    /** The file at work. */
    file?: string;
    bytes: number;
    totalBytes: number;
    bytesPerSecond?: number;
    secondsLeft?: number;
    /** A pause before a new attempt and its cause, or a check of what is here. */
    note?: string;
  }
  export interface Result {
    /** The value of `fovea.model` that chooses it. */
    directory: string;
  }
  export const type: RequestDescription<Params, Result, Partial> = { method };
}

/** What lies in Fovea's own folder of models, whole or in part, and so may be removed. Client -> server. No network. */
export namespace ListDownloadsRequest {
  export const method = 'fovea/listDownloads';
  export type Params = Record<string, never>;
  export interface Download {
    repository: string;
    /** The folder of the model; where it will be, of one that is not complete. */
    directory: string;
    complete: boolean;
    /** Somebody is at work on it now: this window, another one, or the command line. */
    busy: boolean;
    /** On the disk. */
    bytes: number;
    /** When it is complete, where that is known. */
    totalBytes?: number;
  }
  export type Result = Download[];
  export const type: RequestDescription<Params, Result> = { method };
}

/**
 * Read every file of a downloaded model again and compare it with its hash, and the weights that were converted from it with their checksums.
 * Client -> server. Progress through `partialResultToken`; `$/cancelRequest` ends it.
 */
export namespace VerifyModelRequest {
  export const method = 'fovea/verifyModel';
  export interface Params {
    /** A hub id, or a name of the catalogue. */
    model: string;
    /** Remove what is damaged: the next download fetches it again, and nothing else; the next question converts again. */
    removeDamaged?: boolean;
    partialResultToken?: string | number;
  }
  export interface Partial {
    /** Bytes that were read. */
    bytes: number;
    file: string;
  }
  export interface Result {
    /** How many files are what they must be, those of converted weights included. */
    right: number;
    /** Names of files that are not. */
    damaged: string[];
    /** Names of files of converted weights that are not: the next question makes them again. */
    damagedConversions: string[];
    /** How many files there is nothing to compare with (in a Hugging Face cache without links). */
    unknown: number;
    /** Whether damaged files may be removed: not in the Hugging Face cache, which belongs to others. */
    repairable: boolean;
  }
  export const type: RequestDescription<Params, Result, Partial> = { method };
}

/**
 * Remove a model from Fovea's own folder, with all its revisions and the weights that were converted from it. Client -> server, after
 * consent. Fails for one in the Hugging Face cache. A model that is in memory leaves it first.
 */
export namespace RemoveModelRequest {
  export const method = 'fovea/removeModel';
  export interface Params {
    /** A hub id, or a name of the catalogue. */
    model: string;
  }
  export interface Result {
    /** Bytes that the disk got back. */
    bytes: number;
  }
  export const type: RequestDescription<Params, Result> = { method };
}

/** Every reduction with its parameters, for controls and checks. Client -> server. */
export namespace ReductionsRequest {
  export const method = 'fovea/reductions';
  export type Params = Record<string, never>;
  export type Result = ReductionDescription[];
  export const type: RequestDescription<Params, Result> = { method };
}

/** Everything the command line, the settings, the token view and docs/methods.md say about a method. */
export interface ReductionDescription {
  readonly id: string;
  readonly name: string;
  /** One line. */
  readonly summary: string;
  /** What it keeps and what becomes of the rest, in plain words. */
  readonly details: string;
  /** Title and arXiv number or venue. */
  readonly paper?: string;
  /** Places it acts at, in the order of the way of one question. */
  readonly places: readonly ReductionPlace[];
  readonly needs: readonly ('class-token' | 'heads')[];
  /** A control: it shows what is left without a method's cleverness. */
  readonly control: boolean;
  readonly parameters: readonly ReductionParameter[];
}

export type ReductionPlace = 'pixels' | 'vision' | 'embeddings' | 'layer' | 'step';

export type ReductionParameter =
  | {
      readonly name: string;
      /** A number of tokens, or a fraction of them: `64`, `0.5`, `50%`, `all`; see `auto`. */
      readonly type: 'budget';
      readonly minimum: 0 | 1;
      /** May be `auto`: chosen by looking at the picture. */
      readonly auto?: true;
      /** Where several parameters share the budget of a whole picture: this one's part of it. All parts sum to 1. */
      readonly share?: number;
      /** In the syntax of a spec. */
      readonly default: string;
      readonly description: string;
    }
  | {
      readonly name: string;
      readonly type: 'integer' | 'number';
      readonly minimum: number;
      readonly maximum: number;
      readonly default: number | undefined;
      readonly description: string;
    }
  | {
      readonly name: string;
      readonly type: 'choice';
      readonly choices: readonly string[];
      readonly default: string;
      readonly description: string;
    };

/** Export one answer with its tokens as a file. Client -> server; the client chooses where to write it. */
export namespace ExportTraceRequest {
  export const method = 'fovea/exportTrace';
  export interface Params {
    format: 'png' | 'json' | 'html';
    /** The answer as {@link AskRequest} gave it. */
    result: AnswerResult;
    /** `html`, `json`: answers to be compared with it, about the same images, in the order of asking. */
    earlier?: AnswerResult[];
    /** The same images in the same order. */
    images: ImageSource[];
  }
  export interface Result {
    /** Suggested file name, safe on every system. */
    name: string;
    mimeType: string;
    base64: string;
  }
  export const type: RequestDescription<Params, Result> = { method };
}

/** Start the inference process again after it stopped for good (or at any time). Client -> server. Answers when it has ended; it starts with the next question. */
export namespace RestartInferenceRequest {
  export const method = 'fovea/restartInference';
  export type Params = Record<string, never>;
  export type Result = null;
  export const type: RequestDescription<Params, Result> = { method };
}

/** Forget all cached answers. Client -> server. */
export namespace ClearAnswerCacheRequest {
  export const method = 'fovea/clearAnswerCache';
  export type Params = Record<string, never>;
  export interface Result {
    answers: number;
    bytes: number;
  }
  export const type: RequestDescription<Params, Result> = { method };
}

/** State of inference, for the status item. Server -> client: once after `initialized`, and after every change. */
export namespace StatusNotification {
  export const method = 'fovea/status';
  export interface Params {
    /**
     * - `idle`: nothing loaded (not yet, or unloaded after a while); the next question loads.
     * - `loading`: the process starts, the device is tried, or the model loads.
     * - `ready`: the model is in memory.
     * - `working`: a question is being answered.
     * - `failed`: the model could not be loaded; `error` says why; the next question tries again.
     * - `stopped`: it crashed too often; `error` says why; only {@link RestartInferenceRequest} or a changed setting starts it.
     */
    state: 'idle' | 'loading' | 'ready' | 'working' | 'failed' | 'stopped';
    /** The loaded (or loading) checkpoint. */
    model?: ModelSummary;
    /** The folder the settings choose, also when nothing is loaded. */
    modelDirectory: string;
    /** The device in use, e.g. `cpu`, `webgpu`. */
    device?: string;
    /** What spoke for this device, or against others, in sentences; absent where it is simply what was asked for. */
    deviceNote?: string;
    /** How the decoder's weights are held, and why. */
    precision?: string;
    precisionNote?: string;
    /** Memory of the inference process, in bytes. */
    memoryBytes?: number;
    /** Questions that wait, without the one at work. */
    waiting: number;
    /** What is going on, e.g. `reading weights`; with a fraction 0..1 where known. */
    stage?: string;
    fraction?: number;
    error?: ErrorData;
  }
  export const type: NotificationDescription<Params> = { method };
}

/** The user granted (or revoked) trust in the workspace. Client -> server. */
export namespace WorkspaceTrustNotification {
  export const method = 'fovea/workspaceTrust';
  export interface Params {
    trusted: boolean;
  }
  export const type: NotificationDescription<Params> = { method };
}

/**
 * The commands that hovers link to, when the client said `hoverCommands: true`. The contents of such a hover are an
 * array: text taken from files and answers first, escaped, and LAST a part that holds nothing but these links, matching
 * {@link HOVER_COMMAND_PART}. The client marks that part (and no other) as trusted for these commands.
 */
export const HoverCommand = {
  /** Argument: {@link HoverCommandArgument}. Asks {@link EXPLAIN_QUESTION} and shows the answer in the token view. */
  explain: 'fovea.explain',
  /** Argument: {@link HoverCommandArgument}. Asks the user for a question first. */
  ask: 'fovea.ask',
  /** No argument. Offered when inference is stopped. */
  restart: 'fovea.restartInference',
} as const;

export interface HoverCommandArgument {
  image: ImageSource;
  /** Ask with this reduction instead of the one in the settings. */
  reduction?: string;
}

/** One or more links to our commands, separated by ` | `, and nothing else. */
export const HOVER_COMMAND_PART =
  /^\[[A-Za-z ]+\]\(command:fovea\.[A-Za-z]+(?:\?[\w%.~!*'-]*)?\)(?: \| \[[A-Za-z ]+\]\(command:fovea\.[A-Za-z]+(?:\?[\w%.~!*'-]*)?\))*$/;

// ---------------------------------------------------------------------------------------------- token view

/**
 * The messages between the extension host and the token view (a webview). Each side validates what it receives and
 * ignores, with a log line, what it does not understand (`server/traceView/messages.ts`).
 *
 * A run is one question; its number is given by the extension host and never used twice in one window. The order of a
 * run's messages is `asked`, any `progress` and `answerPart`, then exactly one of `answered` and `failed`. A token view
 * that becomes visible again posts `ready` and is told the present state by the same messages.
 */

/** A picture as the token view shows it. */
export interface TokenViewPicture {
  /** What the user calls it: a path relative to the workspace, or "Clipboard". */
  name: string;
  /**
   * `data:image/(png|jpeg|webp|gif|avif);base64,...`, rotated upright. May be smaller than the source: it is stretched to
   * {@link ImageLayout.width} x {@link ImageLayout.height}.
   */
  dataUrl: string;
  /** Source size in pixels, where it is known before an answer's trace tells it. */
  width?: number;
  height?: number;
  /** A part of another image, which the view can go back to. */
  isPart?: boolean;
}

/** Something that the user should know about an answer, with at most one way to act on it. */
export interface TokenViewWarning {
  message: string;
  /** One click: ask the same question with this reduction. */
  askAgain?: { title: string; reduction: string };
  /** One click: do this. */
  action?: { title: string; action: TokenViewAction };
}

/** What the error panel's button does. Everything else that an error advises stays text. */
export type TokenViewAction = 'chooseModel' | 'restartInference' | 'showLog' | 'openSettings' | 'pickImage';

/** One question as the token view shows it before and after it is answered. */
export interface TokenViewQuestion {
  pictures: TokenViewPicture[];
  question: string;
  /** The reduction spec that was asked for. */
  reduction: string;
  fit: 'pad' | 'crop';
}

/** A finished question: what exports are made of, and what the standalone page carries. */
export interface TokenViewAnswer extends TokenViewQuestion {
  result: AnswerResult;
  warning?: TokenViewWarning;
  /** True when the answer came from the answer cache, so its times are those of an earlier run. */
  cached?: boolean;
}

/** Extension host -> token view. */
export type ToTokenView =
  /** What the ask-again form offers; sent after `ready` and whenever settings or the model change. */
  | {
      type: 'setup';
      methods: ReductionDescription[];
      reduction: string;
      fit: 'pad' | 'crop';
      model?: string;
      device?: string;
    }
  /** An image was chosen and nothing asked yet. */
  | { type: 'picture'; pictures: TokenViewPicture[]; question?: string }
  /** A question was accepted (from the view, the palette or a hover). */
  | ({ type: 'asked'; run: number } & TokenViewQuestion)
  /** Loading the model, reading the image, waiting in the queue... `fraction` is 0..1 where it is known. */
  | { type: 'progress'; run: number; message: string; fraction?: number }
  /** A piece of the answer, appended to what came before. */
  | { type: 'answerPart'; run: number; text: string }
  | { type: 'answered'; run: number; result: AnswerResult; warning?: TokenViewWarning; cached?: boolean }
  /** `error.kind` `cancelled` is shown as cancelled, not as a failure. */
  | { type: 'failed'; run: number; error: ErrorData; action?: { title: string; action: TokenViewAction } }
  /** All reductions of a comparison have had their turn: show the answers side by side. */
  | { type: 'compared' }
  /** The attention of an answered run: any `analyzing`, then one of the other two. A new question ends it. */
  | { type: 'analyzing'; run: number; message: string; fraction?: number }
  | { type: 'analyzed'; run: number; analysis: AttentionAnalysis }
  | { type: 'analysisFailed'; run: number; error: ErrorData };

/** Token view -> extension host. */
export type FromTokenView =
  /** The view can receive. `runs`: the answers that it still has from before it was hidden or reloaded; what else there is it wants to be told. */
  | { type: 'ready'; runs: number[] }
  /** Ask about the pictures that the view shows, or about a part of one of them alone. */
  | {
      type: 'ask';
      question: string;
      reduction: string;
      fit: 'pad' | 'crop';
      part?: { image: number; rect: PixelRect };
    }
  /** The view shows a part of an image: show all of it again. */
  | { type: 'wholeImage' }
  | { type: 'cancel'; run: number }
  /** Measure the attention of an answered question about the pictures that the view shows. */
  | { type: 'analyze'; run: number; question: string; fit: 'pad' | 'crop' }
  | { type: 'cancelAnalysis'; run: number }
  /** Let the user choose an image of the workspace. */
  | { type: 'pickImage' }
  /** The user pasted or dropped an image. */
  | { type: 'image'; name: string; dataUrl: string }
  /** The user dropped files of the workspace: their URIs, untrusted. */
  | { type: 'dropped'; uris: string[] }
  | { type: 'action'; action: TokenViewAction }
  /** Save an export where the user says. `png` carries the picture (`data:image/png;base64,...`), the others the shown answer. */
  | { type: 'export'; format: 'png'; name: string; dataUrl: string }
  /** `earlier`: the answers that it is compared with, in the order of asking. */
  | {
      type: 'export';
      format: 'json' | 'html';
      name: string;
      answer: TokenViewAnswer;
      earlier?: AnswerResult[];
    }
  /** An analysis as a page or as data: the file itself, as the view made it. */
  | { type: 'export'; format: 'json' | 'html'; name: string; text: string }
  /** The view may not write to the clipboard itself everywhere. */
  | { type: 'copyText'; text: string }
  /** A message for the log channel, e.g. a malformed message that was ignored. */
  | { type: 'log'; message: string };
