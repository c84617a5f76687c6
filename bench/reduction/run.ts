import { readFile } from 'node:fs/promises';
import path from 'node:path';

import type { LlavaModel } from '../../server/llava/model';
import type { AnswerResult } from '../../server/protocol';
import { isExact } from '../accuracy';
import type { EvaluationQuestion, EvaluationSet } from '../evaluationSet';
import type { OutcomeLog } from './outcomes';
import type { Entry } from './specs';
import { median } from './statistics';

/** One picture with everything that is asked about it. */
export interface Subject {
  /** Name of the set. */
  readonly set: string;
  readonly folder: string;
  readonly image: string;
  readonly questions: readonly { readonly index: number; readonly question: EvaluationQuestion }[];
}

/** The pictures of a set in its order, with their questions (at most so many). */
export function subjectsOf(set: EvaluationSet, most = Infinity): Subject[] {
  const subjects = new Map<string, { index: number; question: EvaluationQuestion }[]>();
  set.questions.forEach((question, index) => {
    const asked = subjects.get(question.image) ?? [];
    if (asked.length < most) asked.push({ index, question });
    subjects.set(question.image, asked);
  });
  return [...subjects].map(([image, questions]) => ({
    set: set.words,
    folder: set.folder,
    image,
    questions,
  }));
}

export interface RunOptions {
  /** No further picture is begun after this time (Date.now). */
  readonly until?: number;
  readonly onProgress?: (done: number, of: number) => void;
}

/**
 * Asks everything about every picture under every reduction, picture by picture: at any moment all reductions have been asked the same questions.
 * Questions about one picture under one reduction follow one another, so that what the engine remembers of it is used.
 */
export async function askAll(
  model: LlavaModel,
  subjects: readonly Subject[],
  entries: readonly Entry[],
  log: OutcomeLog,
  { until = Infinity, onProgress }: RunOptions = {},
): Promise<void> {
  for (const [done, { set, folder, image, questions }] of subjects.entries()) {
    if (Date.now() > until) return;
    onProgress?.(done, subjects.length);
    const bytes = await readFile(path.join(folder, image));
    for (const { spec } of entries) {
      for (const { index, question } of questions) {
        if (log.has({ set, question: index, spec })) continue;
        const { question: text, answer } = question;
        const result = await model.ask(
          { images: [bytes], question: text, reduction: spec, fit: 'pad' },
          // What no longer begins like the truth is wrong, and the rest of it tells nothing.
          { accepts: (begun) => answer.startsWith(begun.trim()) },
        );
        const { cacheBytes, prefillMacs } = result.costs;
        log.add({
          set,
          question: index,
          spec,
          exact: result.finish === 'stop' && isExact(result.answer, answer),
          tokens: meanTokens(result),
          left: result.trace.answer.at(-1)!.imageTokens,
          answerTokens: result.answerTokenIds.length,
          cacheBytes,
          prefillMacs,
          text: result.fineText ?? { patches: 0, lost: 0, share: 0 },
        });
      }
    }
  }
  onProgress?.(subjects.length, subjects.length);
}

/** Image tokens in the deepest decoder layer, mean over the answer's tokens: some methods drop while it is written. */
function meanTokens({ trace }: AnswerResult): number {
  const counts = trace.answer.map(({ imageTokens }) => imageTokens);
  return counts.reduce((sum, count) => sum + count, 0) / counts.length;
}

/** Milliseconds of one reduction, medians over the pictures; nothing is remembered from question to question. */
export interface Cost {
  readonly spec: string;
  readonly vision: number;
  readonly selection: number;
  readonly prefill: number;
  readonly firstToken: number;
}

/** Every reduction once per picture, one after the other: whatever else the machine does falls on all of them alike. */
export async function measureCosts(
  model: LlavaModel,
  subjects: readonly Subject[],
  entries: readonly Entry[],
): Promise<Cost[]> {
  const runs = new Map<string, AnswerResult['costs']['timings'][]>(entries.map(({ spec }) => [spec, []]));
  for (const [round, { folder, image, questions }] of subjects.entries()) {
    const bytes = await readFile(path.join(folder, image));
    for (const { spec } of entries) {
      const question = { images: [bytes], question: questions[0].question.question, reduction: spec };
      const { costs } = await model.ask({ ...question, sampling: { maxTokens: 1 } }, { reuse: false });
      // The first round makes the graphs.
      if (round > 0 || subjects.length === 1) runs.get(spec)!.push(costs.timings);
    }
  }
  return [...runs].map(([spec, timings]) => ({
    spec,
    vision: median(timings.map(({ vision }) => vision)),
    selection: median(timings.map(({ selection }) => selection)),
    prefill: median(timings.map(({ prefill }) => prefill)),
    firstToken: median(timings.map(({ firstToken }) => firstToken)),
  }));
}
