import { describe, expect, it } from 'vitest';
import { parseReduction } from '../server/llava/reduction/parse';
import { REDUCTIONS } from '../server/llava/reduction/registry';
import { defaultPart, joinSpec, splitSpec, valueProblem } from './methodSpec';

const descriptions = REDUCTIONS.map(({ description }) => description);

describe('the form and the engine agree', () => {
  it.each(descriptions.map((description) => [description.id, description]))(
    'on the defaults of %s',
    (_, description) => {
      const part = defaultPart(description);
      const missing = description.parameters.some((parameter) => parameter.default === undefined);
      const read = (): string => parseReduction(joinSpec([part]))[0].spec;
      if (missing) expect(read).toThrow();
      else expect(splitSpec(read())[0].id).toBe(description.id);
    },
  );

  it.each(
    descriptions.flatMap((description) =>
      description.parameters.map(
        (parameter) => [`${description.id}.${parameter.name}`, description, parameter] as const,
      ),
    ),
  )('on the values of %s', (_, description, parameter) => {
    const others = defaultPart(description);
    for (const name of description.parameters
      .filter((each) => each.default === undefined)
      .map((each) => each.name))
      others.values[name] = '1';
    for (const value of [
      '0',
      '1',
      '2',
      '64',
      '0.5',
      '1.5',
      '50%',
      '150%',
      'all',
      'auto',
      '-1',
      'x',
      '1e3',
      'sum',
      'lastQuery',
      '1000000000000',
    ]) {
      const spec = joinSpec([{ id: description.id, values: { ...others.values, [parameter.name]: value } }]);
      const engine = ((): boolean => {
        try {
          return parseReduction(spec).length === 1;
        } catch {
          return false;
        }
      })();
      // What the form lets through the engine takes; the engine may be more lenient (upper case, exponents).
      if (valueProblem(parameter, value) === undefined) expect(engine, spec).toBe(true);
    }
  });
});

describe('specs', () => {
  it('survive the form', () => {
    for (const spec of ['none', 'fastv', 'visionzip:dominant=54,contextual=10+fastv:layer=2,keep=0.5']) {
      expect(joinSpec(splitSpec(spec))).toBe(spec);
    }
  });

  it('leave empty fields to the defaults', () => {
    expect(joinSpec([{ id: 'fastv', values: { layer: ' ', keep: ' 0.5 ' } }])).toBe('fastv:keep=0.5');
  });
});
