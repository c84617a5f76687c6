import { cpSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { ModelError } from '../errors';
import { fixturePath } from '../testing/fixtures';

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
