import type { ReductionDescription, ReductionParameter } from '../server/protocol';

/** One method of a reduction spec as the form edits it: values as typed, checked before asking. */
export interface MethodPart {
  id: string;
  values: Record<string, string>;
}

/** What no method at all is called in a spec. */
export const NO_REDUCTION = 'none';

/** Splits a canonical spec (`a:x=1,y=2+b`). The language server reads it again and has the last word. */
export function splitSpec(spec: string): MethodPart[] {
  if (spec.trim() === '' || spec.trim() === NO_REDUCTION) return [];
  return spec.split('+').map((part) => {
    const colon = part.indexOf(':');
    const id = (colon < 0 ? part : part.slice(0, colon)).trim();
    const pairs = colon < 0 ? [] : part.slice(colon + 1).split(',');
    return {
      id,
      values: Object.fromEntries(
        pairs.map((pair) => {
          const equals = pair.indexOf('=');
          return [pair.slice(0, equals).trim(), pair.slice(equals + 1).trim()];
        }),
      ),
    };
  });
}

/** The spec of some methods; values that are empty are left to the method's defaults. */
export function joinSpec(parts: readonly MethodPart[]): string {
  if (parts.length === 0) return NO_REDUCTION;
  return parts
    .map(({ id, values }) => {
      const given = Object.entries(values).filter(([, value]) => value.trim() !== '');
      return given.length === 0
        ? id
        : `${id}:${given.map(([name, value]) => `${name}=${value.trim()}`).join(',')}`;
    })
    .join('+');
}

/** A part with every parameter of its method at its default. */
export function defaultPart(method: ReductionDescription): MethodPart {
  return {
    id: method.id,
    values: Object.fromEntries(
      method.parameters.map((parameter) => [parameter.name, defaultText(parameter)]),
    ),
  };
}

export function defaultText({ default: value }: ReductionParameter): string {
  return value === undefined ? '' : String(value);
}

/** What is wrong with a value, or undefined. Empty means the default, which some parameters have not. */
export function valueProblem(parameter: ReductionParameter, text: string): string | undefined {
  const value = text.trim();
  if (value === '') return parameter.default === undefined ? 'A value is needed.' : undefined;
  switch (parameter.type) {
    case 'choice':
      return parameter.choices.includes(value) ? undefined : `One of ${parameter.choices.join(', ')}.`;
    case 'budget': {
      if (value === 'all' || (value === 'auto' && parameter.auto)) return undefined;
      const percent = /^\d+(\.\d+)?%$/.test(value) ? Number(value.slice(0, -1)) / 100 : undefined;
      const amount = percent ?? (/^(\d+|\d*\.\d+)$/.test(value) ? Number(value) : NaN);
      const whole = percent === undefined && Number.isInteger(amount) && !value.includes('.');
      const fine = whole
        ? amount >= parameter.minimum
        : amount >= 0 && amount <= 1 && (parameter.minimum === 0 || amount > 0);
      return fine
        ? undefined
        : `A number of tokens (64), a fraction (0.5 or 50%), ${parameter.auto ? 'all, or auto' : 'or all'}.`;
    }
    case 'integer':
    case 'number': {
      const written = parameter.type === 'integer' ? /^-?\d+$/ : /^-?(\d+|\d*\.\d+)$/;
      const amount = Number(value);
      const fine = written.test(value) && amount >= parameter.minimum && amount <= parameter.maximum;
      const kind = parameter.type === 'integer' ? 'A whole number' : 'A number';
      return fine ? undefined : `${kind} from ${parameter.minimum} to ${parameter.maximum}.`;
    }
  }
}
