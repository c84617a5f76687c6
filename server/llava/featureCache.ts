import { createHash } from 'node:crypto';

import type { Matrix } from './reduction/reduction';

/** What the tower said about one image, patches in raster order. */
export interface TowerOutput {
  /** Patches, then (where the tower has one) the CLS token as the last row. */
  readonly features: Matrix;
  /** [patches] CLS attention, or attention received where there is no CLS. */
  readonly attention: Float32Array | undefined;
  /** [patches, headDim] */
  readonly keys: Matrix | undefined;
}

/**
 * The tower's output for the images of the last few questions: it depends on the pixels alone, so a further question about
 * the same picture skips the tower. Keyed by the pixels themselves, so that fit, limits and file format need no thought.
 */
export class FeatureCache {
  /** In order of last use. */
  private readonly entries = new Map<string, TowerOutput>();

  constructor(private readonly capacity: number) {}

  static key(pixelValues: Float32Array): string {
    const bytes = new Uint8Array(pixelValues.buffer, pixelValues.byteOffset, pixelValues.byteLength);
    return createHash('sha256').update(bytes).digest('base64');
  }

  /** The output for these pixels, if it is here and holds every signal that is needed. */
  get(key: string, needs: { attention: boolean; keys: boolean }): TowerOutput | undefined {
    const entry = this.entries.get(key);
    if (!entry || (needs.attention && !entry.attention) || (needs.keys && !entry.keys)) return undefined;
    this.entries.delete(key);
    this.entries.set(key, entry);
    return entry;
  }

  set(key: string, output: TowerOutput): void {
    this.entries.delete(key);
    this.entries.set(key, output);
    for (const oldest of this.entries.keys()) {
      if (this.entries.size <= this.capacity) break;
      this.entries.delete(oldest);
    }
  }
}
