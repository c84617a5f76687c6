import { describe, expect, it } from 'vitest';
import { expectIdentity, expectWellFormed, keptOf, layerInput, only, range } from './testing';

const model = { layers: 8, hasClassToken: true, imageTokens: 576 };

describe('FastV', () => {
  it('looks once, before its layer, with its score', () => {
    expect(only('fastv').layerBoundaries!(model)).toEqual([{ layer: 2, score: 'lastQuery' }]);
    expect(only('fastv:layer=7,score=columnSum').layerBoundaries!(model)).toEqual([
      { layer: 7, score: 'columnSum' },
    ]);
    expect(only('fastv:score=lastQueryNoRotary').layerBoundaries!(model)[0].score).toBe('lastQueryNoRotary');
  });

  it.each([1, 2, 25, 576])('keeps the round(N * keep) tokens of the highest score out of %i', (tokens) => {
    for (const [keep, count] of [
      ['0.5', [1, 1, 13, 288]],
      ['0.25', [1, 1, 6, 144]],
      ['1', [1, 1, 1, 1]],
      ['12', [1, 2, 12, 12]],
    ] as const) {
      const input = layerInput(tokens, tokens);
      const selection = only(`fastv:keep=${keep}`).atLayer!(input);
      expectWellFormed(selection, tokens);
      const kept = keptOf(selection);
      expect(kept).toHaveLength(count[[1, 2, 25, 576].indexOf(tokens)]);
      const lowestKept = Math.min(...kept.map((index) => input.scores[index]));
      const dropped = range(tokens).filter((index) => !kept.includes(index));
      expect(dropped.every((index) => input.scores[index] <= lowestKept)).toBe(true);
      expect(selection.scores).toEqual({ name: 'lastQuery', values: input.scores });
    }
  });

  it('keeps everything unchanged with keep=all, or with a budget that is not smaller than what is there', () => {
    for (const keep of ['all', '100%', '576', '577', '100000']) {
      expectIdentity(only(`fastv:keep=${keep}`).atLayer!(layerInput(576, 3)), 576);
    }
  });

  it('counts a fraction from the tokens that entered the decoder, not from those that are left', () => {
    const selection = only('fastv:keep=0.25').atLayer!(layerInput(100, 5, { enteredDecoder: 400 }));
    expectIdentity(selection, 100);
    expect(only('fastv:keep=0.1').atLayer!(layerInput(100, 5, { enteredDecoder: 400 })).tokens).toHaveLength(
      40,
    );
  });

  it('keeps the first of equally attended tokens', () => {
    const selection = only('fastv:keep=3').atLayer!(
      layerInput(6, 0, { scores: Float32Array.of(0, 1, 1, 1, 1, 0) }),
    );
    expect(keptOf(selection)).toEqual([1, 2, 3]);
  });
});
