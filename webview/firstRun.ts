import { h } from './dom';
import { icon } from './icons';
import type { Actions, Part, Scene } from './parts';
import { button } from './toolkit';

/** Nothing to show yet: what this view is for, and every way to begin. */
export class FirstRun implements Part {
  readonly element: HTMLElement;

  constructor(actions: Actions) {
    this.element = h(
      'section',
      { class: 'first-run', 'aria-label': 'Choose an image' },
      h('div', { class: 'first-run-mark', 'aria-hidden': 'true' }, icon('eye')),
      h('h1', {}, 'Ask about an image'),
      h(
        'p',
        {},
        'See the answer, and which parts of the picture the model really used. Nothing leaves this machine.',
      ),
      h(
        'p',
        { class: 'buttons' },
        button({
          label: 'Choose an Image...',
          primary: true,
          onClick: () => actions.post({ type: 'pickImage' }),
        }),
      ),
      h('p', { class: 'muted' }, 'Or paste a screenshot, or drop an image here with the Shift key held.'),
    );
  }

  render(scene: Scene): void {
    this.element.hidden = !isFirstRun(scene);
  }
}

/** There is no picture, and none was asked about. */
export function isFirstRun({ state, run, canAsk }: Scene): boolean {
  return canAsk && run === undefined && state.pictures.length === 0;
}
