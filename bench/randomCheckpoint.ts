import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs';
import path from 'node:path';

import type { LlavaConfig, ModelType } from '../server/llava/checkpoint/config';
import { expectedTensors, type ExpectedTensor } from '../server/llava/checkpoint/expectedTensors';
import { parseConfig } from '../server/llava/checkpoint/parseConfig';
import { mulberry32 } from '../server/llava/mulberry32';

/**
 * Complete LLaVA checkpoint folders with random weights in the shapes of real models: for measurements of time, memory
 * and numerics, where only the shapes matter. They answer nonsense.
 */

/** Decoders by name: the `text_config` of config.json. */
export const DECODERS = {
  /** Small enough for tests. */
  tiny: {
    model_type: 'llama',
    hidden_size: 128,
    intermediate_size: 352,
    num_hidden_layers: 4,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    vocab_size: 512,
    max_position_embeddings: 4096,
    tie_word_embeddings: true,
  },
  /** Large enough that memory is that of the computation and not of the process. */
  small: {
    model_type: 'llama',
    hidden_size: 512,
    intermediate_size: 1408,
    num_hidden_layers: 8,
    num_attention_heads: 8,
    num_key_value_heads: 8,
    vocab_size: 4096,
    max_position_embeddings: 16384,
    tie_word_embeddings: true,
  },
  /** SmolLM2-135M */
  smol: {
    model_type: 'llama',
    hidden_size: 576,
    intermediate_size: 1536,
    num_hidden_layers: 30,
    num_attention_heads: 9,
    num_key_value_heads: 3,
    vocab_size: 49152,
    max_position_embeddings: 8192,
    rope_theta: 100000,
    tie_word_embeddings: true,
  },
  /** Qwen2-0.5B: llava-interleave and LLaVA-OneVision at 0.5B. */
  'qwen-0.5b': {
    model_type: 'qwen2',
    hidden_size: 896,
    intermediate_size: 4864,
    num_hidden_layers: 24,
    num_attention_heads: 14,
    num_key_value_heads: 2,
    vocab_size: 151936,
    max_position_embeddings: 32768,
    rope_theta: 1000000,
    tie_word_embeddings: true,
  },
  /** Llama-2-7B / Vicuna-7B: LLaVA-1.5-7B. */
  'llama-7b': {
    model_type: 'llama',
    hidden_size: 4096,
    intermediate_size: 11008,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: 32,
    vocab_size: 32064,
    max_position_embeddings: 4096,
    tie_word_embeddings: false,
  },
  /** Mistral-7B: LLaVA-1.6-Mistral. */
  'mistral-7b': {
    model_type: 'mistral',
    hidden_size: 4096,
    intermediate_size: 14336,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    vocab_size: 32064,
    max_position_embeddings: 32768,
    rope_theta: 1000000,
    sliding_window: null,
    tie_word_embeddings: false,
  },
} as const;

/** Vision towers by name: the `vision_config` of config.json. */
export const TOWERS = {
  /** The 576 image tokens of ViT-L/14-336 at next to no cost: for measurements of the decoder alone. */
  tiny: {
    model_type: 'clip_vision_model',
    hidden_size: 64,
    intermediate_size: 128,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    image_size: 336,
    patch_size: 14,
  },
  /** The 729 tokens of SigLIP so400m at 384 pixels, likewise. */
  'tiny-384': {
    model_type: 'siglip_vision_model',
    hidden_size: 64,
    intermediate_size: 128,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    image_size: 384,
    patch_size: 14,
    vision_use_head: false,
  },
  'clip-l-336': {
    model_type: 'clip_vision_model',
    hidden_size: 1024,
    intermediate_size: 4096,
    num_hidden_layers: 24,
    num_attention_heads: 16,
    image_size: 336,
    patch_size: 14,
  },
  'siglip-so400m-384': {
    model_type: 'siglip_vision_model',
    hidden_size: 1152,
    intermediate_size: 4304,
    num_hidden_layers: 27,
    num_attention_heads: 16,
    image_size: 384,
    patch_size: 14,
    vision_use_head: false,
  },
} as const;

export interface RandomCheckpoint {
  readonly decoder: keyof typeof DECODERS;
  readonly tower: keyof typeof TOWERS;
  /** @default 'llava' */
  readonly family?: ModelType;
  /** Fewer decoder layers than the shape has. */
  readonly layers?: number;
  /**
   * Whether the vocabulary's projection has weights of its own. With tied ones and no training the last token is always the likeliest
   * next one, whatever the layers say. @default as the shape has it
   */
  readonly untied?: boolean;
  /** @default 'F32' */
  readonly dtype?: 'F32' | 'BF16';
  /** @default 1 */
  readonly seed?: number;
  /** Bytes after which a new file begins. @default one file */
  readonly maxShardBytes?: number;
}

export const EOS_TOKEN = 256;
const IMAGE = 257;
/** Spread of the logits. Trained models are about as sure; with a spread of 1 every token would be as good as any. */
const LOGIT_DEVIATION = 3;

/**
 * Writes the checkpoint into `directory`, which is made. The same arguments give the same bytes on every machine.
 * Memory use is constant: a 7B is as good as a tiny one.
 */
export function writeRandomCheckpoint(directory: string, options: RandomCheckpoint): void {
  const json = configJson(options);
  const config = parseConfig(json);
  mkdirSync(directory, { recursive: true });
  const writeJson = (name: string, value: unknown): void =>
    writeFileSync(path.join(directory, name), JSON.stringify(value));
  writeJson('config.json', json);
  writeJson('tokenizer.json', tokenizerJson(config.text.vocabSize));
  writeJson('tokenizer_config.json', { eos_token: '</s>', tokenizer_class: 'PreTrainedTokenizerFast' });
  writeJson('preprocessor_config.json', preprocessorJson(config));

  const dtype = options.dtype ?? 'F32';
  const shards = split(expectedTensors(config), SIZE[dtype], options.maxShardBytes ?? Infinity);
  const random = new NormalNumbers(options.seed ?? 1);
  const weightMap: Record<string, string> = {};
  shards.forEach((tensors, index) => {
    const part = (number: number): string => String(number).padStart(5, '0');
    const name =
      shards.length === 1
        ? 'model.safetensors'
        : `model-${part(index + 1)}-of-${part(shards.length)}.safetensors`;
    for (const tensor of tensors) weightMap[tensor.name] = name;
    writeShard(path.join(directory, name), tensors, dtype, config, random);
  });
  if (shards.length > 1) writeJson('model.safetensors.index.json', { weight_map: weightMap });
}

function configJson(options: RandomCheckpoint): Record<string, unknown> {
  const { decoder, tower, family, layers, untied, dtype } = options;
  const vision = TOWERS[tower];
  const text = { ...DECODERS[decoder], ...(untied && { tie_word_embeddings: false }) };
  const clip = vision.model_type === 'clip_vision_model';
  return {
    model_type: family ?? 'llava',
    image_token_index: IMAGE,
    vision_feature_layer: clip ? -2 : -1,
    vision_feature_select_strategy: clip ? 'default' : 'full',
    tie_word_embeddings: text.tie_word_embeddings,
    dtype: dtype === 'BF16' ? 'bfloat16' : 'float32',
    vision_config: vision,
    text_config: {
      ...text,
      num_hidden_layers: layers ?? text.num_hidden_layers,
      hidden_act: 'silu',
      rms_norm_eps: 1e-5,
      eos_token_id: EOS_TOKEN,
      bos_token_id: null,
    },
  };
}

function preprocessorJson({ vision, modelType }: LlavaConfig): object {
  const side = vision.imageSize;
  const clip = vision.modelType === 'clip_vision_model';
  const processors = {
    llava: clip ? 'CLIPImageProcessor' : 'SiglipImageProcessor',
    llava_next: 'LlavaNextImageProcessor',
    llava_onevision: 'LlavaOnevisionImageProcessor',
  };
  return {
    image_processor_type: processors[modelType],
    do_center_crop: clip,
    ...(clip ? { crop_size: { height: side, width: side } } : {}),
    size: clip ? { shortest_edge: side } : { height: side, width: side },
    resample: 3,
    image_mean: [0.5, 0.5, 0.5],
    image_std: [0.5, 0.5, 0.5],
  };
}

/** One token per byte; the ids that are left have names of their own, which no text contains. */
export function randomTokens(vocabSize: number): { readonly text: string; readonly special: boolean }[] {
  // GPT-2's printable stand-ins for bytes.
  const printable = (byte: number): boolean =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let next = 256;
  const textOf = (id: number): string => {
    if (id < EOS_TOKEN) return String.fromCodePoint(printable(id) ? id : next++);
    if (id === EOS_TOKEN) return '</s>';
    return id === IMAGE ? '<image>' : `Ġw${id}`;
  };
  return Array.from({ length: vocabSize }, (_, id) => ({
    text: textOf(id),
    special: id === EOS_TOKEN || id === IMAGE,
  }));
}

function tokenizerJson(vocabSize: number): object {
  const tokens = randomTokens(vocabSize);
  const vocab = Object.fromEntries(tokens.flatMap(({ text, special }, id) => (special ? [] : [[text, id]])));
  const addedTokens = tokens.flatMap(({ text: content, special }, id) =>
    special
      ? [{ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special }]
      : [],
  );
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: addedTokens,
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: byteLevel,
    decoder: byteLevel,
    model: { type: 'BPE', unk_token: null, vocab, merges: [] },
  };
}

// ---------------------------------------------------------------------------------------------- weights

const SIZE = { F32: 4, BF16: 2 };
const CHUNK = 1 << 20;

function split(
  tensors: readonly ExpectedTensor[],
  bytesPerValue: number,
  maximum: number,
): ExpectedTensor[][] {
  const shards: ExpectedTensor[][] = [];
  let room = 0;
  for (const tensor of tensors) {
    const bytes = count(tensor) * bytesPerValue;
    if (shards.length === 0 || bytes > room) {
      shards.push([]);
      room = maximum;
    }
    shards.at(-1)!.push(tensor);
    room -= bytes;
  }
  return shards;
}

function count({ shape }: ExpectedTensor): number {
  return shape.reduce((product, size) => product * size, 1);
}

function writeShard(
  file: string,
  tensors: readonly ExpectedTensor[],
  dtype: 'F32' | 'BF16',
  config: LlavaConfig,
  random: NormalNumbers,
): void {
  const header: Record<string, object> = { __metadata__: { format: 'pt' } };
  let position = 0;
  for (const tensor of tensors) {
    const end = position + count(tensor) * SIZE[dtype];
    header[tensor.name] = { dtype, shape: tensor.shape, data_offsets: [position, end] };
    position = end;
  }
  const json = Buffer.from(JSON.stringify(header));
  const total = Math.ceil((8 + json.length) / 64) * 64;
  const start = Buffer.alloc(total, ' ');
  start.writeBigUInt64LE(BigInt(total - 8));
  json.copy(start, 8);

  const output = openSync(file, 'w');
  try {
    writeAll(output, start);
    const values = new Float32Array(CHUNK);
    const bits = new Uint32Array(values.buffer);
    const upper = new Uint16Array(CHUNK);
    for (const tensor of tensors) {
      const { mean, deviation } = distribution(tensor, config);
      const all = count(tensor);
      for (let done = 0; done < all;) {
        const length = Math.min(CHUNK, all - done);
        random.fill(values.subarray(0, length), mean, deviation);
        if (dtype === 'BF16') for (let i = 0; i < length; i++) upper[i] = bits[i] >>> 16;
        writeAll(
          output,
          new Uint8Array(dtype === 'BF16' ? upper.buffer : values.buffer, 0, length * SIZE[dtype]),
        );
        done += length;
      }
    }
  } finally {
    closeSync(output);
  }
}

function writeAll(file: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length;) done += writeSync(file, bytes, done);
}

/**
 * Activations keep a spread near 1 through all layers: products are scaled by the square root of their width, and what is
 * added to the residual stream by the number of additions.
 */
function distribution(
  { name, shape }: ExpectedTensor,
  { text, vision }: LlavaConfig,
): { mean: number; deviation: number } {
  if (name.endsWith('.bias')) return { mean: 0, deviation: 0.02 };
  if (/norm\d?\.weight$/.test(name)) return { mean: 1, deviation: 0.1 };
  if (/(embed_tokens|lm_head)\.weight$/.test(name))
    return { mean: 0, deviation: LOGIT_DEVIATION / Math.sqrt(text.hiddenSize) };
  if (/(class_embedding|position_embedding\.weight)$/.test(name)) return { mean: 0, deviation: 0.5 };
  const width = shape.slice(1).reduce((product, size) => product * size, 1);
  const layers = name.includes('vision_tower') ? vision.numHiddenLayers : text.numHiddenLayers;
  const residual = /(o_proj|down_proj|out_proj|fc2)\.weight$/.test(name);
  return { mean: 0, deviation: 1 / Math.sqrt(width * (residual ? 2 * layers : 1)) };
}

/** Prime, so that rows of a matrix that are taken from the same numbers are shifted against each other. */
const POOL = 4194301;

/** Standard normal numbers: a pool of them (Box-Muller), read from another place for every chunk, which is as fast as copying. */
class NormalNumbers {
  private readonly pool = new Float32Array(POOL);
  private readonly uniform: () => number;

  constructor(seed: number) {
    const uniform = mulberry32(seed);
    this.uniform = uniform;
    for (let i = 0; i < POOL; i += 2) {
      const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
      const angle = 2 * Math.PI * uniform();
      this.pool[i] = radius * Math.cos(angle);
      if (i + 1 < POOL) this.pool[i + 1] = radius * Math.sin(angle);
    }
  }

  fill(target: Float32Array, mean: number, deviation: number): void {
    let next = Math.floor(this.uniform() * POOL);
    for (let i = 0; i < target.length; i++) {
      target[i] = mean + deviation * this.pool[next];
      if (++next === POOL) next = 0;
    }
  }
}
