import { predictQuestion } from '../llava/analysis/prediction';
import { weightMemory } from '../llava/analysis/weightMemory';
import { elementCount, type TensorMap, type TensorSource } from '../llava/checkpoint/checkpoint';
import type { LlavaConfig } from '../llava/checkpoint/config';
import { expectedTensors } from '../llava/checkpoint/expectedTensors';
import { parseConfig } from '../llava/checkpoint/parseConfig';
import { choosePrecision, decoderBytes, type Precision } from '../llava/checkpoint/precision';
import { isDecoderTensor } from '../llava/checkpoint/sidecarPlan';
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
    config: {
      model_type: 'llava',
      vision_config: {
        model_type: 'clip_vision_model',
        hidden_size: 160,
        intermediate_size: 640,
        num_attention_heads: 4,
        num_hidden_layers: 5,
        image_size: 192,
        patch_size: 8,
      },
      text_config: {
        model_type: 'llama',
        vocab_size: 799,
        hidden_size: 192,
        intermediate_size: 512,
        num_hidden_layers: 6,
        num_attention_heads: 4,
        head_dim: 48,
      },
    },
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

/** The question that the figures of memory are about: a screenshot of a common screen, with all image tokens. */
const QUESTION = { image: { width: 1920, height: 1080 }, textTokens: 32, answerTokens: 256 };

/**
 * Memory for quick answers on the CPU, as `fovea inspect` predicts it for a model that is here: what the process needs for itself, tiles,
 * long caches and copies of weights included, and the weights that are mapped (with less the answer comes, but slowly, from the disk).
 *
 * @param machineBytes memory of the machine, on which the precision depends.
 */
export function memoryNeeded(entry: CatalogueEntry, machineBytes: number): number {
  const { config, tensors, precision } = asOpened(entry, machineBytes);
  const { mappedBytes } = weightMemory({ config, tensors }, precision);
  return mappedBytes + predictQuestion({ config, tensors }, precision, QUESTION).memoryBytes;
}

/** Disk space for the weights that the CPU needs in another form; they are made at the first question. */
export function conversionBytes(entry: CatalogueEntry, machineBytes: number): number {
  const { config, tensors, precision } = asOpened(entry, machineBytes);
  const sum = (chosen: readonly TensorSource[], bytesPerWeight: number): number =>
    chosen.reduce((total, { shape }) => total + bytesPerWeight * elementCount(shape), 0);
  const widened = [...tensors.values()].filter(({ dtype }) => dtype !== 'F32');
  if (precision !== 'q4') return sum(widened, FLOAT);
  const outside = widened.filter(({ name }) => !isDecoderTensor(name));
  return decoderBytes(config, 'q4') + sum(outside, FLOAT);
}

/** What opening the model would find: the tensors that its config asks for. */
function asOpened(
  { config: json, half }: CatalogueEntry,
  machineBytes: number,
): { config: LlavaConfig; tensors: TensorMap; precision: Precision } {
  const config = parseConfig(json);
  const bytesPerWeight = half ? FLOAT / 2 : FLOAT;
  const tensors = expectedTensors(config).map(({ name, shape }): [string, TensorSource] => [
    name,
    {
      ...{ name, shape, file: '', offset: 0 },
      dtype: half ? 'F16' : 'F32',
      byteLength: bytesPerWeight * elementCount(shape),
    },
  ]);
  const { precision } = choosePrecision('auto', config, 'cpu', machineBytes);
  return { config, tensors: new Map(tensors), precision };
}

const FLOAT = Float32Array.BYTES_PER_ELEMENT;
