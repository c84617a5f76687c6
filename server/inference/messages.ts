import type {
  AnswerResult,
  AttentionAnalysis,
  ErrorData,
  ModelSummary,
  PixelRect,
  SamplingOptions,
} from '../protocol';
import type { DevicePlan } from '../llava/runtime/device';
import type { SelfTestReport } from '../llava/runtime/selfTest';
import type { ChosenPrecision, PrecisionChoice } from '../llava/checkpoint/precision';

/**
 * What the language server and the inference process say to each other. The channel is Node's IPC with `advanced`
 * serialisation, so typed arrays cross as they are.
 */

/** Which model, where: one inference process holds exactly one of these. */
export interface ModelPlan {
  directory: string;
  /** A device that has passed its test. */
  plan: DevicePlan;
  precision: PrecisionChoice;
  /** Folder for what the engine derives from the checkpoint; absent: the engine's own in the user's cache. */
  cacheDirectory?: string;
}

export interface LoadedModel {
  summary: ModelSummary;
  /** The device that was opened. */
  device: string;
  precision: ChosenPrecision;
}

/** One question, with everything that changes its answer. */
export interface EngineQuestion {
  /** Encoded image files. */
  images: Uint8Array[];
  question: string;
  system?: string;
  rawPrompt?: string;
  reduction?: string;
  fit?: 'pad' | 'crop';
  sampling?: SamplingOptions;
  limits: ImageLimits;
}

/** A question as it is asked. */
export type EngineAsk = EngineQuestion & {
  /** False computes everything, whatever earlier questions left: for comparing costs. */
  reuse?: boolean;
};

/** What is known of a question before it is asked. */
export type EngineReadAhead = Omit<EngineQuestion, 'question' | 'rawPrompt' | 'sampling'>;

/** A question to analyse: unreduced and greedy. */
export type EngineAnalysis = Omit<EngineQuestion, 'reduction' | 'sampling'> & { maxTokens?: number };

export interface ImageLimits {
  /** Most pixels of one picture that are decoded. */
  maxPixels: number;
}

export interface ExportOrder {
  format: 'png' | 'json' | 'html';
  result: AnswerResult;
  /** Answers that stand beside it, in the order of asking. */
  earlier?: AnswerResult[];
  /** Encoded image files, in the order of the prompt. */
  images: { bytes: Uint8Array; name: string }[];
  limits: ImageLimits;
}

/** An image to be made into a picture that every browser shows. */
export interface PictureOrder {
  /** The encoded file. */
  image: Uint8Array;
  /** Only this part of the upright image. */
  part?: PixelRect;
  limits: ImageLimits;
}

export interface ExportedFile {
  /** Suggested file name. */
  name: string;
  mimeType: string;
  data: Uint8Array;
}

export interface DeviceTest {
  plan: DevicePlan;
  /** The caller has no use for a device that is slower than the CPU. */
  onlyIfFaster: boolean;
}

/** The calls that the inference process answers. */
export interface Calls {
  /** Load the model. Once per process. */
  open: { params: ModelPlan; result: LoadedModel };
  /** Test a device, in a process that may be lost. Needs no model. */
  testDevice: { params: DeviceTest; result: SelfTestReport };
  ask: { params: EngineAsk; result: AnswerResult };
  analyze: { params: EngineAnalysis; result: AttentionAnalysis };
  /** Compute what a question about images will need, whatever it asks. */
  readAhead: { params: EngineReadAhead; result: null };
  /** Needs no model. */
  export: { params: ExportOrder; result: ExportedFile };
  /** Answers with a PNG. Needs no model. */
  picture: { params: PictureOrder; result: Uint8Array };
}

export type CallName = keyof Calls;

export type ToProcess =
  | { [N in CallName]: { kind: 'call'; id: number; name: N; params: Calls[N]['params'] } }[CallName]
  | { kind: 'cancel'; id: number };

export interface Progress {
  stage: string;
  /** 0..1 where known. */
  fraction?: number;
}

export type FromProcess =
  /** Sent once, when the process can take calls. */
  | { kind: 'ready' }
  | ({ kind: 'progress'; id: number } & Progress)
  | { kind: 'token'; id: number; piece: string; index: number }
  | { kind: 'done'; id: number; result: unknown; memoryBytes: number }
  | { kind: 'failed'; id: number; error: ErrorData; memoryBytes: number };
