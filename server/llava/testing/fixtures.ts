import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

import { expect } from 'vitest';

/** A float or integer tensor of a reference fixture. */
export interface FixtureTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** What HuggingFace transformers computed from a tiny checkpoint (see training/reference/README.md). */
export interface Fixture {
  readonly directory: string;
  readonly description: {
    readonly images: readonly { readonly file: string }[];
    readonly question: string;
    readonly system: string | null;
    readonly promptText: string;
    readonly promptIds: readonly number[];
    readonly answerIds: readonly number[];
    readonly imageTokensPerImage: number;
    readonly weights: { readonly dtype: string };
  };
  readonly tensors: Record<string, FixtureTensor>;
}

const FIXTURES = path.join(__dirname, '..', '..', '..', 'test', 'fixtures');

/** The seeded tiny checkpoints. */
export const CHECKPOINT_FIXTURES = [
  'clip-llama',
  'clip-llama-defaults',
  'clip-llama-llama3-bfloat16',
  'clip-llama-yarn',
  'clip-mistral-layers-sharded',
  'clip-qwen2-two-images',
  'siglip-llama-bias-linear',
  'siglip-qwen2',
  'siglip-qwen2-float16',
  'siglip-qwen2-longrope-windows',
] as const;

/** Seeded tiny checkpoints of models that cut pictures into tiles. */
export const TILED_FIXTURES = [
  'llava-next-clip-llama',
  'llava-next-clip-mistral',
  'llava-onevision-siglip-qwen2',
] as const;

/** Fixtures of every kind of tower and decoder; the prompt of the one with LongRoPE is too long for its beginning to be kept. */
export const KEPT_PREFIX_FIXTURES = CHECKPOINT_FIXTURES.filter(
  (name) => !/defaults|float16|longrope/.test(name),
);

export const ALL_FIXTURES = [...CHECKPOINT_FIXTURES, ...TILED_FIXTURES] as const;

/** A question about pictures of some shape (reference/pictures.json of the tiled fixtures). */
export interface PictureCase {
  readonly name: string;
  readonly images: readonly string[];
  /** Tower inputs of each picture. */
  readonly tiles: readonly number[];
  readonly promptIds: readonly number[];
  readonly answerIds: readonly number[];
}

export function readPictureCases(name: string): {
  question: string;
  cases: PictureCase[];
  tensors: Record<string, FixtureTensor>;
} {
  const reference = fixturePath('checkpoints', name, 'reference');
  return {
    ...JSON.parse(readFileSync(path.join(reference, 'pictures.json'), 'utf8')),
    tensors: readTensors(path.join(reference, 'pictures.safetensors')),
  };
}

export function fixturePath(...parts: string[]): string {
  return path.join(FIXTURES, ...parts);
}

export function readFixture(name: string): Fixture {
  const directory = fixturePath('checkpoints', name);
  const reference = path.join(directory, 'reference');
  return {
    directory,
    description: JSON.parse(readFileSync(path.join(reference, 'fixture.json'), 'utf8')),
    tensors: readTensors(path.join(reference, 'tensors.safetensors')),
  };
}

export function fixtureImage(fixture: Fixture, index: number): Uint8Array {
  return readFileSync(path.join(fixture.directory, 'reference', fixture.description.images[index].file));
}

/** Reads a small, trusted safetensors file whole. */
export function readTensors(file: string): Record<string, FixtureTensor> {
  if (!existsSync(file))
    throw new Error(`${file} is missing: run the commands of training/reference/README.md`);
  const bytes = readFileSync(file);
  const headerLength = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + headerLength)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const tensors: Record<string, FixtureTensor> = {};
  for (const [name, { dtype, shape, data_offsets }] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const [begin, end] = data_offsets.map((offset) => 8 + headerLength + offset);
    const own = bytes.buffer.slice(bytes.byteOffset + begin, bytes.byteOffset + end);
    tensors[name] = { shape, data: toFloats(own, dtype) };
  }
  return tensors;
}

function toFloats(buffer: ArrayBuffer, dtype: string): Float32Array {
  switch (dtype) {
    case 'F32':
      return new Float32Array(buffer);
    case 'F64':
      return Float32Array.from(new Float64Array(buffer));
    case 'I64':
      return Float32Array.from(new BigInt64Array(buffer), Number);
    case 'I32':
      return Float32Array.from(new Int32Array(buffer));
    case 'U8':
      return Float32Array.from(new Uint8Array(buffer));
    default:
      throw new Error(`fixtures hold no ${dtype}`);
  }
}

/**
 * Expects two tensors to be equal within `tolerance` of the scale (largest magnitude) of the expected one.
 * NaN anywhere fails.
 */
export function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance = 2e-4): void {
  expect(actual.length).toBe(expected.length);
  let scale = 0;
  let worst = 0;
  for (let i = 0; i < expected.length; i++) {
    scale = Math.max(scale, Math.abs(expected[i]));
    const difference = Math.abs(actual[i] - expected[i]);
    // Written so that a NaN becomes the worst.
    if (!(difference <= worst)) worst = difference;
  }
  expect(scale).toBeGreaterThan(0);
  expect(worst / scale, `largest difference ${worst} at scale ${scale}`).toBeLessThanOrEqual(tolerance);
}
