import { comparedRuns } from './comparison';
import { fill, h } from './dom';
import { Memo, type Actions, type Part, type Scene } from './parts';
import type { State } from './state';

type Tab = State['tab'];

const NAMES: Readonly<Record<Tab, string>> = {
  tokens: 'Tokens',
  attention: 'Attention',
  comparison: 'Compare',
};

/** The tabs that there is something for: attention where somebody can measure it, a comparison from two answers on. */
export function tabsOf({ state, run, canAsk }: Scene): Tab[] {
  const tabs: Tab[] = ['tokens'];
  if (canAsk && run?.result) tabs.push('attention');
  if (comparedRuns(state, run).length > 1) tabs.push('comparison');
  return tabs;
}

/** What is shown of an answer: its token map, the charts of its attention, or all answers to the same question. */
export class Tabs implements Part {
  readonly element = h('div', { class: 'tabs', role: 'tablist', 'aria-label': 'View' });
  private readonly memo = new Memo();
  private tabs: readonly Tab[] = [];

  constructor(private readonly actions: Actions) {
    this.element.addEventListener('keydown', ({ key }) => {
      const step = key === 'ArrowRight' ? 1 : key === 'ArrowLeft' ? -1 : 0;
      const now = this.tabs.findIndex((tab) => document.activeElement?.id === `tab-${tab}`);
      if (step === 0 || now < 0) return;
      this.actions.set({ tab: this.tabs[(now + step + this.tabs.length) % this.tabs.length] });
    });
  }

  render(scene: Scene): void {
    const { tab } = scene.state;
    this.tabs = tabsOf(scene);
    this.element.hidden = this.tabs.length < 2;
    if (!this.memo.changed(tab, this.tabs.join())) return;
    const focused = this.element.contains(document.activeElement);
    fill(
      this.element,
      ...this.tabs.map((id) => {
        const chosen = id === tab;
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
          NAMES[id],
        );
      }),
    );
    if (focused) this.element.querySelector<HTMLElement>('[aria-selected="true"]')?.focus();
  }
}
