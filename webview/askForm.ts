import type { PixelRect, ReductionDescription, ReductionParameter } from '../server/protocol';
import { fill, h, setAttribute, type Child } from './dom';
import {
  defaultPart,
  defaultText,
  joinSpec,
  NO_REDUCTION,
  splitSpec,
  valueProblem,
  type MethodPart,
} from './methodSpec';
import { Memo, type Actions, type Part, type Scene } from './parts';
import { busyRun } from './state';
import { button, dropdown, setControlValue, setDisabled, textArea, textField } from './toolkit';

/** Ask again: the question, the methods with their budgets, and how the picture is made square. */
export class AskForm implements Part {
  private readonly question = textArea({
    label: 'Question',
    value: '',
    placeholder: 'Ask something about this image',
    onInput: (draft) => this.actions.set({ draft }),
  });
  private readonly methodList = h('div', { class: 'methods' });
  private readonly problem = h('p', { class: 'field-problem', role: 'alert' });
  private readonly submit: HTMLElement;
  private readonly submitPart: HTMLElement;
  private readonly heading = h('h2', {}, 'Ask');
  readonly element = h('section', { class: 'panel ask', 'aria-label': 'Ask again' });
  private readonly memo = new Memo();
  private methods: readonly ReductionDescription[] = [];
  private parts: MethodPart[] = [];
  private fit: 'pad' | 'crop' = 'pad';
  private draft = '';
  private busy = false;
  /** What of the picture is in sight, where that is a part only. */
  private part: PixelRect | undefined;

  constructor(private readonly actions: Actions) {
    this.submit = button({ label: 'Ask', primary: true, onClick: () => this.ask() });
    this.submitPart = button({
      label: 'Ask About Visible Part',
      icon: 'closer',
      text: true,
      onClick: () => this.ask(this.part),
    });
    this.submitPart.title =
      'Cuts out what of the picture is in sight, so that the model sees it larger: zoom and pan to what matters.';
    this.submitPart.hidden = true;
    this.question.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.ask();
    });
    fill(
      this.element,
      this.heading,
      this.question,
      this.methodList,
      this.problem,
      h('p', { class: 'buttons' }, this.submit, this.submitPart),
    );
  }

  render({ state, run, canAsk }: Scene): void {
    const { setup, draft, pictures } = state;
    this.element.hidden = !canAsk || !setup || pictures.length === 0;
    if (!setup || this.element.hidden) return;
    this.heading.textContent = run ? 'Ask again' : 'Ask';
    if (draft !== this.draft) setControlValue(this.question, (this.draft = draft));
    this.busy = busyRun(state) !== undefined;
    for (const control of [this.submit, this.submitPart]) setDisabled(control, this.busy);
    // Another run or other settings fill the form anew; typing in it does not.
    if (this.memo.changed(setup, run?.number, run?.reduction)) {
      this.methods = setup.methods;
      this.fit = run?.fit ?? setup.fit;
      this.parts = splitSpec(run?.reduction ?? setup.reduction).filter(({ id }) =>
        this.methods.some((method) => method.id === id),
      );
      this.build();
    }
  }

  /** Offers to ask about the part of the picture that is in sight, where it is a part. */
  showPart(part: PixelRect | undefined): void {
    this.part = part;
    this.submitPart.hidden = part === undefined;
  }

  /** The caret goes into the question, and the page stays where it is. */
  focus(): void {
    this.question.focus({ preventScroll: true });
  }

  private ask(part?: PixelRect): void {
    const question = this.draftText();
    const problem = this.check();
    this.problem.textContent = problem ?? '';
    if (problem !== undefined || this.busy) return;
    this.actions.ask(question, joinSpec(this.parts), this.fit, part);
  }

  private draftText(): string {
    return (this.question as HTMLElement & { value?: string }).value?.trim() ?? '';
  }

  private check(): string | undefined {
    if (this.draftText() === '') return 'Write a question first.';
    for (const part of this.parts) {
      for (const parameter of this.method(part.id)?.parameters ?? []) {
        const problem = valueProblem(parameter, part.values[parameter.name] ?? '');
        if (problem !== undefined) return `${parameter.name}: ${problem}`;
      }
    }
    return undefined;
  }

  private method(id: string): ReductionDescription | undefined {
    return this.methods.find((method) => method.id === id);
  }

  private build(): void {
    this.problem.textContent = '';
    const rows: Child[] = this.parts.map((part, index) => this.methodRow(part, index));
    fill(
      this.methodList,
      ...(rows.length === 0 ? [this.methodRow(undefined, 0)] : rows),
      rows.length > 0 &&
        this.methods.length > 0 &&
        button({
          label: 'Then another method',
          icon: 'plus',
          text: true,
          class: 'quiet',
          onClick: () => {
            const unused = this.methods.find(({ id }) => this.parts.every((part) => part.id !== id));
            this.parts.push(defaultPart(unused ?? this.methods[0]));
            this.build();
          },
        }),
      h(
        'label',
        { class: 'field' },
        h('span', {}, 'Not square?'),
        dropdown({
          label: 'How the picture becomes a square',
          choices: [
            { value: 'pad', label: 'Pad: see all of it' },
            { value: 'crop', label: 'Crop: see the middle' },
          ],
          value: this.fit,
          onChange: (value) => (this.fit = value === 'crop' ? 'crop' : 'pad'),
        }),
      ),
    );
  }

  private methodRow(part: MethodPart | undefined, index: number): HTMLElement {
    const method = part && this.method(part.id);
    const ofGroup = (control: boolean): { value: string; label: string }[] =>
      this.methods
        .filter((candidate) => candidate.control === control)
        .map(({ id, name }) => ({ value: id, label: control ? `${name} (control)` : name }));
    const choices = [
      ...(index === 0 ? [{ value: NO_REDUCTION, label: 'All tokens' }] : []),
      ...ofGroup(false),
      ...ofGroup(true),
    ];
    return h(
      'fieldset',
      { class: 'method' },
      h('legend', { class: 'visually-hidden' }, index === 0 ? 'Reduction' : `Then reduction ${index + 1}`),
      h(
        'div',
        { class: 'method-head' },
        dropdown({
          label: index === 0 ? 'Reduction' : `Then reduction ${index + 1}`,
          choices,
          value: part?.id ?? NO_REDUCTION,
          onChange: (id) => {
            const chosen = this.method(id);
            if (chosen) this.parts[index] = defaultPart(chosen);
            else this.parts = [];
            this.build();
          },
        }),
        this.parts.length > 1 &&
          button({
            label: `Remove ${method?.name ?? 'this method'}`,
            icon: 'close',
            onClick: () => {
              this.parts.splice(index, 1);
              this.build();
            },
          }),
      ),
      method && h('p', { class: 'hint' }, method.summary),
      ...(part && method ? method.parameters.map((parameter) => this.field(part, parameter)) : []),
    );
  }

  private field(part: MethodPart, parameter: ReductionParameter): HTMLElement {
    const value = part.values[parameter.name] ?? defaultText(parameter);
    const label = `${parameter.name}: ${parameter.description}`;
    const control =
      parameter.type === 'choice'
        ? dropdown({
            label,
            choices: parameter.choices.map((choice) => ({ value: choice, label: choice })),
            value,
            onChange: (chosen) => (part.values[parameter.name] = chosen),
          })
        : textField({
            label,
            value,
            placeholder: defaultText(parameter),
            onInput: (text) => {
              part.values[parameter.name] = text;
              const problem = valueProblem(parameter, text);
              setAttribute(control, 'aria-invalid', problem === undefined ? undefined : 'true');
              this.problem.textContent = problem === undefined ? '' : `${parameter.name}: ${problem}`;
            },
          });
    return h(
      'label',
      { class: 'field', title: parameter.description },
      h('span', {}, parameter.name),
      control,
    );
  }
}
