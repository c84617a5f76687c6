import type { AnswerResult } from '../server/protocol';
import { figureOf } from '../server/traceView/figure';
import { mergedWords, plainWords } from '../server/traceView/wordDiff';
import { visibleText } from '../server/traceView/wording';
import { MEASURES, specLine } from './compare';
import { fill, h, type Child } from './dom';
import { Memo, type Actions, type Part, type Scene } from './parts';
import { samePictures, type Run, type State } from './state';
import { button } from './toolkit';
import { themePalette } from './theme';

/** Width of a token map, in pixels. */
const MAP_WIDTH = 180;

type Answered = Run & { result: AnswerResult };

interface Order {
  /** Index into {@link MEASURES}; undefined = as they were asked. */
  column: number | undefined;
  descending: boolean;
}

/** The answers to the shown question about the same picture, in the order of asking; of those that were asked alike, the last. */
export function comparedRuns({ runs }: State, shown: Run | undefined): Answered[] {
  if (!shown) return [];
  const answers = runs.filter(
    (run): run is Answered =>
      run.result !== undefined &&
      run.question === shown.question &&
      samePictures(run.pictures, shown.pictures),
  );
  const last = new Map(answers.map((run) => [wayOfAsking(run), run.number]));
  return answers.filter((run) => last.get(wayOfAsking(run)) === run.number);
}

function wayOfAsking({ fit, result: { reduction, model, device } }: Answered): string {
  return [reduction, fit, model.hash, device].join('\n');
}

/** The same question under several reductions: maps, answers with their differences, costs; sorted by any cost. */
export class Comparison implements Part {
  readonly element = h('section', {
    class: 'comparison',
    id: 'comparison',
    role: 'tabpanel',
    'aria-labelledby': 'tab-comparison',
    tabindex: 0,
  });
  private readonly memo = new Memo();
  /** A standalone page is its own HTML export. */
  private canSavePage = false;
  private order: Order = { column: undefined, descending: false };

  constructor(private readonly actions: Actions) {}

  render({ state, run, canAsk }: Scene): void {
    this.element.hidden = state.tab !== 'comparison';
    if (this.element.hidden || !run) return;
    this.canSavePage = canAsk;
    if (!this.memo.changed(run.number, state.runs, document.body.className)) return;
    this.draw(run, comparedRuns(state, run));
  }

  private draw(shown: Run, runs: readonly Answered[]): void {
    const { column, descending } = this.order;
    const sorted =
      column === undefined
        ? runs
        : runs.toSorted((a, b) => {
            const difference = MEASURES[column].value(a.result) - MEASURES[column].value(b.result);
            return descending ? -difference : difference;
          });
    const reference = runs[0];
    fill(
      this.element,
      h('h1', {}, h('bdi', {}, visibleText(shown.question))),
      h(
        'p',
        { class: 'hint' },
        'Underlined words are not in the first answer, struck-out ones only there. Costs are those of one run each.',
      ),
      h(
        'div',
        { class: 'exports-row' },
        this.canSavePage &&
          button({
            label: 'Export as Page (HTML)',
            class: 'quiet',
            onClick: () => this.actions.exportPage(),
          }),
        button({ label: 'Export Data (JSON)', class: 'quiet', onClick: () => this.actions.exportData() }),
      ),
      h(
        'ul',
        { class: 'compared-maps' },
        ...sorted.map((each) => this.map(each, each.number === shown.number)),
      ),
      h(
        'div',
        { class: 'table-room' },
        h(
          'table',
          {},
          h(
            'thead',
            {},
            h(
              'tr',
              {},
              this.heading('Reduction', 'In the order of asking', undefined, shown, runs),
              h('th', { scope: 'col' }, 'Answer'),
              ...MEASURES.map(({ name, hint }, index) => this.heading(name, hint, index, shown, runs)),
            ),
          ),
          h('tbody', {}, ...sorted.map((each) => this.row(each, reference, each.number === shown.number))),
        ),
      ),
    );
  }

  private heading(
    name: string,
    hint: string,
    column: number | undefined,
    shown: Run,
    runs: readonly Answered[],
  ): HTMLElement {
    const chosen = this.order.column === column;
    const sort = chosen ? (this.order.descending ? 'descending' : 'ascending') : 'none';
    return h(
      'th',
      { scope: 'col', 'aria-sort': sort },
      h(
        'button',
        {
          class: 'sort',
          title: hint,
          onclick: () => {
            const descending = chosen && column !== undefined && !this.order.descending;
            this.order = { column, descending };
            this.draw(shown, runs);
            this.element.querySelectorAll<HTMLElement>('.sort')[(column ?? -1) + 1].focus();
          },
        },
        name,
        h(
          'span',
          { class: 'sort-mark', 'aria-hidden': 'true' },
          chosen && column !== undefined ? (this.order.descending ? ' ↓' : ' ↑') : '',
        ),
      ),
    );
  }

  private map(run: Answered, shown: boolean): HTMLElement {
    return h(
      'li',
      { class: shown ? 'shown' : undefined },
      h(
        'button',
        {
          class: 'link compared',
          title: 'Show on the map',
          onclick: () => {
            if (!shown) this.actions.show(run.number);
            this.actions.set({ tab: 'tokens' });
          },
        },
        tokenMap(run),
        specLine(run.result.reduction),
      ),
    );
  }

  private row(run: Answered, reference: Answered, shown: boolean): HTMLElement {
    return h(
      'tr',
      { class: shown ? 'shown' : undefined },
      h('th', { scope: 'row' }, specLine(run.result.reduction)),
      h('td', { class: 'compared-answer' }, ...answerWords(run, reference)),
      ...MEASURES.map(({ text }) => h('td', {}, text(run.result))),
    );
  }
}

function answerWords(run: Answered, reference: Answered): Child[] {
  const words = plainWords(run.result.answer);
  const merged = mergedWords(plainWords(reference.result.answer), words);
  return [
    words.length === 0 && h('span', { class: 'muted' }, '(empty) '),
    ...merged.flatMap(({ word, in: where }, index): Child[] => {
      const text = visibleText(word);
      const marked =
        where === 'both'
          ? text
          : where === 'second'
            ? h('ins', { class: 'word differs' }, text)
            : h('del', { class: 'muted' }, text);
      return [index > 0 ? ' ' : undefined, marked];
    }),
  ];
}

/** What the decoder used, small: the picture and over it the drawing that the exports make. */
function tokenMap(run: Answered): HTMLElement {
  const { svg, width, height, picture } = figureOf(run.result, {
    width: MAP_WIDTH,
    legend: false,
    margin: 0,
    palette: themePalette(),
  });
  const map = h('span', { class: 'small-map', 'aria-hidden': 'true' });
  map.style.aspectRatio = `${width} / ${height}`;
  const url = run.pictures[0]?.dataUrl;
  if (url) {
    const image = h('img', { src: url, alt: '' });
    image.style.left = `${(100 * picture.x) / width}%`;
    image.style.top = `${(100 * picture.y) / height}%`;
    image.style.width = `${(100 * picture.width) / width}%`;
    image.style.height = `${(100 * picture.height) / height}%`;
    map.append(image);
  }
  map.append(
    h('img', { class: 'whole', src: `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`, alt: '' }),
  );
  return map;
}
