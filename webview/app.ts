import { analysisPage } from '../server/charts/analysisPage';
import type { AnswerResult, FromTokenView, PixelRect, TokenId } from '../server/protocol';
import { locateToken } from '../server/traceView/geometry';
import { analysisToJson, answersToJson } from '../server/traceView/json';
import { AnswerPanel } from './answer';
import { AttentionPanel } from './attention/attentionPanel';
import { chartCanvas } from './attention/chart';
import { AskForm } from './askForm';
import { Compare } from './compare';
import { comparedRuns, Comparison } from './comparison';
import { fill, h } from './dom';
import { download, exportName, figureCanvas } from './exporting';
import { FirstRun, isFirstRun } from './firstRun';
import type { Host } from './host';
import { acceptImages } from './incoming';
import { Inspector } from './inspector';
import { Legend } from './legend';
import { MapView } from './map/mapView';
import { namesOf, type Actions, type Part, type Scene } from './parts';
import { RunModel } from './runModel';
import { StageBar } from './stageBar';
import {
  answerOf,
  INITIAL_LOOK,
  INITIAL_STATE,
  receive,
  restoredState,
  savedState,
  shownRun,
  stateOfPage,
  type Look,
  type Run,
  type State,
} from './state';
import { Tabs, tabsOf } from './tabs';
import { TokenTable } from './tokenTable';
import { Toolbar } from './toolbar';

/** State is saved when nothing has changed for so long. */
const SAVE_AFTER_MS = 400;
/** How long a short message stays. */
const SAY_MS = 5000;

/** The token view: one state, parts that draw it, actions that change it. */
export class App implements Actions {
  private state: State;
  private hovered: TokenId | undefined;
  private readonly models = new WeakMap<AnswerResult, RunModel>();
  private readonly map: MapView;
  private readonly inspector: Inspector;
  private readonly parts: Part[];
  /** Everything of the tab "Tokens". */
  private readonly tokens: HTMLElement;
  private readonly status = h('p', { class: 'say', role: 'status' });
  private saving = 0;
  private saying = 0;

  constructor(
    root: HTMLElement,
    private readonly host: Host,
  ) {
    const restored = host.page ? stateOfPage(host.page.answers) : restoredState(host.loadState());
    this.state = restored ?? INITIAL_STATE;
    let toolbar: Toolbar | undefined = undefined;
    const ask = new AskForm(this);
    this.map = new MapView(this, (percent, part) => {
      toolbar?.showZoom(percent);
      ask.showPart(part);
    });
    toolbar = new Toolbar(this, this.map);
    this.inspector = new Inspector(this, () => this.map.picture);
    const answer = new AnswerPanel(this);
    const compare = new Compare(this);
    const legend = new Legend(this);
    const stages = new StageBar(this);
    const table = new TokenTable(this);
    const first = new FirstRun(this);
    const tabs = new Tabs(this);
    const attention = new AttentionPanel(this);
    const comparison = new Comparison(this);
    this.parts = [toolbar, answer, this.map, legend, stages, this.inspector, compare, ask, table, first];
    this.parts.push(tabs, attention, comparison);
    this.tokens = h(
      'div',
      { class: 'tokens-tab', id: 'tokens', role: 'tabpanel', 'aria-label': 'Tokens' },
      toolbar.element,
      h(
        'div',
        { class: 'body' },
        answer.element,
        h(
          'section',
          { class: 'stage', 'aria-label': 'Token map' },
          this.map.element,
          legend.element,
          stages.element,
        ),
        h('div', { class: 'side' }, this.inspector.element, compare.element, ask.element, table.element),
      ),
    );
    root.classList.add('fovea');
    fill(
      root,
      tabs.element,
      first.element,
      this.tokens,
      attention.element,
      comparison.element,
      this.status,
      h('div', { class: 'drop-hint', 'aria-hidden': 'true' }, 'Drop to ask about this image'),
    );
    host.onMessage((message) => {
      this.update(receive(this.state, message));
      // An answer is not made again cheaply: it is safe before anything else can happen to this page.
      if (message.type === 'answered') this.save();
      // Where everything is one column, what is new is at its top.
      if (message.type === 'asked' || message.type === 'picture') window.scrollTo(0, 0);
      if (message.type === 'picture' && document.hasFocus()) ask.focus();
    });
    if (!host.page) {
      document.addEventListener('visibilitychange', () => this.save());
      acceptImages(this, (text) => this.say(text));
      host.post({ type: 'ready', runs: this.state.runs.map(({ number }) => number) });
    }
    this.draw();
  }

  set(change: Partial<State>): void {
    this.update({ ...this.state, ...change });
  }

  look(change: Partial<Look>): void {
    const look = { ...this.state.look, ...change };
    // A token that merged or was dropped may lie in another image or plane: show where it is.
    this.update({ ...this.state, look: change.token === undefined ? look : this.bringIntoSight(look) });
  }

  show(run: number): void {
    const { shown, look } = this.state;
    this.update({
      ...this.state,
      shown: run,
      beside: shown,
      look: { ...INITIAL_LOOK, image: look.image, plane: look.plane },
    });
  }

  hover(id: TokenId | undefined): void {
    if (id === this.hovered) return;
    this.hovered = id;
    this.draw();
  }

  post(message: FromTokenView): void {
    this.host.post(message);
  }

  ask(question: string, reduction: string, fit: 'pad' | 'crop', rect?: PixelRect): void {
    const part = rect && { image: this.state.look.image, rect };
    this.host.post({ type: 'ask', question, reduction, fit, ...(part ? { part } : {}) });
  }

  exportPicture(): void {
    void this.withFigure((canvas, name) => {
      const dataUrl = canvas.toDataURL('image/png');
      if (this.host.page) download(`${name}.png`, dataUrl);
      else this.host.post({ type: 'export', format: 'png', name: `${name}.png`, dataUrl });
    });
  }

  exportData(): void {
    const run = shownRun(this.state);
    const answer = run && answerOf(run);
    if (!answer) return;
    const name = exportName(answer.pictures[0]?.name ?? '', 'json');
    const earlier = this.comparedWith(run);
    if (!this.host.page) return this.host.post({ type: 'export', format: 'json', name, answer, earlier });
    const json = answersToJson([...earlier, answer.result]);
    const url = URL.createObjectURL(new Blob([json], { type: 'application/json' }));
    download(name, url);
    setTimeout(() => URL.revokeObjectURL(url), SAY_MS);
  }

  exportPage(): void {
    const run = shownRun(this.state);
    const answer = run && answerOf(run);
    if (answer)
      this.host.post({
        type: 'export',
        format: 'html',
        name: exportName(answer.pictures[0]?.name ?? '', 'html'),
        answer,
        earlier: this.comparedWith(run),
      });
  }

  /** In the tab Compare an export holds every answer of the table. */
  private comparedWith(run: Run): AnswerResult[] {
    if (this.state.tab !== 'comparison') return [];
    return comparedRuns(this.state, run).flatMap((other) =>
      other.number === run.number ? [] : [other.result],
    );
  }

  exportAnalysis(format: 'json' | 'html'): void {
    const run = shownRun(this.state);
    if (run?.analysis?.state !== 'done') return;
    const { result } = run.analysis;
    const name = exportName(run.pictures[0]?.name ?? '', format, 'attention');
    const pictures = run.pictures.map(({ dataUrl }) => (dataUrl === '' ? undefined : dataUrl));
    const text = format === 'json' ? analysisToJson(result) : analysisPage(result, pictures);
    this.host.post({ type: 'export', format, name, text });
  }

  exportChart(chart: SVGElement, name: string): void {
    const run = shownRun(this.state);
    if (!run) return;
    const file = exportName(run.pictures[0]?.name ?? '', 'png', name);
    chartCanvas(chart).then(
      (canvas) => {
        this.host.post({ type: 'export', format: 'png', name: file, dataUrl: canvas.toDataURL('image/png') });
      },
      () => this.say('The picture could not be made.'),
    );
  }

  copyPicture(): void {
    void this.withFigure(async (canvas) => {
      const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve));
      if (!blob) throw new Error('no picture');
      await navigator.clipboard.write([new ClipboardItem({ 'image/png': blob })]);
      this.say('Picture copied.');
    });
  }

  copyAnswer(): void {
    const run = shownRun(this.state);
    if (!run) return;
    navigator.clipboard.writeText(run.text).then(
      () => this.say('Answer copied.'),
      () => this.host.post({ type: 'copyText', text: run.text }),
    );
  }

  private async withFigure(
    use: (canvas: HTMLCanvasElement, name: string) => void | Promise<void>,
  ): Promise<void> {
    const scene = this.scene();
    if (!scene.model || !scene.run) return;
    try {
      const canvas = await figureCanvas(scene.model, this.state.look, this.map.picture);
      await use(
        canvas,
        exportName(scene.run.pictures[this.state.look.image]?.name ?? '', 'png').replace(/\.png$/, ''),
      );
    } catch {
      this.say('The picture could not be made or copied.');
    }
  }

  private bringIntoSight(look: Look): Look {
    const { model } = this.scene();
    const images = model?.result.trace.images ?? [];
    for (const [image, layout] of images.entries()) {
      const place = locateToken([layout], look.token!);
      if (!model || !place || (place.kind !== 'patch' && place.kind !== 'newline')) continue;
      const there = { ...look, image };
      const planes = model.planesOf(there);
      const plane =
        place.kind === 'patch'
          ? planes.findIndex(({ tiles }) => tiles.includes(place.tile))
          : planes.length - 1;
      return { ...there, plane };
    }
    return look;
  }

  private update(state: State): void {
    if (state === this.state) return;
    this.state = state;
    this.draw();
    clearTimeout(this.saving);
    this.saving = setTimeout(() => this.save(), SAVE_AFTER_MS);
  }

  private save(): void {
    clearTimeout(this.saving);
    this.host.saveState(savedState(this.state));
  }

  /** At once, so that a second key press finds what the first one did; parts skip what has not changed. */
  private draw(): void {
    let scene = this.scene();
    // What a tab was about may be gone: then the map is shown.
    if (!tabsOf(scene).includes(this.state.tab)) {
      this.state = { ...this.state, tab: 'tokens' };
      scene = this.scene();
    }
    this.inspector.layoutSize = scene.model?.layout(this.state.look);
    this.tokens.hidden = this.state.tab !== 'tokens' || isFirstRun(scene);
    for (const part of this.parts) part.render(scene);
    this.tokens.classList.toggle('without-map', this.map.element.hidden);
  }

  private scene(): Scene {
    const run = shownRun(this.state);
    const result = run?.result;
    let model = result && this.models.get(result);
    if (result && !model) this.models.set(result, (model = new RunModel(result)));
    return {
      state: this.state,
      run,
      model,
      hovered: model ? this.hovered : undefined,
      names: namesOf(this.state, this.host.page?.methods),
      canAsk: this.host.page === undefined,
    };
  }

  private say(text: string): void {
    this.status.textContent = text;
    clearTimeout(this.saying);
    this.saying = setTimeout(() => (this.status.textContent = ''), SAY_MS);
  }
}
