import { describe, expect, it } from 'vitest';

import type { AnswerResult } from '../server/protocol';
import { editDistance, keptShares } from './dyRateStudy';

describe('the share of image tokens that an answer token was computed with', () => {
  const result = (answerTokens: number, drops: readonly [step: number, left: number][]) =>
    ({
      costs: { imageTokens: { atDecoder: 100 } },
      answerTokenIds: Array.from({ length: answerTokens }, (_, id) => id),
      trace: {
        stages: [
          { place: { at: 'layer', layer: 2 }, kept: [1] },
          ...drops.map(([step, left]) => ({
            place: { at: 'step', step },
            kept: Array.from({ length: left }, (_, id) => id),
          })),
        ],
      },
    }) as unknown as AnswerResult;

  it('is all until the first drop, and what was left from that step on', () => {
    expect(keptShares(result(1, []))).toEqual([]);
    expect(keptShares(result(4, []))).toEqual([1, 1, 1]);
    expect(
      keptShares(
        result(5, [
          [2, 50],
          [4, 20],
        ]),
      ),
    ).toEqual([1, 0.5, 0.5, 0.2]);
    expect(keptShares(result(3, [[1, 10]]))).toEqual([0.1, 0.1]);
  });
});

it.each([
  ['', '', 0],
  ['abc', 'abc', 0],
  ['', 'abc', 3],
  ['kitten', 'sitting', 3],
  ['flaw', 'lawn', 2],
])('the edit distance of "%s" and "%s" is %i', (a, b, distance) => {
  expect(editDistance(a, b)).toBe(distance);
  expect(editDistance(b, a)).toBe(distance);
});
