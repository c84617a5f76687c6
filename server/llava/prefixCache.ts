import { totalmem } from 'node:os';

import { hashOf } from './featureCache';
import { LeastRecentlyUsed } from './leastRecentlyUsed';
import type { KeptRows } from './runtime/decoderCache';
import { type HiddenStates, releaseHidden } from './runtime/decoderRunner';

/** What the first layers of the decoder made of the beginning of a prompt: everything up to its last image token. */
export interface Prefix {
  readonly rows: number;
  /** Keys and values of these rows in layers 0 .. layers.length - 1. */
  readonly layers: readonly KeptRows[];
  /** Hidden states after those layers [rows, dim], where layers follow that look at them; undefined at full depth. */
  readonly hidden: HiddenStates | undefined;
}

/** Prompts whose beginning is kept, at most: as many as there are pictures. */
const MAX_PREFIXES = 8;
/** Bytes of all of them together, at most, and at most this share of the machine's memory. */
const MAX_BYTES = 2 ** 30;
const MEMORY_SHARE = 1 / 16;

/**
 * Keys and values of system prompt and images of the last few questions, so that a further question about the same image
 * computes its own tokens only.
 *
 * A causal decoder's rows depend on the rows before them and on nothing behind. So the beginning of a prompt may be
 * taken over where its rows enter the decoder bit for bit the same (the key is a hash of them: model, image, fit, system
 * prompt and every reduction before the decoder have done their part by then), in all layers before the first one at which
 * a reduction looks at the question. See {@link Decoding} for the conditions on the rest.
 *
 * Nothing is copied: a question takes a beginning out, appends its own rows to it, and puts it back without them.
 */
export class PrefixCache {
  private readonly prefixes: LeastRecentlyUsed<Prefix>;

  /** Where there is room for one, it goes as soon as another is wanted: whoever wants it is about to need the memory. */
  constructor(
    private readonly maxPrefixes = MAX_PREFIXES,
    maxBytes = Math.min(MAX_BYTES, totalmem() * MEMORY_SHARE),
  ) {
    this.prefixes = new LeastRecentlyUsed(maxPrefixes, maxBytes, dispose);
  }

  /** For a device, whose memory is short and cannot be asked about: it never holds the rows of more than one prompt. */
  static forDevice(): PrefixCache {
    return new PrefixCache(1);
  }

  /**
   * @param hidden the prompt's first rows as they enter the decoder.
   * @param depth how many layers are kept.
   */
  static key(hidden: Float32Array, depth: number): string {
    return `${depth} ${hashOf(hidden)}`;
  }

  get bytes(): number {
    return this.prefixes.bytes;
  }

  /** Whoever takes a beginning has it alone, and puts it back. */
  take(key: string): Prefix | undefined {
    const prefix = this.prefixes.take(key);
    if (this.maxPrefixes === 1) this.clear();
    return prefix;
  }

  put(key: string, prefix: Prefix): void {
    const { hidden, layers } = prefix;
    const hiddenBytes = hidden ? hidden.rows * hidden.columns * Float32Array.BYTES_PER_ELEMENT : 0;
    const bytes = layers.reduce((sum, { reservedBytes }) => sum + reservedBytes, hiddenBytes);
    this.prefixes.set(key, prefix, bytes);
  }

  clear(): void {
    this.prefixes.clear();
  }
}

function dispose({ layers, hidden }: Prefix): void {
  for (const layer of layers) layer.dispose();
  if (hidden) releaseHidden(hidden);
}
