import { closeSync, openSync, readSync, writeSync } from 'node:fs';

import type { Checkpoint, TensorSource } from '../../server/llava/checkpoint/checkpoint';
import { float16Bits, float32Bits } from '../../server/llava/checkpoint/halfPrecision';

/*
 * The decoder of a float32 checkpoint as llama.cpp reads it, for measurements: matrices in Q4_0, the vocabulary in Q8_0, norms in
 * float32. Rotary pairs are not reordered, so the numbers mean nothing; the work is the same.
 * Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */

const MAGIC = 0x46554747;
const VERSION = 3;
const ALIGNMENT = 32;
const BLOCK = 32;
const UINT32 = 4;
const INT32 = 5;
const FLOAT32 = 6;
const STRING = 8;
const ARRAY = 9;

const TYPES = {
  F32: { id: 0, blockBytes: 4 * BLOCK },
  Q4_0: { id: 2, blockBytes: 2 + BLOCK / 2 },
  Q8_0: { id: 8, blockBytes: 2 + BLOCK },
} as const;
type GgufType = keyof typeof TYPES;

const LAYER_TENSORS: readonly (readonly [theirs: string, ours: string, type: GgufType])[] = [
  ['attn_norm', 'input_layernorm', 'F32'],
  ['attn_q', 'self_attn.q_proj', 'Q4_0'],
  ['attn_k', 'self_attn.k_proj', 'Q4_0'],
  ['attn_v', 'self_attn.v_proj', 'Q4_0'],
  ['attn_output', 'self_attn.o_proj', 'Q4_0'],
  ['ffn_norm', 'post_attention_layernorm', 'F32'],
  ['ffn_gate', 'mlp.gate_proj', 'Q4_0'],
  ['ffn_up', 'mlp.up_proj', 'Q4_0'],
  ['ffn_down', 'mlp.down_proj', 'Q4_0'],
];

/** Writes the decoder of a Llama checkpoint whose embeddings are tied to `file`. */
export function writeGguf(checkpoint: Checkpoint, file: string): void {
  const { text } = checkpoint.config;
  const decoder = 'model.language_model';
  const tensors: { name: string; source: TensorSource; type: GgufType }[] = [];
  const add = (name: string, ours: string, type: GgufType): void => {
    tensors.push({ name: `${name}.weight`, source: checkpoint.tensors.get(`${ours}.weight`)!, type });
  };
  add('token_embd', `${decoder}.embed_tokens`, 'Q8_0');
  add('output_norm', `${decoder}.norm`, 'F32');
  for (let layer = 0; layer < text.numHiddenLayers; layer++) {
    for (const [theirs, ours, type] of LAYER_TENSORS)
      add(`blk.${layer}.${theirs}`, `${decoder}.layers.${layer}.${ours}`, type);
  }

  const out = new ByteList();
  const words = Array.from({ length: text.vocabSize }, (_, id) => `w${id}`);
  const numbers: [string, number][] = [
    ['llama.block_count', text.numHiddenLayers],
    ['llama.context_length', text.maxPositionEmbeddings],
    ['llama.embedding_length', text.hiddenSize],
    ['llama.feed_forward_length', text.intermediateSize],
    ['llama.attention.head_count', text.numAttentionHeads],
    ['llama.attention.head_count_kv', text.numKeyValueHeads],
    ['llama.rope.dimension_count', text.headDim],
    ['llama.vocab_size', text.vocabSize],
    ['tokenizer.ggml.bos_token_id', 0],
    ['tokenizer.ggml.eos_token_id', 0],
  ];
  out
    .u32(MAGIC)
    .u32(VERSION)
    .u64(tensors.length)
    .u64(numbers.length + 8);
  for (const [key, value] of numbers) out.string(key).u32(UINT32).u32(value);
  out.string('llama.attention.layer_norm_rms_epsilon').u32(FLOAT32).f32(text.rmsNormEps);
  out.string('llama.rope.freq_base').u32(FLOAT32).f32(text.rope.theta);
  for (const [key, value] of [
    ['general.architecture', 'llama'],
    ['tokenizer.ggml.model', 'gpt2'],
    ['tokenizer.ggml.pre', 'default'],
  ])
    out.string(key).u32(STRING).string(value);
  out.string('tokenizer.ggml.tokens').u32(ARRAY).u32(STRING).u64(words.length);
  for (const word of words) out.string(word);
  out.string('tokenizer.ggml.token_type').u32(ARRAY).u32(INT32).u64(words.length);
  for (let id = 0; id < words.length; id++) out.u32(1);
  out.string('tokenizer.ggml.merges').u32(ARRAY).u32(STRING).u64(1).string('w 1');

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
    for (const { source, type } of tensors) {
      const data = new Uint8Array(aligned(bytesOf(source, type)));
      encode(readFloats(source), type, new DataView(data.buffer));
      writeSync(output, data);
    }
  } finally {
    closeSync(output);
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

function encode(values: Float32Array, type: GgufType, out: DataView): void {
  if (type === 'F32') {
    values.forEach((value, index) => out.setFloat32(4 * index, value, true));
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
