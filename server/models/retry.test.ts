import { describe, expect, it } from 'vitest';

import { ModelError } from '../llava/errors';
import { TemporaryFault } from './errors';
import { parseRetryAfter, withRetries, type RetryPolicy } from './retry';

const policy: RetryPolicy = { attempts: 5, baseMs: 1, maxMs: 4, maxRetryAfterMs: 50, random: () => 1 };

function fault(name: string, retryAfterMs?: number): TemporaryFault {
  return new TemporaryFault(new ModelError({ code: name, message: name, nextStep: 'Wait.' }), retryAfterMs);
}

async function pauses(random: () => number, retryAfterMs?: number): Promise<number[]> {
  const waited: number[] = [];
  const options = {
    policy: { ...policy, random },
    signal: undefined,
    onRetry: (ms: number) => waited.push(ms),
  };
  await withRetries(options, () => Promise.reject(fault('busy', retryAfterMs))).catch(() => undefined);
  return waited;
}

describe('retries', () => {
  it('wait twice as long each time, up to a limit', async () => {
    expect(await pauses(() => 1)).toEqual([1, 2, 4, 4]);
  });

  it('are spread, so that many clients do not come back at once', async () => {
    expect(await pauses(() => 0)).toEqual([0.5, 1, 2, 2]);
  });

  it('wait at least as long as the server asks', async () => {
    expect(await pauses(() => 1, 3)).toEqual([3, 3, 4, 4]);
  });

  it('end with the error behind the last fault', async () => {
    let attempts = 0;
    const work = withRetries({ policy, signal: undefined }, () =>
      Promise.reject(fault(`fault ${++attempts}`)),
    );
    await expect(work).rejects.toMatchObject({ code: 'fault 5' });
  });

  it('count anew after an attempt that got somewhere', async () => {
    let attempts = 0;
    const work = withRetries({ policy, signal: undefined }, ({ advanced }) => {
      if (++attempts === 3) advanced();
      return Promise.reject(fault('busy'));
    });
    await expect(work).rejects.toMatchObject({ code: 'busy' });
    // The third one fails too, and is the first of the new count.
    expect(attempts).toBe(3 + 4);
  });

  it('are not for errors that stay', async () => {
    let attempts = 0;
    const error = new ModelError({ code: 'gone', message: 'gone', nextStep: 'Look elsewhere.' });
    const work = withRetries({ policy, signal: undefined }, () => Promise.reject(++attempts && error));
    await expect(work).rejects.toBe(error);
    expect(attempts).toBe(1);
  });
});

describe('Retry-After', () => {
  const now = Date.parse('2024-05-01T12:00:00Z');

  it.each([
    ['120', 120_000],
    ['0', 0],
    ['Wed, 01 May 2024 12:00:30 GMT', 30_000],
    ['Wed, 01 May 2024 11:00:00 GMT', 0],
    ['soon', undefined],
    [undefined, undefined],
  ])('%s is %s ms', (value, expected) => {
    expect(parseRetryAfter(value, now)).toBe(expected);
  });
});
