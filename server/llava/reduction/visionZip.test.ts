import { describe, expect, it } from 'vitest';
import type { SelectedToken, VisionInput } from './reduction';
import {
  expectIdentity,
  expectWellFormed,
  keptOf,
  only,
  patchesOf,
  range,
  SHAPES,
  visionInput,
} from './testing';

type Merged = Extract<SelectedToken, { kind: 'merged' }>;
const mergedOf = (tokens: readonly SelectedToken[]) =>
  tokens.filter((token): token is Merged => token.kind === 'merged');

const cosine = (input: VisionInput, a: number, b: number) => {
  const { data, columns } = input.keys!;
  const rowOf = (index: number) => [...data.subarray(index * columns, (index + 1) * columns)];
  const dot = (x: number[], y: number[]) => x.reduce((sum, value, at) => sum + value * y[at], 0);
  const [x, y] = [rowOf(a), rowOf(b)];
  return dot(x, y) / Math.sqrt(dot(x, x) * dot(y, y));
};

describe('VisionZip', () => {
  it('asks for the CLS token, the attention and the keys', () => {
    expect(only('visionzip').visionNeeds).toEqual({ classToken: true, attention: true, keys: true });
  });

  it.each([
    [54, 10],
    [108, 20],
    [162, 30],
    [1, 1],
    [1, 0],
    [288, 287],
  ])('keeps exactly %i + %i of 576', (dominant, contextual) => {
    for (const classToken of [true, false]) {
      const input = visionInput({ rows: 24, columns: 24, classToken }, dominant);
      const { tokens } = only(`visionzip:dominant=${dominant},contextual=${contextual}`).atVision!(input);
      expect(tokens).toHaveLength(dominant + contextual);
      expect(mergedOf(tokens)).toHaveLength(contextual);
    }
  });

  it('takes the CLS token first, as one of the dominant ones, then the most attended patches in raster order', () => {
    const input = visionInput({ rows: 8, columns: 8 }, 1);
    const kept = keptOf(only('visionzip:dominant=12,contextual=4').atVision!(input));
    const best = range(64)
      .sort((a, b) => input.classAttention![b] - input.classAttention![a])
      .slice(0, 11);
    expect(kept).toEqual([64, ...best.sort((a, b) => a - b)]);
  });

  it('takes the patches that receive most attention where there is no CLS token', () => {
    const input = visionInput({ rows: 6, columns: 11, classToken: false }, 2);
    const selection = only('visionzip:dominant=12,contextual=4').atVision!(input);
    const best = range(66)
      .sort((a, b) => input.receivedAttention![b] - input.receivedAttention![a])
      .slice(0, 12);
    expect(keptOf(selection)).toEqual(best.sort((a, b) => a - b));
    expect(selection.scores?.name).toBe('receivedAttention');
  });

  it('merges every remaining patch into the evenly spaced target with the most similar key', () => {
    const input = visionInput({ rows: 8, columns: 8 }, 3);
    const { tokens } = only('visionzip:dominant=10,contextual=6').atVision!(input);
    const kept = keptOf({ tokens });
    const rest = range(64).filter((index) => !kept.includes(index)); // 55 = 64 - 9 patches
    const step = Math.floor(rest.length / 6);
    const targets = range(6).map((position) => rest[position * step]);
    const merged = mergedOf(tokens);
    expect(merged.map(({ target }) => target)).toEqual(targets);
    for (const { target, sources } of merged) {
      for (const source of sources) {
        if (source === target) continue;
        expect(targets).not.toContain(source);
        const own = cosine(input, source, target);
        for (const other of targets) expect(own).toBeGreaterThanOrEqual(cosine(input, source, other) - 1e-6);
      }
    }
    expect(merged.flatMap(({ sources }) => [...sources]).sort((a, b) => a - b)).toEqual(rest);
  });

  it('gives ties of equal keys to the first target', () => {
    const input = visionInput({ rows: 4, columns: 4 }, 4);
    input.keys!.data.fill(1);
    const merged = mergedOf(only('visionzip:dominant=3,contextual=2').atVision!(input).tokens);
    expect(merged[0].sources).toHaveLength(13);
    expect([...merged[1].sources]).toEqual([merged[1].target]);
    expect([...merged[1].weights]).toEqual([1]);
  });

  it('adds the average of the merged patches to the target with merge=sum, and averages all with merge=average', () => {
    const input = visionInput({ rows: 24, columns: 24 }, 5);
    const sum = (values: Float32Array) => values.reduce((total, value) => total + value, 0);
    for (const { sources, weights } of mergedOf(only('visionzip:merge=average').atVision!(input).tokens)) {
      expect(sum(weights)).toBeCloseTo(1, 5);
      expect(new Set(weights).size).toBe(1);
      expect(sources.length).toBeGreaterThan(0);
    }
    for (const { weights } of mergedOf(only('visionzip:merge=sum').atVision!(input).tokens)) {
      expect(weights[0]).toBe(1);
      expect(sum(weights)).toBeCloseTo(weights.length > 1 ? 2 : 1, 5);
    }
  });

  it('is the identity, without the CLS token, where the budgets reach the number of patches', () => {
    for (const shape of SHAPES) {
      const patches = patchesOf(shape);
      for (const spec of [
        'dominant=all',
        `dominant=${patches}`,
        'dominant=1000,contextual=0',
        'dominant=1,contextual=1000',
      ]) {
        expectIdentity(only(`visionzip:${spec}`).atVision!(visionInput(shape, 6)), patches);
      }
    }
  });

  it('is well formed on every shape and the same every time', () => {
    for (const shape of SHAPES) {
      for (const spec of [
        'dominant=1,contextual=0',
        'dominant=2,contextual=3',
        'dominant=25%,contextual=10%',
      ]) {
        const input = visionInput(shape, 7);
        const selection = only(`visionzip:${spec}`).atVision!(input);
        expectWellFormed(selection, input.features.rows, input.classToken);
        expect(only(`visionzip:${spec}`).atVision!(input)).toEqual(selection);
      }
    }
  });
});
