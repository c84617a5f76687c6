import { visibleText } from '../server/traceView/wording';
import { differingWords, plainWords } from '../server/traceView/wordDiff';
import { fill, h, setAttribute, type Child } from './dom';
import { icon } from './icons';
import { Memo, type Actions, type Part, type Scene } from './parts';
import { progressBar } from './progressBar';
import { besideRun, type Run } from './state';
import { button, progressRing } from './toolkit';

/** A screen reader hears the streamed answer in pieces of about this many characters, not token by token. */
const ANNOUNCED_PIECE = 60;

/** The question and its answer: streaming, done, failed or cancelled. Words of a finished answer can be selected. */
export class AnswerPanel implements Part {
  private readonly body = h('div', { class: 'answer-body' });
  private readonly live = h('div', { class: 'visually-hidden', 'aria-live': 'polite' });
  readonly element = h(
    'section',
    { class: 'panel talk', 'aria-label': 'Question and answer' },
    this.body,
    this.live,
  );
  private readonly memo = new Memo();
  private words: HTMLElement[] = [];
  private streamed: Text | undefined;
  private announced = { run: -1, length: 0 };

  constructor(private readonly actions: Actions) {}

  render(scene: Scene): void {
    const { run, model, state } = scene;
    this.element.hidden = run === undefined;
    if (!run) return;
    setAttribute(this.element, 'data-run', run.number);
    setAttribute(this.element, 'data-status', run.status);
    this.announce(run);
    const beside = besideRun(state);
    // While the answer streams only its text node changes.
    const streaming = run.status === 'answering' ? 'answering' : run.text;
    if (
      this.memo.changed(
        run.number,
        run.status,
        streaming,
        model,
        beside?.number,
        run.error,
        run.progress?.message,
        run.warning,
      )
    ) {
      this.build(scene, run, beside);
    }
    if (this.streamed && run.status === 'answering') this.streamed.data = visibleText(run.text);
    const chosen = state.look.colorBy.kind === 'word' ? state.look.colorBy.word : -1;
    for (const [index, word] of this.words.entries()) {
      setAttribute(word, 'aria-selected', String(index === chosen));
      setAttribute(word, 'tabindex', index === Math.max(0, chosen) ? 0 : -1);
    }
  }

  private build(scene: Scene, run: Run, beside: Run | undefined): void {
    this.words = [];
    this.streamed = undefined;
    const question = h(
      'div',
      { class: 'question' },
      h('h2', {}, h('bdi', {}, visibleText(run.question))),
      run.status === 'done' &&
        button({ label: 'Copy answer', icon: 'copy', onClick: () => this.actions.copyAnswer() }),
    );
    const parts: Child[] = [question];
    switch (run.status) {
      case 'waiting':
        parts.push(this.progress(run));
        break;
      case 'answering':
        this.streamed = document.createTextNode('');
        parts.push(h('p', { class: 'text streaming' }, this.streamed), this.progress(run));
        break;
      case 'failed':
        parts.push(...this.failure(scene, run));
        break;
      case 'cancelled':
        if (run.text !== '') parts.push(h('p', { class: 'text muted' }, visibleText(run.text)));
        parts.push(
          h('p', { class: 'notice' }, icon('stop'), 'Cancelled.'),
          h('p', { class: 'buttons' }, this.againButton(scene, run, 'Ask again')),
        );
        break;
      case 'done':
        parts.push(...this.finished(scene, run, beside));
    }
    fill(this.body, ...parts);
  }

  private progress(run: Run): HTMLElement {
    const { message, fraction } = run.progress ?? {
      message: run.status === 'answering' ? 'Answering' : 'Starting',
    };
    return h(
      'div',
      { class: 'working' },
      h(
        'p',
        { class: 'working-line' },
        progressRing(),
        h('span', {}, visibleText(message)),
        button({ label: 'Cancel', onClick: () => this.actions.post({ type: 'cancel', run: run.number }) }),
      ),
      progressBar(message, fraction),
    );
  }

  private failure(scene: Scene, run: Run): Child[] {
    const { error, action } = run;
    if (!error) return [];
    return [
      h(
        'div',
        { class: 'failure', role: 'alert' },
        h('p', { class: 'failure-head' }, icon('error'), h('strong', {}, visibleText(error.message))),
        error.why !== undefined && error.why !== '' && h('p', {}, visibleText(error.why)),
        h('p', {}, visibleText(error.nextStep)),
        h(
          'p',
          { class: 'buttons' },
          action &&
            button({
              label: action.title,
              primary: true,
              onClick: () => this.actions.post({ type: 'action', action: action.action }),
            }),
          this.againButton(scene, run, 'Try again'),
        ),
      ),
    ];
  }

  private againButton({ canAsk }: Scene, run: Run, label: string): HTMLElement | undefined {
    if (!canAsk) return undefined;
    return button({ label, onClick: () => this.actions.ask(run.question, run.reduction, run.fit) });
  }

  private finished({ model, canAsk }: Scene, run: Run, beside: Run | undefined): Child[] {
    const parts: Child[] = [];
    const warning = run.warning;
    if (warning) {
      parts.push(
        h(
          'div',
          { class: 'warning', role: 'note' },
          icon('warning'),
          h('span', {}, visibleText(warning.message)),
          canAsk && warning.askAgain
            ? button({
                label: warning.askAgain.title,
                onClick: () => this.actions.ask(run.question, warning.askAgain!.reduction, run.fit),
              })
            : undefined,
          canAsk && warning.action
            ? button({
                label: warning.action.title,
                onClick: () => this.actions.post({ type: 'action', action: warning.action!.action }),
              })
            : undefined,
        ),
      );
    }
    const text = h('div', {
      class: 'text words',
      role: 'listbox',
      'aria-label': 'Words of the answer',
      'aria-orientation': 'horizontal',
    });
    const words = model?.words ?? [];
    // Without its words (an answer without tokens) the text still stands for itself.
    if (words.length === 0)
      parts.push(
        h('p', { class: 'text' }, run.text === '' ? '(The answer is empty.)' : visibleText(run.text)),
      );
    const other = beside?.question === run.question ? plainWords(beside.text) : undefined;
    const differs =
      other &&
      differingWords(
        words.map(({ text: word }) => word),
        other,
      ).a;
    for (const [index, { lead, text: word }] of words.entries()) {
      if (index > 0) text.append(lead);
      const element = h(
        'span',
        {
          role: 'option',
          class: differs?.[index] ? 'word differs' : 'word',
          onclick: () => this.choose(index),
        },
        visibleText(word),
      );
      this.words.push(element);
      text.append(element);
    }
    text.addEventListener('keydown', (event) => this.onKey(event));
    if (words.length > 0) parts.push(text);
    const { result } = run;
    const notes = [
      result?.finish === 'length' && 'Stopped at the length limit.',
      run.cached && 'From the answer cache: times are those of the first run.',
    ];
    for (const note of notes) if (note) parts.push(h('p', { class: 'hint' }, note));
    return parts;
  }

  private choose(word: number): void {
    const chosen = this.words[word]?.getAttribute('aria-selected') === 'true';
    this.actions.look({ colorBy: chosen ? { kind: 'state' } : { kind: 'word', word } });
  }

  private onKey(event: KeyboardEvent): void {
    const now = this.words.findIndex((word) => word === event.target);
    if (event.key === 'Escape') {
      this.actions.look({ colorBy: { kind: 'state' } });
      return;
    }
    if (event.key === 'Enter' || event.key === ' ') {
      event.preventDefault();
      this.choose(now);
      return;
    }
    const last = this.words.length - 1;
    const next: Readonly<Record<string, number>> = {
      ArrowLeft: now - 1,
      ArrowUp: now - 1,
      ArrowRight: now + 1,
      ArrowDown: now + 1,
      Home: 0,
      End: last,
    };
    if (!Object.hasOwn(next, event.key)) return;
    event.preventDefault();
    const index = Math.min(last, Math.max(0, next[event.key]));
    this.actions.look({ colorBy: { kind: 'word', word: index } });
    this.words[index]?.focus();
  }

  /** Whole sentences or good pieces of them; the rest when the answer is complete. */
  private announce(run: Run): void {
    if (run.number !== this.announced.run) {
      this.announced = { run: run.number, length: run.status === 'done' ? run.text.length : 0 };
      fill(this.live);
    }
    const fresh = run.text.slice(this.announced.length);
    const end =
      run.status === 'done'
        ? fresh.length
        : Math.max(fresh.lastIndexOf('. ') + 1, fresh.length > ANNOUNCED_PIECE ? fresh.lastIndexOf(' ') : 0);
    if (end <= 0) return;
    this.live.append(h('p', {}, visibleText(fresh.slice(0, end))));
    this.announced.length += end;
  }
}
