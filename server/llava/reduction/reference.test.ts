import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { fixturePath, readTensors } from '../testing/fixtures';
import type { Matrix } from '../matrix';
import type { EmbeddingsInput, SelectedToken, VisionInput } from './reduction';
import { keptOf, only, onlyTile } from './testing';

/**
 * The selections against the float64 implementation in training/reference/methods.py, which was written from the published
 * descriptions and not from this code: same kept indices, same merges, ties included.
 */
const FOLDER = 'reductions';
const tensors = readTensors(fixturePath(FOLDER, 'pure-inputs.safetensors'));

function cases<T>(method: string): (T & { input: string })[] {
  const { cases: listed } = JSON.parse(readFileSync(fixturePath(FOLDER, `pure-${method}.json`), 'utf8')) as {
    cases: (T & { input: string })[];
  };
  expect(listed.length).toBeGreaterThan(10);
  return listed;
}

const values = (input: string, name: string): Float32Array => tensors[`${input}.${name}`].data;

function matrix(input: string, name: string): Matrix {
  const { shape, data } = tensors[`${input}.${name}`];
  return { data, rows: shape[0], columns: shape[1] };
}

/** Nothing that the methods under test read: they choose by attention and features alone. */
function surroundings(tokens: number) {
  const plane = { rows: 1, columns: tokens };
  return {
    grid: plane,
    tile: onlyTile(plane),
    planes: [{ ...plane, first: 0, pixels: { data: new Uint8Array(0), patches: tokens, patchSize: 0 } }],
    questionEmbeddings: { data: new Float32Array(0), rows: 0, columns: 1 },
  };
}

function visionInput(input: string, hasClassToken: boolean): VisionInput {
  const patches = matrix(input, 'features');
  const classFeature = values(input, 'class_feature');
  const attention = values(input, 'attention');
  const features = hasClassToken
    ? { ...patches, rows: patches.rows + 1, data: Float32Array.of(...patches.data, ...classFeature) }
    : patches;
  return {
    ...surroundings(patches.rows),
    features,
    classToken: hasClassToken ? patches.rows : undefined,
    ...(hasClassToken ? { classAttention: attention } : { receivedAttention: attention }),
    keys: matrix(input, 'keys'),
  };
}

function embeddingsInput(input: string) {
  const embeddings = matrix(input, 'features');
  return {
    ...surroundings(embeddings.rows),
    embeddings,
    raster: Int32Array.from({ length: embeddings.rows }, (_, index) => index),
    importance: values(input, 'attention'),
  };
}

/** The reference writes a fraction up to 1 and a number of tokens above it. */
const budget = (keep: number) => (keep === 1 ? 'all' : String(keep));

describe('the reference', () => {
  it('agrees with fastv', () => {
    for (const { input, keep, kept } of cases<{ keep: number; kept: number[] }>('fastv')) {
      const scores = values(input, 'attention');
      const selection = only(`fastv:keep=${budget(keep)}`).atLayer!({
        layer: 2,
        layers: 8,
        enteredDecoder: scores.length,
        scores,
        raster: Int32Array.from(scores.keys()),
      });
      expect(keptOf(selection), `${input} keep ${keep}`).toEqual(kept);
    }
  });

  it('agrees with visionzip', () => {
    interface Case {
      hasClassToken: boolean;
      dominant: number;
      contextual: number;
      dominantPatches: number[];
      merged: { target: number; assigned: number[]; weights: Record<'sum' | 'average', number[]> }[];
    }
    for (const given of cases<Case>('visionzip')) {
      const { input, hasClassToken, dominant, contextual, dominantPatches, merged } = given;
      for (const merge of ['sum', 'average'] as const) {
        const spec = `visionzip:dominant=${dominant},contextual=${contextual},merge=${merge}`;
        const vision = visionInput(input, hasClassToken);
        const { tokens } = only(spec).atVision!(vision);
        const first = hasClassToken ? [vision.classToken] : [];
        expect(keptOf({ tokens }), `${input} ${spec}`).toEqual([...first, ...dominantPatches]);
        const own = tokens.filter(
          (token): token is Extract<SelectedToken, { kind: 'merged' }> => token.kind === 'merged',
        );
        expect(own.map(({ target, sources }) => ({ target, sources: [...sources] }))).toEqual(
          merged.map(({ target, assigned }) => ({ target, sources: [target, ...assigned] })),
        );
        own.forEach(({ weights }, index) => {
          const [targetWeight, otherWeight] = merged[index].weights[merge];
          weights.forEach((weight, at) =>
            expect(weight).toBeCloseTo(at === 0 ? targetWeight : otherWeight, 6),
          );
        });
      }
    }
  });

  it('agrees with mmr', () => {
    type Case = { budget: number; balance: number; kept: number[] };
    for (const { input, budget: keep, balance, kept } of cases<Case>('mmr')) {
      const spec = `mmr:keep=${keep},lambda=${balance}`;
      expect(keptOf(only(spec).atEmbeddings!(embeddingsInput(input))), `${input} ${spec}`).toEqual(kept);
    }
  });

  it('agrees with scope', () => {
    type Case = { budget: number; alpha: number; kept: number[] };
    for (const { input, budget: keep, alpha, kept } of cases<Case>('scope')) {
      const spec = `scope:keep=${keep},alpha=${alpha}`;
      for (const hasClassToken of [true, false]) {
        const selection = only(spec).atVision!(visionInput(input, hasClassToken));
        expect(keptOf(selection), `${input} ${spec}`).toEqual(kept);
      }
    }
  });

  it('agrees with divprune', () => {
    for (const { input, budget: keep, kept } of cases<{ budget: number; kept: number[] }>('divprune')) {
      const spec = `divprune:keep=${keep}`;
      expect(keptOf(only(spec).atEmbeddings!(embeddingsInput(input))), `${input} ${spec}`).toEqual(kept);
    }
  });

  it('agrees with pyramiddrop', () => {
    type Case = { layers: number; ratio: number; stages: { layer: number; kept: number[] }[] };
    for (const { input, layers, ratio, stages } of cases<Case>('pyramiddrop')) {
      const reduction = only(`pyramiddrop:ratio=${ratio}`);
      const { data, columns } = matrix(input, 'stage_attention');
      const boundaries = reduction.layerBoundaries!({ layers, hasClassToken: true, imageTokens: columns });
      expect(boundaries).toEqual(stages.map(({ layer }) => ({ layer, score: 'lastQuery' })));
      let alive = Array.from({ length: columns }, (_, token) => token);
      stages.forEach(({ layer, kept }, stage) => {
        const selection = reduction.atLayer!({
          layer,
          layers,
          enteredDecoder: columns,
          scores: Float32Array.from(alive, (token) => data[stage * columns + token]),
          raster: Int32Array.from(alive),
        });
        alive = keptOf(selection).map((index) => alive[index]);
        expect(alive, `${input} ${layers} layers, ratio ${ratio}`).toEqual(kept);
      });
    }
  });

  describe('on pixels and rasters', () => {
    interface Drawn {
      uigraph: { input: string; threshold: number; keep: number; kept: number[] }[];
      pixelprune: { input: string; threshold: number; kept: number[] }[];
      pool: { rows: number; columns: number; grid: number; cells: number[][] }[];
    }
    const drawn = JSON.parse(readFileSync(fixturePath(FOLDER, 'pure-pixels.json'), 'utf8')) as Drawn;
    const screens = readTensors(fixturePath(FOLDER, 'pure-pixels.safetensors'));

    function drawnInput(input: string): EmbeddingsInput {
      const [rows, columns] = input.split('-')[0].split('x').map(Number);
      const { shape, data } = screens[`${input}.pixels`];
      const pixels = { data: Uint8Array.from(data), patches: shape[0], patchSize: shape[1] };
      const tokens = rows * columns;
      return {
        planes: [{ rows, columns, first: 0, pixels }],
        embeddings: { data: new Float32Array(tokens), rows: tokens, columns: 1 },
        raster: Int32Array.from({ length: tokens }, (_, index) => index),
        importance: screens[`${input}.importance`].data,
        questionEmbeddings: { data: new Float32Array(0), rows: 0, columns: 1 },
      };
    }

    it('agrees with uigraph', () => {
      expect(drawn.uigraph.length).toBeGreaterThan(100);
      for (const { input, threshold, keep, kept } of drawn.uigraph) {
        const spec = `uigraph:threshold=${threshold},keep=${budget(keep)}`;
        expect(keptOf(only(spec).atEmbeddings!(drawnInput(input))), `${input} ${spec}`).toEqual(kept);
      }
    });

    it('agrees with pixelprune', () => {
      expect(drawn.pixelprune.length).toBeGreaterThan(30);
      for (const { input, threshold, kept } of drawn.pixelprune) {
        const spec = `pixelprune:threshold=${threshold}`;
        expect(keptOf(only(spec).atEmbeddings!(drawnInput(input))), `${input} ${spec}`).toEqual(kept);
      }
    });

    it('agrees with pool: every patch in its cell, with equal weight', () => {
      expect(drawn.pool.length).toBeGreaterThan(20);
      for (const { rows, columns, grid, cells } of drawn.pool) {
        const { tokens } = only(`pool:grid=${grid}`).atVision!(shapedInput(rows, columns));
        const found = tokens.map((token) => {
          if (token.kind === 'kept') return [token.index];
          if (token.kind === 'context') throw new Error('pool makes no context token');
          expect([...token.weights]).toEqual(
            [...token.sources].map(() => Math.fround(1 / token.sources.length)),
          );
          expect([...token.sources]).toContain(token.target);
          return [...token.sources];
        });
        expect(found, `${rows}x${columns} ${grid}`).toEqual(cells);
      }
    });

    it('downscale keeps the patches of the corner that it shrinks the picture into', () => {
      for (const { rows, columns, grid } of drawn.pool) {
        const reduction = only(`downscale:grid=${grid}`);
        const corner = reduction.atPixels!({ grid: { rows, columns } })!;
        expect(corner).toEqual({ rows: Math.min(grid, rows), columns: Math.min(grid, columns) });
        const expected = Array.from({ length: rows * columns }, (_, patch) => patch).filter(
          (patch) => Math.floor(patch / columns) < corner.rows && patch % columns < corner.columns,
        );
        expect(keptOf(reduction.atVision!(shapedInput(rows, columns)))).toEqual(expected);
      }
    });
  });
});

/** A raster of which nothing but its shape matters. */
function shapedInput(rows: number, columns: number): VisionInput {
  const patches = rows * columns;
  return {
    grid: { rows, columns },
    tile: onlyTile({ rows, columns }),
    features: { data: new Float32Array(patches), rows: patches, columns: 1 },
    classToken: undefined,
    questionEmbeddings: { data: new Float32Array(0), rows: 0, columns: 1 },
  };
}
