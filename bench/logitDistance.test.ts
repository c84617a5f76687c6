import { describe, expect, it } from 'vitest';
import { compareLogits, meanDistances } from './logitDistance';

describe('logit distances', () => {
  it('are none between equal logits, and do not see a shift of all of them in the divergence', () => {
    const logits = Float32Array.of(1, 2, 3);
    expect(compareLogits(logits, logits)).toEqual({ kl: 0, sameTop: 1, error: 0 });
    expect(
      compareLogits(
        logits,
        logits.map((value) => value + 5),
      ).kl,
    ).toBeCloseTo(0, 6);
  });

  it('are those of the formula', () => {
    // Two tokens, p = 3/4 and q = 1/2.
    const { kl, sameTop } = compareLogits(Float32Array.of(Math.log(3), 0), Float32Array.of(0, 0.001));
    expect(kl).toBeCloseTo(0.75 * Math.log(0.75 / 0.5) + 0.25 * Math.log(0.25 / 0.5), 3);
    expect(sameTop).toBe(0);
  });

  it('have a mean', () => {
    expect(
      meanDistances([
        { kl: 1, sameTop: 1, error: 0 },
        { kl: 3, sameTop: 0, error: 1 },
      ]),
    ).toEqual({ kl: 2, sameTop: 0.5, error: 0.5 });
  });
});
