import { fill, h } from './dom';
import { Memo, type Actions, type Part, type Scene } from './parts';
import type { State } from './state';

type Tab = State['tab'];

const TABS: readonly { id: Tab; name: string }[] = [
  { id: 'tokens', name: 'Tokens' },
  { id: 'attention', name: 'Attention' },
];

/** What is shown of an answer: its token map, or the charts of its attention. Only where somebody can measure it. */
export class Tabs implements Part {
  readonly element = h('div', { class: 'tabs', role: 'tablist', 'aria-label': 'View' });
  private readonly memo = new Memo();

  constructor(private readonly actions: Actions) {
    this.element.addEventListener('keydown', ({ key }) => {
      if (key !== 'ArrowLeft' && key !== 'ArrowRight') return;
      const next = this.element.querySelector<HTMLElement>('[aria-selected="false"]');
      next?.click();
      this.element.querySelector<HTMLElement>('[aria-selected="true"]')?.focus();
    });
  }

  render({ state, run, canAsk }: Scene): void {
    this.element.hidden = !canAsk || run?.result === undefined;
    if (!this.memo.changed(state.tab)) return;
    const focused = this.element.contains(document.activeElement);
    fill(
      this.element,
      ...TABS.map(({ id, name }) => {
        const chosen = id === state.tab;
        return h(
          'button',
          {
            id: `tab-${id}`,
            class: 'tab',
            role: 'tab',
            'aria-selected': String(chosen),
            'aria-controls': id,
            tabindex: chosen ? 0 : -1,
            onclick: () => this.actions.set({ tab: id }),
          },
          name,
        );
      }),
    );
    if (focused) this.element.querySelector<HTMLElement>('[aria-selected="true"]')?.focus();
  }
}
