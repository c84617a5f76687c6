import { describe, expect, it } from 'vitest';
import { InputError } from '../errors';
import { dyRateDecision, dyRateFeatures } from './dyRate';
import type { DyRateHead, LlamaVidHead } from './trainedHeads';
import { applyLinear, gelu, NO_HEADS, requireHeads, softmaxRows } from './heads';
import { gatherContext } from './llamaVid';
import { parseReduction } from './parse';
import { mulberry32 } from '../mulberry32';
import type { Matrix } from '../matrix';
import type { StepInput } from './reduction';
import { attention, matrix, only, patchesOf, SHAPES, visionInput } from './testing';

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

const zeros = (rows: number, columns: number) => ({ data: new Float32Array(rows * columns), rows, columns });

/** A classifier of `rates` rates that always answers `rate`. */
function always(rate: number, rates: number, profile = 8): DyRateHead {
  const bias = new Float32Array(rates);
  bias[rate] = 1;
  return {
    variant: 'gumbel',
    lambda: 0.3,
    profile,
    hidden: { weight: zeros(3, HEADS * (4 + profile)) },
    rates: { weight: zeros(rates, 3), bias },
  };
}

function llamaVidHead(visionDim: number, textDim: number, seed: number): LlamaVidHead {
  const next = mulberry32(seed);
  const linear = (rows: number, columns: number) => ({
    weight: matrix(rows, columns, next),
    bias: matrix(1, rows, next).data,
  });
  return {
    queries: matrix(3, textDim, next),
    textKey: linear(textDim, textDim),
    textValue: linear(textDim, textDim),
    query: linear(visionDim, textDim),
    key: linear(visionDim, visionDim),
    featureNorm: { weight: matrix(1, visionDim, next).data, bias: matrix(1, visionDim, next).data },
    context: linear(textDim, visionDim),
    content: [linear(9, visionDim), linear(textDim, 9)],
  };
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
      let refusal: unknown;
      try {
        requireHeads(parseReduction(`${id}+fastv`), NO_HEADS);
      } catch (error) {
        refusal = error;
      }
      expect(refusal).toBeInstanceOf(InputError);
      expect((refusal as InputError).message).toContain(id);
      expect((refusal as InputError).code).toBe('reduction.no-heads');
    },
  );

  it('is refused in its hook too', () => {
    expect(() => only('dyrate').atStep!(stepInput(9, 1))).toThrow(InputError);
    expect(() => only('llamavid').atVision!(visionInput({ rows: 2, columns: 2 }, 1))).toThrow(InputError);
  });

  it('passes where the very head is there', () => {
    const heads = { dyRate: [always(0, 4)], llamaVid: llamaVidHead(24, 16, 1) };
    requireHeads(parseReduction('llamavid+dyrate'), heads);
    expect(() => requireHeads(parseReduction('dyrate:variant=expectation'), heads)).toThrow(
      /variant=expectation/,
    );
    requireHeads(parseReduction('fastv+visionzip'), NO_HEADS);
  });

  it('names the classifiers that there are where another was asked for', () => {
    const heads = { dyRate: [always(0, 4), { ...always(0, 4), lambda: 1 }] };
    let refusal: unknown;
    try {
      requireHeads(parseReduction('dyrate:lambda=0.2'), heads);
    } catch (error) {
      refusal = error;
    }
    expect((refusal as InputError).why).toContain('variant=gumbel,lambda=0.3; variant=gumbel,lambda=1');
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
        const profile = own.slice(4).map((value) => Math.expm1(value) / 8);
        expect(profile.reduce((sum, mass) => sum + mass, 0)).toBeCloseTo(1, 5);
        for (let part = 1; part < 8; part++)
          expect(profile[part]).toBeLessThanOrEqual(profile[part - 1] + 1e-6);
      }
    }
  });

  it('adds up equal parts of the sorted attention, and divides a token that two parts share', () => {
    const typeMass = { data: new Float32Array(4), rows: 1, columns: 4 };
    const headAttention = { data: Float32Array.of(1, 4, 2, 8), rows: 1, columns: 4 };
    const profile = (parts: number, enteredDecoder = 4) =>
      [...dyRateFeatures({ headAttention, typeMass, enteredDecoder }, parts).data.subarray(4)].map((value) =>
        (Math.expm1(value) / parts).toFixed(3),
      );
    expect(profile(2)).toEqual(['12.000', '3.000']);
    expect(profile(4)).toEqual(['8.000', '4.000', '2.000', '1.000']);
    expect(profile(8)).toEqual(['4.000', '4.000', '2.000', '2.000', '1.000', '1.000', '0.500', '0.500']);
    expect(profile(3)).toEqual(['9.333', '4.000', '1.667']);
    // Four of eight that entered are left: the others stand behind them with nothing.
    expect(profile(2, 8)).toEqual(['15.000', '0.000']);
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
    const hidden = { weight: matrix(7, HEADS * 10, mulberry32(9)), bias: matrix(1, 7, mulberry32(8)).data };
    const rates = { weight: matrix(5, 7, mulberry32(11)), bias: matrix(1, 5, mulberry32(10)).data };
    const features = [...dyRateFeatures(input, profile).data];
    const inner = Array.from({ length: 7 }, (_, at) => {
      const x = dot(row(hidden.weight, at), features) + hidden.bias[at];
      return x * normalDistribution(x);
    });
    const logits = Array.from(
      { length: 5 },
      (_, rate) => dot(row(rates.weight, rate), inner) + rates.bias[rate],
    );
    const expected = logits.indexOf(Math.max(...logits)) / 5;
    expect(dyRateDecision({ ...always(0, 5), profile, hidden, rates }, input)).toBe(expected);
    expect(dyRateDecision({ ...always(0, 5), rates: { weight: zeros(5, 3) } }, input)).toBe(0);
  });

  it('drops the least important share of the tokens that entered', () => {
    const heads = { dyRate: [always(3, 4)] };
    const input = stepInput(100, 6, { heads });
    const keep = [...only('dyrate').atStep!(input)!];
    expect(keep).toHaveLength(25);
    expect(keep).toEqual([...keep].sort((a, b) => a - b));
    const lowest = Math.min(...keep.map((index) => input.importance[index]));
    expect(input.importance.filter((value) => value > lowest)).toHaveLength(24);
  });

  it('never brings back what was dropped: with fewer tokens left than the rate leaves it changes nothing', () => {
    const heads = { dyRate: [always(1, 4)] };
    expect(only('dyrate').atStep!(stepInput(75, 7, { heads, enteredDecoder: 100 }))).toBeUndefined();
    expect(only('dyrate').atStep!(stepInput(76, 7, { heads, enteredDecoder: 100 }))).toHaveLength(75);
    expect(only('dyrate').atStep!(stepInput(100, 7, { heads: { dyRate: [always(0, 4)] } }))).toBeUndefined();
  });

  it('leaves the floor, and never nothing', () => {
    const heads = { dyRate: [always(99, 100)] };
    expect(only('dyrate').atStep!(stepInput(10, 8, { heads }))).toHaveLength(1);
    expect(only('dyrate:floor=50%').atStep!(stepInput(10, 8, { heads }))).toHaveLength(5);
    expect(only('dyrate:floor=all').atStep!(stepInput(10, 8, { heads }))).toBeUndefined();
  });
});

/** Phi(x) by Simpson's rule from 0. */
function normalDistribution(x: number): number {
  const steps = 2000;
  const density = (t: number) => Math.exp((-t * t) / 2) / Math.sqrt(2 * Math.PI);
  let sum = density(0) + density(x);
  for (let i = 1; i < steps; i++) sum += density((x * i) / steps) * (i % 2 ? 4 : 2);
  return 0.5 + (sum * x) / steps / 3;
}

describe('the fixed rate that DyRate is held against', () => {
  it('drops to the same budget for every question, in the same order', () => {
    const input = stepInput(100, 6);
    const keep = [...only('fixedrate:keep=25').atStep!(input)!];
    expect(keep).toEqual([...only('dyrate').atStep!({ ...input, heads: { dyRate: [always(3, 4)] } })!]);
    expect([...only('fixedrate:keep=25%').atStep!(input)!]).toEqual(keep);
  });

  it('changes nothing once that many are left, or where all are to stay', () => {
    expect(only('fixedrate:keep=25').atStep!(stepInput(25, 7, { enteredDecoder: 100 }))).toBeUndefined();
    expect(only('fixedrate:keep=all').atStep!(stepInput(100, 7))).toBeUndefined();
  });
});

describe('GELU', () => {
  it('is x Phi(x)', () => {
    const values = [-8, -3, -1, -0.1, 0, 0.01, 0.5, 2, 9];
    const result = { data: Float32Array.from(values), rows: 1, columns: values.length };
    gelu(result);
    values.forEach((x, at) => expect(result.data[at]).toBeCloseTo(x * normalDistribution(x), 5));
  });
});

describe('LLaMA-VID', () => {
  const apply = (linear: LlamaVidHead['query'], x: readonly number[]) =>
    Array.from(
      { length: linear.weight.rows },
      (_, out) => dot(row(linear.weight, out), x) + linear.bias![out],
    );
  const softmax = (logits: readonly number[]) => {
    const powers = logits.map(Math.exp);
    const total = powers.reduce((a, b) => a + b);
    return powers.map((power) => power / total);
  };
  const mix = (weights: readonly number[], rows: readonly (readonly number[])[]) =>
    rows[0].map((_, at) => weights.reduce((sum, weight, index) => sum + weight * rows[index][at], 0));

  it('gathers by its formula: what the queries read in the question weighs the patches, mean of the mixtures, then the projection', () => {
    const head = llamaVidHead(7, 5, 2);
    const next = mulberry32(3);
    const [features, question] = [matrix(12, 7, next), matrix(4, 5, next)];
    const words = [0, 1, 2, 3].map((word) => row(question, word));
    const patches = Array.from({ length: 12 }, (_, patch) => row(features, patch));
    const mixtures = [0, 1, 2].map((query) => {
      const own = row(head.queries, query);
      const reads = softmax(words.map((word) => dot(own, apply(head.textKey, word)) / Math.sqrt(5)));
      const wanted = apply(
        head.query,
        mix(
          reads,
          words.map((word) => apply(head.textValue, word)),
        ),
      );
      return mix(
        softmax(patches.map((patch) => dot(wanted, apply(head.key, patch)) / Math.sqrt(7))),
        patches,
      );
    });
    const expected = apply(head.context, mix([1 / 3, 1 / 3, 1 / 3], mixtures));
    const { weights, vector } = gatherContext(head, features, question);
    expect(weights.reduce((sum, weight) => sum + weight, 0)).toBeCloseTo(1, 5);
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

  it('emits the context token first, then the cells of pool as vectors of its own projector', () => {
    for (const shape of SHAPES) {
      const head = llamaVidHead(shape.dim ?? 24, 16, 5);
      const input = { ...visionInput(shape, 4), heads: { dyRate: [], llamaVid: head } };
      for (const grid of [1, 3, 24]) {
        const { tokens, scores } = only(`llamavid:grid=${grid}`).atVision!(input);
        const [context, ...content] = tokens;
        const cells = only(`pool:grid=${grid}`).atVision!(input).tokens;
        expect(content).toHaveLength(cells.length);
        content.forEach((token, at) => {
          const cell = cells[at];
          if (token.kind !== 'merged' || cell.kind === 'context')
            throw new Error('content tokens are averages');
          const sources = cell.kind === 'kept' ? [cell.index] : [...cell.sources];
          expect([...token.sources]).toEqual(sources);
          expect(token.vector).toHaveLength(16);
        });
        expect(context.kind).toBe('context');
        if (context.kind !== 'context') continue;
        expect(context.vector).toHaveLength(16);
        expect(context.vector.every(Number.isFinite)).toBe(true);
        expect(context.weights).toHaveLength(patchesOf(shape));
        expect(scores?.values).toBe(context.weights);
      }
    }
  });

  it('projects a cell as its formula says: mean of the normed patches, linear, GELU, linear', () => {
    const head = llamaVidHead(7, 5, 6);
    const shape = { rows: 2, columns: 2, dim: 7 };
    const input = { ...visionInput(shape, 8), heads: { dyRate: [], llamaVid: head } };
    const [, cell] = only('llamavid:grid=1').atVision!({
      ...input,
      questionEmbeddings: matrix(3, 5, mulberry32(4)),
    }).tokens;
    const normed = [0, 1, 2, 3].map((patch) => {
      const values = row(input.features, patch);
      const mean = values.reduce((a, b) => a + b) / 7;
      const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / 7 + 1e-5);
      return values.map(
        (value, at) => ((value - mean) / deviation) * head.featureNorm.weight[at] + head.featureNorm.bias[at],
      );
    });
    const inner = apply(head.content[0], mix([0.25, 0.25, 0.25, 0.25], normed)).map(
      (x) => x * normalDistribution(x),
    );
    const expected = apply(head.content[1], inner);
    if (cell.kind !== 'merged') throw new Error('a content token is an average');
    cell.vector!.forEach((value, at) => expect(value).toBeCloseTo(expected[at], 4));
  });
});
