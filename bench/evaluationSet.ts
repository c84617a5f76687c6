import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

/** The repository, from bench/ and from dist/ alike. */
export const ROOT = path.join(__dirname, '..');

/** The synthetic held-out sets, written by `python -m fovea_training.heldout`. */
export const SETS = {
  words: path.join(ROOT, 'bench', 'data', 'heldout'),
  letters: path.join(ROOT, 'bench', 'data', 'heldout-random'),
};

/** Screenshots of real programs and pages, made by `npm run realscreens`. */
export const REAL_SCREENS = path.join(ROOT, 'bench', 'data', 'realscreens');

/** One question with its true answer. */
export interface EvaluationQuestion {
  /** Path of the image, relative to the set's folder. */
  readonly image: string;
  readonly type: string;
  readonly question: string;
  /** The same question in a wording that the training of the embedded model never uses. */
  readonly otherWords?: string;
  readonly answer: string;
}

/** Where a picture comes from, in the set of real screenshots. */
export interface RealImage {
  readonly image: string;
  readonly width: number;
  readonly height: number;
  readonly origin: string;
  readonly licence: string;
  /** Lines of text as the browser laid them out, [x, y, width, height] in pixels; for pages only. */
  readonly textRects?: readonly (readonly [number, number, number, number])[];
}

/** Screens with questions and true answers, as `training/` and the real-screenshot set write them. */
export interface EvaluationSet {
  readonly folder: string;
  readonly words: string;
  readonly questions: readonly EvaluationQuestion[];
  /** Of real screenshots only. */
  readonly images?: readonly RealImage[];
}

export function readEvaluationSet(folder: string): EvaluationSet {
  const set = JSON.parse(readFileSync(path.join(folder, 'questions.json'), 'utf8')) as EvaluationSet;
  return { ...set, folder };
}

/** Every n-th question, so that a part of the set has the whole set's mixture; all where `count` is no smaller. */
export function evenly<Item>(items: readonly Item[], count: number): Item[] {
  if (count >= items.length) return [...items];
  return Array.from({ length: count }, (_, index) => items[Math.floor((index * items.length) / count)]);
}

/** Identifies the questions and images that results were measured on. */
export function hashQuestions(folders: readonly string[] = Object.values(SETS)): string {
  const hash = createHash('sha256');
  for (const folder of folders) {
    hash.update(readFileSync(path.join(folder, 'questions.json')));
    const images = path.join(folder, 'images');
    for (const name of readdirSync(images).sort())
      hash.update(name).update(readFileSync(path.join(images, name)));
  }
  return hash.digest('hex');
}
