import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { fixturePath, readTensors } from '../testing/fixtures';
import type { Matrix, SelectedToken, VisionInput } from './reduction';
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
});
