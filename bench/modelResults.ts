import { lineChart, type Marker } from '../server/charts/lineChart';
import { CHART_COLORS } from '../server/charts/theme';
import type { Accuracy } from './accuracy';
import { type DyRateStudy, renderDyRate } from './dyRateStudy';
import { LEARNING_STAGES } from './learningCurves';

export interface SetResult {
  all: Accuracy;
  byType: Record<string, Accuracy>;
}

export interface CurvePoint {
  method: string;
  budget: number;
  spec: string;
  /** Mean image tokens left in the deepest layer. */
  tokens: number;
  accuracy: Accuracy;
}

/** LLaMA-VID with one context token and so many content tokens. */
export interface ContextTokens extends SetResult {
  content: number;
}

export interface ModelResults {
  model: { name: string; hash: string; parameters: number };
  /** SHA-256 over the questions of every set. */
  questions: string;
  words: SetResult;
  letters: SetResult;
  /** The questions on words, put in wordings that training never uses. */
  otherWords: SetResult;
  curve: { questions: number; full: Accuracy; byType: Record<string, Accuracy>; points: CurvePoint[] };
  contextTokens: ContextTokens[];
  dyRate: DyRateStudy;
  /** Milliseconds, median over the questions on words: this machine, whatever else it did. */
  medianMilliseconds: { firstToken: number; total: number };
}

const MARKERS: readonly Marker[] = ['circle', 'square', 'triangle', 'diamond', 'open'];

/** docs/results/model-tokens.svg: accuracy against image tokens, a line for each method. */
export function drawCurve({ curve }: ModelResults): string {
  const budgets = [...new Set(curve.points.map(({ budget }) => budget))].sort((a, b) => a - b);
  const methods = [...new Set(curve.points.map(({ method }) => method))];
  return lineChart({
    description:
      'Exact answers against image tokens that are left, a line for each method; the table below has the numbers.',
    x: 'image tokens left',
    y: 'exact answers, %',
    places: budgets.map(String),
    scale: 'linear',
    includes: [0, 100],
    format: (value) => `${value.toFixed(0)} %`,
    reference: { value: 100 * curve.full.share, name: 'all tokens' },
    series: methods.map((method, index) => ({
      name: method,
      color: CHART_COLORS.series[index % CHART_COLORS.series.length],
      marker: MARKERS[index % MARKERS.length],
      values: budgets.map((budget) => {
        const point = curve.points.find((entry) => entry.method === method && entry.budget === budget);
        return point && 100 * point.accuracy.share;
      }),
    })),
  });
}

/** docs/results/model.md. */
export function renderModelResults(results: ModelResults): string {
  const { model, words, letters, otherWords, curve, contextTokens, medianMilliseconds } = results;
  const types = [...new Set([...Object.keys(words.byType), ...Object.keys(letters.byType)])].sort();
  const budgets = [...new Set(curve.points.map(({ budget }) => budget))].sort((a, b) => b - a);
  const methods = [...new Set(curve.points.map(({ method }) => method))];
  return `# What ${model.name} can do

Made by \`npm run eval:model\`, through the engine of this repository. ${(model.parameters / 1e6).toFixed(2)} M parameters (${((2 * model.parameters) / 1e6).toFixed(1)} MB in fp16), model \`${model.hash.slice(0, 12)}\`,
questions \`${results.questions.slice(0, 12)}\`. An answer counts when it equals the truth letter by letter; ± is the 95 % confidence interval (Wilson).

On held-out words **${percent(words.all)}**, the same questions put in wordings that training never uses **${percent(otherWords.all)}**, on random letters **${percent(letters.all)}**.
(Whoever wrote the training's wordings had seen those others before; what came within one word of one of them was left out.) Median on the machine of the run: first token after
${medianMilliseconds.firstToken.toFixed(0)} ms, answer after ${medianMilliseconds.total.toFixed(0)} ms.
Parity: \`server/llava/embeddedModel.test.ts\`, part of the tests, holds this engine to what transformers computes from the same files on 20 of these screens: the same
tokens, with logits that differ by less than 2e-4 of their size.

## By type of question

| type | held-out words | | other wordings | | random letters | |
|---|---|---|---|---|---|---|
${types.map((type) => `| ${type} | ${cells(words.byType[type])} | ${cells(otherWords.byType[type])} | ${cells(letters.byType[type])} |`).join('\n')}

## Accuracy against kept tokens

${curve.questions} of the questions, asked once for every method and budget (image tokens that are left in the deepest decoder layer). With all 576 tokens: ${percent(curve.full)}.
Differences smaller than the intervals (about ± ${(50 * (curve.full.high - curve.full.low)).toFixed(0)} points) are not differences.

![Exact answers against image tokens](model-tokens.svg)

| method | ${budgets.join(' | ')} |
|---|${budgets.map(() => '---').join('|')}|
${methods.map((method) => `| ${method} | ${budgets.map((budget) => curveCell(curve.points, method, budget)).join(' | ')} |`).join('\n')}

## LLaMA-VID: one context token and a few content tokens

The same ${curve.questions} questions. The decoder gets one token that the question gathered from all patches, and the averages of the cells of a grid.
With few questions of a type (n) its share says little.

| type | n | all tokens | ${contextTokens.map(({ content }) => `1 + ${content}`).join(' | ')} |
|---|---|---|${contextTokens.map(() => '---').join('|')}|
| **all** | ${curve.full.of} | ${percent(curve.full)} | ${contextTokens.map(({ all }) => percent(all)).join(' | ')} |
${Object.keys(contextTokens[0]?.byType ?? {})
  .map(
    (type) =>
      `| ${type} | ${curve.byType[type].of} | ${share(curve.byType[type])} | ${contextTokens.map(({ byType }) => share(byType[type])).join(' | ')} |`,
  )
  .join('\n')}

${renderDyRate(results.dyRate)}
## How it learnt

Running means on training screens (words that are never shown in training are left out there). \`training/LOG.md\` has every attempt.

${LEARNING_STAGES.map(({ stage, title }) => `![${title}](model-learning-${stage}.svg)`).join('\n\n')}
`;
}

function curveCell(points: readonly CurvePoint[], method: string, budget: number): string {
  const point = points.find((entry) => entry.method === method && entry.budget === budget);
  if (!point) return '';
  const share = `${(100 * point.accuracy.share).toFixed(0)} %`;
  return Math.abs(point.tokens - budget) < 0.5 ? share : `${share} (${point.tokens.toFixed(0)} tokens)`;
}

function cells(accuracy: Accuracy | undefined): string {
  return accuracy ? `${percent(accuracy)} | ${accuracy.right} of ${accuracy.of}` : ' | ';
}

function share(accuracy: Accuracy | undefined): string {
  return accuracy ? `${(100 * accuracy.share).toFixed(0)} %` : '';
}

function percent({ share, low, high }: Accuracy): string {
  return `${(100 * share).toFixed(1)} % (${(100 * low).toFixed(0)}–${(100 * high).toFixed(0)})`;
}
