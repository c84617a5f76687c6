import { describe, expect, it } from 'vitest';

import { parseReduction } from './parse';
import type { Selection } from './reduction';
import { REDUCTIONS } from './registry';
import {
  embeddingsInput,
  expectIdentity,
  expectWellFormed,
  layerInput,
  patchesOf,
  SHAPES,
  type VisionShape,
  visionInput,
} from './testing';

/**
 * What every method of the registry promises, whatever it chooses by. A method that is added is held to it without another line here,
 * except for those that need trained heads, whose tests bring heads along (heads.test.ts), and those that act while the answer is written.
 */
const METHODS = REDUCTIONS.map(({ description }) => description).filter(
  ({ needs, places }) => !needs.includes('heads') && !places.includes('step'),
);

/** The one hook that a method selects in, on an input of this shape and seed. */
function select(
  spec: string,
  shape: VisionShape,
  seed: number,
): { selection: Selection; classToken?: number } {
  const [reduction] = parseReduction(spec);
  const patches = patchesOf(shape);
  if (reduction.atVision) {
    const input = visionInput(shape, seed);
    const classToken = reduction.visionNeeds?.classToken ? input.classToken : undefined;
    return { selection: reduction.atVision(input), classToken };
  }
  if (reduction.atEmbeddings) return { selection: reduction.atEmbeddings(embeddingsInput(shape, seed)) };
  const [{ layer }] = reduction.layerBoundaries!({ layers: 8, hasClassToken: true, imageTokens: patches });
  return { selection: reduction.atLayer!(layerInput(patches, seed, { layer })) };
}

/** What leaves everything as it is. */
function wholeSpec(id: string): string {
  const whole: Record<string, string> = {
    visionzip: 'visionzip:dominant=all,contextual=0',
    pyramiddrop: 'pyramiddrop:ratio=1',
    uigraph: 'uigraph:keep=all',
    pool: 'pool:grid=1000',
    downscale: 'downscale:grid=1000',
  };
  return whole[id] ?? `${id}:keep=all`;
}

describe.each(METHODS.map((description) => [description.id, description] as const))(
  '%s',
  (id, description) => {
    it('is well formed on every shape: tokens exist, go on once, in ascending order, merged ones under a source of theirs', () => {
      for (const shape of SHAPES) {
        for (const seed of [1, 2]) {
          const { selection, classToken } = select(id, shape, seed);
          const received = patchesOf(shape) + (classToken === undefined ? 0 : 1);
          expectWellFormed(selection, received, classToken);
          expect(selection.tokens.length).toBeGreaterThan(0);
        }
      }
    });

    it('chooses the same for the same input', () => {
      for (const shape of SHAPES) expect(select(id, shape, 3)).toEqual(select(id, shape, 3));
    });

    // pixelprune drops exact repetitions at any threshold.
    if (id !== 'pixelprune') {
      it('is the identity where everything may stay', () => {
        for (const shape of SHAPES)
          expectIdentity(select(wholeSpec(id), shape, 1).selection, patchesOf(shape));
      });
    }

    // uigraph's budget is that of each area.
    if (
      id !== 'uigraph' &&
      description.parameters.some(({ name, type }) => name === 'keep' && type === 'budget')
    ) {
      it('meets a budget of tokens or of a share exactly', () => {
        for (const shape of SHAPES) {
          const patches = patchesOf(shape);
          const left = (keep: number): number =>
            select(`${id}:keep=${keep}`, shape, 1).selection.tokens.length;
          for (const tokens of [1, 2, 7, 63, 64, 65]) expect(left(tokens)).toBe(Math.min(tokens, patches));
          for (const share of [0.5, 0.25, 0.1, 0.001]) {
            expect(left(share)).toBe(Math.max(1, Math.floor(patches * share + 0.5)));
          }
        }
      });
    }
  },
);

describe('merges conserve what they claim to', () => {
  const weightsOf = (spec: string, shape: VisionShape): number[][] =>
    select(spec, shape, 1).selection.tokens.flatMap((token) =>
      token.kind === 'merged' ? [[...token.weights]] : [],
    );
  const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

  it('an average of all has weights that sum to 1', () => {
    for (const shape of SHAPES.slice(3)) {
      for (const spec of ['pool:grid=2', 'visionzip:dominant=5,contextual=4,merge=average']) {
        for (const weights of weightsOf(spec, shape)) expect(sum(weights)).toBeCloseTo(1, 6);
      }
    }
  });

  it('the sum of VisionZip adds the average of those that joined to the whole target', () => {
    for (const shape of SHAPES.slice(3)) {
      for (const [target, ...joined] of weightsOf('visionzip:dominant=5,contextual=4', shape)) {
        expect(target).toBe(1);
        if (joined.length > 0) expect(sum(joined)).toBeCloseTo(1, 6);
      }
    }
  });

  it('no patch is left out of a pooled or averaged picture', () => {
    for (const shape of SHAPES) {
      const { tokens } = select('pool:grid=3', shape, 1).selection;
      const sources = tokens.flatMap((token) =>
        token.kind === 'merged' ? [...token.sources] : token.kind === 'kept' ? [token.index] : [],
      );
      expect(sources.sort((a, b) => a - b)).toEqual(
        Array.from({ length: patchesOf(shape) }, (_, index) => index),
      );
    }
  });
});
