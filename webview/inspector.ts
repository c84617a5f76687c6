import type { TokenId } from '../server/protocol';
import { locateToken, planeCell } from '../server/traceView/geometry';
import { rankOf, scoreValues, wordsThatUsed, type TokenValues } from '../server/traceView/values';
import {
  formatCount,
  formatScore,
  patchPixels,
  pixelWords,
  STATE_WORDS,
  summaryWords,
  tokenName,
  visibleText,
  whyWords,
} from '../server/traceView/wording';
import { fill, h, type Child } from './dom';
import { Memo, type Actions, type Part, type Scene } from './parts';
import type { RunModel } from './runModel';

/** How many of the answer's words are listed for a patch. */
const WORDS = 6;
/** Side of the magnified patch, in CSS pixels. */
const MAGNIFIED = 72;

/** Everything about the patch under the pointer or the selected one; about the run when there is none. */
export class Inspector implements Part {
  readonly element = h('section', { class: 'panel inspector', 'aria-label': 'Patch' });
  private readonly memo = new Memo();

  constructor(
    private readonly actions: Actions,
    private readonly picture: () => HTMLImageElement | undefined,
  ) {}

  render(scene: Scene): void {
    const { state, model, hovered, names } = scene;
    this.element.hidden = model === undefined;
    if (!model) return;
    const id = hovered ?? state.look.token;
    const fates = model.fatesAt(state.look);
    if (!this.memo.changed(model, id, fates, names, state.look.token)) return;
    if (id === undefined) this.showRun(scene, model);
    else this.showToken(scene, model, id, hovered === undefined);
  }

  private showRun({ names }: Scene, model: RunModel): void {
    fill(
      this.element,
      h('h2', {}, 'What happened'),
      ...summaryWords(model.result, names).map((line) => h('p', {}, visibleText(line))),
      h('p', { class: 'hint' }, 'Select a patch or a word of the answer to see how they belong together.'),
    );
  }

  private showToken({ state, names }: Scene, model: RunModel, id: TokenId, pinned: boolean): void {
    const { result, words } = model;
    const { trace } = result;
    const fates = model.fatesAt(state.look);
    const fate = fates.get(id);
    const what = fate?.state ?? 'absent';
    const place = locateToken(trace.images, id);
    const pixels = patchPixels(trace.images, id);
    const title = place?.kind === 'patch' ? patchTitle(model, id) : capitalised(tokenName(trace.images, id));

    const facts: Child[] = [];
    const fact = (name: string, ...value: Child[]): void =>
      void facts.push(h('dt', {}, name), h('dd', {}, ...value));
    if (pixels) fact('Source pixels', pixelWords(pixels.layout, pixels.rect));
    for (const values of scoresOf(model)) {
      const score = values.values.get(id);
      if (score === undefined) continue;
      const rank = rankOf(values, id);
      fact(
        capitalised(values.name),
        formatScore(score),
        rank && h('span', { class: 'muted' }, ` rank ${formatCount(rank.rank)} of ${formatCount(rank.of)}`),
      );
    }
    if (fate?.into !== undefined) fact('Merged into', this.tokenLink(model, fate.into));
    if (fate?.carries) fact('Carries', `${formatCount(fate.carries.sources.length)} patches`);

    const used = wordsThatUsed(trace, words, fates, id).slice(0, WORDS);
    const most = used[0]?.attention ?? 1;
    fill(
      this.element,
      h(
        'div',
        { class: 'patch-head' },
        pixels && this.magnified(pixels.rect),
        h(
          'div',
          {},
          h('h2', {}, title),
          h(
            'p',
            { class: 'state' },
            h('span', { class: `swatch ${what}`, 'aria-hidden': 'true' }),
            STATE_WORDS[what],
          ),
        ),
      ),
      h('p', {}, whyWords(result, fate, id, names)),
      h('dl', {}, ...facts),
      used.length > 0 && h('h3', {}, 'Words that used it most'),
      used.length > 0 &&
        h(
          'ul',
          { class: 'used' },
          ...used.map(({ word, attention }) => {
            const bar = h('span', { class: 'used-bar', 'aria-hidden': 'true' });
            bar.style.width = `${(100 * attention) / most}%`;
            const text = visibleText(words[word].text);
            return h(
              'li',
              {},
              h(
                'button',
                {
                  type: 'button',
                  class: 'used-word',
                  title: `Show what “${text}” attended to`,
                  onclick: () => this.actions.look({ colorBy: { kind: 'word', word } }),
                },
                h('bdi', {}, text),
              ),
              h('span', { class: 'used-room' }, bar),
              h('span', { class: 'numbers muted' }, formatScore(attention)),
            );
          }),
        ),
      pinned && h('p', { class: 'hint' }, 'Esc on the map clears the selection.'),
    );
  }

  private tokenLink(model: RunModel, id: TokenId): HTMLElement {
    return h(
      'button',
      { type: 'button', class: 'link', onclick: () => this.actions.look({ token: id }) },
      tokenName(model.result.trace.images, id),
    );
  }

  /** The patch's own pixels with a little around them. */
  private magnified(rect: { x: number; y: number; width: number; height: number }): HTMLElement | undefined {
    const picture = this.picture();
    if (!picture) return undefined;
    const ratio = window.devicePixelRatio;
    const canvas = h('canvas', {
      class: 'magnified',
      width: MAGNIFIED * ratio,
      height: MAGNIFIED * ratio,
      'aria-hidden': 'true',
    });
    const context = canvas.getContext('2d');
    if (!context) return undefined;
    const layout = this.layoutSize;
    const scale = layout ? picture.naturalWidth / layout.width : 1;
    const side = MAGNIFIED * ratio;
    context.imageSmoothingEnabled = rect.width * scale > side;
    context.drawImage(
      picture,
      rect.x * scale,
      rect.y * scale,
      rect.width * scale,
      rect.height * scale,
      0,
      0,
      side,
      side,
    );
    return canvas;
  }

  /** Size of the source image, where the picture that is shown may be a smaller one. */
  layoutSize: { width: number; height: number } | undefined;
}

/** One entry per place and score: tiles are stages of their own, but one ranking. */
function scoresOf(model: RunModel): TokenValues[] {
  const { trace } = model.result;
  const seen = new Set<string>();
  return trace.stages.flatMap((stage) => {
    const key = `${JSON.stringify(stage.place)} ${stage.spec}`;
    if (seen.has(key) || stage.place.at === 'step') return [];
    seen.add(key);
    return scoreValues(trace, stage) ?? [];
  });
}

function patchTitle(model: RunModel, id: TokenId): string {
  const { images } = model.result.trace;
  const place = locateToken(images, id);
  if (place?.kind !== 'patch') return tokenName(images, id);
  const look = { image: place.image, plane: -1, colorBy: { kind: 'state' } } as const;
  const plane = model.planesOf(look).find(({ tiles }) => tiles.includes(place.tile));
  if (!plane) return tokenName(images, id);
  const { row, column } = planeCell(plane, place);
  return `Row ${row + 1}, column ${column + 1}`;
}

function capitalised(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
