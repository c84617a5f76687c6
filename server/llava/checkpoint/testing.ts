import { cpSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { ModelError } from '../errors';
import { fixturePath } from '../testing/fixtures';
import type { Bits, QuantizedRows } from './quantize';

/** The bytes of a safetensors file with this header (an object, or the text itself) and this much data. */
export function safetensorsBytes(header: object | string, data: Uint8Array | number): Buffer {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, typeof data === 'number' ? Buffer.alloc(data) : data]);
}

/** A copy of a fixture checkpoint, without its reference, that a test may damage. */
export function copyCheckpoint(name: string, directory: string): string {
  const source = fixturePath('checkpoints', name);
  cpSync(source, directory, {
    recursive: true,
    filter: (file) => path.relative(source, file).split(path.sep)[0] !== 'reference',
  });
  return directory;
}

/** The ModelError that the work ends with. */
export async function modelError(work: Promise<unknown>): Promise<ModelError> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(ModelError);
  const { message, nextStep } = error as ModelError;
  expect(message).not.toBe('');
  expect(nextStep).not.toBe('');
  return error as ModelError;
}

/** The weights [rows, columns] that codes mean: from the documentation of MatMulNBits, element by element. */
export function dequantize(
  rows: number,
  columns: number,
  bits: Bits,
  quantized: QuantizedRows,
): Float32Array {
  const blocks = Math.ceil(columns / 32);
  const nibble = (bytes: Uint8Array, index: number): number =>
    index % 2 === 0 ? bytes[Math.floor(index / 2)] % 16 : Math.floor(bytes[Math.floor(index / 2)] / 16);
  const result = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) {
      const block = Math.floor(column / 32);
      const position = (row * blocks + block) * 32 + (column % 32);
      const code = bits === 4 ? nibble(quantized.values, position) : quantized.values[position];
      const rowOfZeros = quantized.zeroPoints.subarray(
        row * Math.ceil(blocks / 2),
        (row + 1) * Math.ceil(blocks / 2),
      );
      const zero = bits === 4 ? nibble(rowOfZeros, block) : 128;
      result[row * columns + column] = (code - zero) * quantized.scales[row * blocks + block];
    }
  return result;
}
