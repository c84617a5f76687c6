import { randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { FloatType } from '../llava/graph/onnx';
import type { AttentionKernel, Device } from '../llava/runtime/device';

/** What a device's test in a throwaway process came to. */
export type DeviceVerdict =
  /** `worst`: largest difference from the CPU in float32, relative to the output; `speedup`: the CPU's time over the device's. */
  | { readonly outcome: 'passed'; readonly worst: number; readonly speedup: number }
  /** `worst` is null where the device computed NaN; `where` names the graph. */
  | { readonly outcome: 'wrong'; readonly worst: number | null; readonly where: string }
  /** Slower than the CPU, so its numbers were not tested. */
  | { readonly outcome: 'slow'; readonly speedup: number }
  /** onnxruntime does not know it, or finds none. */
  | { readonly outcome: 'failed'; readonly why: string }
  | { readonly outcome: 'crashed'; readonly why: string }
  | { readonly outcome: 'hung'; readonly seconds: number };

/** What a verdict is about: it holds for nothing else. */
export interface VerdictSubject {
  readonly device: Device;
  readonly attention: AttentionKernel;
  /** Absent: float32. */
  readonly float?: FloatType;
  /** Version of onnxruntime. */
  readonly runtime: string;
  readonly selfTest: number;
  /** See driverIdentity.ts. */
  readonly driver: string;
}

export interface StoredVerdict {
  readonly subject: VerdictSubject;
  readonly verdict: DeviceVerdict;
  /** ISO 8601 */
  readonly testedAt: string;
}

const FORMAT_VERSION = 1;

/** What did not pass is tried again after this time: the cause may have been a moment's lack of memory. */
const FAILURE_LIFETIME_MS = 7 * 24 * 60 * 60 * 1000;

/**
 * Verdicts of earlier sessions: one small JSON file in the user's cache folder. A file that is damaged, of another format or
 * not readable is as good as none, and one that cannot be written costs only another test.
 */
export class VerdictFile {
  constructor(
    private readonly file: string,
    private readonly now: () => number = Date.now,
  ) {}

  static in(cacheDirectory: string): VerdictFile {
    return new VerdictFile(path.join(cacheDirectory, 'devices.json'));
  }

  async find(subject: VerdictSubject): Promise<StoredVerdict | undefined> {
    const entry = (await this.read()).find((candidate) => isDeepStrictEqual(candidate.subject, subject));
    if (!entry || !isFailure(entry.verdict)) return entry;
    const age = this.now() - Date.parse(entry.testedAt);
    return age >= 0 && age < FAILURE_LIFETIME_MS ? entry : undefined;
  }

  /** Keeps a verdict; those over other drivers and versions go. */
  async store(subject: VerdictSubject, verdict: DeviceVerdict): Promise<StoredVerdict> {
    const entry: StoredVerdict = { subject, verdict, testedAt: new Date(this.now()).toISOString() };
    const { device, attention, float, ...circumstances } = subject;
    const others = (await this.read()).filter(({ subject: { ...other } }) => {
      const replaced = device === other.device && attention === other.attention && float === other.float;
      return !replaced && isDeepStrictEqual({ ...other, ...circumstances }, other);
    });
    await this.write([...others, entry]);
    return entry;
  }

  /** Forgets what did not pass, or everything. */
  async forget(what: 'failures' | 'all'): Promise<void> {
    const entries = what === 'all' ? [] : await this.read();
    await this.write(entries.filter(({ verdict }) => !isFailure(verdict)));
  }

  private async read(): Promise<StoredVerdict[]> {
    try {
      const content = JSON.parse(await readFile(this.file, 'utf8')) as unknown;
      if (!isRecord(content) || content.version !== FORMAT_VERSION) return [];
      return Array.isArray(content.entries) && content.entries.every(isStoredVerdict) ? content.entries : [];
    } catch {
      return [];
    }
  }

  private async write(entries: readonly StoredVerdict[]): Promise<void> {
    const temporary = `${this.file}.${randomUUID()}`;
    try {
      await mkdir(path.dirname(this.file), { recursive: true });
      await writeFile(temporary, `${JSON.stringify({ version: FORMAT_VERSION, entries }, undefined, 2)}\n`);
      await rename(temporary, this.file);
    } catch {
      await rm(temporary, { force: true }).catch(() => undefined);
    }
  }
}

function isFailure({ outcome }: DeviceVerdict): boolean {
  return outcome !== 'passed' && outcome !== 'slow';
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function isStoredVerdict(value: unknown): value is StoredVerdict {
  if (!isRecord(value) || !isRecord(value.subject) || !isRecord(value.verdict)) return false;
  const { device, attention, runtime, selfTest, driver } = value.subject;
  const texts = [device, attention, runtime, driver, value.testedAt];
  return (
    texts.every((text) => typeof text === 'string') &&
    typeof selfTest === 'number' &&
    !Number.isNaN(Date.parse(value.testedAt as string)) &&
    isVerdict(value.verdict)
  );
}

function isVerdict(verdict: Record<string, unknown>): boolean {
  const { worst } = verdict;
  switch (verdict.outcome) {
    case 'passed':
      return Number.isFinite(worst) && Number.isFinite(verdict.speedup);
    case 'wrong':
      return (worst === null || Number.isFinite(worst)) && typeof verdict.where === 'string';
    case 'slow':
      return Number.isFinite(verdict.speedup);
    case 'failed':
    case 'crashed':
      return typeof verdict.why === 'string';
    case 'hung':
      return Number.isFinite(verdict.seconds);
    default:
      return false;
  }
}
