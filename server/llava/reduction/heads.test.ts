import { describe, expect, it } from 'vitest';
import { InputError } from '../errors';
import { dyRateDecision, dyRateFeatures } from './dyRate';
import { applyLinear, type DyRateHead, type LlamaVidHead, requireHeads, softmaxRows } from './heads';
import { gatherContext } from './llamaVid';
import { parseReduction } from './parse';
import { mulberry32 } from '../mulberry32';
import type { Matrix, StepInput } from './reduction';
import { attention, keptOf, matrix, only, patchesOf, SHAPES, visionInput } from './testing';

const HEADS = 3;

function stepInput(tokens: number, seed: number, rest: Partial<StepInput> = {}): StepInput {
  const next = mulberry32(seed);
  return {
    step: 0,
    enteredDecoder: tokens,
    headAttention: {
      data: Float32Array.from(Array.from({ length: HEADS }, () => [...attention(tokens, next)]).flat()),
      rows: HEADS,
      columns: tokens,
    },
    typeMass: { data: Float32Array.from({ length: HEADS * 4 }, next), rows: HEADS, columns: 4 },
    importance: attention(tokens, next),
    ...rest,
  };
}

/** A classifier of `rates` rates that always answers `rate`. */
function always(rate: number, rates: number, profile = 8): DyRateHead {
  const columns = HEADS * (4 + profile);
  const bias = new Float32Array(rates);
  bias[rate] = 1;
  return {
    profile,
    classifier: { weight: { data: new Float32Array(rates * columns), rows: rates, columns }, bias },
  };
}

function llamaVidHead(visionDim: number, textDim: number, seed: number): LlamaVidHead {
  const next = mulberry32(seed);
  const linear = (rows: number, columns: number) => ({
    weight: matrix(rows, columns, next),
    bias: matrix(1, rows, next).data,
  });
  return { query: linear(6, textDim), key: linear(6, visionDim), output: linear(textDim, visionDim) };
}

const row = ({ data, columns }: Matrix, index: number) => [
  ...data.subarray(index * columns, (index + 1) * columns),
];
const dot = (a: readonly number[], b: readonly number[]) =>
  a.reduce((sum, value, at) => sum + value * b[at], 0);

describe('a linear head', () => {
  it('is weight x + bias for every row', () => {
    const weight = { data: Float32Array.of(1, 2, 3, 4, 5, 6), rows: 2, columns: 3 };
    const input = { data: Float32Array.of(1, 0, -1, 2, 2, 2), rows: 2, columns: 3 };
    expect(applyLinear({ weight }, input)).toEqual({
      data: Float32Array.of(-2, -2, 12, 30),
      rows: 2,
      columns: 2,
    });
    expect([...applyLinear({ weight, bias: Float32Array.of(10, 20) }, input).data]).toEqual([8, 18, 22, 50]);
  });

  it('refuses rows of another width instead of reading past them', () => {
    const weight = { data: new Float32Array(6), rows: 2, columns: 3 };
    expect(() => applyLinear({ weight }, { data: new Float32Array(4), rows: 2, columns: 2 })).toThrow(
      /expects 3/,
    );
  });

  it('softmax stays finite for large logits', () => {
    const logits = { data: Float32Array.of(1000, 1001, -5000, 0, 0, 0), rows: 2, columns: 3 };
    softmaxRows(logits);
    expect(logits.data[1]).toBeCloseTo(Math.E / (1 + Math.E), 6);
    expect(logits.data[2]).toBe(0);
    expect([...logits.data.subarray(3)]).toEqual([1 / 3, 1 / 3, 1 / 3].map(Math.fround));
  });
});

describe('a method that needs a trained head', () => {
  it.each(['dyrate', 'llamavid'])(
    '%s is refused by name where there is none, before anything is computed',
    (id) => {
      for (const heads of [undefined, {}]) {
        let refusal: unknown;
        try {
          requireHeads(parseReduction(`${id}+fastv`), heads);
        } catch (error) {
          refusal = error;
        }
        expect(refusal).toBeInstanceOf(InputError);
        expect((refusal as InputError).message).toContain(id);
        expect((refusal as InputError).code).toBe('reduction.no-heads');
      }
    },
  );

  it('is refused in its hook too', () => {
    expect(() => only('dyrate').atStep!(stepInput(9, 1))).toThrow(InputError);
    expect(() => only('llamavid').atVision!(visionInput({ rows: 2, columns: 2 }, 1))).toThrow(InputError);
  });

  it('passes where the very head is there', () => {
    const heads = { dyRate: { gumbel: always(0, 4) }, llamaVid: llamaVidHead(24, 16, 1) };
    requireHeads(parseReduction('llamavid+dyrate'), heads);
    expect(() => requireHeads(parseReduction('dyrate:variant=expectation'), heads)).toThrow(
      /variant=expectation/,
    );
    requireHeads(parseReduction('fastv+visionzip'), undefined);
  });
});

describe('DyRate', () => {
  it('reads the masses by type and a profile that keeps the mass over the picture, for any number of tokens', () => {
    for (const tokens of [1, 3, 8, 20, 577]) {
      const input = stepInput(tokens, tokens);
      const features = dyRateFeatures(input, 8);
      expect(features.columns).toBe(HEADS * 12);
      for (let head = 0; head < HEADS; head++) {
        const own = [...features.data.subarray(head * 12, head * 12 + 12)];
        expect(own.slice(0, 4)).toEqual(row(input.typeMass, head));
        const profile = own.slice(4);
        expect(profile.reduce((sum, mass) => sum + mass, 0)).toBeCloseTo(1, 5);
        for (let part = 1; part < 8; part++)
          expect(profile[part]).toBeLessThanOrEqual(profile[part - 1] + 1e-6);
      }
    }
  });

  it('adds up equal parts of the sorted attention, and divides a token that two parts share', () => {
    const typeMass = { data: new Float32Array(4), rows: 1, columns: 4 };
    const headAttention = { data: Float32Array.of(1, 4, 2, 8), rows: 1, columns: 4 };
    const profile = (parts: number) => [
      ...dyRateFeatures({ headAttention, typeMass }, parts).data.subarray(4),
    ];
    expect(profile(2)).toEqual([12, 3]);
    expect(profile(4)).toEqual([8, 4, 2, 1]);
    expect(profile(8)).toEqual([4, 4, 2, 2, 1, 1, 0.5, 0.5]);
    expect(profile(3).map((mass) => mass.toFixed(4))).toEqual(['9.3333', '4.0000', '1.6667']);
  });

  it('does not depend on the order of the tokens', () => {
    const input = stepInput(50, 3);
    const data = input.headAttention.data.slice();
    for (let head = 0; head < HEADS; head++) data.subarray(head * 50, head * 50 + 50).reverse();
    expect(dyRateFeatures({ ...input, headAttention: { ...input.headAttention, data } }, 8)).toEqual(
      dyRateFeatures(input, 8),
    );
  });

  it('chooses the most likely rate by its classifier', () => {
    const input = stepInput(40, 5);
    const profile = 6;
    const weight = matrix(5, HEADS * 10, mulberry32(9));
    const bias = matrix(1, 5, mulberry32(10)).data;
    const features = [...dyRateFeatures(input, profile).data];
    const logits = Array.from({ length: 5 }, (_, rate) => dot(row(weight, rate), features) + bias[rate]);
    const expected = logits.indexOf(Math.max(...logits)) / 5;
    expect(dyRateDecision({ profile, classifier: { weight, bias } }, input)).toBe(expected);
    expect(
      dyRateDecision({ ...always(0, 5), classifier: { weight: always(0, 5).classifier.weight } }, input),
    ).toBe(0);
  });

  it('drops the least important share of the tokens that entered', () => {
    const heads = { dyRate: { gumbel: always(3, 4) } };
    const input = stepInput(100, 6, { heads });
    const keep = [...only('dyrate').atStep!(input)!];
    expect(keep).toHaveLength(25);
    expect(keep).toEqual([...keep].sort((a, b) => a - b));
    const lowest = Math.min(...keep.map((index) => input.importance[index]));
    expect(input.importance.filter((value) => value > lowest)).toHaveLength(24);
  });

  it('never brings back what was dropped: with fewer tokens left than the rate leaves it changes nothing', () => {
    const heads = { dyRate: { gumbel: always(1, 4) } };
    expect(only('dyrate').atStep!(stepInput(75, 7, { heads, enteredDecoder: 100 }))).toBeUndefined();
    expect(only('dyrate').atStep!(stepInput(76, 7, { heads, enteredDecoder: 100 }))).toHaveLength(75);
    expect(
      only('dyrate').atStep!(stepInput(100, 7, { heads: { dyRate: { gumbel: always(0, 4) } } })),
    ).toBeUndefined();
  });

  it('leaves the floor, and never nothing', () => {
    const heads = { dyRate: { gumbel: always(99, 100) } };
    expect(only('dyrate').atStep!(stepInput(10, 8, { heads }))).toHaveLength(1);
    expect(only('dyrate:floor=50%').atStep!(stepInput(10, 8, { heads }))).toHaveLength(5);
    expect(only('dyrate:floor=all').atStep!(stepInput(10, 8, { heads }))).toBeUndefined();
  });
});

describe('LLaMA-VID', () => {
  it('gathers by its formula: softmax(q k / sqrt(C)) per word, mean of the mixtures, then the output projection', () => {
    const head = llamaVidHead(7, 5, 2);
    const next = mulberry32(3);
    const [features, question] = [matrix(12, 7, next), matrix(4, 5, next)];
    const apply = (linear: LlamaVidHead['query'], x: readonly number[]) =>
      Array.from(
        { length: linear.weight.rows },
        (_, out) => dot(row(linear.weight, out), x) + linear.bias![out],
      );
    const mixture = new Array<number>(7).fill(0);
    for (let word = 0; word < 4; word++) {
      const query = apply(head.query, row(question, word));
      const raw = Array.from({ length: 12 }, (_, patch) =>
        Math.exp(dot(query, apply(head.key, row(features, patch))) / Math.sqrt(6)),
      );
      const total = raw.reduce((sum, value) => sum + value, 0);
      raw.forEach((value, patch) => {
        row(features, patch).forEach((feature, at) => (mixture[at] += ((value / total) * feature) / 4));
      });
    }
    const { weights, vector } = gatherContext(head, features, question);
    expect(weights.reduce((sum, weight) => sum + weight, 0)).toBeCloseTo(1, 5);
    const expected = apply(head.output, mixture);
    expect(vector).toHaveLength(5);
    vector.forEach((value, at) => expect(value).toBeCloseTo(expected[at], 4));
  });

  it('weighs every patch the same where there is no question', () => {
    const features = matrix(4, 7, mulberry32(1));
    const question = { data: new Float32Array(0), rows: 0, columns: 5 };
    expect([...gatherContext(llamaVidHead(7, 5, 2), features, question).weights]).toEqual([
      0.25, 0.25, 0.25, 0.25,
    ]);
  });

  it('emits the context token first, then the content tokens of pool', () => {
    for (const shape of SHAPES) {
      const input = { ...visionInput(shape, 4), heads: { llamaVid: llamaVidHead(shape.dim ?? 24, 16, 5) } };
      for (const grid of [1, 3, 24]) {
        const { tokens, scores } = only(`llamavid:grid=${grid}`).atVision!(input);
        const [context, ...content] = tokens;
        expect(content).toEqual(only(`pool:grid=${grid}`).atVision!(input).tokens);
        expect(context.kind).toBe('context');
        if (context.kind !== 'context') continue;
        expect(context.vector).toHaveLength(16);
        expect(context.vector.every(Number.isFinite)).toBe(true);
        expect(context.weights).toHaveLength(patchesOf(shape));
        expect(scores?.values).toBe(context.weights);
      }
      const whole = only('llamavid:grid=24').atVision!(input);
      expect(keptOf(whole)).toHaveLength(patchesOf(shape));
    }
  });
});
