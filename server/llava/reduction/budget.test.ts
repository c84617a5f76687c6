import { describe, expect, it } from 'vitest';
import { budgetTokens, formatBudget, parseBudget } from './budget';

describe('a budget', () => {
  it.each([
    ['1', { kind: 'tokens', tokens: 1 }, '1'],
    ['64', { kind: 'tokens', tokens: 64 }, '64'],
    ['0.5', { kind: 'fraction', fraction: 0.5 }, '0.5'],
    ['.25', { kind: 'fraction', fraction: 0.25 }, '0.25'],
    ['50%', { kind: 'fraction', fraction: 0.5 }, '0.5'],
    ['33.3%', { kind: 'fraction', fraction: 0.333 }, '0.333'],
    ['100%', { kind: 'fraction', fraction: 1 }, 'all'],
    ['all', { kind: 'fraction', fraction: 1 }, 'all'],
    ['0.00001%', { kind: 'fraction', fraction: 1e-7 }, '1e-7'],
  ])('%s is read and written back', (text, budget, canonical) => {
    expect(parseBudget(text, 1)).toEqual(budget);
    expect(formatBudget(parseBudget(text, 1)!)).toBe(canonical);
    expect(parseBudget(canonical, 1)).toEqual(budget);
  });

  it.each([
    '',
    '0',
    '-1',
    '1.0',
    '1.5',
    '0.0',
    '0%',
    '101%',
    '5 %',
    'half',
    'NaN',
    'Infinity',
    '1e3',
    '0x10',
    '99999999999999999999',
  ])('"%s" is none', (text) => {
    expect(parseBudget(text, 1)).toBeUndefined();
  });

  it('may be zero tokens only where the parameter allows it', () => {
    expect(parseBudget('0', 0)).toEqual({ kind: 'tokens', tokens: 0 });
    expect(parseBudget('0', 1)).toBeUndefined();
  });

  it('counts a fraction of the whole, at least one token and at most those present', () => {
    expect(budgetTokens({ kind: 'fraction', fraction: 0.5 }, 576)).toBe(288);
    expect(budgetTokens({ kind: 'fraction', fraction: 0.5 }, 576, 100)).toBe(100);
    expect(budgetTokens({ kind: 'fraction', fraction: 0.001 }, 10)).toBe(1);
    expect(budgetTokens({ kind: 'fraction', fraction: 1 }, 7)).toBe(7);
    expect(budgetTokens({ kind: 'tokens', tokens: 64 }, 576)).toBe(64);
    expect(budgetTokens({ kind: 'tokens', tokens: 1000 }, 576)).toBe(576);
  });

  it('rounds halves up', () => {
    expect(budgetTokens({ kind: 'fraction', fraction: 0.5 }, 25)).toBe(13);
    expect(budgetTokens({ kind: 'fraction', fraction: 0.5 }, 27)).toBe(14);
    expect(budgetTokens({ kind: 'fraction', fraction: 0.1 }, 24)).toBe(2);
  });
});
