/**
 * `npm run eval:model`: asks the embedded model the held-out questions through our own engine and writes
 * docs/results/model.json and docs/results/model.md.
 *
 *   node dist/evaluateModel.js [--model FOLDER] [--questions N] [--curve N] [--long N]
 *
 * `--questions` limits the accuracy by type, `--curve` the accuracy against kept tokens, which asks each question once per method and budget, and
 * `--long` the questions with long answers that DyRate's classifiers are compared on.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';

import { LlavaModel } from '../server/llava/model';
import { isExact, summarize } from './accuracy';
import {
  evenly,
  type EvaluationQuestion,
  type EvaluationSet,
  hashQuestions,
  readEvaluationSet,
  ROOT,
  SETS,
} from './evaluationSet';
import { drawDyRate, LONG_ANSWERS, studyDyRate } from './dyRateStudy';
import { learningCurves } from './learningCurves';
import {
  type ContextTokens,
  type CurvePoint,
  drawCurve,
  type ModelResults,
  renderModelResults,
} from './modelResults';

/** Methods and controls at the same budgets (tokens that enter, or are left in, the decoder). */
const BUDGETS = [288, 144, 64, 32];
const METHODS: Record<string, (budget: number) => string> = {
  fastv: (budget) => `fastv:layer=2,keep=${budget}`,
  visionzip: (budget) =>
    `visionzip:dominant=${budget - Math.round(budget / 6)},contextual=${Math.round(budget / 6)}`,
  uigraph: (budget) => `uigraph+mmr:keep=${budget}`,
  mmr: (budget) => `mmr:keep=${budget}`,
  scope: (budget) => `scope:keep=${budget}`,
  random: (budget) => `random:keep=${budget},seed=1`,
  uniform: (budget) => `uniform:keep=${budget}`,
  downscale: (budget) => `downscale:grid=${Math.round(Math.sqrt(budget))}`,
};

/** LLaMA-VID's content cells along a side that the model was trained with. */
const CONTENT_CELLS = [1, 2, 4, 8, 12];

interface Outcome {
  type: string;
  exact: boolean;
  tokens: number;
  firstToken: number;
  total: number;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      model: { type: 'string', default: path.join(ROOT, 'model') },
      questions: { type: 'string', default: '2000' },
      curve: { type: 'string', default: '300' },
      long: { type: 'string', default: '120' },
    },
  });
  const model = await LlavaModel.open(values.model);
  const words = readEvaluationSet(SETS.words);
  const letters = readEvaluationSet(SETS.letters);
  const onWords = await askAll(model, words, evenly(words.questions, Number(values.questions)), 'none');
  const reworded = evenly(words.questions, Number(values.questions)).map((question) => ({
    ...question,
    question: question.otherWords ?? question.question,
  }));
  const inOtherWords = await askAll(model, { ...words, words: 'other wordings' }, reworded, 'none');
  const onLetters = await askAll(model, letters, evenly(letters.questions, Number(values.questions)), 'none');

  const part = evenly(words.questions, Number(values.curve));
  const full = summarize(await askAll(model, words, part, 'none'));
  const points: CurvePoint[] = [];
  for (const [method, specOf] of Object.entries(METHODS)) {
    for (const budget of BUDGETS) {
      const spec = specOf(budget);
      const outcomes = await askAll(model, words, part, spec);
      const tokens = outcomes.reduce((sum, outcome) => sum + outcome.tokens, 0) / outcomes.length;
      points.push({ method, budget, spec, tokens, accuracy: summarize(outcomes).all });
    }
  }

  const contextTokens: ContextTokens[] = [];
  for (const cells of CONTENT_CELLS) {
    const outcomes = await askAll(model, words, part, `llamavid:grid=${cells}`);
    contextTokens.push({ content: cells * cells, ...summarize(outcomes) });
  }
  const long = words.questions.filter(({ type }) => LONG_ANSWERS.has(type));
  const dyRate = await studyDyRate(model, evenly(long, Number(values.long)), ({ image }) =>
    readFile(path.join(words.folder, image)),
  );

  const { name, hash, parameters } = model.summary;
  await model.dispose();
  const results: ModelResults = {
    model: { name, hash, parameters },
    questions: hashQuestions(),
    words: summarize(onWords),
    letters: summarize(onLetters),
    otherWords: summarize(inOtherWords),
    curve: { questions: part.length, full: full.all, byType: full.byType, points },
    contextTokens,
    dyRate,
    medianMilliseconds: {
      firstToken: median(onWords.map(({ firstToken }) => firstToken)),
      total: median(onWords.map(({ total }) => total)),
    },
  };
  const output = path.join(ROOT, 'docs', 'results');
  await mkdir(output, { recursive: true });
  await writeFile(path.join(output, 'model.json'), `${JSON.stringify(results, undefined, 1)}\n`);
  await writeFile(path.join(output, 'model-tokens.svg'), drawCurve(results));
  await writeFile(path.join(output, 'model-dyrate.svg'), drawDyRate(dyRate));
  for (const { stage, svg } of learningCurves())
    await writeFile(path.join(output, `model-learning-${stage}.svg`), svg);
  await writeFile(path.join(output, 'model.md'), renderModelResults(results));
  process.stdout.write(`${path.join('docs', 'results', 'model.md')}\n`);
}

/** Asks every question once, those about one image one after the other. */
async function askAll(
  model: LlavaModel,
  set: EvaluationSet,
  questions: readonly EvaluationQuestion[],
  reduction: string,
): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  let right = 0;
  for (const { image, type, question, answer } of questions) {
    const bytes = await readFile(path.join(set.folder, image));
    const result = await model.ask({ images: [bytes], question, reduction, fit: 'pad' });
    const { imageTokens, timings } = result.costs;
    const exact = isExact(result.answer, answer);
    right += exact ? 1 : 0;
    outcomes.push({
      type,
      exact,
      tokens: imageTokens.perStage.at(-1) ?? imageTokens.atDecoder,
      firstToken: timings.firstToken,
      total: timings.total,
    });
    if (outcomes.length % 50 === 0) {
      process.stderr.write(`${set.words}, ${reduction}: ${right} of ${outcomes.length}\n`);
    }
  }
  return outcomes;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

void main();
