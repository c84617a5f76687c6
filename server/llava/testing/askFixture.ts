import type { AnswerResult } from '../../protocol';
import type { AttentionRow } from '../decoding';
import type { AskOptions, Question } from '../generate';
import type { LlavaModel } from '../model';
import { type Fixture, fixtureImage } from './fixtures';

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
