/** Seeded inputs and the properties that every reduction has, for the tests of this folder. */
import { expect } from 'vitest';
import { parseReduction } from './parse';
import { mulberry32 } from '../mulberry32';
import type { Matrix } from '../matrix';
import type { Grid, PatchPixels } from './patches';
import type { EmbeddingsInput, LayerInput, Reduction, Selection, TilePlace, VisionInput } from './reduction';

/** The one reduction of a spec. */
export function only(spec: string): Reduction {
  const reductions = parseReduction(spec);
  expect(reductions).toHaveLength(1);
  return reductions[0];
}

/** Standard normal values (Box-Muller). */
export function normals(count: number, next: () => number): Float32Array {
  return Float32Array.from({ length: count }, () => {
    const radius = Math.sqrt(-2 * Math.log(1 - next()));
    return radius * Math.cos(2 * Math.PI * next());
  });
}

/** Positive values that sum to 1, as attention does. */
export function attention(count: number, next: () => number): Float32Array {
  const raw = normals(count, next).map((value) => Math.exp(2 * value));
  const sum = raw.reduce((total, value) => total + value, 0);
  return raw.map((value) => value / sum);
}

export function matrix(rows: number, columns: number, next: () => number): Matrix {
  return { data: normals(rows * columns, next), rows, columns };
}

/** A screenshot-like picture: a flat ground with a few flat rectangles and some noise patches. */
export function screenshot(rows: number, columns: number, next: () => number, patchSize = 4): PatchPixels {
  const patches = rows * columns;
  const values = patchSize * patchSize * 3;
  const data = new Uint8Array(patches * values).fill(240);
  for (let patch = 0; patch < patches; patch++) {
    const kind = next();
    for (let at = 0; at < values; at++) {
      if (kind < 0.3) data[patch * values + at] = Math.floor(next() * 256);
      else if (kind < 0.4) data[patch * values + at] = 30;
    }
  }
  return { data, patches, patchSize };
}

/** Of an image that is not tiled. */
export function onlyTile(grid: Grid): TilePlace {
  return { index: 0, before: 0, total: grid.rows * grid.columns, planes: [grid] };
}

export interface VisionShape {
  readonly rows: number;
  readonly columns: number;
  readonly dim?: number;
  readonly classToken?: boolean;
}

export function visionInput(
  { rows, columns, dim = 24, classToken = true }: VisionShape,
  seed: number,
): VisionInput {
  const next = mulberry32(seed);
  const patches = rows * columns;
  const scores = attention(patches, next);
  return {
    grid: { rows, columns },
    tile: onlyTile({ rows, columns }),
    features: matrix(patches + (classToken ? 1 : 0), dim, next),
    classToken: classToken ? patches : undefined,
    ...(classToken ? { classAttention: scores } : { receivedAttention: scores }),
    keys: matrix(patches, 8, next),
    questionEmbeddings: matrix(5, 16, next),
  };
}

export function embeddingsInput({ rows, columns, dim = 24 }: VisionShape, seed: number): EmbeddingsInput {
  const next = mulberry32(seed);
  const tokens = rows * columns;
  return {
    embeddings: matrix(tokens, dim, next),
    raster: Int32Array.from({ length: tokens }, (_, index) => index),
    importance: attention(tokens, next),
    planes: [{ rows, columns, first: 0, pixels: screenshot(rows, columns, next) }],
    questionEmbeddings: matrix(5, dim, next),
  };
}

export function layerInput(tokens: number, seed: number, rest: Partial<LayerInput> = {}): LayerInput {
  return {
    layer: 2,
    layers: 8,
    enteredDecoder: tokens,
    scores: attention(tokens, mulberry32(seed)),
    raster: Int32Array.from({ length: tokens }, (_, index) => index),
    ...rest,
  };
}

/** The shapes that every property is checked on: one token, one row, not square, square, the number of LLaVA-1.5. */
export const SHAPES: readonly VisionShape[] = [
  { rows: 1, columns: 1 },
  { rows: 1, columns: 7 },
  { rows: 5, columns: 3 },
  { rows: 6, columns: 11, classToken: false },
  { rows: 8, columns: 8 },
  { rows: 24, columns: 24, dim: 48 },
  { rows: 24, columns: 24, dim: 48, classToken: false },
];

export const patchesOf = ({ rows, columns }: VisionShape): number => rows * columns;

/** The indices of the tokens that go on unchanged, in the order in which they go on. */
export function keptOf(selection: Selection): number[] {
  return selection.tokens.flatMap((token) => (token.kind === 'kept' ? [token.index] : []));
}

export const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

/** Fails unless all tokens go on, unchanged and in order. */
export function expectIdentity(selection: Selection, count: number): void {
  expect(selection.tokens).toHaveLength(count);
  expect(keptOf(selection)).toEqual(range(count));
}

/**
 * What a selection must fulfil whatever the method: indices exist, no token goes on twice, kept patches ascend, merged
 * tokens go on under one of their own sources, and received = kept + merged sources + dropped.
 */
export function expectWellFormed(selection: Selection, received: number, classToken?: number): void {
  const kept = keptOf(selection);
  const patches = kept.filter((index) => index !== classToken);
  expect(patches).toEqual([...new Set(patches)].sort((a, b) => a - b));
  if (kept.length > patches.length) expect(kept).toEqual([classToken, ...patches]);
  const goneOn = [...kept];
  for (const token of selection.tokens) {
    if (token.kind !== 'merged') continue;
    expect(token.sources).toContain(token.target);
    expect(token.weights).toHaveLength(token.sources.length);
    expect(token.weights.every((weight) => weight > 0 && weight <= 1)).toBe(true);
    goneOn.push(...token.sources);
  }
  expect(new Set(goneOn).size).toBe(goneOn.length);
  expect(goneOn.every((index) => Number.isInteger(index) && index >= 0 && index < received)).toBe(true);
  if (!selection.scores) return;
  expect(selection.scores.values).toHaveLength(received);
  expect(selection.scores.values.every((value) => !Number.isNaN(value))).toBe(true);
}
