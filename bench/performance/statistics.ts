import type { Lap } from './clock';

/** What a measurement came to: the median to quote, and how far the runs lay apart. */
export interface Summary {
  readonly median: number;
  readonly minimum: number;
  readonly maximum: number;
  readonly runs: number;
}

export function summarize(values: readonly number[]): Summary {
  if (values.length === 0) throw new Error('nothing was measured');
  return {
    median: median(values),
    minimum: Math.min(...values),
    maximum: Math.max(...values),
    runs: values.length,
  };
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** Linear between the two values around the place. @param share 0..1. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const place = share * (sorted.length - 1);
  const below = Math.floor(place);
  const above = Math.ceil(place);
  return sorted[below] + (place - below) * (sorted[above] - sorted[below]);
}

/** a / b, run by run: machines change their speed, but less so from one run to the next. */
export function pairedRatio(a: readonly number[], b: readonly number[]): Summary {
  if (a.length !== b.length) throw new Error('these runs were not paired');
  return summarize(a.map((value, index) => value / b[index]));
}

/** Wall and processor time of the same runs, in milliseconds. */
export interface Times {
  readonly wall: Summary;
  readonly cpu: Summary;
}

export function summarizeLaps(laps: readonly Lap[]): Times {
  return { wall: summarize(laps.map(({ wall }) => wall)), cpu: summarize(laps.map(({ cpu }) => cpu)) };
}

/** a / b, run by run, of both times. */
export function pairedLaps(a: readonly Lap[], b: readonly Lap[]): Times {
  const ratio = (time: keyof Lap): Summary =>
    pairedRatio(
      a.map((lap) => lap[time]),
      b.map((lap) => lap[time]),
    );
  return { wall: ratio('wall'), cpu: ratio('cpu') };
}

/** One thing that is measured again and again, in turn with others. Answers with named stages. */
export type Subject = () => Promise<Readonly<Record<string, Lap>>>;

/** Laps by subject and stage, one per round. */
export type Rounds = Readonly<Record<string, Readonly<Record<string, readonly Lap[]>>>>;

/**
 * Runs the subjects in turn: A B C, C B A, A B C, ... so that what drifts hits all of them alike. One round more goes
 * before, uncounted.
 */
export async function alternate(
  subjects: Readonly<Record<string, Subject>>,
  rounds: number,
  onRound: (round: number) => void = () => undefined,
): Promise<Rounds> {
  const names = Object.keys(subjects);
  const values: Record<string, Record<string, Lap[]>> = {};
  for (let round = 0; round <= rounds; round++) {
    onRound(round);
    for (const name of round % 2 === 0 ? names : names.toReversed()) {
      const measured = await subjects[name]();
      if (round === 0) continue;
      for (const [key, value] of Object.entries(measured)) ((values[name] ??= {})[key] ??= []).push(value);
    }
  }
  return values;
}
