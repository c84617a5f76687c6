import { expect } from 'vitest';

import type { AnswerResult } from '../../protocol';
import type { AttentionRow } from '../decoding';
import type { AskOptions } from '../generate';
import type { Question } from '../question';
import type { LlavaModel } from '../model';
import { expectClose, type Fixture, fixtureImage } from './fixtures';

/** An answer, and all numbers on the way to it. */
export interface FixtureAnswer {
  readonly result: AnswerResult;
  /** Per answer token. */
  readonly logits: readonly Float32Array[];
  readonly attention: readonly AttentionRow[];
}

/** A fixture's question about its images, or a change of it. */
export function fixtureQuestion(fixture: Fixture, change: Partial<Question> = {}): Question {
  const { images, question, system } = fixture.description;
  return {
    images: images.map((_, index) => fixtureImage(fixture, index)),
    question,
    system: system ?? undefined,
    ...change,
  };
}

export async function askWatching(
  model: LlavaModel,
  question: Question,
  options: AskOptions = {},
): Promise<FixtureAnswer> {
  const logits: Float32Array[] = [];
  const attention: AttentionRow[] = [];
  const result = await model.ask(question, {
    ...options,
    onLogits: (row) => logits.push(row.slice()),
    onAttention: (row) => attention.push(row),
  });
  return { result, logits, attention };
}

/** How many tokens of two greedy answers can be compared: behind a token that was a tie they are two different texts. */
export function comparableSteps({ result }: FixtureAnswer, other: FixtureAnswer): number {
  const ids = result.answerTokenIds;
  const parts = ids.findIndex((id, index) => id !== other.result.answerTokenIds[index]);
  return parts < 0 ? ids.length : parts + 1;
}

/** Logits of two greedy answers within `tolerance` of their scale, as far as they are one text: that must be `atLeast` tokens. */
export function expectCloseLogits(
  actual: FixtureAnswer,
  expected: FixtureAnswer,
  tolerance: number,
  atLeast: number,
): void {
  const steps = comparableSteps(actual, expected);
  expect(steps).toBeGreaterThanOrEqual(atLeast);
  for (let step = 0; step < Math.min(steps, actual.logits.length); step++)
    expectClose(actual.logits[step], expected.logits[step], tolerance);
}

/** What two runs of a question have to agree on; numbers within 2e-4 of their scale, as with the reference. */
export function expectSame(actual: FixtureAnswer, expected: FixtureAnswer): void {
  expect(actual.result.answerTokenIds).toEqual(expected.result.answerTokenIds);
  expect(actual.logits.length).toBe(expected.logits.length);
  actual.logits.forEach((row, step) => expectClose(row, expected.logits[step]));
  expect(actual.attention.length).toBe(expected.attention.length);
  actual.attention.forEach((row, index) => {
    const other = expected.attention[index];
    expect([row.step, row.layer, row.labels]).toEqual([other.step, other.layer, other.labels]);
    expectClose(row.attention, other.attention);
  });
  expect(actual.result.trace.decoderTokens).toEqual(expected.result.trace.decoderTokens);
  const fates = ({ result }: FixtureAnswer): unknown =>
    result.trace.stages.map(({ place, spec, kept, dropped, merged }) => ({
      place,
      spec,
      kept,
      dropped,
      merged,
    }));
  expect(fates(actual)).toEqual(fates(expected));
  expect(actual.result.costs.cacheBytes).toBe(expected.result.costs.cacheBytes);
  expect(actual.result.costs.prefillMacs).toBe(expected.result.costs.prefillMacs);
}
