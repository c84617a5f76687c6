import { describe, expect, it } from 'vitest';

import { parseReduction } from '../../server/llava/reduction/parse';
import { REDUCTIONS } from '../../server/llava/reduction/registry';
import { COMPARED_BUDGETS, comparedSpecs, OWN_BUDGET, takesBudget } from './comparedSpecs';

const METHODS = REDUCTIONS.map(({ description }) => description);

describe('what a comparison asks', () => {
  it('is every method with every budget, as far as it takes one', () => {
    const specs = comparedSpecs(['none', 'fastv', 'visionzip', 'uigraph'], [OWN_BUDGET, '25%'], METHODS);
    expect(specs).toEqual([
      'none',
      'fastv',
      'fastv:keep=25%',
      'visionzip',
      'visionzip:dominant=21.09%,contextual=3.91%',
      'uigraph',
    ]);
  });

  it('splits a budget between the parameters that share it, so that all methods keep as many tokens', () => {
    for (const method of METHODS) {
      const shares = method.parameters.flatMap((parameter) =>
        parameter.type === 'budget' && parameter.share !== undefined ? [parameter.share] : [],
      );
      if (shares.length > 0) expect(shares.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 12);
    }
    for (const budget of COMPARED_BUDGETS.filter((text) => text.endsWith('%'))) {
      const [spec] = comparedSpecs(['visionzip'], [budget], METHODS);
      const sum = [...spec.matchAll(/=([\d.]+)%/g)].reduce((total, [, part]) => total + Number(part), 0);
      expect(sum, spec).toBeCloseTo(Number.parseFloat(budget), 1);
    }
  });

  it('leaves a whole spec as it is, and asks nothing twice', () => {
    const setting = 'fastv:layer=2,keep=64';
    expect(comparedSpecs([setting, 'pool', 'pool'], ['50%'], METHODS)).toEqual([setting, 'pool']);
  });

  it('is understood by the engine, whatever is chosen', () => {
    const ids = METHODS.map(({ id }) => id);
    const specs = comparedSpecs(ids, COMPARED_BUDGETS, METHODS);
    expect(specs.length).toBeGreaterThan(ids.length + 5 * 5);
    for (const spec of specs) expect(() => parseReduction(spec), spec).not.toThrow();
    const [budgeted] = METHODS.filter(takesBudget);
    expect(specs).toContain(`${budgeted.id}:keep=auto`);
  });
});
