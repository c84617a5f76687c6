import { describe, expect, it } from 'vitest';
import { withPatience } from './patience';

describe('withPatience', () => {
  it('gives what the work gives, and throws what it throws', () => {
    expect(withPatience(() => [1, 'two'])).toEqual([1, 'two']);
    const error = new RangeError('mine');
    expect(() =>
      withPatience(() => {
        throw error;
      }),
    ).toThrow(error);
  });

  it('breaks off loops and expressions that do not end', () => {
    const timeout = expect.objectContaining({ code: 'ERR_SCRIPT_EXECUTION_TIMEOUT' });
    expect(() =>
      withPatience(() => {
        for (;;);
      }, 0.05),
    ).toThrow(timeout);
    expect(() => withPatience(() => /(a+)+$/.test(`${'a'.repeat(50)}!`), 0.05)).toThrow(timeout);
    expect(withPatience(() => 'still works')).toBe('still works');
  });
});
