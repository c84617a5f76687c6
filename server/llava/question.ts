import type { SamplingOptions } from '../protocol';
import type { Checkpoint } from './checkpoint/checkpoint';
import type { FeatureCache } from './featureCache';
import type { PrefixCache } from './prefixCache';
import type { GraphSessions } from './runtime/graphSessions';
import type { Tokenizer } from './text/tokenizer';
import type { DecodeLimits } from './vision/decode';

/** One question about one or several images. */
export interface Question {
  /** Encoded image files, in the order of their placeholders. */
  readonly images: readonly Uint8Array[];
  readonly question: string;
  readonly system?: string;
  /** The whole prompt as it is, with `<image>` in it, instead of the checkpoint's chat template. */
  readonly rawPrompt?: string;
  /** Reduction spec; `none` (the default) keeps every token. */
  readonly reduction?: string;
  readonly fit?: 'pad' | 'crop';
  readonly sampling?: SamplingOptions;
  readonly limits?: Partial<DecodeLimits>;
}

export interface Progress {
  readonly stage: string;
  /** 0..1 where known. */
  readonly fraction?: number;
}

/** What a question needs of a loaded model. */
export interface GenerationContext {
  readonly checkpoint: Checkpoint;
  readonly tokenizer: Tokenizer;
  readonly sessions: GraphSessions;
  /** The tower's output for earlier pictures. */
  readonly features?: FeatureCache;
  /** What the decoder made of the beginnings of earlier prompts. */
  readonly prefixes?: PrefixCache;
}
