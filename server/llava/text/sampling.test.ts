import { describe, expect, it } from 'vitest';
import { DeviceError, InputError } from '../errors';
import { mulberry32 } from '../mulberry32';
import { createSampler, penalizeRepetition, topLogits } from './sampling';

function randomLogits(count: number, seed: number): Float32Array {
  const random = mulberry32(seed);
  return Float32Array.from({ length: count }, () => (random() - 0.5) * 8);
}

/** How often each token is drawn, as shares. */
function shares(
  logits: Float32Array,
  options: { temperature: number; topP?: number },
  draws = 20_000,
): number[] {
  const sampler = createSampler({ ...options, seed: 11 });
  const counts = new Array<number>(logits.length).fill(0);
  for (let i = 0; i < draws; i++) counts[sampler.sample(logits)]++;
  return counts.map((count) => count / draws);
}

function softmax(logits: Float32Array, temperature: number): number[] {
  const weights = [...logits].map((logit) => Math.exp(logit / temperature));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
}

describe('greedy', () => {
  it('takes the highest logit, the lowest id among equals', () => {
    expect(createSampler().sample(Float32Array.of(1, 3, 3, 2))).toBe(1);
    expect(createSampler({ temperature: 0 }).sample(Float32Array.of(-5, -5))).toBe(0);
    expect(createSampler().sample(Float32Array.of(-Infinity, -3))).toBe(1);
  });
});

describe('temperature', () => {
  it('draws in proportion to softmax(logits / temperature)', () => {
    const logits = Float32Array.of(1, 0, 2, -1, 0.5);
    for (const temperature of [0.5, 1, 2]) {
      const expected = softmax(logits, temperature);
      shares(logits, { temperature }).forEach((share, id) => {
        // Four standard deviations of 20,000 draws are at most 0.0142.
        expect(Math.abs(share - expected[id])).toBeLessThan(0.0142);
      });
    }
  });

  it('comes close to greedy when it is tiny, without overflow', () => {
    const logits = Float32Array.of(50, 300, 299);
    const sampler = createSampler({ temperature: 1e-3, seed: 1 });
    for (let i = 0; i < 50; i++) expect(sampler.sample(logits)).toBe(1);
  });

  it('repeats with the seed, and differs between seeds', () => {
    const run = (seed: number): number[] => {
      const sampler = createSampler({ temperature: 1, seed });
      return Array.from({ length: 40 }, (_, i) => sampler.sample(randomLogits(50, i)));
    };
    expect(run(4)).toEqual(run(4));
    expect(run(4)).not.toEqual(run(5));
  });
});

describe('top-p', () => {
  it('draws only from the smallest set that reaches p', () => {
    const logits = Float32Array.from([0.5, 0.3, 0.15, 0.05], Math.log);
    const drawn = (topP: number): number[] =>
      shares(logits, { temperature: 1, topP }).flatMap((share, id) => (share > 0 ? [id] : []));
    expect(drawn(0.4)).toEqual([0]);
    expect(drawn(0.7)).toEqual([0, 1]);
    expect(drawn(0.9)).toEqual([0, 1, 2]);
    expect(drawn(1)).toEqual([0, 1, 2, 3]);
  });

  it('keeps the proportions inside the set', () => {
    const logits = Float32Array.from([0.15, 0.5, 0.05, 0.3], Math.log);
    const [, half, , third] = shares(logits, { temperature: 1, topP: 0.7 });
    expect(Math.abs(half - 0.5 / 0.8)).toBeLessThan(0.0142);
    expect(Math.abs(third - 0.3 / 0.8)).toBeLessThan(0.0142);
  });
});

describe('what cannot be sampled from', () => {
  it.each([{ temperature: 0 }, { temperature: 1 }, { temperature: 1, topP: 0.5 }])(
    'NaN, with %o',
    (options) => {
      const logits = Float32Array.of(1, NaN, 2);
      expect(() => createSampler(options).sample(logits)).toThrow(DeviceError);
    },
  );

  it('infinite or no logits', () => {
    for (const logits of [
      Float32Array.of(-Infinity, -Infinity),
      Float32Array.of(1, Infinity),
      new Float32Array(0),
    ])
      expect(() => createSampler().sample(logits)).toThrow(DeviceError);
  });

  it.each([
    { temperature: -1 },
    { temperature: NaN },
    { topP: 0 },
    { topP: 1.1 },
    { topP: NaN },
    { seed: 0.5 },
  ])('options out of range: %o', (options) => {
    expect(() => createSampler(options)).toThrow(InputError);
  });
});

describe('topLogits', () => {
  it('equals a full sort, ties in id order', () => {
    for (let seed = 0; seed < 20; seed++) {
      const logits = randomLogits(200, seed).map((logit) => Math.round(logit));
      const order = [...logits.keys()].sort((a, b) => logits[b] - logits[a] || a - b).slice(0, 20);
      expect(topLogits(logits, 20)).toEqual({ topTokenIds: order, topLogits: order.map((id) => logits[id]) });
    }
  });

  it('gives all where there are fewer', () => {
    expect(topLogits(Float32Array.of(1, 2), 20).topTokenIds).toEqual([1, 0]);
  });

  it('refuses NaN', () => {
    expect(() => topLogits(Float32Array.of(1, NaN), 1)).toThrow(DeviceError);
  });
});

describe('what is in the text already', () => {
  it('becomes less likely, whatever the sign; the rest and the given logits stay', () => {
    const logits = Float32Array.of(2, -2, 0.5, -0.5, 0);
    const penalized = penalizeRepetition(logits, new Set([0, 1, 4, 7]), 2);
    expect([...penalized]).toEqual([1, -4, 0.5, -0.5, 0]);
    expect([...logits]).toEqual([2, -2, 0.5, -0.5, 0]);
  });

  it('becomes likelier below 1, and 1 copies nothing', () => {
    const logits = randomLogits(50, 3);
    const seen = new Set([1, 8, 30]);
    const likelier = penalizeRepetition(logits, seen, 0.5);
    logits.forEach((logit, id) =>
      expect(likelier[id]).toBe(seen.has(id) ? logit * (logit < 0 ? 0.5 : 2) : logit),
    );
    expect(penalizeRepetition(logits, seen, 1)).toBe(logits);
  });
});
