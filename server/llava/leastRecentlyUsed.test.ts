import { describe, expect, it } from 'vitest';

import { LeastRecentlyUsed } from './leastRecentlyUsed';

describe('least recently used values', () => {
  it('leave when there are too many', () => {
    const kept = new LeastRecentlyUsed<number>(2);
    kept.set('a', 1);
    kept.set('b', 2);
    expect(kept.get('a')).toBe(1);
    kept.set('c', 3);
    expect(['a', 'b', 'c'].map((key) => kept.get(key))).toEqual([1, undefined, 3]);
  });

  it('leave when they are too large together, and one that is too large alone never comes', () => {
    const kept = new LeastRecentlyUsed<string>(100, 10);
    for (const key of ['a', 'b', 'c']) kept.set(key, key, 4);
    expect(['a', 'b', 'c'].map((key) => kept.get(key))).toEqual([undefined, 'b', 'c']);
    expect(kept.bytes).toBe(8);
    kept.set('d', 'd', 11);
    expect(kept.get('d')).toBeUndefined();
    expect(kept.size).toBe(2);
  });

  it('are replaced by a later value of the same key, whose size counts', () => {
    const kept = new LeastRecentlyUsed<string>(100, 10);
    kept.set('a', 'first', 9);
    kept.set('a', 'second', 2);
    expect(kept.get('a')).toBe('second');
    expect(kept.bytes).toBe(2);
    kept.set('a', 'too large', 11);
    expect(kept.get('a')).toBeUndefined();
    expect(kept.bytes).toBe(0);
  });

  it('that are refused stay where they are in the order', () => {
    const kept = new LeastRecentlyUsed<number>(2);
    kept.set('a', 1);
    kept.set('b', 2);
    expect(kept.get('a', () => false)).toBeUndefined();
    kept.set('c', 3);
    expect(kept.get('a')).toBeUndefined();
  });

  it('that leave are told of, but not those that are taken', () => {
    const left: string[] = [];
    const kept = new LeastRecentlyUsed<string>(2, 10, (value) => left.push(value));
    for (const value of ['a', 'b', 'c']) kept.set(value, value, 1);
    kept.set('b', 'replacement', 1);
    kept.set('d', 'too large', 11);
    expect(kept.take('c')).toBe('c');
    kept.clear();
    expect(left).toEqual(['a', 'b', 'too large', 'replacement']);
    expect([kept.size, kept.bytes]).toEqual([0, 0]);
  });
});
