import { InputError } from '../errors';
import type { Matrix } from '../matrix';
import type { Reduction } from './reduction';
import type { Linear, TrainedHeads } from './trainedHeads';

export const NO_HEADS: TrainedHeads = { dyRate: [] };

/**
 * Refuses, before anything is computed, a reduction whose trained head this checkpoint lacks.
 * @throws InputError naming the method and what can be used instead.
 */
export function requireHeads(reductions: readonly Reduction[], heads: TrainedHeads): void {
  for (const reduction of reductions) {
    if (reduction.usesHead && !reduction.usesHead(heads)) throw noHead(reduction.id, reduction.spec, heads);
  }
}

/** The refusal of a method whose head is missing. */
export function noHead(id: string, spec = id, heads: TrainedHeads = NO_HEADS): InputError {
  const trained = heads.dyRate.map(({ variant, lambda }) => `variant=${variant},lambda=${lambda}`);
  const others = id === 'dyrate' && trained.length > 0;
  return new InputError({
    code: 'reduction.no-heads',
    message: `"${spec}" cannot be used with this model.`,
    why: others
      ? `Its folder "heads" has other classifiers: ${trained.join('; ')}.`
      : `${id} needs a head that was trained for the model, and none lies in its folder "heads".`,
    nextStep: others
      ? `Use one of these, for instance dyrate:${trained[0]}.`
      : id === 'llamavid'
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

/** GELU in its exact form, x * Phi(x), in place. */
export function gelu({ data }: Matrix): void {
  for (let at = 0; at < data.length; at++) data[at] *= 0.5 * (1 + errorFunction(data[at] / Math.SQRT2));
}

/** Abramowitz and Stegun 7.1.26; absolute error below 1.5e-7. */
function errorFunction(x: number): number {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const series =
    t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return Math.sign(x) * (1 - series * Math.exp(-x * x));
}
