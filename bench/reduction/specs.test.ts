import { describe, expect, it } from 'vitest';

import { parseReduction } from '../../server/llava/reduction/parse';
import { entries, unusedMethods, withAlone, type DyRateChoice } from './specs';

const ALL = 576;
const HEADS: DyRateChoice[] = [
  { variant: 'gumbel', lambda: 0.03 },
  { variant: 'gumbel', lambda: 0.3 },
  { variant: 'expectation', lambda: 0.3 },
  { variant: 'expectation', lambda: 0.1 },
];
const list = entries(ALL, { llamaVid: true, dyRate: HEADS });

describe('what the evaluation asks', () => {
  it('is understood by the registry, uses all of it, and nothing twice', () => {
    for (const { spec } of list) expect(() => parseReduction(spec), spec).not.toThrow();
    expect(unusedMethods(list)).toEqual([]);
    expect(new Set(list.map(({ spec }) => spec)).size).toBe(list.length);
  });

  it('has every DyRate classifier by itself, and in compositions those that drop most', () => {
    const dyRate = list.filter(({ method }) => method.includes('dyrate'));
    const alone = dyRate.filter(({ kind }) => kind === 'adaptive').map(({ spec }) => spec);
    expect(alone).toEqual(HEADS.map(({ variant, lambda }) => `dyrate:variant=${variant},lambda=${lambda}`));
    const composed = dyRate.filter(({ kind }) => kind === 'composition');
    expect(composed).toHaveLength(3 * 2 * 2);
    for (const { spec } of composed) expect(spec).toMatch(/lambda=0\.3$/);
    expect(
      entries(ALL, { llamaVid: false, dyRate: [] })
        .map(({ spec }) => spec)
        .join(),
    ).not.toMatch(/dyrate/);
  });
});

describe('the parts of compositions by themselves', () => {
  const whole = withAlone(list, (spec) => (spec.includes('dyrate') ? 7.6 : 32.2));
  const triple = whole.find(({ method }) => method === 'visionzip + fastv + dyrate gumbel 0.3')!;

  it('have as many tokens as the composition leaves at the end', () => {
    expect(triple.alone).toEqual([
      { method: 'visionzip', budget: 8, spec: 'visionzip:dominant=7,contextual=1' },
      { method: 'fastv', budget: 8, spec: 'fastv:layer=2,keep=8' },
      { method: 'fixedrate', budget: 8, spec: 'fixedrate:keep=8' },
    ]);
  });

  it('are asked once, and not where the list has them already', () => {
    const specs = whole.map(({ spec }) => spec);
    expect(new Set(specs).size).toBe(specs.length);
    for (const { alone = [] } of whole) for (const { spec } of alone) expect(specs).toContain(spec);
    const added = whole.slice(list.length);
    expect(added.map(({ spec }) => spec)).toContain('fastv:layer=2,keep=8');
    expect(added.map(({ spec }) => spec)).not.toContain('fastv:layer=2,keep=32');
    for (const { spec } of added) expect(() => parseReduction(spec), spec).not.toThrow();
  });

  it('are at least one token', () => {
    const [first] = withAlone(list, () => 0.2).flatMap(({ alone }) => alone ?? []);
    expect(first.budget).toBe(1);
    expect(() => parseReduction(first.spec)).not.toThrow();
  });
});
