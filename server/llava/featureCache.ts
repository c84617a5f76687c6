import { createHash } from 'node:crypto';

import { LeastRecentlyUsed } from './leastRecentlyUsed';
import type { Matrix } from './matrix';

/** What the tower said about one of its inputs (an image, or a tile of one), patches in raster order. */
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
 * the same picture skips the tower. Keyed by the pixels themselves, so that fit, limits and file format need no thought, and
 * empty tiles of a picture are computed once.
 */
export class FeatureCache {
  private readonly outputs: LeastRecentlyUsed<TowerOutput>;

  /** @param maxBytes of all outputs together. */
  constructor(maxBytes: number) {
    this.outputs = new LeastRecentlyUsed(Infinity, maxBytes);
  }

  static key(pixelValues: Float32Array): string {
    return hashOf(pixelValues);
  }

  /** The output for these pixels, if it is here and holds every signal that is needed. */
  get(key: string, needs: { attention: boolean; keys: boolean }): TowerOutput | undefined {
    return this.outputs.get(key, ({ attention, keys }) => {
      const lacks = (needs.attention && !attention) || (needs.keys && !keys);
      return !lacks;
    });
  }

  set(key: string, output: TowerOutput): void {
    const { features, attention, keys } = output;
    const bytes = features.data.byteLength + (attention?.byteLength ?? 0) + (keys?.data.byteLength ?? 0);
    this.outputs.set(key, output, bytes);
  }
}

/** SHA-256 of the numbers' bytes. */
export function hashOf(data: Float32Array): string {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return createHash('sha256').update(bytes).digest('base64');
}
