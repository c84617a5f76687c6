import type { AnyresConfig, TowerSquare } from '../vision/anyres';

/** The one typed configuration that the rest of the engine reads; every default of the HF classes is filled in. */
export interface LlavaConfig {
  readonly modelType: ModelType;
  readonly imageTokenIndex: number;
  /** As written: negative counts from the end of hidden_states (which has layers + 1 entries). A list concatenates features. */
  readonly visionFeatureLayer: readonly number[];
  /** `default` drops the CLS token, `full` keeps all. */
  readonly visionFeatureSelectStrategy: 'default' | 'full';
  readonly projectorHiddenAct: Activation;
  readonly projectorBias: boolean;
  /** How pictures are cut into tiles; undefined for models that see one square. */
  readonly anyres: AnyresConfig | undefined;
  readonly vision: VisionConfig;
  readonly text: TextConfig;
}

/** `llava_next` is LLaVA v1.6: tiles; `llava_onevision`: tiles of which many are shrunk. */
export type ModelType = 'llava' | 'llava_next' | 'llava_onevision';

export type Activation = 'gelu' | 'gelu_pytorch_tanh' | 'quick_gelu' | 'silu' | 'relu';

export interface VisionConfig {
  readonly modelType: 'clip_vision_model' | 'siglip_vision_model';
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numHiddenLayers: number;
  readonly numAttentionHeads: number;
  readonly imageSize: number;
  readonly patchSize: number;
  readonly hiddenAct: Activation;
  readonly layerNormEps: number;
  readonly hasClassToken: boolean;
}

export interface TextConfig {
  readonly modelType: 'llama' | 'mistral' | 'qwen2';
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numHiddenLayers: number;
  readonly numAttentionHeads: number;
  readonly numKeyValueHeads: number;
  readonly headDim: number;
  readonly hiddenAct: Activation;
  readonly rmsNormEps: number;
  readonly rope: RopeConfig;
  /** Bias on q, k, v (always for Qwen2; `attention_bias` for Llama). */
  readonly qkvBias: boolean;
  /** Bias on o_proj (`attention_bias` for Llama). */
  readonly outputBias: boolean;
  readonly mlpBias: boolean;
  readonly tieWordEmbeddings: boolean;
  /** How many positions the model reads: those that it was trained for, times what rotary scaling stretches them by. */
  readonly maxPositionEmbeddings: number;
  /** Attention reaches back this many tokens, itself included; undefined = unlimited. {@link windowOf} says it by layer. */
  readonly slidingWindow: number | undefined;
  /** Qwen2: layers that have no window although others do. */
  readonly fullAttentionLayers?: readonly number[];
  readonly bosTokenId: number | undefined;
  readonly eosTokenIds: readonly number[];
}

/** How many tokens the attention of a layer reaches back, itself included; undefined = unlimited. */
export function windowOf(
  text: Pick<TextConfig, 'slidingWindow' | 'fullAttentionLayers'>,
  layer: number,
): number | undefined {
  return text.fullAttentionLayers?.includes(layer) ? undefined : text.slidingWindow;
}

export type RopeConfig =
  | { readonly type: 'default'; readonly theta: number }
  | { readonly type: 'linear'; readonly theta: number; readonly factor: number }
  | {
      readonly type: 'dynamic';
      readonly theta: number;
      readonly factor: number;
      readonly originalMaxPositions: number;
    }
  | {
      readonly type: 'llama3';
      readonly theta: number;
      readonly factor: number;
      readonly lowFrequencyFactor: number;
      readonly highFrequencyFactor: number;
      readonly originalMaxPositions: number;
    }
  | {
      readonly type: 'yarn';
      readonly theta: number;
      readonly factor: number;
      readonly originalMaxPositions: number;
      /** Turns over the original length from which on a frequency stays, and below which it is divided. */
      readonly betaFast: number;
      readonly betaSlow: number;
      /** Whether the borders between these are whole dimensions. */
      readonly truncate: boolean;
      readonly attentionFactor: number;
    }
  | {
      readonly type: 'longrope';
      readonly theta: number;
      readonly originalMaxPositions: number;
      /** [headDim / 2] What frequencies are divided by, up to the original length and beyond it. */
      readonly shortFactors: readonly number[];
      readonly longFactors: readonly number[];
      readonly attentionFactor: number;
    };

/** What cosines and sines are multiplied by, and so rotated queries and keys. */
export function rotaryScale(rope: RopeConfig): number {
  return 'attentionFactor' in rope ? rope.attentionFactor : 1;
}

/** Patches along one side of the tower's square. A rest that makes no whole patch (SigLIP so400m: 384 = 27 * 14 + 6) is not seen. */
export function patchesPerSide({
  imageSize,
  patchSize,
}: Pick<VisionConfig, 'imageSize' | 'patchSize'>): number {
  return Math.floor(imageSize / patchSize);
}

/** The tower's square as the geometry of tiles wants it. */
export function towerSquare(vision: Pick<VisionConfig, 'imageSize' | 'patchSize'>): TowerSquare {
  return { size: vision.imageSize, patchSize: vision.patchSize, patches: patchesPerSide(vision) };
}

/** The hidden states (0 = embeddings, i = after layer i) whose features the projector gets, in the config's order. */
export function featureStates(config: LlavaConfig): number[] {
  const states = config.vision.numHiddenLayers + 1;
  return config.visionFeatureLayer.map((layer) => (layer < 0 ? states + layer : layer));
}
