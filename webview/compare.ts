import type { AnswerResult, RunCosts } from '../server/protocol';
import {
  formatBytes,
  formatCount,
  formatMacs,
  formatMilliseconds,
  readableSpec,
  visibleText,
} from '../server/traceView/wording';
import { differingWords, plainWords } from '../server/traceView/wordDiff';
import { fill, h, type Child } from './dom';
import { Memo, type Actions, type Part, type Scene } from './parts';
import { besideRun, otherAnswers, samePictures, type Run } from './state';
import { button, dropdown } from './toolkit';

export interface Measure {
  name: string;
  hint: string;
  /** What changes and sorting are about. */
  value(result: AnswerResult): number;
  text(result: AnswerResult): string;
}

/** What runs are compared by; less is better in every row. */
export const MEASURES: readonly Measure[] = [
  {
    name: 'Image tokens',
    hint: 'all, at the decoder’s entry, and after the last reduction',
    value: tokensLeft,
    text: tokensText,
  },
  measure(
    'First token',
    'from the question to the first token of the answer, without loading',
    ({ costs }) => costs.timings.firstToken,
    formatMilliseconds,
  ),
  measure(
    'Prefill',
    'the decoder reads the prompt',
    ({ costs }) => costs.timings.prefill,
    formatMilliseconds,
  ),
  measure('Total', 'the whole answer', ({ costs }) => costs.timings.total, formatMilliseconds),
  measure('Cache', 'keys and values after prefill', ({ costs }) => costs.cacheBytes, formatBytes),
  measure(
    'Prefill work',
    'multiply-accumulates of tower, projector and decoder',
    ({ costs }) => costs.prefillMacs,
    formatMacs,
  ),
];

/** What an answer found done, by an earlier question or while it was being typed: its times do not have that. */
function reuseNotes(costs: RunCosts | undefined): string[] {
  const notes: string[] = [];
  if (costs?.imagesReused)
    notes.push(
      'The picture was encoded before, for another question or while this one was typed. That time is not in the first token.',
    );
  if (costs?.prefixReused) {
    const { tokens, layers } = costs.prefixReused;
    notes.push(
      `${formatCount(tokens)} tokens of the prompt were read before, by ${layers === 1 ? 'the first layer' : `${layers} layers`} of the decoder. That time is not in prefill.`,
    );
  }
  return notes;
}

function measure(
  name: string,
  hint: string,
  value: (result: AnswerResult) => number,
  format: (value: number) => string,
): Measure {
  return { name, hint, value, text: (result) => format(value(result)) };
}

function tokensLeft({ costs: { imageTokens } }: AnswerResult): number {
  return imageTokens.perStage.at(-1) ?? imageTokens.atDecoder;
}

/** `576 → 288 → 64`: what there was, what entered the decoder, what was left, where these differ. */
function tokensText(result: AnswerResult): string {
  const { total, atDecoder } = result.costs.imageTokens;
  const steps = [total, atDecoder, tokensLeft(result)];
  return steps
    .filter((count, index) => index === 0 || count !== steps[index - 1])
    .map(formatCount)
    .join(' → ');
}

/** What the shown run cost, and the run beside it: answer, tokens, time, memory, work. */
export class Compare implements Part {
  readonly element = h('section', { class: 'panel compare', 'aria-label': 'Cost' });
  private readonly memo = new Memo();

  constructor(private readonly actions: Actions) {}

  render({ state, run }: Scene): void {
    const beside = besideRun(state);
    // A new picture that nothing was asked about has nothing to compare.
    this.element.hidden = run === undefined || (run.result === undefined && beside === undefined);
    if (!this.memo.changed(run?.number, run?.result, beside, state.runs.length)) return;
    const others = otherAnswers(state);
    fill(
      this.element,
      h('h2', {}, !beside ? 'Cost' : run?.result ? 'Compared with the other answer' : 'The answer before'),
      others.length > (beside ? 1 : 0) && this.chooser(run, beside, others),
      beside && this.besideAnswer(run, beside),
      h(
        'div',
        { class: 'table-room costs-room', tabindex: '0', role: 'group', 'aria-label': 'Costs' },
        costTable(run, beside),
      ),
      ...[run, beside].flatMap((column, index) =>
        reuseNotes(column?.result?.costs).map((note) =>
          h('p', { class: 'muted' }, index === 0 ? note : `The other answer: ${note}`),
        ),
      ),
      beside &&
        button({
          label: run?.result ? 'Show the other on the map' : 'Show it on the map',
          class: 'at-start',
          onClick: () => this.actions.show(beside.number),
        }),
    );
  }

  private chooser(run: Run | undefined, beside: Run | undefined, others: readonly Run[]): HTMLElement {
    const choices = others.map(({ number, pictures, reduction, question }) => {
      const name = samePictures(pictures, run?.pictures) ? [] : pictures.map((picture) => picture.name);
      const words = [...name, readableSpec(reduction), question].map((text) =>
        visibleText(text).slice(0, 60),
      );
      return { value: String(number), label: words.join(' · ') };
    });
    // Answers about other pictures are there for whoever looks for them.
    if (!beside) choices.unshift({ value: '', label: 'Compare with...' });
    return dropdown({
      label: 'Compare with',
      choices,
      value: beside ? String(beside.number) : '',
      onChange: (value) => this.actions.set({ beside: value === '' ? undefined : Number(value) }),
    });
  }

  private besideAnswer(run: Run | undefined, beside: Run): HTMLElement {
    const words = plainWords(beside.text);
    const sameQuestion = run?.result !== undefined && run.question === beside.question;
    const differs = sameQuestion ? differingWords(plainWords(run.text), words).b : [];
    const text: Child[] = words.flatMap((word, index) => [
      index > 0 ? ' ' : undefined,
      differs[index] ? h('span', { class: 'word differs' }, visibleText(word)) : visibleText(word),
    ]);
    return h(
      'blockquote',
      {},
      beside.question !== run?.question && h('p', { class: 'muted' }, visibleText(beside.question)),
      h('p', { class: 'text' }, ...text),
    );
  }
}

function costTable(run: Run | undefined, beside: Run | undefined): HTMLElement {
  const own = run?.result;
  const other = beside?.result;
  const columns = [own && run, other && beside].filter((column) => column !== undefined);
  return h(
    'table',
    { class: 'costs' },
    h(
      'thead',
      {},
      h(
        'tr',
        {},
        h('td', {}),
        ...columns.map((column) =>
          h(
            'th',
            { scope: 'col', title: visibleText(column?.reduction ?? '') },
            column === run ? 'Shown' : own ? 'Other' : 'Before',
            specLine(column?.reduction ?? ''),
          ),
        ),
        own && other && h('th', { scope: 'col' }, 'Change'),
      ),
    ),
    h(
      'tbody',
      {},
      ...MEASURES.map(({ name, hint, value, text }) =>
        h(
          'tr',
          {},
          h('th', { scope: 'row', title: hint }, name),
          ...columns.map((column) => h('td', {}, column?.result ? text(column.result) : '–')),
          own && other && h('td', {}, changeWords(value(other), value(own))),
        ),
      ),
    ),
  );
}

/** A spec that breaks between its parts, not inside them. */
export function specLine(spec: string): HTMLElement {
  const shown = readableSpec(visibleText(spec));
  const pieces = shown.split(/(?<=[,+:])/);
  const exact = shown === spec ? {} : { title: spec };
  return h('div', { class: 'spec', ...exact }, ...pieces.flatMap((piece) => [piece, h('wbr')]));
}

export function changeWords(before: number, after: number): string {
  if (!(before > 0)) return '–';
  const percent = Math.round((100 * (after - before)) / before);
  if (percent === 0) return '±0 %';
  return `${percent > 0 ? '+' : '−'}${Math.abs(percent)} %`;
}
