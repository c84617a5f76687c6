import type { ImageLayout, TokenId } from '../server/protocol';
import { planeTokens } from '../server/traceView/geometry';
import { rankOf, type TokenValues } from '../server/traceView/values';
import {
  formatCount,
  formatScore,
  patchPixels,
  pixelWords,
  STATE_WORDS,
  tokenName,
} from '../server/traceView/wording';
import { fill, h } from './dom';
import { Memo, type Actions, type Part, type Scene } from './parts';
import { button } from './toolkit';

/** Rows of one page of the table: more would be slow to lay out and to walk through. */
const PAGE = 100;

/** The same as the map for those who read rather than look: one row per patch. Built when it is opened. */
export class TokenTable implements Part {
  private readonly room = h('div', { class: 'table-room' });
  readonly element = h(
    'details',
    { class: 'panel token-table' },
    h('summary', {}, 'All tokens as a table'),
    this.room,
  );
  private readonly memo = new Memo();
  private scene: Scene | undefined;
  private first = 0;

  constructor(private readonly actions: Actions) {
    this.element.addEventListener('toggle', () => this.build());
  }

  render(scene: Scene): void {
    this.scene = scene;
    this.element.hidden = scene.model === undefined;
    const { look } = scene.state;
    if (!this.memo.changed(scene.model, look.image, look.plane, look.point, look.colorBy)) return;
    this.first = 0;
    this.build();
  }

  private build(): void {
    const { scene } = this;
    if (!scene?.model || !(this.element as HTMLDetailsElement).open) return fill(this.room);
    const { model } = scene;
    const { look } = scene.state;
    const layout = model.layout(look);
    const plane = model.plane(look);
    const fates = model.fatesAt(look);
    const values: TokenValues | undefined =
      model.valuesFor(look) ?? model.valuesFor({ ...look, colorBy: { kind: 'score', stage: 0 } });
    const { images } = model.result.trace;
    const cells = planeTokens(layout, plane);
    cells.sort((a, b) => a.row - b.row || a.column - b.column);
    const rows = cells.slice(this.first, this.first + PAGE).map(({ id, row, column }) => {
      const fate = fates.get(id);
      const score = values?.values.get(id);
      const rank = values && rankOf(values, id);
      return h(
        'tr',
        {},
        h(
          'th',
          { scope: 'row' },
          this.link(id, column < plane.columns ? `${row + 1}, ${column + 1}` : `${row + 1}, newline`),
        ),
        h(
          'td',
          {},
          STATE_WORDS[fate?.state ?? 'absent'],
          fate?.into === undefined ? '' : ` (${tokenName(model.result.trace.images, fate.into)})`,
        ),
        h('td', {}, sourceWords(images, id)),
        values && h('td', {}, score === undefined ? '–' : formatScore(score)),
        values && h('td', {}, rank ? formatCount(rank.rank) : '–'),
      );
    });
    const last = Math.min(cells.length, this.first + PAGE);
    fill(
      this.room,
      h(
        'table',
        { class: 'tokens' },
        h(
          'caption',
          {},
          `Tokens ${formatCount(this.first + 1)} to ${formatCount(last)} of ${formatCount(cells.length)}`,
        ),
        h(
          'thead',
          {},
          h(
            'tr',
            {},
            ...['Row, column', 'State', 'Source pixels', ...(values ? [values.name, 'Rank'] : [])].map(
              (name) => h('th', { scope: 'col' }, name),
            ),
          ),
        ),
        h('tbody', {}, ...rows),
      ),
      cells.length > PAGE &&
        h(
          'p',
          { class: 'buttons' },
          button({ label: 'Previous', disabled: this.first === 0, onClick: () => this.turn(-PAGE) }),
          button({ label: 'Next', disabled: last === cells.length, onClick: () => this.turn(PAGE) }),
        ),
    );
  }

  private link(id: TokenId, text: string): HTMLElement {
    return h(
      'button',
      { type: 'button', class: 'link', onclick: () => this.actions.look({ token: id }) },
      text,
    );
  }

  private turn(rows: number): void {
    this.first = Math.max(0, this.first + rows);
    this.build();
  }
}

/** A newline stands for no part of the picture. */
function sourceWords(images: readonly ImageLayout[], id: TokenId): string {
  const pixels = patchPixels(images, id);
  return pixels ? pixelWords(pixels.layout, pixels.rect) : '–';
}
