import { describe, expect, it } from 'vitest';
import type { PatchPixels } from './patches';
import type { EmbeddingsInput } from './reduction';
import {
  embeddingsInput,
  expectIdentity,
  expectWellFormed,
  keptOf,
  only,
  patchesOf,
  range,
  SHAPES,
} from './testing';

/** A picture drawn in letters, one per patch; the grey level of a patch is by letter, plus `bump` on its last channel. */
function drawing(lines: readonly string[], levels: Record<string, number>): EmbeddingsInput {
  const [rows, columns] = [lines.length, lines[0].length];
  const patchSize = 2;
  const pixels: PatchPixels = {
    data: new Uint8Array(rows * columns * 12),
    patches: rows * columns,
    patchSize,
  };
  [...lines.join('')].forEach((letter, patch) =>
    pixels.data.fill(levels[letter], patch * 12, patch * 12 + 12),
  );
  return { ...embeddingsInput({ rows, columns }, 1), planes: [{ rows, columns, first: 0, pixels }] };
}

/** The picture with one letter per patch: the letter where the token stays, a dot where it goes. */
function shown(lines: readonly string[], kept: readonly number[]): string[] {
  const letters = [...lines.join('')].map((letter, patch) => (kept.includes(patch) ? letter : '.'));
  return lines.map((line, row) => letters.slice(row * line.length, (row + 1) * line.length).join(''));
}

const WINDOW = ['gggggg', 'gwwwwg', 'gwtuwg', 'gwwwwg', 'gggggg'];
const LEVELS = { g: 100, w: 250, t: 10, u: 60 };

describe('UI graph', () => {
  it('keeps one token of every flat area and every patch that is unlike its neighbours', () => {
    const input = drawing(WINDOW, LEVELS);
    const selection = only('uigraph').atEmbeddings!(input);
    const kept = keptOf(selection);
    expect(kept).toHaveLength(4);
    expect(kept).toEqual(expect.arrayContaining([14, 15])); // t and u
    expect(selection.note).toBe('4 areas among 30 tokens.');
    for (const letter of 'gw') {
      const area = range(30).filter((patch) => WINDOW.join('')[patch] === letter);
      const best = area.reduce((a, b) => (input.importance![b] > input.importance![a] ? b : a));
      expect(kept.filter((patch) => area.includes(patch))).toEqual([best]);
    }
  });

  it('keeps as many of each area as asked', () => {
    const count = (keep: string) =>
      only(`uigraph:keep=${keep}`).atEmbeddings!(drawing(WINDOW, LEVELS)).tokens.length;
    expect(count('3')).toBe(3 + 3 + 1 + 1); // of 18, 10, 1, 1
    expect(count('50%')).toBe(9 + 5 + 1 + 1);
    expect(count('all')).toBe(30);
  });

  it('joins patches that differ by less than the threshold, and areas that touch only at corners never', () => {
    const count = (threshold: number) =>
      only(`uigraph:threshold=${threshold}`).atEmbeddings!(drawing(WINDOW, LEVELS)).tokens.length;
    expect(count(50)).toBe(4); // t and u differ by exactly 50
    expect(count(50.5)).toBe(3);
    expect(count(256)).toBe(1);
    expect(only('uigraph').atEmbeddings!(drawing(['ab', 'ba'], { a: 0, b: 200 })).tokens).toHaveLength(4);
  });

  it('looks at every pixel: one channel of one pixel makes a difference', () => {
    const input = drawing(['ggg'], { g: 100 });
    input.planes[0].pixels.data[12 + 11] = 108;
    expect(only('uigraph').atEmbeddings!(input).tokens).toHaveLength(3);
    input.planes[0].pixels.data[12 + 11] = 107;
    expect(only('uigraph').atEmbeddings!(input).tokens).toHaveLength(1);
  });

  it('is the identity with threshold=0, and where it may keep all', () => {
    for (const shape of SHAPES) {
      const input = embeddingsInput(shape, 2);
      expectIdentity(only('uigraph:threshold=0').atEmbeddings!(input), patchesOf(shape));
      expectIdentity(only('uigraph:keep=all').atEmbeddings!(input), patchesOf(shape));
      expectWellFormed(only('uigraph').atEmbeddings!(input), patchesOf(shape));
    }
  });

  it('keeps tokens that are no patch, and counts only the patches that are still there', () => {
    const input = drawing(['gggg'], { g: 1 });
    const three = { ...input, raster: Int32Array.of(-1, 1, 3), importance: Float32Array.of(0, 0.1, 0.2) };
    expect(keptOf(only('uigraph').atEmbeddings!(three))).toEqual([0, 2]);
  });
});

describe('PixelPrune', () => {
  it('drops what its left or upper neighbour shows', () => {
    const kept = keptOf(only('pixelprune').atEmbeddings!(drawing(WINDOW, LEVELS)));
    expect(shown(WINDOW, kept)).toEqual(['g.....', '.w....', '..tu..', '......', '......']);
  });

  it('says how much it dropped', () => {
    expect(only('pixelprune').atEmbeddings!(drawing(['gg', 'gg'], { g: 7 })).note).toBe(
      '3 of 4 tokens repeat a neighbour.',
    );
  });

  it('never lets small differences add up: a patch is compared with the kept one that stands for its neighbour', () => {
    const ramp = drawing(['abcdef'], { a: 0, b: 4, c: 8, d: 12, e: 16, f: 20 });
    expect(keptOf(only('pixelprune:threshold=8').atEmbeddings!(ramp))).toEqual([0, 3]);
    expect(keptOf(only('pixelprune:threshold=3').atEmbeddings!(ramp))).toEqual(range(6));
  });

  it('compares nothing with a patch whose token an earlier method took', () => {
    const input = drawing(['gggg'], { g: 5 });
    expect(keptOf(only('pixelprune').atEmbeddings!({ ...input, raster: Int32Array.of(0, 2, 3) }))).toEqual([
      0, 1,
    ]);
  });

  it('drops nothing where no patch repeats another', () => {
    const input = embeddingsInput({ rows: 4, columns: 6 }, 1);
    for (let patch = 0; patch < 24; patch++) input.planes[0].pixels.data[patch * 48] = patch * 9;
    expectIdentity(only('pixelprune').atEmbeddings!(input), 24);
  });

  it('is well formed on every shape, and lossless with threshold=0: each dropped patch equals a kept one', () => {
    for (const shape of SHAPES) {
      const input = embeddingsInput(shape, 3);
      const selection = only('pixelprune').atEmbeddings!(input);
      expectWellFormed(selection, patchesOf(shape));
      const look = (patch: number) => input.planes[0].pixels.data.slice(patch * 48, patch * 48 + 48).join();
      const kept = keptOf(selection);
      const looks = new Set(kept.map(look));
      expect(range(patchesOf(shape)).every((patch) => looks.has(look(patch)))).toBe(true);
      expect(kept[0]).toBe(0);
    }
  });
});
