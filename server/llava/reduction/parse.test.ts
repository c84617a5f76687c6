import { describe, expect, it } from 'vitest';
import { InputError } from '../errors';
import { formatReduction, parseReduction } from './parse';
import { REDUCTIONS } from './registry';

const canonical = (spec: string) => formatReduction(parseReduction(spec));

function refusal(spec: string): InputError {
  try {
    parseReduction(spec);
  } catch (error) {
    if (error instanceof InputError) return error;
    throw error;
  }
  throw new Error(`"${spec}" was accepted`);
}

describe('a reduction spec', () => {
  it('is none for the unreduced model', () => {
    expect(parseReduction('none')).toEqual([]);
    expect(formatReduction([])).toBe('none');
  });

  it.each([
    ['fastv', 'fastv:layer=2,keep=0.5'],
    ['fastv:layer=2,keep=0.5', 'fastv:layer=2,keep=0.5'],
    ['fastv:keep=25%,layer=3,score=columnSum', 'fastv:layer=3,keep=0.25,score=columnSum'],
    ['fastv:score=lastQuery', 'fastv:layer=2,keep=0.5'],
    [' FastV : layer = 2 ', 'fastv:layer=2,keep=0.5'],
    ['visionzip:dominant=54,contextual=10', 'visionzip:dominant=54,contextual=10'],
    ['visionzip:merge=AVERAGE', 'visionzip:dominant=54,contextual=10,merge=average'],
    ['random:keep=64,seed=7', 'random:keep=64,seed=7'],
    ['uniform:keep=100%', 'uniform:keep=all'],
    ['uniform:keep=1', 'uniform:keep=1'],
    ['pool:grid=8', 'pool:grid=8'],
    [
      'visionzip:dominant=54,contextual=10+fastv:layer=2,keep=0.5',
      'visionzip:dominant=54,contextual=10+fastv:layer=2,keep=0.5',
    ],
  ])('%s means %s', (spec, expected) => {
    expect(canonical(spec)).toBe(expected);
  });

  it('has one canonical text: reading it back gives the same', () => {
    for (const { description } of REDUCTIONS) {
      const once = canonical(description.id);
      expect(once.startsWith(description.id)).toBe(true);
      expect(canonical(once)).toBe(once);
    }
  });

  it('orders methods by the place where they act', () => {
    expect(parseReduction('fastv+pool').map(({ id }) => id)).toEqual(['pool', 'fastv']);
    expect(canonical('fastv:layer=3+fastv:layer=2')).toBe('fastv:layer=3,keep=0.5+fastv:layer=2,keep=0.5');
  });

  it('suggests the method that was meant', () => {
    const error = refusal('fsatv:keep=0.5');
    expect(error.code).toBe('reduction.unknown-method');
    expect(error.message).toContain('"fsatv"');
    expect(error.nextStep).toContain('Did you mean "fastv"?');
    for (const { description } of REDUCTIONS) expect(error.nextStep).toContain(description.id);
  });

  it('suggests nothing where nothing is near', () => {
    expect(refusal('quantum').nextStep).not.toContain('Did you mean');
  });

  it.each(['', '+', 'fastv+', ':layer=2', 'none+fastv'])('"%s" is refused', (spec) => {
    expect(refusal(spec).code).toBe('reduction.unknown-method');
  });

  it('names the parameters that exist', () => {
    const error = refusal('fastv:layr=2');
    expect(error.code).toBe('reduction.unknown-parameter');
    expect(error.nextStep).toContain('Did you mean "layer"?');
    expect(error.nextStep).toContain('layer, keep, score');
    expect(refusal('fastv:').code).toBe('reduction.unknown-parameter');
    expect(refusal('fastv:toString=1').code).toBe('reduction.unknown-parameter');
  });

  it.each([
    ['fastv:layer=0', '"0"', 'an integer from 1'],
    ['fastv:layer=1.5', '"1.5"', 'an integer from 1'],
    ['fastv:layer', '""', 'an integer from 1'],
    ['fastv:layer=', '""', 'an integer from 1'],
    ['fastv:keep=0', '"0"', 'a number of tokens (1 or more)'],
    ['fastv:keep=1.5', '"1.5"', 'a fraction'],
    ['fastv:score=columnsums', '"columnsums"', 'Did you mean "columnSum"?'],
    ['random:seed=4294967296', '"4294967296"', 'an integer from 0 to 4294967295'],
    ['random:seed=1e2', '"1e2"', 'an integer'],
    ['visionzip:merge=max', '"max"', 'one of sum, average'],
  ])('%s is refused with the range that is allowed', (spec, value, range) => {
    const error = refusal(spec);
    expect(error.code).toBe('reduction.bad-value');
    expect(error.message).toContain(value);
    expect(error.nextStep).toContain(range);
    expect(error.why).toBeTruthy();
  });

  it('refuses a parameter that is given twice', () => {
    expect(refusal('fastv:layer=2,layer=3').code).toBe('reduction.duplicate-parameter');
  });

  it('refuses two methods that both choose among all patches', () => {
    const error = refusal('visionzip+random');
    expect(error.code).toBe('reduction.conflict');
    expect(error.message).toContain('visionzip and random');
  });
});
