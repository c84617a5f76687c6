import { version as runtimeVersion } from 'onnxruntime-node/package.json';
import { computesInHalf, hasByteTower, type PrecisionChoice } from '../llava/checkpoint/precision';
import { DeviceError } from '../llava/errors';
import {
  type AttentionKernel,
  CPU_PLAN,
  type Device,
  type DeviceChoice,
  type DevicePlan,
} from '../llava/runtime/device';
import { SELF_TEST_VERSION } from '../llava/runtime/selfTestVersion';
import type { DeviceVerdict, StoredVerdict, VerdictFile, VerdictSubject } from './deviceVerdicts';
import { driverIdentity } from './driverIdentity';
import type { DeviceTest, Progress } from './messages';

/** What `auto` tries; of those that are right and faster than the CPU it takes the fastest. */
const CANDIDATES: Partial<Record<NodeJS.Platform, readonly Device[]>> = {
  linux: ['cuda', 'webgpu'],
  win32: ['cuda', 'webgpu', 'dml'],
  darwin: ['webgpu', 'coreml'],
};

/** Devices that the engine has graphs in half precision for. */
export const WITH_HALF_PRECISION: readonly Device[] = ['webgpu'];

export interface ChosenDevice {
  readonly plan: DevicePlan;
  /** Why this one, in sentences for the user; undefined where it is simply what was asked for. */
  readonly note: string | undefined;
}

/** What is known of one device. */
export interface DeviceReport extends DevicePlan {
  /** Undefined: not tested yet. */
  readonly tested: StoredVerdict | undefined;
}

export interface DeviceOptions {
  readonly signal: AbortSignal;
  /** A device that computes in it, and does it right, is chosen. @default 'auto' */
  readonly precision?: PrecisionChoice;
  readonly onProgress?: (progress: Progress) => void;
}

export interface DevicesOptions {
  /** Tests a device where it can do no harm; see deviceTrial.ts. */
  readonly test: (test: DeviceTest, options: DeviceOptions) => Promise<DeviceVerdict>;
  readonly verdicts: VerdictFile;
  readonly log: (line: string) => void;
  readonly platform?: NodeJS.Platform;
  readonly identity?: () => Promise<string>;
}

/**
 * Decides what to run on. Every device but the CPU is used only after a test in a throwaway process: that it does not
 * crash or hang, that it computes what the CPU computes, and (for `auto`) that it is faster.
 */
export class Devices {
  /** Also what the file could not keep: nothing is tested twice in a session. */
  readonly #known = new Map<string, StoredVerdict>();
  readonly #options: DevicesOptions;

  constructor(options: DevicesOptions) {
    this.#options = options;
  }

  /**
   * @throws DeviceError where a device that was asked for by name cannot be used, with the reason; it is not replaced
   * silently; where half precision was asked for and no device has it. CancelledError.
   */
  async choose(choice: DeviceChoice, options: DeviceOptions): Promise<ChosenDevice> {
    const { precision = 'auto' } = options;
    if (choice === 'auto' && hasByteTower(precision)) return { plan: CPU_PLAN, note: undefined };
    const half = computesInHalf(precision);
    const plain = (device: Device): DevicePlan => ({
      device,
      attention: 'plain',
      ...(half ? { float: 'float16' } : {}),
    });
    if (choice === 'cpu') {
      if (half) throw noHalfPrecision(['the CPU widens it to 32 bits, which gains nothing']);
      return { plan: CPU_PLAN, note: undefined };
    }
    if (choice !== 'auto') {
      if (half && !WITH_HALF_PRECISION.includes(choice))
        throw noHalfPrecision([`it is for ${WITH_HALF_PRECISION.join(', ')}`]);
      const { verdict } = await this.#verdict(plain(choice), false, options);
      if (verdict.outcome !== 'passed') throw refusal(choice, verdict);
      const { plan, note } = await this.#withKernel(plain(choice), options);
      return { plan, note: [...slowness(verdict), ...note].join(' ') || undefined };
    }
    const reasons: string[] = [];
    let best: { device: Device; verdict: Passed } | undefined;
    for (const device of this.candidates()) {
      if (half && !WITH_HALF_PRECISION.includes(device)) continue;
      const { verdict } = await this.#verdict(plain(device), true, options);
      if (verdict.outcome !== 'passed' || verdict.speedup <= 1)
        reasons.push(`${device}: ${explain(verdict)}`);
      else if (!best || verdict.speedup > best.verdict.speedup) best = { device, verdict };
    }
    if (best) {
      const { plan, note } = await this.#withKernel(plain(best.device), options);
      const found = `Chosen automatically: ${explain(best.verdict)}.`;
      return { plan, note: [found, ...note].join(' ') };
    }
    if (half) throw noHalfPrecision(reasons);
    const note =
      reasons.length > 0
        ? `The CPU, because no other device is of use here. ${reasons.join('; ')}.`
        : undefined;
    return { plan: CPU_PLAN, note };
  }

  /** What `auto` would try on this system. */
  candidates(): readonly Device[] {
    return CANDIDATES[this.#options.platform ?? process.platform] ?? [];
  }

  /** What is known without testing anything. */
  async known(): Promise<DeviceReport[]> {
    const driver = await this.#identity();
    const reports: DeviceReport[] = [];
    for (const plan of this.#plans()) {
      reports.push({ ...plan, tested: await this.#find(subjectOf(plan, driver)) });
    }
    return reports;
  }

  /** Tests what is not known yet. */
  async testAll(options: DeviceOptions): Promise<DeviceReport[]> {
    const reports: DeviceReport[] = [];
    for (const plan of this.#plans()) {
      const basis = reports.find((report) => isBasis(report, plan));
      const useless = basis !== undefined && basis.tested?.verdict.outcome !== 'passed';
      reports.push({ ...plan, tested: useless ? undefined : await this.#verdict(plan, true, options) });
    }
    return reports;
  }

  /** What did not pass (or everything) is tested again when it is needed. */
  async forget(what: 'failures' | 'all'): Promise<void> {
    this.#known.clear();
    await this.#options.verdicts.forget(what);
  }

  #plans(): DevicePlan[] {
    return this.candidates().flatMap((device) => [
      ...kernelsOf(device).map((attention): DevicePlan => ({ device, attention })),
      ...(WITH_HALF_PRECISION.includes(device)
        ? kernelsOf(device).map((attention): DevicePlan => ({ device, attention, float: 'float16' }))
        : []),
    ]);
  }

  /** The fastest kernel that is right on a device whose plain attention is. */
  async #withKernel(
    plain: DevicePlan,
    options: DeviceOptions,
  ): Promise<{ plan: DevicePlan; note: string[] }> {
    if (!kernelsOf(plain.device).includes('fused')) return { plan: plain, note: [] };
    const fused: DevicePlan = { ...plain, attention: 'fused' };
    const { verdict } = await this.#verdict(fused, false, options);
    if (verdict.outcome === 'passed') return { plan: fused, note: [] };
    return {
      plan: plain,
      note: [
        `Attention is computed step by step, because the fused kernel failed its test: ${explain(verdict)}.`,
      ],
    };
  }

  /** What is known of a device, or what a test finds now. Its numbers are always tested unless only speed would do. */
  async #verdict(plan: DevicePlan, onlyIfFaster: boolean, options: DeviceOptions): Promise<StoredVerdict> {
    const subject = subjectOf(plan, await this.#identity());
    const known = await this.#find(subject);
    if (known && (onlyIfFaster || known.verdict.outcome !== 'slow')) return known;
    options.onProgress?.({ stage: `testing ${plan.device}` });
    const verdict = await this.#options.test(
      { plan, onlyIfFaster },
      {
        ...options,
        onProgress: ({ fraction }) => options.onProgress?.({ stage: `testing ${plan.device}`, fraction }),
      },
    );
    const words = `${plan.attention} attention${plan.float === 'float16' ? ', half precision' : ''}`;
    this.#options.log(`Device ${plan.device}, ${words}: ${explain(verdict)}.`);
    const stored = await this.#options.verdicts.store(subject, verdict);
    this.#known.set(JSON.stringify(subject), stored);
    return stored;
  }

  async #find(subject: VerdictSubject): Promise<StoredVerdict | undefined> {
    return this.#known.get(JSON.stringify(subject)) ?? this.#options.verdicts.find(subject);
  }

  #identity(): Promise<string> {
    return (this.#options.identity ?? driverIdentity)();
  }
}

/** The kernels that the engine can emit for a device, the safest first. */
function kernelsOf(device: Device): readonly AttentionKernel[] {
  return device === 'webgpu' ? ['plain', 'fused'] : ['plain'];
}

/** Whether one plan is of no use without the other: a kernel without the plain one, half precision without the full one. */
function isBasis(other: DevicePlan, plan: DevicePlan): boolean {
  if (other.device !== plan.device || other.attention !== 'plain') return false;
  return plan.attention === 'plain'
    ? plan.float === 'float16' && other.float !== 'float16'
    : other.float === plan.float;
}

type Passed = Extract<DeviceVerdict, { outcome: 'passed' }>;

function subjectOf(plan: DevicePlan, driver: string): VerdictSubject {
  return { ...plan, runtime: runtimeVersion, selfTest: SELF_TEST_VERSION, driver };
}

/** @param reasons why not, device by device */
function noHalfPrecision(reasons: readonly string[]): DeviceError {
  return new DeviceError({
    code: 'device.no-half-precision',
    message: 'No device of this machine computes in half precision (fp16, q4f16) for this model.',
    why: reasons.length > 0 ? `${reasons.join('; ')}.` : 'This system offers no device that could.',
    nextStep: 'Choose another precision: auto, q4 or fp32.',
  });
}

/** A verdict in words, without a full stop. */
export function explain(verdict: DeviceVerdict): string {
  switch (verdict.outcome) {
    case 'passed':
      return `passed the self-test (largest error ${verdict.worst.toExponential(0)}), ${speed(verdict.speedup)}`;
    case 'slow':
      return `${speed(verdict.speedup)} (a software adapter?), so its numbers were not tested`;
    case 'wrong':
      return `computes wrong numbers (${verdict.where}: ${verdict.worst === null ? 'not a number' : `error ${verdict.worst.toPrecision(2)}`})`;
    case 'failed':
      return verdict.why.replace(/\.$/, '');
    case 'crashed':
      return `took its test process down. ${verdict.why.replace(/\.$/, '')}`;
    case 'hung':
      return `its test did not end within ${verdict.seconds} seconds`;
  }
}

function speed(speedup: number): string {
  return speedup > 1
    ? `${speedup.toPrecision(2)} times as fast as the CPU`
    : `only ${(100 * speedup).toPrecision(2)} % as fast as the CPU`;
}

function slowness(verdict: DeviceVerdict & { outcome: 'passed' }): string[] {
  return verdict.speedup > 1 ? [] : [`It is ${speed(verdict.speedup)}.`];
}

function refusal(device: Device, verdict: Exclude<DeviceVerdict, { outcome: 'passed' }>): DeviceError {
  const messages = {
    slow: `The device "${device}" is slower than the CPU.`,
    wrong: `The device "${device}" computes wrong numbers here.`,
    failed: `The device "${device}" is not available on this machine.`,
    crashed: `The device "${device}" took its process down when it was tested.`,
    hung: `The device "${device}" did not finish its test.`,
  };
  const codes = {
    slow: 'device.slow',
    wrong: 'device.wrong',
    failed: 'device.unavailable',
    crashed: 'device.crashed',
    hung: 'device.hung',
  };
  const text = explain(verdict);
  return new DeviceError({
    code: codes[verdict.outcome],
    message: messages[verdict.outcome],
    why: `${text[0].toUpperCase()}${text.slice(1)}.`,
    nextStep: 'Choose "auto" or "cpu", or update the driver of the graphics card.',
  });
}
