import { budgetTokens } from './budget';
import type { DyRateHead, TrainedHeads } from './trainedHeads';
import { applyLinear, gelu, noHead } from './heads';
import { defineMethod } from './method';
import type { Matrix } from '../matrix';
import type { StepInput } from './reduction';
import { topK } from './topK';

/**
 * DyRate: while the answer is written, a small trained classifier looks at where the last position attended and decides what share of the
 * image tokens may be dropped by now; the least important ones leave the cache for good.
 */
export const dyRate = defineMethod(
  {
    id: 'dyrate',
    name: 'DyRate',
    summary: 'Drops image tokens while the answer is written, as many as a trained classifier says.',
    details:
      'Before each answer token after the first, a classifier reads the attention of the previous position (for every head: how much went to the system text, the picture, ' +
      'the question and the answer so far, and how peaked it was over the picture) and chooses one of K rates 0, 1/K, ... (K-1)/K. That share of the image tokens that ' +
      'entered the decoder is dropped from the cache, in the order of the attention (mean over layers and heads) that they got from the end of the question, least attended first; what was dropped stays dropped. The classifier is trained for one model: "variant" names ' +
      'how (the Gumbel-softmax mask of the paper, or the plain expectation over the rates).',
    paper: 'Dynamic Token Reduction during Generation for Vision Language Models, arXiv 2501.14204',
    places: ['step'],
    needs: ['heads'],
    control: false,
    parameters: [
      {
        name: 'variant',
        type: 'choice',
        choices: ['gumbel', 'expectation'],
        default: 'gumbel',
        description: 'How the classifier was trained.',
      },
      {
        name: 'lambda',
        type: 'number',
        minimum: 0,
        maximum: 10,
        default: 0.3,
        description:
          'What a kept token cost in training; the larger, the fewer are kept. One of those that the model has classifiers for.',
      },
      {
        name: 'floor',
        type: 'budget',
        minimum: 1,
        default: '1',
        description:
          'How many image tokens always stay; a fraction is of the image tokens that entered the decoder.',
      },
    ],
  },
  ({ variant, lambda, floor }) => {
    const find = (heads: TrainedHeads | undefined) =>
      heads?.dyRate.find((head) => head.variant === variant && head.lambda === lambda);
    return {
      usesHead: (heads) => find(heads) !== undefined,
      atStep: (input) => {
        const head = find(input.heads);
        if (!head) throw noHead('dyrate', undefined, input.heads);
        const present = input.importance.length;
        const dropped = Math.round(dyRateDecision(head, input) * input.enteredDecoder);
        const count = Math.max(input.enteredDecoder - dropped, budgetTokens(floor, input.enteredDecoder));
        return count < present ? topK(input.importance, count) : undefined;
      },
    };
  },
);

/** The share to drop that the classifier finds most likely; of equally likely ones the smaller. */
export function dyRateDecision(head: DyRateHead, input: StepInput): number {
  const hidden = applyLinear(head.hidden, dyRateFeatures(input, head.profile));
  gelu(hidden);
  const { data: logits, columns: rates } = applyLinear(head.rates, hidden);
  let best = 0;
  for (let rate = 1; rate < rates; rate++) if (logits[rate] > logits[best]) best = rate;
  return best / rates;
}

/**
 * What the classifier reads, [1, heads * (4 + profile)]: for every head the attention mass on system, image, instruction and output tokens; then the
 * attention of the image tokens that entered (0 where dropped), sorted from high to low and cut into `profile` equal parts: log(1 + profile * mass of the part).
 * Where a cut falls inside a token, its mass is divided. So one classifier serves any number of image tokens.
 */
export function dyRateFeatures(
  {
    headAttention,
    typeMass,
    enteredDecoder,
  }: Pick<StepInput, 'headAttention' | 'typeMass' | 'enteredDecoder'>,
  profile: number,
): Matrix {
  const { rows: heads, columns: tokens } = headAttention;
  const width = typeMass.columns + profile;
  const data = new Float32Array(heads * width);
  for (let head = 0; head < heads; head++) {
    data.set(typeMass.data.subarray(head * typeMass.columns, (head + 1) * typeMass.columns), head * width);
    const sorted = headAttention.data
      .slice(head * tokens, (head + 1) * tokens)
      .sort()
      .reverse();
    const cumulative = runningMass(sorted);
    for (let part = 0; part < profile; part++) {
      const mass =
        massUpTo(cumulative, ((part + 1) * enteredDecoder) / profile) -
        massUpTo(cumulative, (part * enteredDecoder) / profile);
      data[head * width + typeMass.columns + part] = Math.log1p(profile * mass);
    }
  }
  return { data, rows: 1, columns: data.length };
}

/** [tokens + 1]: the mass of the first 0, 1, 2 ... tokens. */
function runningMass(sorted: Float32Array): Float64Array {
  const cumulative = new Float64Array(sorted.length + 1);
  sorted.forEach((value, index) => {
    cumulative[index + 1] = cumulative[index] + value;
  });
  return cumulative;
}

/** The mass of the first `tokens` tokens, which need not be a whole number; there is none beyond the last. */
function massUpTo(cumulative: Float64Array, tokens: number): number {
  const whole = Math.min(Math.floor(tokens), cumulative.length - 1);
  const rest =
    whole + 1 < cumulative.length ? (tokens - whole) * (cumulative[whole + 1] - cumulative[whole]) : 0;
  return cumulative[whole] + rest;
}
