import { planeName, visibleText } from '../server/traceView/wording';
import { fill, h, setAttribute, type Child } from './dom';
import { Memo, type Actions, type Part, type Scene } from './parts';
import type { RunModel } from './runModel';
import type { ColorBy } from './state';
import { button, dropdown, type Choice } from './toolkit';

interface Zoom {
  zoom(step: number): void;
  fit(): void;
}

/** Above the map: which picture, what the colours mean, overlay, zoom, export. */
export class Toolbar implements Part {
  private readonly title = h('h1', { class: 'title' });
  private readonly choices = h('div', { class: 'tools choices' });
  private readonly percent = h('span', { class: 'percent numbers', 'aria-live': 'off' });
  private readonly opacity = h('input', {
    type: 'range',
    min: 10,
    max: 100,
    step: 5,
    'aria-label': 'Overlay opacity',
    title: 'Overlay opacity',
    class: 'opacity',
    oninput: () => this.actions.set({ opacity: Number(this.opacity.value) / 100 }),
  });
  private readonly overlay = h('span', { class: 'overlay-button' });
  private readonly whole = h('span', { class: 'whole-button' });
  private readonly exports = h('div', { class: 'tools exports' });
  private readonly zoomTools: HTMLElement;
  readonly element: HTMLElement;
  private readonly memo = new Memo();

  constructor(
    private readonly actions: Actions,
    zoom: Zoom,
  ) {
    this.zoomTools = h(
      'div',
      { class: 'tools zoom' },
      button({ label: 'Zoom out (-)', icon: 'minus', onClick: () => zoom.zoom(-1) }),
      this.percent,
      button({ label: 'Zoom in (+)', icon: 'plus', onClick: () => zoom.zoom(1) }),
      button({ label: 'Fit; again: without padding (0)', icon: 'fit', onClick: () => zoom.fit() }),
    );
    this.element = h(
      'header',
      { class: 'toolbar' },
      this.title,
      this.whole,
      this.choices,
      h('div', { class: 'tools display' }, this.overlay, this.opacity),
      this.zoomTools,
      this.exports,
    );
  }

  showZoom(percent: number): void {
    this.percent.textContent = `${percent} %`;
  }

  render(scene: Scene): void {
    const { state, model, run, canAsk } = scene;
    const pictures = run?.pictures ?? state.pictures;
    const picture = pictures[state.look.image];
    this.element.hidden = picture === undefined;
    for (const part of [this.choices, this.exports, this.overlay, this.opacity])
      part.hidden = model === undefined;
    // A file that could not be read has no picture to zoom into.
    this.zoomTools.hidden = model === undefined && (picture === undefined || picture.dataUrl === '');
    if (document.activeElement !== this.opacity) this.opacity.value = String(Math.round(100 * state.opacity));
    setAttribute(this.opacity, 'disabled', !state.overlay);
    if (!this.memo.changed(picture?.name, model, state.look, state.overlay, scene.names)) return;
    const layout = model?.layout(state.look);
    // The name of a part says its size.
    const bounds = picture?.isPart ? undefined : (layout ?? picture);
    const size = bounds?.width ? `${bounds.width} × ${bounds.height ?? ''}` : '';
    const name = visibleText(picture?.name ?? '');
    fill(
      this.title,
      h('bdi', { title: name }, name),
      size !== '' && h('span', { class: 'muted numbers' }, ` ${size}`),
    );
    fill(
      this.whole,
      picture?.isPart === true &&
        canAsk &&
        button({
          label: 'Whole Image',
          icon: 'picture',
          text: true,
          class: 'quiet',
          onClick: () => this.actions.post({ type: 'wholeImage' }),
        }),
    );
    if (!model) return;
    fill(
      this.overlay,
      button({
        label: state.overlay ? 'Hide the overlay' : 'Show the overlay',
        icon: 'eye',
        pressed: state.overlay,
        onClick: () => this.actions.set({ overlay: !state.overlay }),
      }),
    );
    fill(
      this.choices,
      ...this.pickers(
        scene,
        model,
        pictures.map((each) => visibleText(each.name)),
      ),
    );
    fill(
      this.exports,
      button({ label: 'Copy picture', icon: 'picture', onClick: () => this.actions.copyPicture() }),
      this.saveMenu(canAsk),
    );
  }

  private pickers({ state, names }: Scene, model: RunModel, pictures: readonly string[]): Child[] {
    const { look } = state;
    const children: Child[] = [];
    if (model.result.trace.images.length > 1) {
      children.push(
        dropdown({
          label: 'Image',
          choices: model.result.trace.images.map((_, index) => ({
            value: String(index),
            label: pictures[index] ?? `Image ${index + 1}`,
          })),
          value: String(look.image),
          onChange: (value) => this.actions.look({ image: Number(value), plane: -1, token: undefined }),
        }),
      );
    }
    const planes = model.planesOf(look);
    if (planes.length > 1) {
      children.push(
        dropdown({
          label: 'Tiles',
          choices: planes.map((_, index) => ({
            value: String(index),
            label: planeName(planes.length, index),
          })),
          value: String(model.planeIndex(look)),
          onChange: (value) => this.actions.look({ plane: Number(value), token: undefined }),
        }),
      );
    }
    const colors = colorChoices(model, look.image, names);
    const current = JSON.stringify(look.colorBy);
    const word = look.colorBy.kind === 'word' ? model.words[look.colorBy.word] : undefined;
    if (word) colors.push({ value: current, label: `Attention of “${visibleText(word.text).slice(0, 24)}”` });
    children.push(
      dropdown({
        label: 'Colours show',
        class: 'color-by',
        choices: colors,
        value: current,
        onChange: (value) => this.actions.look({ colorBy: colorOf(value, look.colorBy) }),
      }),
    );
    return children;
  }

  /** A disclosure, not a menu: a few buttons that are there when they are wanted. */
  private saveMenu(canAsk: boolean): HTMLElement {
    const menu = h(
      'details',
      { class: 'save' },
      h('summary', { title: 'Export' }, 'Export'),
      h(
        'div',
        { class: 'save-list' },
        button({
          label: 'Picture (PNG)',
          class: 'quiet',
          onClick: () => run(() => this.actions.exportPicture()),
        }),
        button({ label: 'Data (JSON)', class: 'quiet', onClick: () => run(() => this.actions.exportData()) }),
        // A standalone page is its own HTML export.
        canAsk
          ? button({
              label: 'Page (HTML)',
              class: 'quiet',
              onClick: () => run(() => this.actions.exportPage()),
            })
          : undefined,
      ),
    );
    const run = (action: () => void): void => {
      menu.removeAttribute('open');
      action();
    };
    menu.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') menu.removeAttribute('open');
    });
    menu.addEventListener('focusout', ({ relatedTarget }) => {
      if (relatedTarget instanceof Node && !menu.contains(relatedTarget)) menu.removeAttribute('open');
    });
    return menu;
  }
}

function colorChoices(model: RunModel, image: number, names: Scene['names']): Choice[] {
  const { trace } = model.result;
  const choices: Choice[] = [{ value: JSON.stringify({ kind: 'state' }), label: 'Kept and dropped' }];
  const seen = new Set<string>();
  for (const [stage, { scores, method, spec, place }] of trace.stages.entries()) {
    const key = `${JSON.stringify(place)} ${spec}`;
    if (!scores || seen.has(key) || place.at === 'step') continue;
    seen.add(key);
    choices.push({
      value: JSON.stringify({ kind: 'score', stage }),
      label: `${names.get(method) ?? method}: ${scores.name}`,
    });
  }
  if (
    trace.stages.some(({ merged }) => merged.some(({ id }) => id === trace.images[image]?.contextTokenId))
  ) {
    choices.push({ value: JSON.stringify({ kind: 'context' }), label: 'Context token' });
  }
  if (trace.answer.length > 0)
    choices.push({ value: JSON.stringify({ kind: 'attention' }), label: 'Attention of the answer' });
  return choices;
}

/** Values are the choices made above, so they parse; `current` is the one for a word. */
function colorOf(value: string, current: ColorBy): ColorBy {
  return value === JSON.stringify(current) ? current : (JSON.parse(value) as ColorBy);
}
