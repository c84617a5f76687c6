/**
 * The only file that knows the component library. Upstream is archived; its successor has the same kinds of
 * components, so replacing it means rewriting this file.
 */
import {
  provideVSCodeDesignSystem,
  vsCodeButton,
  vsCodeCheckbox,
  vsCodeDropdown,
  vsCodeOption,
  vsCodeProgressRing,
  vsCodeTextArea,
  vsCodeTextField,
} from '@vscode/webview-ui-toolkit';
import { h, setAttribute } from './dom';
import { icon, type IconName } from './icons';

export function registerComponents(): void {
  provideVSCodeDesignSystem().register(
    vsCodeButton(),
    vsCodeCheckbox(),
    vsCodeDropdown(),
    vsCodeOption(),
    vsCodeProgressRing(),
    vsCodeTextArea(),
    vsCodeTextField(),
  );
}

interface ButtonOptions {
  label: string;
  /** With an icon and without `text` the label becomes tooltip and accessible name. */
  icon?: IconName;
  text?: boolean;
  primary?: boolean;
  disabled?: boolean;
  /** For a button that stays pressed. */
  pressed?: boolean;
  class?: string;
  onClick: () => void;
}

export function button(options: ButtonOptions): HTMLElement {
  const bare = options.icon !== undefined && options.text !== true;
  return h(
    'vscode-button',
    {
      appearance: bare ? 'icon' : options.primary ? 'primary' : 'secondary',
      title: bare ? options.label : undefined,
      'aria-label': options.label,
      'aria-pressed': options.pressed === undefined ? undefined : String(options.pressed),
      disabled: options.disabled,
      class: options.class,
      onclick: options.onClick,
    },
    options.icon ? icon(options.icon) : undefined,
    bare ? undefined : ` ${options.label}`,
  );
}

export function setDisabled(control: HTMLElement, disabled: boolean): void {
  setAttribute(control, 'disabled', disabled);
}

export interface Choice {
  value: string;
  label: string;
}

interface DropdownOptions {
  label: string;
  choices: readonly Choice[];
  value: string;
  class?: string;
  onChange: (value: string) => void;
}

export function dropdown(options: DropdownOptions): HTMLElement {
  const element = h(
    'vscode-dropdown',
    {
      'aria-label': options.label,
      title: options.label,
      class: options.class,
      onchange: () => options.onChange(controlValue(element)),
    },
    ...options.choices.map(({ value, label }) =>
      h('vscode-option', { value, selected: value === options.value }, label),
    ),
  );
  return element;
}

interface FieldOptions {
  label: string;
  value: string;
  placeholder?: string;
  rows?: number;
  class?: string;
  onInput: (value: string) => void;
}

export function textField(options: FieldOptions): HTMLElement {
  const element = h('vscode-text-field', {
    'aria-label': options.label,
    value: options.value,
    placeholder: options.placeholder,
    class: options.class,
    oninput: () => options.onInput(controlValue(element)),
  });
  keepLabel(element, options.label);
  return element;
}

export function textArea(options: FieldOptions): HTMLElement {
  const element = h('vscode-text-area', {
    'aria-label': options.label,
    placeholder: options.placeholder,
    rows: options.rows ?? 3,
    resize: 'vertical',
    class: options.class,
    oninput: () => options.onInput(controlValue(element)),
  });
  setControlValue(element, options.value);
  keepLabel(element, options.label);
  return element;
}

/** When a field without visible text is connected, the library names it "Text field": name it again after that. */
function keepLabel(field: HTMLElement, label: string): void {
  queueMicrotask(() => field.setAttribute('aria-label', label));
}

export function progressRing(): HTMLElement {
  return h('vscode-progress-ring', { 'aria-hidden': 'true' });
}

export function controlValue(control: HTMLElement): string {
  const { value } = control as HTMLElement & { value?: unknown };
  return typeof value === 'string' ? value : '';
}

export function setControlValue(control: HTMLElement, value: string): void {
  (control as HTMLElement & { value: string }).value = value;
}
