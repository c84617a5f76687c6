import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';

/** The repository, from bench/ and from dist/ alike. */
export const ROOT = path.join(__dirname, '..');

/** The synthetic held-out sets, written by `python -m fovea_training.heldout`. */
export const SETS = {
  words: path.join(ROOT, 'bench', 'data', 'heldout'),
  letters: path.join(ROOT, 'bench', 'data', 'heldout-random'),
};

/** One question with its true answer. */
export interface EvaluationQuestion {
  /** Path of the image, relative to the set's folder. */
  readonly image: string;
  readonly type: string;
  readonly question: string;
  readonly answer: string;
}

/** Screens with questions and true answers, as `training/` and the real-screenshot set write them. */
export interface EvaluationSet {
  readonly folder: string;
  readonly words: string;
  readonly questions: readonly EvaluationQuestion[];
}

export function readEvaluationSet(folder: string): EvaluationSet {
  const { words, questions } = JSON.parse(
    readFileSync(path.join(folder, 'questions.json'), 'utf8'),
  ) as EvaluationSet;
  return { folder, words, questions };
}

/** Every n-th question, so that a part of the set has the whole set's mixture; all where `count` is no smaller. */
export function evenly<Item>(items: readonly Item[], count: number): Item[] {
  if (count >= items.length) return [...items];
  return Array.from({ length: count }, (_, index) => items[Math.floor((index * items.length) / count)]);
}

/** Identifies the questions that results were measured on. */
export function hashQuestions(): string {
  const hash = createHash('sha256');
  for (const folder of Object.values(SETS)) hash.update(readFileSync(path.join(folder, 'questions.json')));
  return hash.digest('hex');
}
