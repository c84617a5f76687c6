import { setTimeout as sleep } from 'node:timers/promises';

import { DownloadCancelledError, TemporaryFault, throwIfStopped } from './errors';

export interface RetryPolicy {
  /** Attempts in a row that may fail without getting anywhere. */
  readonly attempts: number;
  /** Waiting time after the first failure; doubled after each further one. */
  readonly baseMs: number;
  readonly maxMs: number;
  /** A server that asks for a longer pause (`Retry-After`) is not waited for. */
  readonly maxRetryAfterMs: number;
  /** From 0 to 1; makes many clients that failed together come back one by one. */
  readonly random: () => number;
}

export const DEFAULT_RETRIES: RetryPolicy = {
  attempts: 6,
  baseMs: 1000,
  maxMs: 60_000,
  maxRetryAfterMs: 10 * 60_000,
  random: Math.random,
};

export interface RetryOptions {
  readonly policy: RetryPolicy;
  readonly signal: AbortSignal | undefined;
  /** Told before each pause. */
  readonly onRetry?: (waitMs: number, why: string) => void;
}

/**
 * Repeats the work after each {@link TemporaryFault}, with exponential pauses. `attempt.advanced()` says that it got
 * somewhere: the count begins anew, so that a long download survives any number of breaks.
 *
 * @throws the last fault's error, or DownloadCancelledError
 */
export async function withRetries<Result>(
  options: RetryOptions,
  work: (attempt: { advanced: () => void }) => Promise<Result>,
): Promise<Result> {
  const { policy, signal, onRetry } = options;
  let failures = 0;
  for (;;) {
    throwIfStopped(signal);
    try {
      return await work({ advanced: () => (failures = 0) });
    } catch (thrown) {
      throwIfStopped(signal);
      if (!(thrown instanceof TemporaryFault)) throw thrown;
      failures++;
      const asked = thrown.retryAfterMs ?? 0;
      if (failures >= policy.attempts || asked > policy.maxRetryAfterMs) throw thrown.error;
      const waitMs = Math.max(asked, backoff(policy, failures));
      onRetry?.(waitMs, thrown.message);
      await sleep(waitMs, undefined, { signal }).catch((error: unknown) => {
        throw new DownloadCancelledError(error);
      });
    }
  }
}

/** Between half and the whole of the doubled pause. */
function backoff({ baseMs, maxMs, random }: RetryPolicy, failures: number): number {
  return Math.min(maxMs, baseMs * 2 ** (failures - 1)) * (0.5 + random() / 2);
}

/** `Retry-After` as RFC 9110 has it: seconds, or a date. */
export function parseRetryAfter(value: string | undefined, now: number): number | undefined {
  if (value === undefined) return undefined;
  if (/^\s*\d+\s*$/.test(value)) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}
