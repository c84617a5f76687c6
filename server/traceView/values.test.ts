import { describe, expect, it } from 'vitest';
import { randomNumbers, SYNTHETIC } from '../../webview/testing/syntheticResult';
import { fatesAfter } from './fates';
import {
  attentionValues,
  rankOf,
  scaleOf,
  scoreValues,
  wordsOf,
  wordsThatUsed,
  type TokenValues,
} from './values';

const pieces = (...texts: string[]): Parameters<typeof wordsOf>[0] =>
  texts.map((text, id) => ({ id, text, imageTokens: 1, cacheBytes: 1, milliseconds: 1, attention: [] }));

describe('wordsOf', () => {
  it('joins pieces until white space, and keeps that white space', () => {
    expect(wordsOf(pieces('Set', 'tings', ' dialog', '.\n', 'Re', 'try'))).toEqual([
      { lead: '', text: 'Settings', tokens: [0, 1] },
      { lead: ' ', text: 'dialog.\n', tokens: [2, 3] },
      { lead: '', text: 'Retry', tokens: [4, 5] },
    ]);
  });

  it('gives halves of a character to the word that they become part of, and drops the silent end', () => {
    expect(wordsOf(pieces(' ok', '', ' 👍', ''))).toEqual([
      { lead: ' ', text: 'ok', tokens: [0] },
      { lead: ' ', text: '👍', tokens: [1, 2] },
    ]);
  });

  it('takes every token as a word in scripts without spaces', () => {
    expect(wordsOf(pieces('設定', '画面')).map(({ text }) => text)).toEqual(['設定', '画面']);
  });

  it('loses no text', () => {
    const random = randomNumbers(7);
    for (let round = 0; round < 50; round += 1) {
      const texts = Array.from(
        { length: 20 },
        () => ['a', ' b', '', '\n', 'c ', '漢', '.'][Math.floor(7 * random())],
      );
      const words = wordsOf(pieces(...texts));
      const whole = words.map(({ lead, text }) => lead + text).join('');
      expect(whole.trim()).toBe(texts.join('').trim());
    }
  });

  it('has no words for an answer without text', () => {
    expect(wordsOf(pieces('', ' ', ''))).toEqual([]);
  });
});

describe('values of tokens', () => {
  const { trace } = SYNTHETIC.tokens576();

  it('averages the attention of the tokens of a word', () => {
    const values = attentionValues(trace, [3, 5], 'x');
    for (const [index, id] of trace.decoderTokens.entries()) {
      const expected = (trace.answer[3].attention[index] + trace.answer[5].attention[index]) / 2;
      expect(values.values.get(id)).toBeCloseTo(expected, 12);
    }
  });

  it('ranks as sorting does, ties sharing the better rank', () => {
    const values: TokenValues = { name: 'x', values: new Map([[1, 5], [2, 9], [3, 5], [4, NaN], [5, 1]]) }; // prettier-ignore
    expect([1, 2, 3, 5].map((id) => rankOf(values, id)?.rank)).toEqual([2, 1, 2, 4]);
    expect(rankOf(values, 2)?.of).toBe(4);
    expect(rankOf(values, 4)).toBeUndefined();
    expect(rankOf(values, 99)).toBeUndefined();
  });

  it('takes the scores of all tiles of one place as one ranking', () => {
    const tiled = SYNTHETIC.tokens2880().trace;
    expect(scoreValues(tiled, tiled.stages[2])?.values.size).toBe(2880 + 1);
  });

  it('scales to 0..1 whatever the values, never to NaN', () => {
    for (const values of [[], [0], [3, 3, 3], [NaN, Infinity, 2], [-1, 0, 1]]) {
      const scale = scaleOf({ name: 'x', values: new Map(values.map((value, id) => [id, value])) });
      for (const value of [...values, 1e300]) {
        const part = scale.at(value);
        expect(part >= 0 && part <= 1, `${part}`).toBe(true);
      }
    }
  });

  it('lists the words by their attention to a patch, also through the token that it merged into', () => {
    const words = wordsOf(trace.answer);
    const fates = fatesAfter(trace, trace.stages.length);
    const carrier = trace.stages[0].merged.find(({ id }) => fates.get(id)?.state === 'carrier')!;
    const own = wordsThatUsed(trace, words, fates, carrier.id);
    expect(own.length).toBeGreaterThan(1);
    expect(own).toEqual([...own].sort((a, b) => b.attention - a.attention));
    expect(wordsThatUsed(trace, words, fates, carrier.sources.at(-1)!)).toEqual(own);
  });
});
