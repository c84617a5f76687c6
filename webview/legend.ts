import type { ImageLayout, TokenId } from '../server/protocol';
import { countFates } from '../server/traceView/fates';
import { heatColor } from '../server/traceView/palette';
import { scaleOf } from '../server/traceView/values';
import { formatCount, formatScore, STATE_WORDS } from '../server/traceView/wording';
import { fill, h, type Child } from './dom';
import { Memo, type Actions, type Part, type Scene } from './parts';

/** What the map's patterns and colours mean, with counts; and the tokens that have no place on the picture. */
export class Legend implements Part {
  readonly element = h('div', { class: 'legend' });
  private readonly memo = new Memo();

  constructor(private readonly actions: Actions) {}

  render({ state, model }: Scene): void {
    this.element.hidden = model === undefined;
    if (!model) return;
    const { look } = state;
    const fates = model.fatesAt(look);
    const values = model.valuesFor(look);
    if (!this.memo.changed(fates, values, look.token, look.image, model)) return;
    const children: Child[] = [];
    if (values) {
      const { low, high } = scaleOf(values);
      const steps = Array.from({ length: 24 }, (_, index) => heatColor(index / 23));
      const ramp = h('span', { class: 'ramp', 'aria-hidden': 'true' });
      ramp.style.background = `linear-gradient(to right, ${steps.join(', ')})`;
      children.push(
        h('span', { class: 'key' }, values.name),
        h('span', { class: 'key numbers' }, formatScore(low), ramp, formatScore(high)),
      );
    } else {
      const counts = countFates(fates);
      for (const kind of ['kept', 'carrier', 'merged', 'dropped'] as const) {
        if (counts[kind] === 0 && kind !== 'kept') continue;
        children.push(
          h(
            'span',
            { class: 'key' },
            h('span', { class: `swatch ${kind}`, 'aria-hidden': 'true' }),
            STATE_WORDS[kind],
            h('span', { class: 'count' }, formatCount(counts[kind])),
          ),
        );
      }
    }
    const layout = model.layout(look);
    const newlines = model.plane(look).newlines.filter(({ id }) => fates.has(id));
    if (newlines.length > 0) {
      const left = newlines.filter(({ id }) => fates.get(id)!.state === 'kept').length;
      children.push(
        h(
          'span',
          { class: 'key', title: 'Tokens that end the rows of details; drawn as bars behind them' },
          h('span', { class: 'swatch newline', 'aria-hidden': 'true' }),
          'Newline',
          h(
            'span',
            { class: 'count' },
            left === newlines.length
              ? formatCount(left)
              : `${formatCount(left)} of ${formatCount(newlines.length)}`,
          ),
        ),
      );
    }
    for (const [id, name] of tokensWithoutPlace(layout)) {
      const fate = fates.get(id);
      if (!fate) continue;
      const selected = look.token === id;
      children.push(
        h(
          'button',
          {
            class: 'chip',
            type: 'button',
            'aria-pressed': String(selected),
            title: `${name}: ${STATE_WORDS[fate.state].toLowerCase()}`,
            onclick: () => this.actions.look({ token: selected ? undefined : id }),
          },
          h('span', { class: `swatch ${fate.state}`, 'aria-hidden': 'true' }),
          name,
        ),
      );
    }
    fill(this.element, ...children);
  }
}

/** CLS and context tokens; a tiled image has them once per tile. */
function tokensWithoutPlace({ classTokenId, contextTokenId, tiles }: ImageLayout): [TokenId, string][] {
  const named: [TokenId, string][] = [
    [classTokenId, 'CLS'],
    [contextTokenId, 'Context token'],
  ];
  for (const [index, tile] of tiles.entries()) {
    if (tile.classTokenId !== undefined) named.push([tile.classTokenId, `CLS ${index}`]);
    if (tile.contextTokenId !== undefined) named.push([tile.contextTokenId, `Context token ${index}`]);
  }
  return named;
}
