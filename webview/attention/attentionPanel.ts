import { attentionFigures, type Figure, type FigureTable } from '../../server/charts/attention';
import type { ErrorData } from '../../server/protocol';
import { visibleText } from '../../server/traceView/wording';
import { fill, h, type Child } from '../dom';
import { icon } from '../icons';
import { Memo, type Actions, type Part, type Scene } from '../parts';
import { progressBar } from '../progressBar';
import type { Run } from '../state';
import { button, progressRing } from '../toolkit';
import { chartElement } from './chart';

/** Where the model looked while it answered, as charts; measured when the user asks for it. */
export class AttentionPanel implements Part {
  readonly element = h('section', {
    class: 'attention',
    id: 'attention',
    role: 'tabpanel',
    'aria-labelledby': 'tab-attention',
    tabindex: 0,
  });
  private readonly memo = new Memo();

  constructor(private readonly actions: Actions) {}

  render({ state, run }: Scene): void {
    this.element.hidden = state.tab !== 'attention';
    if (this.element.hidden || !run) return;
    const samePictures =
      run.pictures.map(({ name }) => name).join() === state.pictures.map(({ name }) => name).join();
    if (!this.memo.changed(run.number, run.analysis, run.pictures, run.text, samePictures)) return;
    fill(
      this.element,
      h(
        'header',
        { class: 'attention-head' },
        h('h1', {}, h('bdi', {}, visibleText(run.question))),
        run.analysis?.state === 'done'
          ? h('p', { class: 'text' }, visibleText(run.analysis.result.answer))
          : undefined,
      ),
      ...this.contents(run, samePictures),
    );
  }

  private contents(run: Run, samePictures: boolean): Child[] {
    const { analysis } = run;
    switch (analysis?.state) {
      case undefined:
        return [
          h(
            'p',
            { class: 'attention-words' },
            'Which tokens does the model look at, layer by layer and word by word? Where does the vision tower look? And from which layer on could all image tokens go without changing the answer?',
          ),
          samePictures ? this.startButton(run, 'Measure attention') : otherPicture(),
          h(
            'p',
            { class: 'hint attention-words' },
            'The question is asked again with all image tokens, then they are dropped layer by layer. This takes a few times as long as the answer.',
          ),
        ];
      case 'running':
        return [this.running(run, analysis.message, analysis.fraction)];
      case 'failed':
        return [
          analysis.error.kind === 'cancelled'
            ? h('p', { class: 'notice' }, icon('stop'), 'Cancelled.')
            : failure(analysis.error),
          samePictures ? this.startButton(run, 'Try again') : otherPicture(),
        ];
      case 'done': {
        const pictures = run.pictures.map(({ dataUrl }) => (dataUrl === '' ? undefined : dataUrl));
        const groups = attentionFigures(analysis.result, pictures).map(({ title, figures }) =>
          h(
            'section',
            {},
            h('h2', { class: 'figures-title' }, title),
            h('div', { class: 'figures' }, ...figures.map((figure) => this.figure(figure))),
          ),
        );
        return [this.exports(), ...groups];
      }
    }
  }

  private exports(): HTMLElement {
    return h(
      'div',
      { class: 'exports-row' },
      button({
        label: 'Export as Page (HTML)',
        class: 'quiet',
        onClick: () => this.actions.exportAnalysis('html'),
      }),
      button({
        label: 'Export Data (JSON)',
        class: 'quiet',
        onClick: () => this.actions.exportAnalysis('json'),
      }),
    );
  }

  private startButton(run: Run, label: string): HTMLElement {
    const { number, question, fit } = run;
    return button({
      label,
      primary: true,
      class: 'at-start',
      onClick: () => this.actions.post({ type: 'analyze', run: number, question, fit }),
    });
  }

  private running(run: Run, message: string, fraction: number | undefined): HTMLElement {
    return h(
      'div',
      { class: 'working attention-words' },
      h(
        'p',
        { class: 'working-line' },
        progressRing(),
        h('span', {}, visibleText(message)),
        button({
          label: 'Cancel',
          onClick: () => this.actions.post({ type: 'cancelAnalysis', run: run.number }),
        }),
      ),
      progressBar(message, fraction),
    );
  }

  private figure({ id, title, finding, explanation, svg, table }: Figure): HTMLElement {
    const chart = chartElement(svg);
    return h(
      'figure',
      { id: `figure-${id}` },
      h('figcaption', {}, h('h3', {}, title), h('p', {}, finding)),
      h(
        'div',
        {},
        chart,
        h('p', { class: 'hint' }, explanation),
        h(
          'div',
          { class: 'figure-foot' },
          h('details', {}, h('summary', {}, 'Numbers'), numbers(title, table)),
          button({
            label: `Save “${title}” as PNG`,
            icon: 'picture',
            onClick: () => this.actions.exportChart(chart, id),
          }),
        ),
      ),
    );
  }
}

function otherPicture(): HTMLElement {
  return h(
    'p',
    { class: 'notice attention-words' },
    'This question was about another image than the one that is open now. Ask it again to measure it.',
  );
}

function failure({ message, why, nextStep }: ErrorData): HTMLElement {
  return h(
    'div',
    { class: 'failure attention-words', role: 'alert' },
    h('p', { class: 'failure-head' }, icon('error'), h('strong', {}, visibleText(message))),
    why !== undefined && why !== '' && h('p', {}, visibleText(why)),
    h('p', {}, visibleText(nextStep)),
  );
}

function numbers(title: string, { columns, rows }: FigureTable): HTMLElement {
  return h(
    'div',
    { class: 'table-room figure-table', tabindex: 0, role: 'region', 'aria-label': title },
    h(
      'table',
      {},
      h('thead', {}, h('tr', {}, ...columns.map((column) => h('th', { scope: 'col' }, column)))),
      h(
        'tbody',
        {},
        ...rows.map(([first, ...rest]) =>
          h('tr', {}, h('th', { scope: 'row' }, first), ...rest.map((cell) => h('td', {}, cell))),
        ),
      ),
    ),
  );
}
