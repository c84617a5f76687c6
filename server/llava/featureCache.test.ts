import { describe, expect, it } from 'vitest';

import { FeatureCache, type TowerOutput } from './featureCache';

const output = (signals: { attention?: boolean; keys?: boolean } = {}): TowerOutput => ({
  features: { data: new Float32Array(4), rows: 2, columns: 2 },
  attention: signals.attention ? new Float32Array(2) : undefined,
  keys: signals.keys ? { data: new Float32Array(2), rows: 2, columns: 1 } : undefined,
});
/** What an entry without signals takes. */
const BYTES = 16;
const none = { attention: false, keys: false };

describe('FeatureCache', () => {
  it('is keyed by every pixel', () => {
    const pixels = Float32Array.from({ length: 300 }, (_, i) => i / 300);
    const other = pixels.with(299, 0.5);
    expect(FeatureCache.key(pixels)).toBe(FeatureCache.key(Float32Array.from(pixels)));
    expect(FeatureCache.key(pixels)).not.toBe(FeatureCache.key(other));
    // A view into a larger buffer counts as its own pixels only.
    expect(FeatureCache.key(other.subarray(0, 10))).toBe(FeatureCache.key(pixels.slice(0, 10)));
  });

  it('gives an output only where it holds every signal that is asked for', () => {
    const cache = new FeatureCache(2 * BYTES);
    cache.set('a', output({ attention: true }));
    expect(cache.get('a', none)).toBeDefined();
    expect(cache.get('a', { attention: true, keys: false })).toBeDefined();
    expect(cache.get('a', { attention: true, keys: true })).toBeUndefined();
  });

  it('forgets what was used longest ago', () => {
    const cache = new FeatureCache(2 * BYTES);
    cache.set('a', output());
    cache.set('b', output());
    cache.get('a', none);
    cache.set('c', output());
    expect(cache.get('b', none)).toBeUndefined();
    expect(cache.get('a', none)).toBeDefined();
    expect(cache.get('c', none)).toBeDefined();
  });

  it('counts what an entry holds, also when it is replaced', () => {
    const cache = new FeatureCache(2 * BYTES);
    for (let i = 0; i < 5; i++) cache.set('a', output());
    cache.set('b', output());
    expect(cache.get('a', none)).toBeDefined();
    // With its signals an entry takes twice the room.
    cache.set('b', output({ attention: true, keys: true }));
    expect(cache.get('a', none)).toBeUndefined();
    expect(cache.get('b', none)).toBeDefined();
  });
});
