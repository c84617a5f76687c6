import { DeviceError, InputError } from '../errors';
import { mulberry32 } from '../mulberry32';

export interface SamplerOptions {
  /** 0 = greedy: the highest logit, the lowest id among equals. */
  temperature?: number;
  /** Only the likeliest tokens that together reach this probability are drawn from; 1 = all. */
  topP?: number;
  /** Same seed, same logits, same tokens, on every machine. */
  seed?: number;
}

export interface Sampler {
  /**
   * @param logits [vocabulary], not changed
   * @returns a token id
   * @throws DeviceError `device.not-a-number` when the logits hold NaN or no finite value
   */
  sample(logits: Float32Array): number;
}

/** @throws InputError `sampling.invalid` for an option out of range */
export function createSampler({ temperature = 0, topP = 1, seed = 0 }: SamplerOptions = {}): Sampler {
  if (!(temperature >= 0) || !Number.isFinite(temperature))
    throw outOfRange('temperature', temperature, 'a number from 0 up');
  if (!(topP > 0 && topP <= 1)) throw outOfRange('topP', topP, 'above 0 and at most 1');
  if (!Number.isSafeInteger(seed)) throw outOfRange('seed', seed, 'a whole number');
  if (temperature === 0) return { sample: highest };
  const random = mulberry32(seed);
  return { sample: (logits) => draw(logits, temperature, topP, random()) };
}

/**
 * Logits of tokens that are in the text already, made less likely (Keskar et al. 2019, CTRL, equation 3, as transformers has it: positive ones are
 * divided by the penalty, negative ones multiplied).
 *
 * @param logits [vocabulary], not changed   @param seen ids of prompt and answer so far   @param penalty above 0; 1 = none
 */
export function penalizeRepetition(
  logits: Float32Array,
  seen: ReadonlySet<number>,
  penalty: number,
): Float32Array {
  if (penalty === 1) return logits;
  const penalized = logits.slice();
  for (const id of seen)
    if (id < penalized.length) penalized[id] = logits[id] < 0 ? logits[id] * penalty : logits[id] / penalty;
  return penalized;
}

/** The `count` highest logits, highest first; equal logits in id order. */
export function topLogits(
  logits: Float32Array,
  count: number,
): { topTokenIds: number[]; topLogits: number[] } {
  const ids: number[] = [];
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id];
    if (Number.isNaN(logit)) throw notANumber();
    if (ids.length === count && !(logit > logits[ids[count - 1]])) continue;
    let place = ids.length;
    while (place > 0 && logit > logits[ids[place - 1]]) place--;
    ids.splice(place, 0, id);
    if (ids.length > count) ids.pop();
  }
  return { topTokenIds: ids, topLogits: ids.map((id) => logits[id]) };
}

function highest(logits: Float32Array): number {
  let best = -1;
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id];
    if (Number.isNaN(logit)) throw notANumber();
    if (best < 0 || logit > logits[best]) best = id;
  }
  if (best < 0 || !Number.isFinite(logits[best])) throw notANumber();
  return best;
}

/** @param random uniform in [0, 1) */
function draw(logits: Float32Array, temperature: number, topP: number, random: number): number {
  const maximum = logits[highest(logits)];
  const weights = new Float64Array(logits.length);
  let total = 0;
  for (let id = 0; id < logits.length; id++) {
    weights[id] = Math.exp((logits[id] - maximum) / temperature);
    total += weights[id];
  }
  if (topP >= 1) return pick(weights.keys(), weights, total, random);

  // The smallest set of likeliest tokens whose probability reaches topP; the token that crosses the line is in it.
  const order = [...weights.keys()].sort((a, b) => weights[b] - weights[a] || a - b);
  let kept = 0;
  let sum = 0;
  while (kept < order.length && sum < topP * total) sum += weights[order[kept++]];
  return pick(order.slice(0, kept), weights, sum, random);
}

function pick(ids: Iterable<number>, weights: Float64Array, total: number, random: number): number {
  let rest = random * total;
  let last = 0;
  for (const id of ids) {
    if (weights[id] === 0) continue;
    last = id;
    rest -= weights[id];
    if (rest < 0) break;
  }
  // Rounding may leave a little rest after the last token.
  return last;
}

function outOfRange(name: string, value: number, expected: string): InputError {
  return new InputError({
    code: 'sampling.invalid',
    message: `${name} is ${value}.`,
    why: `It must be ${expected}.`,
    nextStep: `Correct ${name} or leave it out.`,
  });
}

function notANumber(): DeviceError {
  return new DeviceError({
    code: 'device.not-a-number',
    message: 'The model computed values that are not numbers.',
    why: 'The scores of the next token are NaN or infinite: half precision overflowed, the device is faulty, or the weights are damaged.',
    nextStep:
      'Ask again with another device (for example cpu) or without a reduction; if that does not help, download the checkpoint again.',
  });
}
