import { describe, expect, it } from 'vitest';

import type { PicturePlane } from './patches';
import { AUTOMATIC_BUDGET, automaticBudget, automaticTokens } from './automaticBudget';
import { distinctPatches } from './distinctPatches';
import { formatReduction, parseReduction } from './parse';
import { REDUCTIONS } from './registry';
import { embeddingsInput } from './testing';

const PATCH = 2;

/** A raster of patches that are each of one grey. */
function greys(rows: readonly (readonly number[])[]): PicturePlane {
  const patches = rows.flat();
  const data = Uint8Array.from(patches.flatMap((grey) => Array<number>(PATCH * PATCH * 3).fill(grey)));
  return {
    rows: rows.length,
    columns: rows[0].length,
    pixels: { data, patches: patches.length, patchSize: PATCH },
  };
}

describe('distinct patches', () => {
  it.each([
    [
      'one flat area counts once',
      [
        [7, 7],
        [7, 7],
      ],
      1,
    ],
    [
      'a border of two areas counts as two',
      [
        [0, 200, 200],
        [0, 200, 200],
      ],
      2,
    ],
    [
      'what differs from left and above counts',
      [
        [0, 100],
        [200, 50],
      ],
      4,
    ],
    [
      'differences that scaling leaves do not count',
      [
        [100, 108],
        [92, 100],
      ],
      1,
    ],
    ['the first difference beyond that does', [[100, 109]], 2],
  ])('%s', (_, rows, distinct) => {
    expect(distinctPatches(greys(rows))).toBe(distinct);
  });
});

describe('the automatic budget', () => {
  const { ratio, minimum } = AUTOMATIC_BUDGET;

  it('follows what the picture shows, between its minimum and everything', () => {
    expect(automaticTokens(1, 576)).toBe(minimum);
    expect(automaticTokens(200, 576)).toBe(Math.min(576, Math.max(minimum, Math.round(200 * ratio))));
    expect(automaticTokens(5000, 9000)).toBe(Math.max(minimum, Math.round(5000 * ratio)));
    expect(automaticTokens(9000, 100)).toBe(100);
    expect(automaticTokens(1, 10)).toBe(10);
  });

  it('adds up the planes of tiled and several pictures, and says why', () => {
    const plane = greys([[0, 100, 200]]);
    const { tokens, reason } = automaticBudget([plane, plane]);
    expect(tokens).toBe(automaticTokens(6, 6));
    expect(reason).toMatch(/^Chosen automatically: 6 of 6 tokens\. 6 patches differ from their neighbours/);
  });
});

describe('auto in a spec', () => {
  const allowing = REDUCTIONS.filter(({ description }) =>
    description.parameters.some((parameter) => parameter.type === 'budget' && parameter.auto),
  );

  it('is there for every method with a budget of its own, and for controls to compare with', () => {
    expect(allowing.map(({ description }) => description.id)).toEqual([
      'fastv',
      'visionzip',
      'mmr',
      'scope',
      'divprune',
      'sparsevlm',
      'random',
      'uniform',
    ]);
  });

  it.each(allowing.map(({ description }) => [description]))('$id', (description) => {
    const parameter = description.parameters.find((entry) => entry.type === 'budget' && entry.auto)!;
    const [reduction] = parseReduction(`${description.id}:${parameter.name}=auto`);
    expect(reduction.spec).toContain(`${parameter.name}=auto`);
    expect(formatReduction(parseReduction(reduction.spec))).toBe(reduction.spec);
    const resolved = reduction.resolve!({ tokens: 5, reason: 'five' });
    expect(resolved.spec).toBe(reduction.spec);
    expect(resolved.automatic?.reason).toBe('five');
    expect(resolved.resolve).toBeUndefined();
  });

  it('is a number of tokens once it is resolved, and everything before', () => {
    const input = embeddingsInput({ rows: 4, columns: 4 }, 1);
    const [reduction] = parseReduction('mmr:keep=auto');
    expect(reduction.atEmbeddings!(input).tokens).toHaveLength(16);
    const resolved = reduction.resolve!({ tokens: 5, reason: 'five' });
    const [fixed] = parseReduction('mmr:keep=5');
    expect(resolved.atEmbeddings!(input)).toEqual(fixed.atEmbeddings!(input));
  });

  it('is refused where a budget is not that of a picture', () => {
    expect(() => parseReduction('uigraph:keep=auto')).toThrow('"auto" is not a value for "keep"');
    expect(() => parseReduction('visionzip:contextual=auto')).toThrow('"auto" is not a value');
  });
});
