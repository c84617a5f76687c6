import { readdir } from 'node:fs/promises';
import path from 'node:path';

import type { AnswerResult } from '../server/protocol';
import { readSafetensorsHeader } from '../server/llava/checkpoint/safetensors';
import type { LlavaModel } from '../server/llava/model';
import { lineChart } from '../server/charts/lineChart';
import { CHART_COLORS } from '../server/charts/theme';
import { accuracy, type Accuracy, isExact } from './accuracy';
import type { EvaluationQuestion } from './evaluationSet';

/** Questions whose answers are long enough that tokens dropped while writing are not needed any more. */
export const LONG_ANSWERS: ReadonlySet<string> = new Set([
  'read_all',
  'describe',
  'buttons',
  'fields',
  'message',
  'which_ticked',
]);

/** Steps that the chart shows. */
const SHOWN_STEPS = 48;

/** One way of dropping tokens while the answer is written, on the same questions as the others. */
export interface StepRun {
  spec: string;
  exact: Accuracy;
  /** Mean edit distance to the truth, as a share of the truth's length. */
  characterError: number;
  /** Mean share of the image tokens that an answer token after the first was computed with. */
  kept: number;
  /** The same by step, for step 1 (the second answer token) on; as long as ten answers or more reach it. */
  keptByStep: number[];
}

/** One classifier, and the fixed rate with the same mean. */
export interface DyRateRun extends StepRun {
  variant: string;
  lambda: number;
  fixed: StepRun;
  /** Mean loss per token under the mask of training and under the choice of run time, on held-out words, by the training code. */
  softLoss: number | undefined;
  hardLoss: number | undefined;
}

export interface DyRateStudy {
  questions: number;
  unreduced: StepRun;
  runs: DyRateRun[];
}

/** Every classifier of the model on the same questions, each beside a fixed rate of the same mean. */
export async function studyDyRate(
  model: LlavaModel,
  questions: readonly EvaluationQuestion[],
  imageOf: (question: EvaluationQuestion) => Promise<Uint8Array>,
): Promise<DyRateStudy> {
  const run = async (spec: string): Promise<StepRun> => {
    const results: { answer: string; truth: string; kept: number[] }[] = [];
    for (const question of questions) {
      const result = await model.ask({
        images: [await imageOf(question)],
        question: question.question,
        reduction: spec,
        fit: 'pad',
      });
      results.push({ answer: result.answer, truth: question.answer, kept: keptShares(result) });
    }
    const shares = results.flatMap(({ kept }) => kept);
    process.stderr.write(
      `${spec}: ${results.filter(({ answer, truth }) => isExact(answer, truth)).length} of ${results.length}\n`,
    );
    return {
      spec,
      exact: accuracy({
        right: results.filter(({ answer, truth }) => isExact(answer, truth)).length,
        of: results.length,
      }),
      characterError: mean(
        results.map(({ answer, truth }) => editDistance(answer.trim(), truth) / Math.max(1, truth.length)),
      ),
      kept: mean(shares),
      keptByStep: byStep(results.map(({ kept }) => kept)),
    };
  };
  const unreduced = await run('none');
  const runs: DyRateRun[] = [];
  const trained = await trainingFigures(model.checkpoint.directory);
  for (const { variant, lambda } of model.checkpoint.heads.dyRate) {
    const own = await run(`dyrate:variant=${variant},lambda=${lambda}`);
    const tokens = model.checkpoint.config.vision.imageSize / model.checkpoint.config.vision.patchSize;
    const keep = Math.max(1, Math.round(own.kept * tokens ** 2));
    const figures = trained.get(`${variant} ${lambda}`);
    runs.push({
      ...own,
      variant,
      lambda,
      fixed: await run(`fixedrate:keep=${keep}`),
      softLoss: figures?.soft_loss,
      hardLoss: figures?.hard_loss,
    });
  }
  return { questions: questions.length, unreduced, runs };
}

/** For every answer token after the first, the share of the image tokens that were in the cache when it was computed. */
export function keptShares({
  trace,
  costs,
  answerTokenIds,
}: Pick<AnswerResult, 'trace' | 'costs' | 'answerTokenIds'>): number[] {
  const entered = costs.imageTokens.atDecoder;
  const drops = trace.stages.flatMap(({ place, kept }) =>
    place.at === 'step' ? [{ step: place.step, left: kept.length }] : [],
  );
  return answerTokenIds.slice(1).map((_, index) => {
    const last = drops.findLast(({ step }) => step <= index + 1);
    return (last?.left ?? entered) / entered;
  });
}

/** Levenshtein's distance in UTF-16 units. */
export function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length];
}

/** What the training wrote into the metadata of each classifier. */
async function trainingFigures(directory: string): Promise<Map<string, Record<string, number | undefined>>> {
  const folder = path.join(directory, 'heads');
  const figures = new Map<string, Record<string, number | undefined>>();
  for (const name of (await readdir(folder)).filter((file) => file.startsWith('dyrate-'))) {
    const { metadata } = await readSafetensorsHeader(path.join(folder, name));
    const held = JSON.parse(metadata.heldOut ?? '{}') as Record<string, number | undefined>;
    figures.set(`${metadata.variant} ${Number(metadata.lambda)}`, held);
  }
  return figures;
}

function byStep(kept: readonly (readonly number[])[]): number[] {
  const steps: number[] = [];
  for (let step = 0; step < SHOWN_STEPS; step++) {
    const reached = kept.filter((shares) => shares.length > step);
    if (reached.length < 10) break;
    steps.push(mean(reached.map((shares) => shares[step])));
  }
  return steps;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}

/** docs/results/model-dyrate.svg: the share of the image tokens in the cache, by answer token. */
export function drawDyRate({ runs }: DyRateStudy): string {
  const length = Math.max(...runs.map(({ keptByStep }) => keptByStep.length));
  return lineChart({
    description:
      'Image tokens in the cache by answer token, a line for each DyRate classifier; the table has the means.',
    x: 'answer token',
    y: 'image tokens in the cache, %',
    places: Array.from({ length }, (_, step) => String(step + 2)),
    scale: 'linear',
    includes: [0, 100],
    format: (value) => `${value.toFixed(0)} %`,
    series: runs.map(({ variant, lambda, keptByStep }, index) => ({
      name: `${variant}, λ ${lambda}`,
      color: CHART_COLORS.series[index % CHART_COLORS.series.length],
      marker: variant === 'gumbel' ? 'circle' : 'open',
      values: keptByStep.map((share) => 100 * share),
    })),
  });
}

/** The section of docs/results/model.md. */
export function renderDyRate({ questions, unreduced, runs }: DyRateStudy): string {
  const share = (value: number) => `${(100 * value).toFixed(0)} %`;
  const exact = ({ exact: { share: value, low, high } }: StepRun) =>
    `${share(value)} (${(100 * low).toFixed(0)}–${(100 * high).toFixed(0)})`;
  const loss = (value: number | undefined) => value?.toFixed(3) ?? '';
  const rows = runs.map(
    (run) =>
      `| ${run.variant} | ${run.lambda} | ${share(run.kept)} | ${exact(run)} | ${share(run.characterError)} | ${exact(run.fixed)} | ${share(run.fixed.characterError)} | ${loss(run.softLoss)} | ${loss(run.hardLoss)} |`,
  );
  return `## DyRate: dropping while the answer is written

${questions} questions with long answers. "Kept" is the mean share of the image tokens that an answer token after the first was computed with; "fixed rate" drops to that same mean
before the second answer token, in the same order, without a classifier. Character error is the mean edit distance as a share of the truth's length. With all tokens:
${exact(unreduced)} exact, character error ${share(unreduced.characterError)}. The last two columns are the loss per token under the mask of training (soft: a Gumbel sample, or
the expectation) and under the likeliest rate that the engine takes (hard), by the training code on held-out words.

| variant | λ | kept | exact | character error | fixed rate: exact | fixed rate: character error | soft loss | hard loss |
|---|---|---|---|---|---|---|---|---|
${rows.join('\n')}

![Image tokens in the cache by answer token](model-dyrate.svg)
`;
}
