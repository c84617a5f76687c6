import { describe, expect, it } from 'vitest';
import { expectIdentity, expectWellFormed, keptOf, layerInput, only } from './testing';

const shape = (layers: number) => ({ layers, hasClassToken: true, imageTokens: 576 });

describe('PyramidDrop', () => {
  it.each([
    [32, [8, 16, 24]],
    [26, [6, 13, 19]],
    [6, [1, 3, 4]],
    [4, [1, 2, 3]],
    [3, [1, 2]],
    [2, [1]],
    [1, []],
  ])('in a decoder of %i layers looks before the layers %j', (layers, boundaries) => {
    expect(only('pyramiddrop').layerBoundaries!(shape(layers))).toEqual(
      boundaries.map((layer) => ({ layer, score: 'lastQuery' })),
    );
  });

  it('leaves half, a quarter, an eighth', () => {
    for (const [layer, present, count] of [
      [8, 576, 288],
      [16, 288, 144],
      [24, 144, 72],
    ]) {
      const input = layerInput(present, layer, { layer, layers: 32, enteredDecoder: 576 });
      const selection = only('pyramiddrop').atLayer!(input);
      expect(selection.tokens).toHaveLength(count);
      expectWellFormed(selection, present);
    }
  });

  it('ends at the same share in a decoder that has fewer stages', () => {
    for (const [layers, layer] of [
      [4, 3],
      [3, 2],
      [2, 1],
    ]) {
      const input = layerInput(576, 1, { layer, layers });
      expect(only('pyramiddrop').atLayer!(input).tokens).toHaveLength(72);
    }
  });

  it('keeps at least one token, and all of them with ratio=1', () => {
    const last = { layer: 24, layers: 32 };
    expect(only('pyramiddrop:ratio=0.01').atLayer!(layerInput(40, 1, last)).tokens).toHaveLength(1);
    expectIdentity(only('pyramiddrop:ratio=1').atLayer!(layerInput(40, 1, last)), 40);
  });
});

describe("SparseVLM's ranking", () => {
  it('asks for the attention of the words behind the picture', () => {
    expect(only('sparsevlm:layer=5').layerBoundaries!(shape(8))).toEqual([
      { layer: 5, score: 'textQueries' },
    ]);
  });

  it('keeps the best of them and names its score', () => {
    for (const tokens of [1, 10, 577]) {
      const input = layerInput(tokens, tokens);
      const selection = only('sparsevlm:keep=25%').atLayer!(input);
      expectWellFormed(selection, tokens);
      expect(selection.tokens).toHaveLength(Math.max(1, Math.round(tokens / 4)));
      expect(selection.scores).toEqual({ name: 'textQueries', values: input.scores });
      expect(keptOf(selection)).toEqual(keptOf(only('fastv:keep=25%').atLayer!(input)));
      expectIdentity(only('sparsevlm:keep=all').atLayer!(input), tokens);
    }
  });
});
