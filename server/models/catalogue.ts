import { parseConfig } from '../llava/checkpoint/parseConfig';
import { toErrorData } from '../llava/errors';
import type { ErrorData } from '../protocol';

/**
 * Models that are known to be worth a try. Sizes are those of the safetensors files on the hub when this was written, in
 * rounded bytes; what a download really takes is asked of the hub.
 */
export interface CatalogueEntry {
  /** Short name for the command line. */
  readonly name: string;
  /** On the hub; undefined for the model that comes with Fovea. */
  readonly repository: string | undefined;
  readonly summary: string;
  readonly licence: string;
  readonly parameters: number;
  /** Approximate size of the files. */
  readonly bytes: number;
  /** Weights are stored in half precision. */
  readonly half: boolean;
  /** The part of config.json that says what kind of model it is. */
  readonly config: Readonly<Record<string, unknown>>;
}

/** SigLIP so400m at 384 pixels, without its last layer, as LLaVA-NeXT-Interleave and OneVision cut it. */
const SIGLIP = {
  model_type: 'siglip_vision_model',
  hidden_size: 1152,
  intermediate_size: 4304,
  num_attention_heads: 16,
  num_hidden_layers: 26,
  image_size: 384,
  patch_size: 14,
};

/** CLIP ViT-L/14 at 336 pixels. */
const CLIP = {
  model_type: 'clip_vision_model',
  hidden_size: 1024,
  intermediate_size: 4096,
  num_attention_heads: 16,
  num_hidden_layers: 24,
  image_size: 336,
  patch_size: 14,
};

export const EMBEDDED_MODEL = 'fovea-nano';

export const CATALOGUE: readonly CatalogueEntry[] = [
  {
    name: EMBEDDED_MODEL,
    repository: undefined,
    summary: 'Comes with Fovea: quick on any machine, reads simple windows of 192 pixels, knows little else.',
    licence: 'mit',
    parameters: 4.7e6,
    bytes: 9.42e6,
    half: true,
    config: { model_type: 'llava', text_config: { model_type: 'llama' } },
  },
  {
    name: 'llava-interleave-qwen-0.5b',
    repository: 'llava-hf/llava-interleave-qwen-0.5b-hf',
    summary:
      'The smallest LLaVA that is useful: Qwen1.5 0.5B with SigLIP, 729 tokens an image. Research only.',
    licence: 'tongyi-qianwen-research',
    parameters: 0.86e9,
    bytes: 1.73e9,
    half: true,
    config: {
      model_type: 'llava',
      image_token_index: 151646,
      vision_feature_layer: -1,
      vision_feature_select_strategy: 'full',
      vision_config: SIGLIP,
      text_config: {
        model_type: 'qwen2',
        vocab_size: 152000,
        hidden_size: 1024,
        intermediate_size: 2816,
        num_hidden_layers: 24,
        num_attention_heads: 16,
        num_key_value_heads: 16,
        tie_word_embeddings: true,
      },
    },
  },
  {
    name: 'llava-onevision-qwen2-0.5b',
    repository: 'llava-hf/llava-onevision-qwen2-0.5b-ov-hf',
    summary: 'Qwen2 0.5B with SigLIP in tiles: reads finer detail, up to about 7300 tokens an image.',
    licence: 'apache-2.0',
    parameters: 0.89e9,
    bytes: 1.79e9,
    half: true,
    config: {
      model_type: 'llava_onevision',
      image_token_index: 151646,
      vision_feature_layer: -1,
      vision_feature_select_strategy: 'full',
      vision_config: SIGLIP,
      text_config: {
        model_type: 'qwen2',
        vocab_size: 152000,
        hidden_size: 896,
        intermediate_size: 4864,
        num_hidden_layers: 24,
        num_attention_heads: 14,
        num_key_value_heads: 2,
        tie_word_embeddings: true,
      },
    },
  },
  {
    name: 'llava-1.5-7b',
    repository: 'llava-hf/llava-1.5-7b-hf',
    summary: 'The model of most papers on token reduction: Vicuna 7B with CLIP, 576 tokens an image.',
    licence: 'llama2',
    parameters: 7.06e9,
    bytes: 14.13e9,
    half: true,
    config: {
      model_type: 'llava',
      vision_config: CLIP,
      text_config: { model_type: 'llama', vocab_size: 32064 },
    },
  },
  {
    name: 'llava-1.5-13b',
    repository: 'llava-hf/llava-1.5-13b-hf',
    summary: 'Vicuna 13B with CLIP, 576 tokens an image.',
    licence: 'llama2',
    parameters: 13.35e9,
    bytes: 26.7e9,
    half: true,
    config: {
      model_type: 'llava',
      vision_config: CLIP,
      text_config: {
        model_type: 'llama',
        vocab_size: 32064,
        hidden_size: 5120,
        intermediate_size: 13824,
        num_hidden_layers: 40,
        num_attention_heads: 40,
      },
    },
  },
  {
    name: 'llava-v1.6-mistral-7b',
    repository: 'llava-hf/llava-v1.6-mistral-7b-hf',
    summary: 'LLaVA-NeXT: Mistral 7B with CLIP in tiles, up to about 2900 tokens an image.',
    licence: 'apache-2.0',
    parameters: 7.57e9,
    bytes: 15.13e9,
    half: true,
    config: {
      model_type: 'llava_next',
      vision_config: CLIP,
      text_config: { model_type: 'mistral', vocab_size: 32064, sliding_window: null },
    },
  },
];

/** The entry with this short name or hub id. */
export function catalogueEntry(text: string): CatalogueEntry | undefined {
  return CATALOGUE.find(({ name, repository }) => name === text || repository === text);
}

/** Why this version of the engine cannot run a model of this config; undefined where it can, as far as a config tells. */
export function unsupported(config: unknown): ErrorData | undefined {
  try {
    parseConfig(config);
    return undefined;
  } catch (error) {
    return toErrorData(error);
  }
}

/**
 * Beside the weights: caches, activations, the runtime and the decoded image. A rough figure for one image without tiles;
 * `fovea inspect` computes the parts of a model that is here.
 */
const OVERHEAD_BYTES = 0.5e9;

/**
 * Memory for quick answers on the CPU: all weights as 32-bit floats (mapped, so that with less the answer comes, but
 * slowly, from the disk) and {@link OVERHEAD_BYTES}.
 */
export function memoryNeeded({ parameters }: Pick<CatalogueEntry, 'parameters'>): number {
  return parameters * Float32Array.BYTES_PER_ELEMENT + OVERHEAD_BYTES;
}

/** Disk space for the 32-bit copy that half-precision weights need on the CPU; it is made at the first question. */
export function conversionBytes({ parameters, half }: Pick<CatalogueEntry, 'parameters' | 'half'>): number {
  return half ? parameters * Float32Array.BYTES_PER_ELEMENT : 0;
}
