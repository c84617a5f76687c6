import { closeSync, openSync, readSync, writeSync } from 'node:fs';

import { EOS_TOKEN, randomTokens } from '../randomCheckpoint';
import type { Checkpoint, TensorSource } from '../../server/llava/checkpoint/checkpoint';
import { float16Bits, float32Bits } from '../../server/llava/checkpoint/halfPrecision';

/*
 * A float32 checkpoint as llama.cpp reads it, so that it can be measured on the same weights: the decoder of one file, tower and
 * projector of another. Matrices are in one of ggml's types, norms and biases in float32.
 * Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */

const MAGIC = 0x46554747;
const VERSION = 3;
const ALIGNMENT = 32;
const BLOCK = 32;
const UINT32 = 4;
const INT32 = 5;
const FLOAT32 = 6;
const BOOL = 7;
const STRING = 8;
const ARRAY = 9;

const TYPES = {
  F32: { id: 0, blockBytes: 4 * BLOCK },
  F16: { id: 1, blockBytes: 2 * BLOCK },
  Q4_0: { id: 2, blockBytes: 2 + BLOCK / 2 },
  Q8_0: { id: 8, blockBytes: 2 + BLOCK },
} as const;
export type GgufType = keyof typeof TYPES;

type Names = readonly (readonly [theirs: string, ours: string])[];

const LAYER_NORMS: Names = [
  ['attn_norm', 'input_layernorm'],
  ['ffn_norm', 'post_attention_layernorm'],
];

const LAYER_MATRICES: Names = [
  ['attn_v', 'self_attn.v_proj'],
  ['attn_output', 'self_attn.o_proj'],
  ['ffn_gate', 'mlp.gate_proj'],
  ['ffn_up', 'mlp.up_proj'],
  ['ffn_down', 'mlp.down_proj'],
];

const TOWER_NORMS: Names = [
  ['ln1', 'layer_norm1'],
  ['ln2', 'layer_norm2'],
];

const TOWER_MATRICES: Names = [
  ['attn_q', 'self_attn.q_proj'],
  ['attn_k', 'self_attn.k_proj'],
  ['attn_v', 'self_attn.v_proj'],
  ['attn_out', 'self_attn.out_proj'],
  ['ffn_up', 'mlp.fc1'],
  ['ffn_down', 'mlp.fc2'],
];

/** A value of the header. */
type Meta =
  | { readonly u32: number }
  | { readonly f32: number }
  | { readonly bool: boolean }
  | { readonly string: string }
  | { readonly strings: readonly string[] }
  | { readonly i32s: readonly number[] }
  | { readonly f32s: readonly number[] };

interface GgufTensor {
  readonly name: string;
  readonly source: TensorSource;
  readonly type: GgufType;
  /** The order of rows that llama.cpp expects, where it is another one. */
  readonly reorder?: (values: Float32Array, columns: number) => Float32Array;
}

/** The form of LLaVA-1.5, as renderPrompt() has it for checkpoints without a template. */
const CHAT_TEMPLATE =
  "{% for message in messages %}USER: {{ message['content'] | replace('<__media__>', '<__media__>\\n') }} ASSISTANT:{% endfor %}";

/** Kinds of tokens, as llama.cpp numbers them. */
const NORMAL = 1;
const CONTROL = 3;

/** Writes the decoder of a random Llama checkpoint. The vocabulary's projection stays at 8 bits where the other matrices have 4. */
export function writeDecoderGguf({ config, tensors: all }: Checkpoint, file: string, matrix: GgufType): void {
  const { text } = config;
  const decoder = 'model.language_model';
  const tensors: GgufTensor[] = [];
  const add = (name: string, ours: string, type: GgufType, reorder?: GgufTensor['reorder']): void => {
    const source = all.get(`${ours}.weight`)!;
    tensors.push({ name: `${name}.weight`, source, type, ...(reorder && { reorder }) });
  };
  const interleave: GgufTensor['reorder'] = (values, columns) =>
    interleaveHalves(values, columns, text.headDim);
  const vocabulary = matrix === 'Q4_0' ? 'Q8_0' : matrix;
  add('token_embd', `${decoder}.embed_tokens`, vocabulary);
  if (!text.tieWordEmbeddings) add('output', 'lm_head', vocabulary);
  add('output_norm', `${decoder}.norm`, 'F32');
  for (let layer = 0; layer < text.numHiddenLayers; layer++) {
    const [theirs, ours] = [`blk.${layer}`, `${decoder}.layers.${layer}`];
    for (const [name, norm] of LAYER_NORMS) add(`${theirs}.${name}`, `${ours}.${norm}`, 'F32');
    add(`${theirs}.attn_q`, `${ours}.self_attn.q_proj`, matrix, interleave);
    add(`${theirs}.attn_k`, `${ours}.self_attn.k_proj`, matrix, interleave);
    for (const [name, product] of LAYER_MATRICES) add(`${theirs}.${name}`, `${ours}.${product}`, matrix);
  }
  const tokens = randomTokens(text.vocabSize);
  write(file, tensors, {
    'general.architecture': { string: 'llama' },
    'llama.block_count': { u32: text.numHiddenLayers },
    'llama.context_length': { u32: text.maxPositionEmbeddings },
    'llama.embedding_length': { u32: text.hiddenSize },
    'llama.feed_forward_length': { u32: text.intermediateSize },
    'llama.attention.head_count': { u32: text.numAttentionHeads },
    'llama.attention.head_count_kv': { u32: text.numKeyValueHeads },
    'llama.attention.layer_norm_rms_epsilon': { f32: text.rmsNormEps },
    'llama.rope.dimension_count': { u32: text.headDim },
    'llama.rope.freq_base': { f32: text.rope.theta },
    'llama.vocab_size': { u32: text.vocabSize },
    'tokenizer.ggml.model': { string: 'gpt2' },
    'tokenizer.ggml.pre': { string: 'default' },
    'tokenizer.ggml.tokens': { strings: tokens.map(({ text }) => text) },
    'tokenizer.ggml.token_type': { i32s: tokens.map(({ special }) => (special ? CONTROL : NORMAL)) },
    'tokenizer.ggml.merges': { strings: [] },
    'tokenizer.ggml.eos_token_id': { u32: EOS_TOKEN },
    'tokenizer.ggml.add_bos_token': { bool: false },
    'tokenizer.chat_template': { string: CHAT_TEMPLATE },
  });
}

/**
 * Writes CLIP tower and projector of a LLaVA checkpoint: what llama.cpp calls `mmproj`. The patch embedding is a convolution, which
 * ggml computes in float16 or float32 only.
 */
export function writeTowerGguf(
  { config, tensors: all, preprocessor }: Checkpoint,
  file: string,
  matrix: GgufType,
): void {
  const { vision, text } = config;
  const tower = 'model.vision_tower';
  const projector = 'model.multi_modal_projector';
  const tensors: GgufTensor[] = [];
  const add = (name: string, ours: string, type: GgufType, reorder?: GgufTensor['reorder']): void => {
    tensors.push({ name, source: all.get(ours)!, type, ...(reorder && { reorder }) });
  };
  const both = (name: string, ours: string, type: GgufType): void => {
    add(`${name}.weight`, `${ours}.weight`, type);
    add(`${name}.bias`, `${ours}.bias`, 'F32');
  };
  add('v.class_embd', `${tower}.embeddings.class_embedding`, 'F32');
  const patches = matrix === 'F32' ? 'F32' : 'F16';
  add('v.patch_embd.weight', `${tower}.embeddings.patch_embedding.weight`, patches);
  add('v.position_embd.weight', `${tower}.embeddings.position_embedding.weight`, 'F32', firstRowLast);
  both('v.pre_ln', `${tower}.pre_layrnorm`, 'F32');
  for (let layer = 0; layer < vision.numHiddenLayers; layer++) {
    // The last one has to be there and is not computed; a checkpoint need not have it.
    const own = `${tower}.encoder.layers.${layer}`;
    const ours = all.has(`${own}.layer_norm1.weight`) ? own : `${tower}.encoder.layers.0`;
    const theirs = `v.blk.${layer}`;
    for (const [name, norm] of TOWER_NORMS) both(`${theirs}.${name}`, `${ours}.${norm}`, 'F32');
    for (const [name, product] of TOWER_MATRICES) both(`${theirs}.${name}`, `${ours}.${product}`, matrix);
  }
  both('mm.0', `${projector}.linear_1`, matrix);
  both('mm.2', `${projector}.linear_2`, matrix);
  write(file, tensors, {
    'general.architecture': { string: 'clip' },
    'clip.has_vision_encoder': { bool: true },
    'clip.projector_type': { string: 'mlp' },
    // Of the tower; false means CLIP's approximation by a sigmoid.
    'clip.use_gelu': { bool: false },
    'clip.vision.image_size': { u32: vision.imageSize },
    'clip.vision.patch_size': { u32: vision.patchSize },
    'clip.vision.embedding_length': { u32: vision.hiddenSize },
    'clip.vision.feed_forward_length': { u32: vision.intermediateSize },
    'clip.vision.block_count': { u32: vision.numHiddenLayers },
    'clip.vision.projection_dim': { u32: text.hiddenSize },
    'clip.vision.attention.head_count': { u32: vision.numAttentionHeads },
    'clip.vision.attention.layer_norm_epsilon': { f32: vision.layerNormEps },
    'clip.vision.image_mean': { f32s: preprocessor.mean },
    'clip.vision.image_std': { f32s: preprocessor.std },
  });
}

function write(file: string, tensors: readonly GgufTensor[], meta: Readonly<Record<string, Meta>>): void {
  const out = new ByteList();
  out.u32(MAGIC).u32(VERSION).u64(tensors.length).u64(Object.keys(meta).length);
  for (const [key, value] of Object.entries(meta)) writeMeta(out.string(key), value);

  let offset = 0;
  for (const { name, source, type } of tensors) {
    // Dimensions are listed with the fastest first.
    const dimensions = source.shape.toReversed();
    out.string(name).u32(dimensions.length);
    for (const dimension of dimensions) out.u64(dimension);
    out.u32(TYPES[type].id).u64(offset);
    offset += aligned(bytesOf(source, type));
  }
  out.align();

  const output = openSync(file, 'w');
  try {
    writeSync(output, out.bytes());
    for (const { source, type, reorder } of tensors) {
      const values = readFloats(source);
      const data = new Uint8Array(aligned(bytesOf(source, type)));
      encode(reorder ? reorder(values, source.shape[1]) : values, type, new DataView(data.buffer));
      for (let done = 0; done < data.length;) done += writeSync(output, data, done);
    }
  } finally {
    closeSync(output);
  }
}

function writeMeta(out: ByteList, value: Meta): void {
  if ('u32' in value) out.u32(UINT32).u32(value.u32);
  else if ('f32' in value) out.u32(FLOAT32).f32(value.f32);
  else if ('bool' in value) out.u32(BOOL).u8(value.bool ? 1 : 0);
  else if ('string' in value) out.u32(STRING).string(value.string);
  else if ('strings' in value) {
    out.u32(ARRAY).u32(STRING).u64(value.strings.length);
    for (const text of value.strings) out.string(text);
  } else if ('i32s' in value) {
    out.u32(ARRAY).u32(INT32).u64(value.i32s.length);
    for (const number of value.i32s) out.u32(number);
  } else {
    out.u32(ARRAY).u32(FLOAT32).u64(value.f32s.length);
    for (const number of value.f32s) out.f32(number);
  }
}

function bytesOf({ shape }: TensorSource, type: GgufType): number {
  return (shape.reduce((product, size) => product * size, 1) / BLOCK) * TYPES[type].blockBytes;
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}

function readFloats({ file, offset, byteLength }: TensorSource): Float32Array {
  const bytes = new Uint8Array(byteLength);
  const input = openSync(file, 'r');
  try {
    for (let done = 0; done < byteLength;)
      done += readSync(input, bytes, done, byteLength - done, offset + done);
  } finally {
    closeSync(input);
  }
  return new Float32Array(bytes.buffer);
}

/**
 * HuggingFace rotates the first half of a head's rows with the second, llama.cpp's Llama neighbours: row i of the first half becomes
 * row 2i, row i of the second 2i + 1.
 *
 * @param values [heads * headDim, columns]
 */
function interleaveHalves(values: Float32Array, columns: number, headDim: number): Float32Array {
  const half = headDim / 2;
  const interleaved = new Float32Array(values.length);
  for (let row = 0; row < values.length / columns; row++) {
    const inHead = row % headDim;
    const target = row - inHead + (inHead < half ? 2 * inHead : 2 * (inHead - half) + 1);
    interleaved.set(values.subarray(row * columns, (row + 1) * columns), target * columns);
  }
  return interleaved;
}

/**
 * CLIP's class token comes before the patches. llama.cpp (tools/mtmd/models/llava.cpp at commit 0c1e570) puts it behind them and
 * numbers all from 0, so the class token's position has to be the last of the table. It then leaves the first row out, which is a
 * patch: the decoder is given patches 1 to 575 and the class token.
 */
function firstRowLast(values: Float32Array, columns: number): Float32Array {
  const rolled = new Float32Array(values.length);
  rolled.set(values.subarray(columns));
  rolled.set(values.subarray(0, columns), values.length - columns);
  return rolled;
}

function encode(values: Float32Array, type: GgufType, out: DataView): void {
  if (type === 'F32') {
    values.forEach((value, index) => out.setFloat32(4 * index, value, true));
    return;
  }
  if (type === 'F16') {
    const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
    bits.forEach((value, index) => out.setUint16(2 * index, float16Bits(value), true));
    return;
  }
  for (let start = 0, at = 0; start < values.length; start += BLOCK, at += TYPES[type].blockBytes) {
    let largest = 0;
    for (let i = 0; i < BLOCK; i++)
      if (Math.abs(values[start + i]) > Math.abs(largest)) largest = values[start + i];
    const scale = type === 'Q4_0' ? largest / -8 : Math.abs(largest) / 127;
    const inverse = scale === 0 ? 0 : 1 / scale;
    out.setUint16(at, float16Bits(float32Bits(scale)), true);
    if (type === 'Q8_0') {
      for (let i = 0; i < BLOCK; i++) out.setInt8(at + 2 + i, Math.round(values[start + i] * inverse));
    } else {
      const nibble = (index: number): number => Math.min(15, Math.floor(values[index] * inverse + 8.5));
      for (let i = 0; i < BLOCK / 2; i++)
        out.setUint8(at + 2 + i, nibble(start + i) | (nibble(start + i + BLOCK / 2) << 4));
    }
  }
}

/** Little-endian bytes, appended. */
class ByteList {
  private readonly parts: Buffer[] = [];
  private length = 0;

  u8(value: number): this {
    return this.push(Buffer.of(value));
  }

  u32(value: number): this {
    const buffer = Buffer.alloc(4);
    buffer.writeUInt32LE(value);
    return this.push(buffer);
  }

  u64(value: number): this {
    const buffer = Buffer.alloc(8);
    buffer.writeBigUInt64LE(BigInt(value));
    return this.push(buffer);
  }

  f32(value: number): this {
    const buffer = Buffer.alloc(4);
    buffer.writeFloatLE(value);
    return this.push(buffer);
  }

  string(text: string): this {
    const bytes = Buffer.from(text);
    return this.u64(bytes.length).push(bytes);
  }

  align(): this {
    return this.push(Buffer.alloc(aligned(this.length) - this.length));
  }

  bytes(): Buffer {
    return Buffer.concat(this.parts);
  }

  private push(buffer: Buffer): this {
    this.parts.push(buffer);
    this.length += buffer.length;
    return this;
  }
}
