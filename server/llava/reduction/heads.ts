import { InputError } from '../errors';
import type { Matrix, Reduction } from './reduction';

/** y = weight x + bias. */
export interface Linear {
  /** [out, in] */
  readonly weight: Matrix;
  /** [out]; none where absent. */
  readonly bias?: Float32Array;
}

/** How a DyRate classifier was trained; both answer in the same way. */
export type DyRateVariant = 'gumbel' | 'expectation';

/** Classifier of the share of image tokens that may be dropped, from where the last position looked. */
export interface DyRateHead {
  /** Length of the pooled attention profile of each head; see dyRateFeatures. */
  readonly profile: number;
  /** [rates, heads * (4 + profile)]; rate k of K drops the share k / K. */
  readonly classifier: Linear;
}

/** The attention by which a question gathers one context token from all patches. */
export interface LlamaVidHead {
  /** From the question's embeddings: [attentionDim, textDim]. */
  readonly query: Linear;
  /** From the patches' features: [attentionDim, visionDim]. */
  readonly key: Linear;
  /** From the gathered feature into the decoder's embedding space: [textDim, visionDim]. */
  readonly output: Linear;
}

/** Heads that were trained for one checkpoint and lie beside it. */
export interface TrainedHeads {
  readonly dyRate?: Readonly<Partial<Record<DyRateVariant, DyRateHead>>>;
  readonly llamaVid?: LlamaVidHead;
}

/**
 * Refuses, before anything is computed, a reduction whose trained head this checkpoint lacks.
 * @throws InputError naming the method and what can be used instead.
 */
export function requireHeads(reductions: readonly Reduction[], heads: TrainedHeads | undefined): void {
  for (const reduction of reductions) {
    if (reduction.usesHead && !reduction.usesHead(heads ?? {})) throw noHead(reduction.id, reduction.spec);
  }
}

/** The refusal of a method whose head is missing. */
export function noHead(id: string, spec = id): InputError {
  return new InputError({
    code: 'reduction.no-heads',
    message: `"${spec}" cannot be used with this model.`,
    why: `${id} needs a head that was trained for the model, and none lies in its folder "heads".`,
    nextStep:
      id === 'llamavid'
        ? 'Use the embedded model, or pool, which is its content half and needs no training.'
        : 'Use the embedded model, or fastv, which needs no training.',
  });
}

/** Applies a linear layer to every row: [rows, in] -> [rows, out]. */
export function applyLinear({ weight, bias }: Linear, input: Matrix): Matrix {
  if (input.columns !== weight.columns) {
    throw new Error(`a head expects ${weight.columns} values a row and got ${input.columns}`);
  }
  const data = new Float32Array(input.rows * weight.rows);
  for (let row = 0; row < input.rows; row++) {
    const from = row * input.columns;
    for (let out = 0; out < weight.rows; out++) {
      const weights = out * weight.columns;
      let sum = bias ? bias[out] : 0;
      for (let k = 0; k < weight.columns; k++) sum += weight.data[weights + k] * input.data[from + k];
      data[row * weight.rows + out] = sum;
    }
  }
  return { data, rows: input.rows, columns: weight.rows };
}

/** Softmax of each row, in place. */
export function softmaxRows({ data, rows, columns }: Matrix): void {
  for (let row = 0; row < rows; row++) {
    const values = data.subarray(row * columns, (row + 1) * columns);
    const highest = values.reduce((a, b) => Math.max(a, b), -Infinity);
    let total = 0;
    for (let k = 0; k < columns; k++) total += values[k] = Math.exp(values[k] - highest);
    for (let k = 0; k < columns; k++) values[k] /= total;
  }
}
