import { lineChart, type Marker } from '../../server/charts/lineChart';
import { CHART_COLORS } from '../../server/charts/theme';
import type { Accuracy } from '../accuracy';
import type { RuleResult } from './calibration';
import type { PairedDifference } from './statistics';
import type { PartName } from './specs';
import type { ReductionResults, Row, WarningQuality } from './summary';

/** The first is grey; controls are. */
const METHOD_COLORS = CHART_COLORS.series.slice(1);
const MARKERS: readonly Marker[] = ['circle', 'square', 'triangle', 'diamond', 'open'];

/** The curves of docs/results/reduction.md: exact answers against tokens left, one picture for each set. */
export function drawCurves(results: ReductionResults): Record<string, string> {
  const drawn = results.rows.filter(
    ({ kind, budget }) => budget !== undefined && (kind === 'method' || kind === 'control'),
  );
  const full = fullRow(results);
  const budgets = [...new Set(drawn.map(({ budget }) => budget!))]
    .filter((budget) => budget !== full.budget)
    .sort((a, b) => a - b);
  // A line needs points; variants at one budget are in the tables only.
  const count = (method: string): number => drawn.filter((row) => row.method === method).length;
  const named = [...new Set(drawn.map(({ method }) => method))].filter((method) => count(method) > 2);
  const isControl = (method: string): boolean =>
    drawn.some((row) => row.method === method && row.kind === 'control');
  const methods = named.filter((method) => !isControl(method));
  const series = [...methods, ...named.filter(isControl)].map((method, index) => ({
    name: isControl(method) ? `${method} (control)` : method,
    method,
    color: isControl(method) ? CHART_COLORS.reference : METHOD_COLORS[index % METHOD_COLORS.length],
    marker: MARKERS[(isControl(method) ? index - methods.length : index) % MARKERS.length],
  }));
  return Object.fromEntries(
    setsOf(results).map((set) => {
      const chart = lineChart({
        description: `Exact answers on the ${setName(set)} against image tokens left, a line for each method; the tables have the numbers.`,
        x: 'image tokens left at the end',
        y: 'exact answers, %',
        places: budgets.map(String),
        scale: 'linear',
        includes: [0],
        format: (value) => `${value.toFixed(0)} %`,
        reference: { value: 100 * full.bySet[set].share, name: 'all tokens' },
        series: series.map(({ method, ...line }) => ({
          ...line,
          values: budgets.map((budget) => {
            const row = drawn.find((entry) => entry.method === method && entry.budget === budget);
            return row && 100 * row.bySet[set].share;
          }),
        })),
      });
      return [curveFile(set), chart];
    }),
  );
}

const curveFile = (set: string): string => `reduction-${set === 'real' ? 'real' : 'synthetic'}.svg`;

function setName(set: string): string {
  return set === 'real' ? 'real screenshots' : 'synthetic held-out set';
}

/** docs/results/reduction.md. */
export function renderReport(results: ReductionResults): string {
  const { model, asked, rows } = results;
  const full = fullRow(results);
  const sets = setsOf(results);
  const questions = Object.values(asked).reduce((a, b) => a + b, 0);
  return (
    [
      `# Reductions compared

Made by \`npm run eval\`: ${model.name} (${(model.parameters / 1e6).toFixed(2)} M parameters, weights \`${model.weights.slice(0, 12)}\`), engine \`${results.code.slice(0, 12)}\`, device ${results.device},
questions \`${results.questions.slice(0, 12)}\`. ${results.pictures} pictures, ${questions} questions (${sets.map((set) => `${asked[set]} on the ${setName(set)}`).join(', ')}), each asked under each of
${rows.reduce((sum, row) => sum + row.specs.length, 0)} reductions. An answer counts when it equals the truth letter by letter. With all ${full.budget} tokens: ${sets.map((set) => `${percent(full.bySet[set])} on the ${setName(set)}`).join(', ')}.

Intervals are 95 %: Wilson for shares; for differences on the same questions a bootstrap over whole pictures, since questions about one picture succeed and fail together.
A budget is the number of image tokens **left at the end** of the decoder: \`fastv\`, \`sparsevlm\` and \`pyramiddrop\` have more in the layers before, which the column "work" counts.
Numbers of one small model on small screens; they say which methods keep what such a model needs, and not what a 7-billion model would score.

[What they say in plain words](reduction-reading.md).`,
      ...sets.map((set) => accuracyTable(results, set)),
      verdicts(results),
      costTable(results),
      adaptive(results),
      composition(results),
      warning(results),
      byType(results),
    ].join('\n\n') + '\n'
  );
}

function accuracyTable({ rows }: ReductionResults, set: string): string {
  const table = fixedRows(rows);
  const budgets = budgetsOf(table);
  const methods = [...new Set(table.map(({ method }) => method))];
  const lines = methods.map((method) => {
    const cells = budgets.map((budget) => {
      const row = table.find((entry) => entry.method === method && entry.budget === budget);
      if (!row) return '';
      const tokens = Math.abs(row.tokens - budget) < 0.5 ? '' : ` (${row.tokens.toFixed(0)} tokens)`;
      return `${(100 * row.bySet[set].share).toFixed(1)}${tokens}`;
    });
    const control = table.some((row) => row.method === method && row.kind === 'control');
    return `| ${control ? `*${method}*` : method} | ${cells.join(' | ')} |`;
  });
  const widest = table.reduce((most, row) => Math.max(most, row.bySet[set].high - row.bySet[set].low), 0);
  return `## ${set === 'real' ? 'Real screenshots' : 'Synthetic held-out set'}: exact answers, %

![Exact answers against image tokens](${curveFile(set)})

Controls in italics. The interval of a single number is at most ± ${(50 * widest).toFixed(0)} points.

| method | ${budgets.join(' | ')} |
|---|${budgets.map(() => '---:').join('|')}|
${lines.join('\n')}`;
}

/** What the numbers say, in words that follow from them. */
function verdicts({ rows }: ReductionResults): string {
  const table = fixedRows(rows).filter(({ kind }) => kind === 'method');
  const budgets = budgetsOf(table);
  const lines = budgets.map((budget) => {
    const here = table.filter((row) => row.budget === budget);
    const ranked = [...here].sort((a, b) => b.all.share - a.all.share);
    const beats = (row: Row, control: 'random' | 'downscale'): boolean =>
      (row.against[control]?.low ?? 0) > 0;
    const loses = (row: Row, control: 'random' | 'downscale'): boolean =>
      (row.against[control]?.high ?? 0) < 0;
    const names = (list: readonly Row[]): string => list.map(({ method }) => method).join(', ') || 'none';
    const kept = ranked.filter((row) => row.against.none.low > -0.02);
    return `| ${budget} | ${ranked
      .slice(0, 3)
      .map((row) => `${row.method} ${(100 * row.all.share).toFixed(1)}`)
      .join(
        ', ',
      )} | ${names(ranked.filter((row) => !beats(row, 'random')))} | ${names(ranked.filter((row) => loses(row, 'random')))} | ${names(ranked.filter((row) => !beats(row, 'downscale')))} | ${names(kept)} |`;
  });
  return `## What wins, and what gains nothing

Both sets together. "No better" means that the interval of the difference reaches to 0 or below.

| tokens | best three, % | no better than random | worse than random | no better than a smaller picture | loses less than 2 points for certain |
|---:|---|---|---|---|---|
${lines.join('\n')}

Differences to random tokens at the same budget, in points:

| method | ${budgets.join(' | ')} |
|---|${budgets.map(() => '---:').join('|')}|
${[...new Set(table.map(({ method }) => method))]
  .map(
    (method) =>
      `| ${method} | ${budgets.map((budget) => points(table.find((row) => row.method === method && row.budget === budget)?.against.random)).join(' | ')} |`,
  )
  .join('\n')}`;
}

function costTable(results: ReductionResults): string {
  const full = fullRow(results);
  const rows = [
    full,
    ...fixedRows(results.rows).filter(({ budget, method }) => budget === 64 && method !== 'none'),
  ];
  const gain = (row: Row): number => full.cost.prefill - row.cost.prefill;
  return `## What it costs and saves

At 64 tokens left. Medians over pictures on the machine of the run, nothing remembered between questions, the methods asked in turn; other work on the machine makes the
milliseconds noisy, so that only large ratios mean something. Work: multiply-accumulates of tower, projector and prefill. Selection: the method's own time, which "first token" includes.

| method | work | cache, kB | prefill, ms | selection, ms | selection / saved prefill | first token, ms |
|---|---:|---:|---:|---:|---:|---:|
${rows
  .map(
    (row) =>
      `| ${row.method} | ${(100 * (row.prefillMacs / full.prefillMacs)).toFixed(0)} % | ${(row.cacheBytes / 1000).toFixed(0)} | ${row.cost.prefill.toFixed(0)} | ${row.cost.selection.toFixed(1)} | ${row === full || gain(row) <= 0 ? '' : `${(100 * (row.cost.selection / gain(row))).toFixed(0)} %`} | ${row.cost.firstToken.toFixed(0)} |`,
  )
  .join('\n')}

${workTable(results)}

The model is so small that its prefill takes milliseconds; the share of a selection in what it saves is measured on the shapes of real models by \`npm run bench\`.`;
}

/** Work at every budget: what makes methods inside the decoder and before it comparable. */
function workTable({ rows }: ReductionResults): string {
  const full = rows.find(({ method }) => method === 'none')!;
  const table = fixedRows(rows).filter(({ specs }) => specs.length > 0);
  const budgets = budgetsOf(table);
  const methods = [...new Set(table.map(({ method }) => method))].filter((method) =>
    budgets.every((budget) => table.some((row) => row.method === method && row.budget === budget)),
  );
  return `Work at every budget, in % of that with all tokens. The same number of tokens at the end is not the same work: compare methods inside the decoder with those before it by this table.

| method | ${budgets.join(' | ')} |
|---|${budgets.map(() => '---:').join('|')}|
${methods
  .map((method) => {
    const cells = budgets.map((budget) => {
      const row = table.find((entry) => entry.method === method && entry.budget === budget)!;
      return (100 * (row.prefillMacs / full.prefillMacs)).toFixed(0);
    });
    return `| ${method} | ${cells.join(' | ')} |`;
  })
  .join('\n')}`;
}

function adaptive(results: ReductionResults): string {
  const { rows, calibration } = results;
  const table = rows.filter(({ kind }) => kind === 'adaptive');
  if (table.length === 0) return '## Automatic budget\n\nNot part of this run.';
  const full = fullRow(results);
  const { best, chosen } = calibration;
  const name = ({ rule, parameter, minimum }: RuleResult): string =>
    rule === 'fixed'
      ? `always ${parameter} tokens`
      : rule === 'distinct'
        ? `${parameter === 1 ? 'one token' : `${parameter} tokens`} for each distinct patch, at least ${minimum}`
        : `the patches that hold ${(100 * parameter).toFixed(0)} % of the tower's attention, at least ${minimum}`;
  const sets = setsOf(results);
  return `## Automatic budget

\`keep=auto\` takes ${name(chosen)}. The rule was chosen on other pictures than those of the tables (${calibration.questions} questions, ${(100 * calibration.full).toFixed(1)} % right with all tokens), by \`mmr\` at a ladder of
budgets, the best of which is right in ${(100 * calibration.reached).toFixed(1)} %: the fewest tokens that lose at most one point against that.
${
  calibration.full > calibration.reached
    ? 'What remains against all tokens is what dropping before the decoder costs this model at any budget.\n'
    : ''
}
| rule | right there, % | mean tokens |
|---|---:|---:|
${[...best, { ...chosen, inEngine: true }].map((rule) => `| ${'inEngine' in rule ? '**in the engine:** ' : 'best of its kind: '}${name(rule)} | ${(100 * rule.accuracy).toFixed(1)} | ${rule.tokens.toFixed(0)} |`).join('\n')}

On the pictures of the tables, beside fixed budgets of the same mean and methods that decide for themselves:

| method | mean tokens | ${sets.map((set) => `${setName(set)}, %`).join(' | ')} | difference to all tokens, points |
|---|---:|${sets.map(() => '---:').join('|')}|---:|
${[full, ...table].map((row) => `| ${row.method === 'none' ? 'all tokens' : row.method} | ${row.tokens.toFixed(0)} | ${sets.map((set) => (100 * row.bySet[set].share).toFixed(1)).join(' | ')} | ${row === full ? '' : points(row.against.none)} |`).join('\n')}`;
}

function composition({ rows }: ReductionResults): string {
  const composed = rows.filter(({ alone }) => alone);
  if (composed.length === 0) return '## Methods after one another\n\nNot part of this run.';
  const cell = (row: Row, method: PartName): string => {
    const part = row.alone!.find((entry) => entry.method === method);
    return part ? `${(100 * part.all.share).toFixed(1)}, ${points(part.difference)}` : '';
  };
  const parts = [...new Set(composed.flatMap(({ alone }) => alone!.map(({ method }) => method)))];
  const million = (macs: number): string => (macs / 1e6).toFixed(0);
  const heads = rows.filter(({ method, kind }) => kind === 'adaptive' && method.startsWith('dyrate'));
  const full = rows.find(({ method }) => method === 'none')!;
  return `## Methods after one another

Before the decoder to twice the budget, by FastV before layer 2 to the budget, and by DyRate's classifier, while the answer is written, to what it says ("left": image tokens at the last answer
token, mean). Of each variant of DyRate the classifier for which a kept token was dearest in training: those that drop most. Beside each row its methods by themselves **with as many tokens left at the end**:
exact answers in %, and what the composition gains over them, in points (interval). \`fixedrate\` stands for DyRate by itself, which cannot be given a budget: it drops the same tokens at the same moment, to the number
in "left". Both sets together; work of the prompt in millions of multiply-accumulates.

| composition | budget | left | exact, % | work | ${parts.map((method) => `\`${method}\` alone`).join(' | ')} |
|---|---:|---:|---:|---:|${parts.map(() => '---:').join('|')}|
${composed
  .map(
    (row) =>
      `| ${row.method} | ${row.budget} | ${row.left.toFixed(0)} | ${(100 * row.all.share).toFixed(1)} | ${million(row.prefillMacs)} | ${parts.map((method) => cell(row, method)).join(' | ')} |`,
  )
  .join('\n')}

${
  heads.length === 0
    ? 'DyRate is not among them: this model has no trained heads for it.'
    : `DyRate by itself, from all ${full.budget} tokens: ${heads
        .map(
          (row) =>
            `${row.method.replace('dyrate ', '')} leaves ${row.left.toFixed(0)} (${(100 * row.all.share).toFixed(1)} %)`,
        )
        .join(', ')}; with all tokens ${(100 * full.all.share).toFixed(1)} %.`
}`;
}

function warning(results: ReductionResults): string {
  const sets = setsOf(results);
  const columns = [
    ...sets.map((set) => ({ name: setName(set), quality: results.warningBySet[set] })),
    { name: 'both', quality: results.warning },
  ];
  const line = (name: string, value: (quality: WarningQuality) => string): string =>
    `| ${name} | ${columns.map(({ quality }) => value(quality)).join(' | ')} |`;
  return `## The warning about fine text

Answers that are text of the picture and were right with all tokens, over all reductions. The warning appears before anybody knows the answer, from pixels and kept tokens
alone: where half of the patches that look like text did not reach the answer as they are. A patch that some layers of the decoder have seen counts for the layers that have not.

| | ${columns.map(({ name }) => name).join(' | ')} |
|---|${columns.map(() => '---:').join('|')}|
${[
  line('answers', ({ rows }) => String(rows)),
  line('recall: of the answers that were lost, those with the warning', ({ recall }) => percentOf(recall)),
  line('precision: of the answers with the warning, those that were lost', ({ precision }) =>
    percentOf(precision),
  ),
  line('specificity: of the answers that stayed right, those without it', ({ specificity }) =>
    percentOf(specificity),
  ),
].join('\n')}

Answers lost, by the share of the text-like patches that is lost:

| text-like patches lost | ${columns.map(({ name }) => name).join(' | ')} |
|---|${columns.map(() => '---:').join('|')}|
${results.warning.byShare
  .map(({ from }, tenth) =>
    line(`${(100 * from).toFixed(0)}–${(100 * from + 10).toFixed(0)} %`, ({ byShare }) =>
      percentOf(byShare[tenth].lost),
    ),
  )
  .join('\n')}`;
}

/** A share of how many. */
function percentOf(share: Accuracy): string {
  return share.of === 0 ? '' : `${percent(share)} of ${share.of}`;
}

function byType(results: ReductionResults): string {
  const set = setsOf(results).find((name) => name !== 'real');
  if (set === undefined) return '';
  const shown = [
    fullRow(results),
    ...fixedRows(results.rows).filter(({ budget, method }) => budget === 64 && method !== 'none'),
  ];
  const types = Object.keys(fullRow(results).byType[set]);
  return `## By type of question

Synthetic set, 64 tokens left, exact answers in %; few questions of each type, so that only large differences mean something. reduction.json has every budget and the real screenshots.

| type | questions | ${shown.map(({ method }) => method).join(' | ')} |
|---|---:|${shown.map(() => '---:').join('|')}|
${types.map((type) => `| ${type} | ${shown[0].byType[set][type].of} | ${shown.map((row) => (100 * row.byType[set][type].share).toFixed(0)).join(' | ')} |`).join('\n')}`;
}

/** Names of the sets, the synthetic one first. */
function setsOf({ asked }: ReductionResults): string[] {
  return Object.keys(asked).sort((a, b) => Number(a === 'real') - Number(b === 'real'));
}

function fullRow({ rows }: ReductionResults): Row {
  return rows.find(({ method }) => method === 'none')!;
}

/** Methods and controls at the budgets of the tables. */
function fixedRows(rows: readonly Row[]): Row[] {
  return rows.filter(({ kind, method }) => (kind === 'method' || kind === 'control') && method !== 'none');
}

function budgetsOf(rows: readonly Row[]): number[] {
  return [...new Set(rows.flatMap(({ budget }) => budget ?? []))].sort((a, b) => b - a);
}

function percent({ share, low, high }: Accuracy): string {
  return `${(100 * share).toFixed(1)} % (${(100 * low).toFixed(0)}–${(100 * high).toFixed(0)})`;
}

function points(difference: PairedDifference | undefined): string {
  if (!difference) return '';
  const sign = (value: number): string => {
    const rounded = Math.round(100 * value);
    return `${rounded > 0 ? '+' : ''}${rounded === 0 ? 0 : rounded}`;
  };
  return `${sign(difference.difference)} (${sign(difference.low)} to ${sign(difference.high)})`;
}
