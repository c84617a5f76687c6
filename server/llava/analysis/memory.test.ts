import { describe, expect, it } from 'vitest';
import { parseConfig } from '../checkpoint/parseConfig';
import { peakBytes, planOfSize } from './memory';

const SCREENSHOT = { width: 1920, height: 1080 };
const models = {
  plain: parseConfig({ model_type: 'llava' }),
  next: parseConfig({ model_type: 'llava_next' }),
  onevision: parseConfig({ model_type: 'llava_onevision' }),
};

describe('planOfSize', () => {
  it.each([
    ['plain', 576, 1],
    ['next', 1948, 5],
    ['onevision', 7269, 16],
  ] as const)('of a screenshot for %s: %i tokens of %i tower inputs', (name, tokens, inputs) => {
    const { layout, newlines, inputs: needed } = planOfSize(models[name], SCREENSHOT);
    expect(layout.patches + newlines.length).toBe(tokens);
    expect(needed).toHaveLength(inputs);
  });
});

describe('peakBytes', () => {
  const peak = (name: keyof typeof models, imageTokens: number): number => {
    const plan = planOfSize(models[name], SCREENSHOT);
    const share = imageTokens / (plan.layout.patches + plan.newlines.length);
    return peakBytes(models[name], {
      image: SCREENSHOT,
      plan,
      projected: Math.round(share * plan.projected),
      imageTokens,
      textTokens: 32,
      answerTokens: 256,
    });
  };

  it('is at least the cache and the scores of one chunk', () => {
    // 32 layers x (keys + values) x 4096 x 4 bytes a token; 32 heads x 160 rows.
    expect(peak('next', 1948)).toBeGreaterThan(1948 * 32 * 2 * 4096 * 4 + 32 * 150 * 1948 * 4);
  });

  it('grows with the tokens within a chunk, and stays far below the scores of all rows at once', () => {
    expect(peak('plain', 288)).toBeLessThan(peak('plain', 576));
    expect(peak('onevision', 7269) - 7301 * 32 * 2 * 4096 * 4).toBeLessThan(3 * 32 * 7301 ** 2 * 4);
  });
});
