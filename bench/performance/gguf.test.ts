import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';

import { openCheckpoint } from '../../server/llava/checkpoint/open';
import { temporaryDirectory } from '../../server/llava/testing/temporaryDirectory';
import { writeGguf, writeTowerGguf } from './gguf';
import { checkpointOf } from './shapes';

/** A reader of its own: what a file says about its tensors. */
function readTensors(bytes: Buffer): Map<string, { type: number; shape: number[]; data: Buffer }> {
  let at = 0;
  const u32 = (): number => bytes.readUInt32LE((at += 4) - 4);
  const u64 = (): number => Number(bytes.readBigUInt64LE((at += 8) - 8));
  const string = (): string => {
    const length = u64();
    return bytes.toString('utf8', at, (at += length));
  };
  const skipValue = (type: number): void => {
    if (type === 8) string();
    else if (type === 9) {
      const inner = u32();
      for (let left = u64(); left > 0; left--) skipValue(inner);
    } else at += type === 7 ? 1 : 4;
  };
  expect(bytes.toString('latin1', 0, 4)).toBe('GGUF');
  at = 8;
  const tensors = u64();
  for (let left = u64(); left > 0; left--) {
    expect(string()).toMatch(/^(general|llama|tokenizer|clip)\./);
    skipValue(u32());
  }
  const found = Array.from({ length: tensors }, () => {
    const name = string();
    const shape = Array.from({ length: u32() }, u64);
    return { name, shape, type: u32(), offset: u64() };
  });
  const start = Math.ceil(at / 32) * 32;
  return new Map(
    found.map(({ name, shape, type, offset }) => [
      name,
      { type, shape, data: bytes.subarray(start + offset) },
    ]),
  );
}

function half(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  return sign * 2 ** (((bits >>> 10) & 31) - 15) * (1 + (bits & 1023) / 1024);
}

it('writes the weights of the checkpoint, quantised as llama.cpp does', async () => {
  const checkpoint = await openCheckpoint(checkpointOf('tiny', temporaryDirectory()));
  const file = path.join(temporaryDirectory(), 'decoder.gguf');
  writeGguf(checkpoint, file);
  const tensors = readTensors(readFileSync(file));
  expect(tensors.size).toBe(2 + 9 * checkpoint.config.text.numHiddenLayers);

  const source = checkpoint.tensors.get('model.language_model.layers.1.mlp.down_proj.weight')!;
  const { type, shape, data } = tensors.get('blk.1.ffn_down.weight')!;
  expect(shape).toEqual([source.shape[1], source.shape[0]]);
  expect(type).toBe(2);
  const bytes = readFileSync(source.file).subarray(source.offset, source.offset + source.byteLength);
  for (let block = 0; block < 40; block++) {
    const scale = half(data.readUInt16LE(18 * block));
    for (let i = 0; i < 32; i++) {
      const byte = data[18 * block + 2 + (i % 16)];
      const value = ((i < 16 ? byte & 15 : byte >>> 4) - 8) * scale;
      const error = Math.abs(value - bytes.readFloatLE(4 * (32 * block + i)));
      expect(error).toBeLessThanOrEqual(Math.abs(scale) * 1.01);
    }
  }
});

it('writes tower and projector in half precision', async () => {
  const checkpoint = await openCheckpoint(checkpointOf('tiny', temporaryDirectory()));
  const { vision } = checkpoint.config;
  const file = path.join(temporaryDirectory(), 'tower.gguf');
  writeTowerGguf(checkpoint, file);
  const tensors = readTensors(readFileSync(file));
  expect(tensors.size).toBe(5 + 16 * vision.numHiddenLayers + 4);

  const source = checkpoint.tensors.get('model.vision_tower.encoder.layers.0.mlp.fc1.weight')!;
  const { type, shape, data } = tensors.get('v.blk.0.ffn_up.weight')!;
  expect(shape).toEqual([vision.hiddenSize, vision.intermediateSize]);
  expect(type).toBe(1);
  const bytes = readFileSync(source.file).subarray(source.offset, source.offset + source.byteLength);
  for (let index = 0; index < 1000; index++) {
    const value = bytes.readFloatLE(4 * index);
    expect(Math.abs(half(data.readUInt16LE(2 * index)) - value)).toBeLessThanOrEqual(
      Math.abs(value) * 2 ** -10,
    );
  }
});
