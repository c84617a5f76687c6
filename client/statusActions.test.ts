import { expect, it } from 'vitest';
import { actionsIn, firstSentence } from './statusActions';

it('offers what mends a state first', () => {
  expect(actionsIn('stopped')[0]).toBe('restart');
  expect(actionsIn('failed')[0]).toBe('model');
  expect(actionsIn('working')[0]).toBe('view');
  expect(actionsIn('ready')[0]).toBe('ask');
  expect(actionsIn(undefined)).toEqual(actionsIn('idle'));
});

it('offers no question while one is answered or none can be, and the log always', () => {
  for (const state of ['loading', 'working', 'failed', 'stopped'] as const)
    expect(actionsIn(state)).not.toContain('ask');
  for (const state of ['idle', 'loading', 'ready', 'working', 'failed', 'stopped'] as const) {
    expect(actionsIn(state)).toEqual(expect.arrayContaining(['restart', 'log']));
    expect(new Set(actionsIn(state)).size).toBe(actionsIn(state).length);
  }
});

it('cuts an explanation after its first sentence, and not inside a number', () => {
  expect(firstSentence('The CPU, because no other is of use. cuda: not found. x.')).toBe(
    'The CPU, because no other is of use.',
  );
  expect(firstSentence('Only 2.5 % as fast as the CPU.')).toBe('Only 2.5 % as fast as the CPU.');
  expect(firstSentence('the decoder is small: a token reads 11 MB')).toBe(
    'The decoder is small: a token reads 11 MB',
  );
  expect(firstSentence(undefined)).toBeUndefined();
});
