import { readFileSync } from 'node:fs';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';

import type { Checkpoint } from '../../server/llava/checkpoint/checkpoint';
import { openCheckpoint } from '../../server/llava/checkpoint/open';
import { temporaryDirectory } from '../../server/llava/testing/temporaryDirectory';
import { writeRandomCheckpoint } from '../randomCheckpoint';
import { type GgufType, writeDecoderGguf, writeTowerGguf } from './gguf';

/*
 * A reader of its own, after https://github.com/ggml-org/ggml/blob/master/docs/gguf.md and the block structures of ggml-common.h. That
 * llama.cpp computes the same from such files as the engine is tried by `npm run bench -- --mtmd PROGRAM`.
 */

type Value = number | boolean | string | Value[];

interface Tensor {
  readonly type: string;
  /** As in the file: the fastest dimension first. */
  readonly shape: readonly number[];
  /** Row by row. */
  readonly values: readonly number[];
}

interface GgufFile {
  readonly meta: ReadonlyMap<string, Value>;
  readonly tensors: ReadonlyMap<string, Tensor>;
}

function readGguf(file: string): GgufFile {
  const bytes = readFileSync(file);
  let at = 8;
  const u32 = (): number => bytes.readUInt32LE((at += 4) - 4);
  const u64 = (): number => Number(bytes.readBigUInt64LE((at += 8) - 8));
  const string = (): string => {
    const length = u64();
    return bytes.toString('utf8', at, (at += length));
  };
  const valueOf = (type: number): Value => {
    if (type === 4) return u32();
    if (type === 5) return bytes.readInt32LE((at += 4) - 4);
    if (type === 6) return bytes.readFloatLE((at += 4) - 4);
    if (type === 7) return bytes[at++] === 1;
    if (type === 8) return string();
    if (type !== 9) throw new Error(`a value of type ${type}`);
    const inner = u32();
    return Array.from({ length: u64() }, () => valueOf(inner));
  };
  expect(bytes.toString('latin1', 0, 4)).toBe('GGUF');
  expect(bytes.readUInt32LE(4)).toBe(3);
  const tensorCount = u64();
  const meta = new Map(
    Array.from({ length: u64() }, (): [string, Value] => {
      const key = string();
      return [key, valueOf(u32())];
    }),
  );
  const infos = Array.from({ length: tensorCount }, () => {
    const name = string();
    const shape = Array.from({ length: u32() }, u64);
    return { name, shape, typeId: u32(), offset: u64() };
  });
  const start = Math.ceil(at / 32) * 32;
  let end = start;
  const tensors = new Map(
    infos.map(({ name, shape, typeId, offset }): [string, Tensor] => {
      // One after the other, each at a multiple of 32.
      expect(start + offset).toBe(Math.ceil(end / 32) * 32);
      const { type, block, blockBytes, decode } = DECODERS[typeId];
      const count = shape.reduce((product, size) => product * size, 1);
      expect(shape[0] % block).toBe(0);
      const size = (count / block) * blockBytes;
      end = start + offset + size;
      const data = bytes.subarray(start + offset, end);
      const values = Array.from({ length: count / block }, (_, index) =>
        decode(data.subarray(index * blockBytes, (index + 1) * blockBytes)),
      ).flat();
      return [name, { type, shape, values }];
    }),
  );
  expect(bytes.length).toBe(Math.ceil(end / 32) * 32);
  return { meta, tensors };
}

interface Decoder {
  readonly type: GgufType;
  readonly block: number;
  readonly blockBytes: number;
  readonly decode: (block: Buffer) => number[];
}

/** By ggml's number of the type. */
const DECODERS: Record<number, Decoder> = {
  0: { type: 'F32', block: 1, blockBytes: 4, decode: (block) => [block.readFloatLE(0)] },
  1: { type: 'F16', block: 1, blockBytes: 2, decode: (block) => [half(block.readUInt16LE(0))] },
  2: {
    type: 'Q4_0',
    block: 32,
    blockBytes: 18,
    decode: (block) => {
      const codes = [...block.subarray(2)];
      const nibbles = [...codes.map((code) => code & 15), ...codes.map((code) => code >>> 4)];
      return nibbles.map((nibble) => (nibble - 8) * half(block.readUInt16LE(0)));
    },
  },
  8: {
    type: 'Q8_0',
    block: 32,
    blockBytes: 34,
    decode: (block) =>
      [...new Int8Array(block.subarray(2))].map((code) => code * half(block.readUInt16LE(0))),
  },
};

function half(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 31;
  const fraction = (bits & 1023) / 1024;
  return sign * (exponent === 0 ? 2 ** -14 * fraction : 2 ** (exponent - 15) * (1 + fraction));
}

/** Largest error of a value, as a share of the largest of its 32 neighbours: half a step of the type, with the scale rounded. */
const ERROR: Record<GgufType, number> = {
  F32: 0,
  F16: 2 ** -11,
  Q8_0: 0.5 / 127 + 0.001,
  Q4_0: 1 / 8 + 0.001,
};

function expectAlike(actual: readonly number[], expected: readonly number[], type: GgufType): void {
  expect(actual).toHaveLength(expected.length);
  for (let start = 0; start < expected.length; start += 32) {
    const scale = Math.max(...expected.slice(start, start + 32).map(Math.abs));
    for (let index = start; index < Math.min(start + 32, expected.length); index++)
      if (!(Math.abs(actual[index] - expected[index]) <= ERROR[type] * scale))
        throw new Error(`value ${index} is ${actual[index]} instead of ${expected[index]}`);
  }
}

let tied: Checkpoint;
let untied: Checkpoint;
const folder = temporaryDirectory();

beforeAll(async () => {
  const written = async (name: string, options: { untied?: boolean }): Promise<Checkpoint> => {
    const directory = path.join(folder, name);
    writeRandomCheckpoint(directory, { decoder: 'tiny', tower: 'tiny', layers: 2, ...options });
    return openCheckpoint(directory);
  };
  tied = await written('tied', {});
  untied = await written('untied', { untied: true });
});

/** The checkpoint's own numbers, row by row. */
function numbersOf({ tensors }: Checkpoint, name: string): number[] {
  const { file, offset, byteLength } = tensors.get(name)!;
  const bytes = readFileSync(file).subarray(offset, offset + byteLength);
  return Array.from({ length: byteLength / 4 }, (_, index) => bytes.readFloatLE(4 * index));
}

function rowsOf(values: readonly number[], columns: number): number[][] {
  return Array.from({ length: values.length / columns }, (_, row) =>
    values.slice(row * columns, (row + 1) * columns),
  );
}

function decoderGguf(checkpoint: Checkpoint, type: GgufType): GgufFile {
  const file = path.join(folder, 'decoder.gguf');
  writeDecoderGguf(checkpoint, file, type);
  return readGguf(file);
}

function towerGguf(type: GgufType): GgufFile {
  const file = path.join(folder, 'tower.gguf');
  writeTowerGguf(tied, file, type);
  return readGguf(file);
}

const LAYER = 'model.language_model.layers.1';

describe.each(['F32', 'F16', 'Q8_0', 'Q4_0'] as const)('a decoder in %s', (type) => {
  it('has the numbers of the checkpoint', () => {
    const { tensors } = decoderGguf(tied, type);
    const { hiddenSize, intermediateSize } = tied.config.text;
    const down = tensors.get('blk.1.ffn_down.weight')!;
    expect([down.type, down.shape]).toEqual([type, [intermediateSize, hiddenSize]]);
    expectAlike(down.values, numbersOf(tied, `${LAYER}.mlp.down_proj.weight`), type);
    const norm = tensors.get('blk.1.ffn_norm.weight')!;
    expect(norm.type).toBe('F32');
    expectAlike(norm.values, numbersOf(tied, `${LAYER}.post_attention_layernorm.weight`), 'F32');
    const vocabulary = tensors.get('token_embd.weight')!;
    expect(vocabulary.type).toBe(type === 'Q4_0' ? 'Q8_0' : type);
    expectAlike(
      vocabulary.values,
      numbersOf(tied, 'model.language_model.embed_tokens.weight'),
      vocabulary.type as GgufType,
    );
  });
});

describe('a decoder', () => {
  it('has every tensor of a Llama, and a projection of its own where the embeddings are not tied', () => {
    const names = (checkpoint: Checkpoint): string[] => [...decoderGguf(checkpoint, 'F32').tensors.keys()];
    const ofLayer = (layer: number): string[] =>
      [
        'attn_norm',
        'ffn_norm',
        'attn_q',
        'attn_k',
        'attn_v',
        'attn_output',
        'ffn_gate',
        'ffn_up',
        'ffn_down',
      ].map((name) => `blk.${layer}.${name}.weight`);
    const all = ['token_embd.weight', 'output_norm.weight', ...ofLayer(0), ...ofLayer(1)];
    expect(names(tied).sort()).toEqual(all.toSorted());
    expect(names(untied).sort()).toEqual([...all, 'output.weight'].sort());
    expectAlike(
      decoderGguf(untied, 'F32').tensors.get('output.weight')!.values,
      numbersOf(untied, 'lm_head.weight'),
      'F32',
    );
  });

  it.each([
    ['attn_q', 'q_proj', 4],
    ['attn_k', 'k_proj', 2],
  ])('has the halves of every head of %s interleaved', (theirs, ours, heads) => {
    const { tensors } = decoderGguf(tied, 'F32');
    const columns = tied.config.text.hiddenSize;
    const actual = rowsOf(tensors.get(`blk.1.${theirs}.weight`)!.values, columns);
    const expected = rowsOf(numbersOf(tied, `${LAYER}.self_attn.${ours}.weight`), columns);
    const half = expected.length / heads / 2;
    for (let head = 0; head < heads; head++) {
      for (let pair = 0; pair < half; pair++) {
        const first = 2 * half * head;
        expect(actual[first + 2 * pair]).toEqual(expected[first + pair]);
        expect(actual[first + 2 * pair + 1]).toEqual(expected[first + half + pair]);
      }
    }
  });

  it('says what llama.cpp needs to know', () => {
    const { meta } = decoderGguf(tied, 'Q4_0');
    const { text } = tied.config;
    expect(Object.fromEntries([...meta].filter(([key]) => key.startsWith('llama.')))).toEqual({
      'llama.block_count': 2,
      'llama.context_length': text.maxPositionEmbeddings,
      'llama.embedding_length': text.hiddenSize,
      'llama.feed_forward_length': text.intermediateSize,
      'llama.attention.head_count': 4,
      'llama.attention.head_count_kv': 2,
      'llama.attention.layer_norm_rms_epsilon': Math.fround(text.rmsNormEps),
      'llama.rope.dimension_count': 32,
      'llama.rope.freq_base': text.rope.theta,
      'llama.vocab_size': text.vocabSize,
    });
  });

  it('has the tokens of the checkpoint under the same ids', () => {
    const { meta } = decoderGguf(tied, 'Q4_0');
    const { model, added_tokens: added } = JSON.parse(
      readFileSync(path.join(folder, 'tied', 'tokenizer.json'), 'utf8'),
    ) as { model: { vocab: Record<string, number> }; added_tokens: { id: number; content: string }[] };
    const expected: string[] = [];
    for (const [token, id] of Object.entries(model.vocab)) expected[id] = token;
    for (const { id, content } of added) expected[id] = content;
    expect(meta.get('tokenizer.ggml.tokens')).toEqual(expected);
    const types = meta.get('tokenizer.ggml.token_type') as number[];
    expect(types.flatMap((type, id) => (type === 3 ? [id] : []))).toEqual(added.map(({ id }) => id));
    expect(meta.get('tokenizer.ggml.eos_token_id')).toBe(256);
    expect(meta.get('tokenizer.ggml.add_bos_token')).toBe(false);
  });
});

const TOWER = 'model.vision_tower';

describe.each(['F32', 'F16', 'Q8_0', 'Q4_0'] as const)('a tower in %s', (type) => {
  it('has the numbers of the checkpoint', () => {
    const { tensors } = towerGguf(type);
    const { hiddenSize, intermediateSize, numHiddenLayers } = tied.config.vision;
    expect(tensors.size).toBe(5 + 16 * numHiddenLayers + 4);
    const up = tensors.get('v.blk.0.ffn_up.weight')!;
    expect([up.type, up.shape]).toEqual([type, [hiddenSize, intermediateSize]]);
    expectAlike(up.values, numbersOf(tied, `${TOWER}.encoder.layers.0.mlp.fc1.weight`), type);
    const bias = tensors.get('v.blk.0.attn_q.bias')!;
    expect(bias.type).toBe('F32');
    expectAlike(bias.values, numbersOf(tied, `${TOWER}.encoder.layers.0.self_attn.q_proj.bias`), 'F32');
    const patches = tensors.get('v.patch_embd.weight')!;
    expect(patches.type).toBe(type === 'F32' ? 'F32' : 'F16');
    expect(patches.shape).toEqual([14, 14, 3, hiddenSize]);
    expectAlike(
      patches.values,
      numbersOf(tied, `${TOWER}.embeddings.patch_embedding.weight`),
      patches.type as GgufType,
    );
    const projector = tensors.get('mm.2.weight')!;
    expectAlike(projector.values, numbersOf(tied, 'model.multi_modal_projector.linear_2.weight'), type);
  });
});

it('has the position of the class token behind those of the patches', () => {
  const { tensors, meta } = towerGguf('F16');
  const columns = tied.config.vision.hiddenSize;
  const [classToken, ...patches] = rowsOf(
    numbersOf(tied, `${TOWER}.embeddings.position_embedding.weight`),
    columns,
  );
  expect(rowsOf(tensors.get('v.position_embd.weight')!.values, columns)).toEqual([...patches, classToken]);
  expect(meta.get('clip.projector_type')).toBe('mlp');
  expect(meta.get('clip.vision.image_size')).toBe(336);
  expect(meta.get('clip.vision.image_mean')).toEqual([0.5, 0.5, 0.5]);
});
