import { CancelledError, toErrorData } from '../llava/errors';
import type { DevicePlan } from '../llava/runtime/device';
import type { SelfTestReport } from '../llava/runtime/selfTest';
import type { InferenceChild } from './child';
import type { DeviceVerdict } from './deviceVerdicts';
import { describeExit, InferenceCrashedError } from './errors';
import type { DeviceTest, Progress } from './messages';

/** A driver may need a while to compile its first shaders; after this time it hangs. */
const TRIAL_LIMIT_MS = 180_000;

export interface TrialOptions {
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
  readonly limitMilliseconds?: number;
}

/**
 * Tests a device in a process of its own, which is gone afterwards, whatever the driver did to it.
 *
 * @param start starts an inference process.
 * @throws CancelledError
 */
export async function tryDevice(
  start: () => InferenceChild,
  test: DeviceTest,
  options: TrialOptions,
): Promise<DeviceVerdict> {
  const { signal, onProgress } = options;
  const limit = options.limitMilliseconds ?? TRIAL_LIMIT_MS;
  if (signal.aborted) throw new CancelledError(signal.reason);
  const child = start();
  let hung = false;
  const timer = setTimeout(() => {
    hung = true;
    child.dispose();
  }, limit);
  const stop = (): void => child.dispose();
  signal.addEventListener('abort', stop, { once: true });
  try {
    return verdictOf(test.plan, await child.call('testDevice', test, { onProgress }).result);
  } catch (error) {
    if (hung) return { outcome: 'hung', seconds: limit / 1000 };
    if (signal.aborted) throw new CancelledError(signal.reason);
    if (error instanceof InferenceCrashedError) return { outcome: 'crashed', why: describeExit(error.exit) };
    const { message, why } = toErrorData(error);
    return { outcome: 'failed', why: why ?? message };
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', stop);
    child.dispose();
    await child.ended;
  }
}

/** NaN never passes, and neither does a device whose numbers were not tested. */
export function verdictOf(plan: DevicePlan, { offered, cases, speed }: SelfTestReport): DeviceVerdict {
  if (!offered.includes(plan.device))
    return { outcome: 'failed', why: `This onnxruntime offers only ${offered.join(', ')}.` };
  if (!speed) return { outcome: 'failed', why: 'Its speed was not measured.' };
  const speedup = speed.cpu / speed.device;
  if (cases.length === 0) return { outcome: 'slow', speedup };
  const wrong = cases.filter((entry) => !passes(entry)).sort((a, b) => b.error - a.error);
  if (wrong.length > 0) {
    const worst = wrong.find(({ error }) => !Number.isFinite(error)) ?? wrong[0];
    return { outcome: 'wrong', worst: Number.isFinite(worst.error) ? worst.error : null, where: worst.name };
  }
  // Errors of 4-bit products, which have a tolerance of their own, would hide those of everything else.
  const strictest = Math.min(...cases.map(({ tolerance }) => tolerance));
  const errors = cases.filter(({ tolerance }) => tolerance === strictest).map(({ error }) => error);
  return { outcome: 'passed', worst: Math.max(...errors), speedup };
}

/** Written so that NaN fails. */
function passes({ error, tolerance }: SelfTestReport['cases'][number]): boolean {
  return error <= tolerance;
}
