import { describe, expect, it } from 'vitest';
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

describe.each(['random', 'uniform'])('%s', (id) => {
  it('keeps exactly its budget, well formed, on every shape', () => {
    for (const shape of SHAPES) {
      const input = visionInput(shape, 1);
      const patches = patchesOf(shape);
      for (let keep = 1; keep < patches; keep += Math.max(1, Math.floor(patches / 37))) {
        const selection = only(`${id}:keep=${keep}`).atVision!(input);
        expect(selection.tokens).toHaveLength(keep);
        expectWellFormed(selection, patches);
      }
    }
  });

  it('is the identity where everything may stay', () => {
    for (const shape of SHAPES) {
      const patches = patchesOf(shape);
      for (const keep of ['all', String(patches), String(patches + 1)]) {
        expectIdentity(only(`${id}:keep=${keep}`).atVision!(visionInput(shape, 1)), patches);
      }
    }
  });

  it('does not look at the picture', () => {
    const chosen = [1, 2].map((seed) =>
      keptOf(only(`${id}:keep=7`).atVision!(visionInput({ rows: 6, columns: 5 }, seed))),
    );
    expect(chosen[0]).toEqual(chosen[1]);
  });
});

describe('random', () => {
  const draw = (seed: number, keep = 64) =>
    keptOf(
      only(`random:keep=${keep},seed=${seed}`).atVision!(visionInput({ rows: 24, columns: 24, dim: 1 }, 1)),
    );

  it('draws the same for the same seed and another for another', () => {
    expect(draw(1)).toEqual(draw(1));
    expect(draw(1)).not.toEqual(draw(2));
  });

  it('draws every patch about equally often', () => {
    const times = new Array<number>(576).fill(0);
    for (let seed = 0; seed < 450; seed++) for (const index of draw(seed)) times[index]++;
    // Binomial(450, 1/9): mean 50, standard deviation 6.7; six of them are never left by chance.
    expect(Math.min(...times)).toBeGreaterThan(10);
    expect(Math.max(...times)).toBeLessThan(90);
  });
});

describe('uniform', () => {
  it('is the exact grid where the budget is a square number that divides the raster', () => {
    const kept = keptOf(only('uniform:keep=64').atVision!(visionInput({ rows: 24, columns: 24, dim: 1 }, 1)));
    const lines = range(8).map((line) => 1 + 3 * line);
    expect(kept).toEqual(lines.flatMap((row) => lines.map((column) => row * 24 + column)));
  });

  it('leaves no patch farther from a kept one than an even spread needs', () => {
    for (const keep of [16, 32, 64, 100, 144, 192, 250]) {
      const kept = keptOf(
        only(`uniform:keep=${keep}`).atVision!(visionInput({ rows: 24, columns: 24, dim: 1 }, 1)),
      );
      const spacing = 24 / Math.sqrt(keep);
      for (const patch of range(576)) {
        const distance = Math.min(
          ...kept.map((index) =>
            Math.max(
              Math.abs((index % 24) - (patch % 24)),
              Math.abs(Math.floor(index / 24) - Math.floor(patch / 24)),
            ),
          ),
        );
        expect(distance).toBeLessThanOrEqual(Math.ceil(spacing));
      }
    }
  });
});

describe('pool', () => {
  it('averages equal cells where the grid divides the raster', () => {
    const { tokens } = only('pool:grid=2').atVision!(visionInput({ rows: 4, columns: 6 }, 1));
    expect(tokens).toEqual([
      {
        kind: 'merged',
        target: 7,
        sources: Uint32Array.of(0, 1, 2, 6, 7, 8),
        weights: new Float32Array(6).fill(1 / 6),
      },
      {
        kind: 'merged',
        target: 10,
        sources: Uint32Array.of(3, 4, 5, 9, 10, 11),
        weights: new Float32Array(6).fill(1 / 6),
      },
      {
        kind: 'merged',
        target: 19,
        sources: Uint32Array.of(12, 13, 14, 18, 19, 20),
        weights: new Float32Array(6).fill(1 / 6),
      },
      {
        kind: 'merged',
        target: 22,
        sources: Uint32Array.of(15, 16, 17, 21, 22, 23),
        weights: new Float32Array(6).fill(1 / 6),
      },
    ]);
  });

  it('puts every patch into the one cell that its centre lies in, on any raster', () => {
    for (const shape of SHAPES) {
      for (const grid of [1, 2, 3, 5, 7, 8, 10, 17, 24]) {
        const selection = only(`pool:grid=${grid}`).atVision!(visionInput(shape, 1));
        expectWellFormed(selection, patchesOf(shape));
        const rows = Math.min(grid, shape.rows);
        const columns = Math.min(grid, shape.columns);
        expect(selection.tokens).toHaveLength(rows * columns);
        selection.tokens.forEach((token, cell) => {
          const sources =
            token.kind === 'merged' ? [...token.sources] : token.kind === 'kept' ? [token.index] : [];
          for (const source of sources) {
            const row = Math.floor(((Math.floor(source / shape.columns) + 0.5) * rows) / shape.rows);
            const column = Math.floor((((source % shape.columns) + 0.5) * columns) / shape.columns);
            expect(row * columns + column).toBe(cell);
          }
        });
        const all = selection.tokens.flatMap((token) =>
          token.kind === 'merged' ? [...token.sources] : token.kind === 'kept' ? [token.index] : [],
        );
        expect(all.sort((a, b) => a - b)).toEqual(range(patchesOf(shape)));
      }
    }
  });

  it('conserves the mean of a constant picture: weights of a cell sum to 1', () => {
    for (const token of only('pool:grid=5').atVision!(visionInput({ rows: 24, columns: 24 }, 1)).tokens) {
      expect(token.kind).toBe('merged');
      if (token.kind !== 'merged') continue;
      expect(token.weights.reduce((total, weight) => total + weight, 0)).toBeCloseTo(1, 5);
    }
  });

  it('is the identity where every patch has a cell of its own', () => {
    for (const shape of SHAPES) {
      expectIdentity(only('pool:grid=24').atVision!(visionInput(shape, 1)), patchesOf(shape));
    }
  });
});

describe('downscale', () => {
  it('shrinks the picture to its grid and keeps only the patches inside', () => {
    const grid = { rows: 4, columns: 6 };
    expect(only('downscale:grid=2').atPixels!({ grid })).toEqual({ rows: 2, columns: 2 });
    const selection = only('downscale:grid=2').atVision!(visionInput(grid, 1));
    expect(keptOf(selection)).toEqual([0, 1, 6, 7]);
  });

  it('keeps exactly as many patches as the picture fills, on every raster', () => {
    for (const shape of SHAPES) {
      for (const grid of [1, 2, 5, 8, 24, 30]) {
        const reduction = only(`downscale:grid=${grid}`);
        const { rows, columns } = reduction.atPixels!({ grid: shape })!;
        const selection = reduction.atVision!(visionInput(shape, 1));
        expectWellFormed(selection, patchesOf(shape));
        expect(selection.tokens).toHaveLength(rows * columns);
      }
    }
  });

  it('is the identity where the picture fills every patch', () => {
    for (const shape of SHAPES) {
      const reduction = only('downscale:grid=24');
      expect(reduction.atPixels!({ grid: shape })).toEqual({ rows: shape.rows, columns: shape.columns });
      expectIdentity(reduction.atVision!(visionInput(shape, 1)), patchesOf(shape));
    }
  });
});
