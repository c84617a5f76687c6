import { InputError } from '../errors';
import { parseBudget } from './budget';
import { nearest } from './nearest';
import type {
  ParameterValues,
  Reduction,
  ReductionDescription,
  ReductionMethod,
  ReductionParameter,
  ReductionPlace,
} from './reduction';
import { REDUCTIONS } from './registry';

/** The spec of the unreduced model. */
const NONE = 'none';

const PLACES: readonly ReductionPlace[] = ['pixels', 'vision', 'embeddings', 'layer', 'step'];

/** Places that see the whole raster of a tile, which only the first selection does. */
const ONCE: readonly ReductionPlace[] = ['pixels', 'vision'];

/**
 * Reads a reduction spec: `none`, or methods joined by `+`, each `id` or `id:name=value,...`
 * (`visionzip:dominant=54,contextual=10+fastv:layer=2,keep=0.5`).
 *
 * @returns the reductions in the order in which they act: by place, and at one place as written. `none` gives none.
 * @throws InputError naming what is wrong and what exists.
 */
export function parseReduction(spec: string, methods: readonly ReductionMethod[] = REDUCTIONS): Reduction[] {
  const parts = spec.split('+').map((part) => part.trim());
  if (parts.length === 1 && parts[0].toLowerCase() === NONE) return [];
  const chosen = parts.map((part) => parsePart(part, methods));
  for (const place of ONCE) {
    const ids = chosen
      .filter(({ description }) => description.places.includes(place))
      .map(({ description }) => description.id);
    if (ids.length > 1) {
      throw new InputError({
        code: 'reduction.conflict',
        message: `${ids.join(' and ')} cannot be combined.`,
        why: `Each of them chooses among all patches ${place === 'vision' ? 'after the vision tower' : 'before the vision tower'}, and only one method can act there.`,
        nextStep: 'Keep one of them; it can be combined with methods that act later, such as fastv.',
      });
    }
  }
  chosen.sort((a, b) => firstPlace(a.description) - firstPlace(b.description));
  return chosen.map(({ method, values }) => method.create(values));
}

/** The canonical spec of a list of reductions; {@link parseReduction} reads it back. */
export function formatReduction(reductions: readonly Reduction[]): string {
  return reductions.length === 0 ? NONE : reductions.map(({ spec }) => spec).join('+');
}

interface Part {
  readonly method: ReductionMethod;
  readonly description: ReductionDescription;
  readonly values: ParameterValues;
}

function parsePart(part: string, methods: readonly ReductionMethod[]): Part {
  const colon = part.indexOf(':');
  const id = (colon < 0 ? part : part.slice(0, colon)).trim();
  const method = methods.find(({ description }) => description.id === id.toLowerCase());
  if (!method) throw unknownMethod(id, methods);
  const { description } = method;
  const given = new Map<string, string>();
  if (colon >= 0) {
    for (const pair of part.slice(colon + 1).split(',')) {
      const [name, value] = splitPair(pair, description);
      if (given.has(name)) {
        throw new InputError({
          code: 'reduction.duplicate-parameter',
          message: `${description.id}: "${name}" is given twice.`,
          nextStep: 'Give it once.',
        });
      }
      given.set(name, value);
    }
  }
  const values: Record<string, ParameterValues[string]> = {};
  for (const parameter of description.parameters) {
    values[parameter.name] = parseValue(given.get(parameter.name), parameter, description);
  }
  return { method, description, values };
}

function splitPair(pair: string, { id, parameters }: ReductionDescription): [name: string, value: string] {
  const equals = pair.indexOf('=');
  const name = (equals < 0 ? pair : pair.slice(0, equals)).trim();
  const names = parameters.map((parameter) => parameter.name);
  if (!names.includes(name)) {
    throw new InputError({
      code: 'reduction.unknown-parameter',
      message: `${id} has no parameter "${name}".`,
      nextStep: `${suggestion(name, names)}It takes: ${names.join(', ')}.`,
    });
  }
  return [name, equals < 0 ? '' : pair.slice(equals + 1).trim()];
}

function parseValue(
  text: string | undefined,
  parameter: ReductionParameter,
  description: ReductionDescription,
): ParameterValues[string] {
  if (text === undefined) {
    // Defaults of budgets are in the syntax of a spec and are read like any other text.
    if (parameter.type === 'budget') return parseValue(parameter.default, parameter, description);
    if (parameter.default !== undefined) return parameter.default;
    throw new InputError({
      code: 'reduction.missing-parameter',
      message: `${description.id} needs "${parameter.name}".`,
      why: parameter.description,
      nextStep: `Write ${description.id}:${parameter.name}=..., where the value is ${describeRange(parameter)}.`,
    });
  }
  const value = readValue(text, parameter);
  if (value !== undefined) return value;
  const hint = parameter.type === 'choice' ? suggestion(text, parameter.choices) : '';
  throw new InputError({
    code: 'reduction.bad-value',
    message: `${description.id}: "${text}" is not a value for "${parameter.name}".`,
    why: parameter.description,
    nextStep: `${hint}Use ${describeRange(parameter)}.`,
  });
}

function readValue(text: string, parameter: ReductionParameter): ParameterValues[string] | undefined {
  switch (parameter.type) {
    case 'choice':
      return parameter.choices.find((choice) => choice.toLowerCase() === text.toLowerCase());
    case 'budget':
      if (text === 'auto') return parameter.auto ? { kind: 'auto' } : undefined;
      return parseBudget(text, parameter.minimum);
    case 'integer':
    case 'number': {
      const pattern = parameter.type === 'integer' ? /^-?\d+$/ : /^-?(\d+|\d*\.\d+)(e-?\d+)?$/i;
      const value = Number(text);
      return pattern.test(text) && value >= parameter.minimum && value <= parameter.maximum
        ? value
        : undefined;
    }
  }
}

/** The values that a parameter takes, in words: for error messages, help and documentation. */
export function describeRange(parameter: ReductionParameter): string {
  switch (parameter.type) {
    case 'choice':
      return `one of ${parameter.choices.join(', ')}`;
    case 'budget':
      return `a number of tokens (${parameter.minimum} or more), a fraction (0.5 or 50%), ${parameter.auto ? 'all, or auto' : 'or all'}`;
    case 'integer':
      return `an integer from ${parameter.minimum} to ${parameter.maximum}`;
    case 'number':
      return `a number from ${parameter.minimum} to ${parameter.maximum}`;
  }
}

function unknownMethod(id: string, methods: readonly ReductionMethod[]): InputError {
  const ids = [NONE, ...methods.map(({ description }) => description.id)];
  const alone = id.toLowerCase() === NONE;
  return new InputError({
    code: 'reduction.unknown-method',
    message: alone ? '"none" cannot be combined with a method.' : `There is no reduction "${id}".`,
    nextStep: alone
      ? 'Write none alone, or leave it out.'
      : `${suggestion(id, ids)}There are: ${ids.join(', ')}.`,
  });
}

function suggestion(word: string, candidates: readonly string[]): string {
  const candidate = nearest(word, candidates);
  return candidate === undefined ? '' : `Did you mean "${candidate}"? `;
}

function firstPlace({ places }: ReductionDescription): number {
  return Math.min(...places.map((place) => PLACES.indexOf(place)));
}
