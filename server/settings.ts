import { DEFAULT_SETTINGS, type Settings } from './protocol';

const DEVICES: readonly Settings['device'][] = ['auto', 'cpu', 'webgpu', 'cuda', 'dml', 'coreml'];
const PRECISIONS: readonly Settings['precision'][] = ['auto', 'fp32', 'fp16', 'q4', 'q4f16', 'q4q8'];
const FITS: readonly Settings['fit'][] = ['pad', 'crop'];
const EXPLAIN: readonly Settings['hover']['explain'][] = ['onDemand', 'onHover', 'off'];
/** A reduction spec is short; a longer text is no spec. */
const MAX_TEXT = 4096;

/**
 * Section `fovea` as the client sent it, checked: whatever is missing, of the wrong type or out of range is replaced by
 * its default.
 * @param warn hears about each value that is not used.
 */
export function parseSettings(value: unknown, warn: (message: string) => void): Settings {
  const read = new Reader(asRecord(value), '', warn);
  const hover = read.section('hover');
  const cache = read.section('cache');
  const image = read.section('image');
  const defaults = DEFAULT_SETTINGS;
  return {
    model: read.text('model', defaults.model),
    device: read.choice('device', DEVICES, defaults.device),
    precision: read.choice('precision', PRECISIONS, defaults.precision),
    reduction: read.text('reduction', defaults.reduction) || defaults.reduction,
    fit: read.choice('fit', FITS, defaults.fit),
    maxTokens: read.number('maxTokens', 1, 4096, true, defaults.maxTokens),
    idleUnloadMinutes: read.number('idleUnloadMinutes', 0, 1440, false, defaults.idleUnloadMinutes),
    readAhead: read.boolean('readAhead', defaults.readAhead),
    hover: { explain: hover.choice('explain', EXPLAIN, defaults.hover.explain) },
    cache: { maxSizeMB: cache.number('maxSizeMB', 0, 10_000, false, defaults.cache.maxSizeMB) },
    image: { maxMegapixels: image.number('maxMegapixels', 1, 500, false, defaults.image.maxMegapixels) },
  };
}

class Reader {
  constructor(
    private readonly values: Record<string, unknown>,
    private readonly prefix: string,
    private readonly warn: (message: string) => void,
  ) {}

  section(key: string): Reader {
    return new Reader(asRecord(this.values[key]), `${this.prefix}${key}.`, this.warn);
  }

  text(key: string, fallback: string): string {
    return this.get(key, fallback, (value) => typeof value === 'string' && value.length <= MAX_TEXT);
  }

  choice<T extends string>(key: string, choices: readonly T[], fallback: T): T {
    return this.get(key, fallback, (value) => (choices as readonly unknown[]).includes(value));
  }

  boolean(key: string, fallback: boolean): boolean {
    return this.get(key, fallback, (value) => typeof value === 'boolean');
  }

  number(key: string, minimum: number, maximum: number, whole: boolean, fallback: number): number {
    return this.get(key, fallback, (value) => {
      if (typeof value !== 'number' || !(value >= minimum && value <= maximum)) return false;
      return !whole || Number.isInteger(value);
    });
  }

  private get<T>(key: string, fallback: T, isValid: (value: unknown) => boolean): T {
    const value = Object.hasOwn(this.values, key) ? this.values[key] : undefined;
    if (value === undefined || value === null) return fallback;
    if (isValid(value)) return value as T;
    this.warn(`The setting fovea.${this.prefix}${key} is not valid; ${JSON.stringify(fallback)} is used.`);
    return fallback;
  }
}

function asRecord(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : {};
}
