import { formatCount, pointLabel, pointWords } from '../server/traceView/wording';
import { fill, h, setAttribute } from './dom';
import { Memo, type Actions, type Part, type Scene } from './parts';

/**
 * The way of the image tokens from the vision tower to every answer token: a small chart of how many are left, which is
 * also the slider that chooses the point that the map shows.
 */
export class StageBar implements Part {
  private readonly chart = h('div', {
    class: 'stage-chart',
    role: 'slider',
    tabindex: '0',
    'aria-label': 'Stage',
  });
  private readonly caption = h('p', { class: 'stage-caption' });
  readonly element = h('section', { class: 'stages', 'aria-label': 'Stages' }, this.chart, this.caption);
  private readonly memo = new Memo();
  private columns: HTMLElement[] = [];
  private scene: Scene | undefined;
  private dragging = false;

  constructor(private readonly actions: Actions) {
    this.chart.addEventListener('keydown', (event) => {
      const count = this.columns.length;
      const now = this.index();
      const next: Readonly<Record<string, number>> = {
        ArrowLeft: now - 1,
        ArrowDown: now - 1,
        ArrowRight: now + 1,
        ArrowUp: now + 1,
        PageDown: now - 5,
        PageUp: now + 5,
        Home: 0,
        End: count - 1,
      };
      if (!Object.hasOwn(next, event.key)) return;
      event.preventDefault();
      this.choose(Math.min(count - 1, Math.max(0, next[event.key])));
    });
    this.chart.addEventListener('pointerdown', (event) => {
      this.dragging = true;
      this.chart.setPointerCapture(event.pointerId);
      this.chooseAt(event.clientX);
    });
    this.chart.addEventListener('pointermove', (event) => {
      if (this.dragging) this.chooseAt(event.clientX);
    });
    for (const end of ['pointerup', 'pointercancel'])
      this.chart.addEventListener(end, () => (this.dragging = false));
  }

  render(scene: Scene): void {
    this.scene = scene;
    const { model } = scene;
    this.element.hidden = model === undefined;
    if (!model) return;
    if (this.memo.changed(model, scene.names)) this.build(scene);
    const now = this.index();
    for (const [index, column] of this.columns.entries()) column.classList.toggle('current', index === now);
    const words = pointWords(model.result, model.points[now], scene.names);
    setAttribute(this.chart, 'aria-valuemin', 0);
    setAttribute(this.chart, 'aria-valuemax', this.columns.length - 1);
    setAttribute(this.chart, 'aria-valuenow', now);
    setAttribute(this.chart, 'aria-valuetext', words);
    this.caption.textContent = words;
  }

  private build({ model, names }: Scene): void {
    const { points, result } = model!;
    const most = Math.max(1, ...points.map(({ tokens }) => tokens));
    this.columns = points.map((point, index) => {
      const bar = h('div', { class: 'stage-bar' });
      // A bar of one token among thousands must still be seen.
      bar.style.height = `${point.tokens === 0 ? 0 : Math.max(4, (100 * point.tokens) / most)}%`;
      const title = pointWords(result, point, names);
      if (point.kind === 'answer')
        return h('div', { class: 'stage-column answer', title }, h('div', { class: 'stage-room' }, bar));
      const method = point.kind === 'stage' ? (names.get(point.method ?? '') ?? point.method) : undefined;
      return h(
        'div',
        { class: 'stage-column', title, 'data-index': index },
        h('div', { class: 'stage-count' }, formatCount(point.tokens)),
        h('div', { class: 'stage-room' }, bar),
        h('div', { class: 'stage-label' }, method ?? pointLabel(point)),
        h('div', { class: 'stage-place' }, method ? pointLabel(point) : '\u00a0'),
      );
    });
    const answers = this.columns.filter((_, index) => points[index].kind === 'answer');
    const last = points.at(-1);
    const count = answers.length;
    fill(
      this.chart,
      ...this.columns.filter((column) => !answers.includes(column)),
      count > 0 &&
        h(
          'div',
          { class: 'stage-answers' },
          h('div', { class: 'stage-count' }, formatCount(last?.tokens ?? 0)),
          h('div', { class: 'stage-answer-bars' }, ...answers),
          h('div', { class: 'stage-label' }, 'Answer'),
          h('div', { class: 'stage-place' }, `${count} ${count === 1 ? 'token' : 'tokens'}`),
        ),
    );
  }

  private index(): number {
    return this.scene?.model?.pointIndex(this.scene.state.look) ?? 0;
  }

  private choose(point: number): void {
    if (point !== this.index()) this.actions.look({ point });
  }

  private chooseAt(x: number): void {
    let best = 0;
    let least = Infinity;
    for (const [index, column] of this.columns.entries()) {
      const { left, right } = column.getBoundingClientRect();
      const distance = x < left ? left - x : Math.max(0, x - right);
      if (distance < least) [best, least] = [index, distance];
    }
    this.choose(best);
  }
}
