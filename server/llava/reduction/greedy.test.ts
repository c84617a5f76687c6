import { describe, expect, it } from 'vitest';
import { DeviceError, InputError } from '../errors';
import { cosineMatrix, cosineRows } from './cosine';
import { FallingCandidates } from './greedy';
import { mulberry32 } from '../mulberry32';
import type { Matrix } from '../matrix';
import type { EmbeddingsInput, Reduction, Selection, VisionInput } from './reduction';
import {
  embeddingsInput,
  expectIdentity,
  expectWellFormed,
  keptOf,
  matrix,
  only,
  patchesOf,
  SHAPES,
  visionInput,
  type VisionShape,
} from './testing';

/** Cosines straight from the definition. */
function definition({ data, columns }: Matrix, a: number, b: number): number {
  let [ab, aa, bb] = [0, 0, 0];
  for (let k = 0; k < columns; k++) {
    const [x, y] = [data[a * columns + k], data[b * columns + k]];
    ab += x * y;
    aa += x * x;
    bb += y * y;
  }
  return ab / Math.sqrt(aa * bb);
}

describe('cosine similarity', () => {
  it.each([1, 2, 3, 4, 5, 7, 8, 13])(
    'is that of the definition for %i rows, whole or row by row',
    (count) => {
      const rows = matrix(count + 1, 17, mulberry32(count));
      const whole = cosineMatrix(rows, count);
      const row = cosineRows(rows, count);
      for (let a = 0; a < count; a++) {
        const one = Array.from(row(a));
        expect(one).toHaveLength(count);
        for (let b = 0; b < count; b++) {
          expect(whole.data[a * count + b]).toBeCloseTo(definition(rows, a, b), 12);
          expect(one[b]).toBeCloseTo(definition(rows, a, b), 12);
        }
      }
    },
  );

  it('is the same to the bit for equal rows, wherever they stand', () => {
    const rows = matrix(9, 33, mulberry32(1));
    const first = rows.data.slice(0, 33);
    for (const copy of [3, 5, 8]) rows.data.set(first, copy * 33);
    const { data } = cosineMatrix(rows, 9);
    for (let other = 0; other < 9; other++) {
      for (const copy of [3, 5, 8]) expect(data[copy * 9 + other]).toBe(data[other]);
    }
  });

  it('is 0 for a row of zeros', () => {
    const rows = { data: Float32Array.of(0, 0, 3, 4), rows: 2, columns: 2 };
    const [a, b, c, d] = cosineMatrix(rows, 2).data;
    expect([a, b, c]).toEqual([0, 0, 0]);
    expect(d).toBeCloseTo(1, 12);
  });

  it('is taken as it is where the engine has computed it', () => {
    const rows = matrix(2, 3, mulberry32(1));
    const known = { data: Float32Array.of(1, 0.25, 0.25, 1), rows: 2, columns: 2 };
    expect(Array.from(cosineMatrix(rows, 2, known).data)).toEqual([1, 0.25, 0.25, 1]);
    expect(Array.from(cosineRows(rows, 2, known)(1))).toEqual([0.25, 1]);
  });
});

describe('candidates whose values fall', () => {
  it('refuse a value that is not a number, by which no leader would ever stay', () => {
    expect(() => new FallingCandidates(Float64Array.of(1, 2)).lowerLeader(NaN)).toThrow(DeviceError);
  });

  it('come in the order of a scan, whatever happens to the leader', () => {
    const random = mulberry32(7);
    // Few different values, so that many are equal and the order of indices decides.
    const values = Float64Array.from({ length: 101 }, () => Math.floor(random() * 12));
    const candidates = new FallingCandidates(Float64Array.from(values));
    const left = new Set(values.keys());
    while (left.size > 0) {
      const expected = [...left].reduce((best, index) => (values[index] > values[best] ? index : best));
      expect(candidates.leader).toBe(expected);
      if (random() < 0.4) {
        candidates.removeLeader();
        left.delete(expected);
      } else candidates.lowerLeader((values[expected] -= Math.floor(random() * 3)));
    }
  });
});

/** One after the other the candidate with the highest value by `value`, lower index first. */
function pickByDefinition(
  count: number,
  keep: number,
  value: (candidate: number, picked: number[]) => number,
): number[] {
  const picked: number[] = [];
  while (picked.length < keep) {
    let best = -1;
    let highest = -Infinity;
    for (let candidate = 0; candidate < count; candidate++) {
      if (picked.includes(candidate)) continue;
      const own = value(candidate, picked);
      if (own > highest) [best, highest] = [candidate, own];
    }
    picked.push(best);
  }
  return picked.sort((a, b) => a - b);
}

const run = (reduction: Reduction, shape: VisionShape, seed: number): Selection =>
  reduction.atVision
    ? reduction.atVision(visionInput(shape, seed))
    : reduction.atEmbeddings!(embeddingsInput(shape, seed));

describe.each(['mmr', 'scope', 'divprune'])('%s', (id) => {
  it('keeps exactly its budget, well formed and the same every time', () => {
    for (const shape of SHAPES) {
      const tokens = patchesOf(shape);
      for (const keep of [1, 2, 3, 16, 63, 192]) {
        const selection = run(only(`${id}:keep=${keep}`), shape, keep);
        expect(selection.tokens).toHaveLength(Math.min(keep, tokens));
        expectWellFormed(selection, tokens);
        expect(run(only(`${id}:keep=${keep}`), shape, keep)).toEqual(selection);
      }
    }
  });

  it('is the identity where everything may stay', () => {
    for (const shape of SHAPES) {
      const tokens = patchesOf(shape);
      for (const keep of ['all', String(tokens), '100000']) {
        expectIdentity(run(only(`${id}:keep=${keep}`), shape, 1), tokens);
      }
    }
  });

  it('refuses to choose by values that are not numbers', () => {
    const shape = { rows: 7, columns: 9 };
    const similarity = { data: new Float32Array(63 * 63), rows: 63, columns: 63 };
    similarity.data[5 * 63 + 5] = NaN;
    const reduction = only(`${id}:keep=4`);
    const vision = visionInput(shape, 1);
    const later = embeddingsInput(shape, 1);
    const choose = (instead: Partial<VisionInput & EmbeddingsInput>): Selection =>
      reduction.atVision
        ? reduction.atVision({ ...vision, ...instead })
        : reduction.atEmbeddings!({ ...later, ...instead });
    expect(() => choose({ similarity })).toThrow(DeviceError);
    const broken = (rows: Matrix): Matrix => ({
      ...rows,
      data: Float32Array.from(rows.data).fill(NaN, 7, 8),
    });
    expect(() => choose({ features: broken(vision.features), embeddings: broken(later.embeddings) })).toThrow(
      DeviceError,
    );
    if (!reduction.visionNeeds?.attention) return;
    const attention = new Float32Array(63).fill(NaN, 62);
    expect(() => choose({ classAttention: attention, importance: attention })).toThrow(DeviceError);
  });

  it('keeps the first ones where all tokens are alike', () => {
    const embeddings = { data: new Float32Array(30).fill(2), rows: 10, columns: 3 };
    const scores = new Float32Array(10).fill(0.1);
    const vision: VisionInput = {
      ...visionInput({ rows: 2, columns: 5 }, 1),
      features: embeddings,
      classToken: undefined,
      classAttention: scores,
    };
    const later: EmbeddingsInput = {
      ...embeddingsInput({ rows: 2, columns: 5 }, 1),
      embeddings,
      importance: scores,
    };
    const reduction = only(`${id}:keep=4`);
    const selection = reduction.atVision ? reduction.atVision(vision) : reduction.atEmbeddings!(later);
    expect(keptOf(selection)).toEqual([0, 1, 2, 3]);
  });
});

describe('mmr', () => {
  const shape = { rows: 7, columns: 9 };

  it('picks by its formula', () => {
    for (const lambda of [0.2, 0.5, 0.9]) {
      const input = embeddingsInput(shape, 3);
      const [low, high] = [Math.min(...input.importance!), Math.max(...input.importance!)];
      const expected = pickByDefinition(63, 12, (candidate, picked) => {
        const relevance = (input.importance![candidate] - low) / (high - low);
        const nearest = picked.map((other) => definition(input.embeddings, candidate, other));
        return lambda * relevance - (1 - lambda) * (picked.length > 0 ? Math.max(...nearest) : 0);
      });
      expect(keptOf(only(`mmr:keep=12,lambda=${lambda}`).atEmbeddings!(input))).toEqual(expected);
    }
  });

  it('is a ranking by importance with lambda=1', () => {
    const input = embeddingsInput(shape, 4);
    const expected = pickByDefinition(63, 20, (candidate) => input.importance![candidate]);
    expect(keptOf(only('mmr:keep=20,lambda=1').atEmbeddings!(input))).toEqual(expected);
  });

  it('never keeps a copy while something different is left', () => {
    const input = embeddingsInput(shape, 5);
    const { data, columns } = input.embeddings;
    for (let copy = 40; copy < 63; copy++) data.copyWithin(copy * columns, 0, columns);
    const kept = keptOf(only('mmr:keep=40,lambda=0').atEmbeddings!(input));
    expect(kept).toEqual(Array.from({ length: 40 }, (_, index) => index));
  });

  it('refuses, with a way out, a model whose tower gives no attention', () => {
    const input = { ...embeddingsInput(shape, 1), importance: undefined };
    expect(() => only('mmr').atEmbeddings!(input)).toThrow(InputError);
    expect(() => only('mmr').atEmbeddings!(input)).toThrow(/mmr cannot be used/);
  });
});

describe('scope', () => {
  it('picks what computing every gain each time would pick', () => {
    // Not 0: without importance two patches that resemble each other often tie, and rounding would decide.
    for (const alpha of [0.5, 1, 2]) {
      for (const seed of [1, 2, 3]) {
        const input = visionInput({ rows: 6, columns: 8, dim: 6 }, seed);
        const expected = pickByDefinition(48, 30, (candidate, picked) => {
          let gain = 0;
          for (let token = 0; token < 48; token++) {
            const covered = Math.max(0, ...picked.map((other) => definition(input.features, token, other)));
            gain += Math.max(0, definition(input.features, token, candidate) - covered);
          }
          return gain * input.classAttention![candidate] ** alpha;
        });
        expect(keptOf(only(`scope:keep=30,alpha=${alpha}`).atVision!(input))).toEqual(expected);
      }
    }
  });
});

describe('divprune', () => {
  it('starts with the loneliest token and always takes the farthest from those taken', () => {
    const input = embeddingsInput({ rows: 5, columns: 7 }, 6);
    const distance = (a: number, b: number) => 1 - definition(input.embeddings, a, b);
    const others = (token: number) =>
      Array.from({ length: 35 }, (_, index) => index).filter((index) => index !== token);
    const expected = pickByDefinition(35, 9, (candidate, picked) =>
      Math.min(
        ...(picked.length > 0 ? picked : others(candidate)).map((other) => distance(candidate, other)),
      ),
    );
    expect(keptOf(only('divprune:keep=9').atEmbeddings!(input))).toEqual(expected);
  });

  it('looks at nothing but the embeddings', () => {
    const input = embeddingsInput({ rows: 5, columns: 7 }, 6);
    expect(only('divprune').visionNeeds).toBeUndefined();
    expect(only('divprune:keep=9').atEmbeddings!({ ...input, importance: undefined })).toEqual(
      only('divprune:keep=9').atEmbeddings!(input),
    );
  });
});
