import { describe, expect, it } from 'vitest';

import { OUTPUT_ROW, SYSTEM_ROW } from './decoderCache';
import { KeyValueCache, LayerCache } from './keyValueCache';

/** [kvHeads, rows, headDim] where every number tells head, row (counted from `first`) and place. */
function numbered(kvHeads: number, rows: number, headDim: number, first: number): Float32Array {
  const data = new Float32Array(kvHeads * rows * headDim);
  for (let head = 0; head < kvHeads; head++) {
    for (let row = 0; row < rows; row++) {
      for (let i = 0; i < headDim; i++)
        data[(head * rows + row) * headDim + i] = head * 1e4 + (first + row) * 10 + i;
    }
  }
  return data;
}

/** The rows in use of one head. */
function usedRows(cache: LayerCache, data: Float32Array, head: number, headDim: number): number[][] {
  return Array.from({ length: cache.length }, (_, row) => {
    const start = (head * cache.capacity + row) * headDim;
    return [...data.subarray(start, start + headDim)];
  });
}

describe.each([
  { kvHeads: 1, headDim: 2 },
  { kvHeads: 3, headDim: 4 },
])('a layer with $kvHeads heads of $headDim', ({ kvHeads, headDim }) => {
  function filled(rows: number, capacity: number): LayerCache {
    const cache = new LayerCache(kvHeads, headDim, capacity);
    for (let row = 0; row < rows; row++) {
      const one = numbered(kvHeads, 1, headDim, row);
      cache.append(
        one,
        one.map((value) => -value),
        [row % 3 === 0 ? SYSTEM_ROW : row],
        [row * 2],
      );
    }
    return cache;
  }

  it.each([1, 5, 200])('holds %i rows appended one by one, whatever it grew through', (rows) => {
    const cache = filled(rows, 2);
    for (let head = 0; head < kvHeads; head++) {
      const expected = Array.from({ length: rows }, (_, row) =>
        Array.from({ length: headDim }, (_, i) => head * 1e4 + row * 10 + i),
      );
      expect(usedRows(cache, cache.keys, head, headDim)).toEqual(expected);
      expect(usedRows(cache, cache.values, head, headDim)).toEqual(expected.map((row) => row.map((x) => -x)));
    }
    expect(cache.bytes).toBe(rows * kvHeads * headDim * 2 * 4);
    expect([...cache.bias]).toEqual(
      Array.from({ length: cache.capacity }, (_, row) => (row < rows ? 0 : -Infinity)),
    );
  });

  it('keeps exactly the rows it is told to, with labels and positions', () => {
    const cache = filled(300, 4);
    const keep = Array.from({ length: 300 }, (_, row) => row).filter((row) => row % 7 === 1);
    const capacityBefore = cache.capacity;
    cache.compact(keep);
    expect(cache.length).toBe(keep.length);
    expect(cache.capacity).toBeLessThan(capacityBefore);
    expect(cache.positions).toEqual(keep.map((row) => row * 2));
    expect(cache.labels).toEqual(keep.map((row) => (row % 3 === 0 ? SYSTEM_ROW : row)));
    for (let head = 0; head < kvHeads; head++) {
      expect(usedRows(cache, cache.keys, head, headDim).map((row) => row[0])).toEqual(
        keep.map((row) => head * 1e4 + row * 10),
      );
    }
    expect(cache.bias.filter((value) => value === 0).length).toBe(keep.length);
  });

  it('hides what lies outside a sliding window, for every query by itself', () => {
    const cache = filled(10, 12);
    const visible = (positions: number[], window: number | undefined): number[][] => {
      const { data, rows } = cache.biasFor(positions, window);
      expect(data).toHaveLength(rows * cache.capacity);
      return Array.from({ length: rows }, (_, query) =>
        cache.positions.filter((_position, row) => data[query * cache.capacity + row] === 0),
      );
    };
    expect(visible([20], 8)).toEqual([[14, 16, 18]]);
    expect(visible([20, 22, 40], 8)).toEqual([[14, 16, 18], [16, 18], []]);
    expect(visible([20, 22], undefined)).toEqual([cache.positions]);
    expect(visible([20, 22], 23)).toEqual([cache.positions]);
  });

  it('goes on from its first rows as if the others had never been', () => {
    const [cache, other] = [filled(90, 200), filled(7, 200)];
    cache.truncate(7);
    for (const layer of [cache, other])
      layer.append(
        numbered(kvHeads, 3, headDim, 7),
        numbered(kvHeads, 3, headDim, 7),
        [1, 2, 3],
        [14, 15, 16],
      );
    for (let head = 0; head < kvHeads; head++)
      expect(usedRows(cache, cache.keys, head, headDim)).toEqual(usedRows(other, other.keys, head, headDim));
    expect(cache.labels).toEqual(other.labels);
    expect(cache.positions).toEqual(other.positions);
    expect([...cache.bias].filter((value) => value === 0)).toHaveLength(10);
  });

  it('lays out rows of a prompt without gaps, in the memory that was reserved', () => {
    const cache = new LayerCache(kvHeads, headDim, 40);
    const reserved = cache.reservedBytes;
    for (const first of [0, 13, 26]) {
      const rows = numbered(kvHeads, 13, headDim, first);
      cache.append(
        rows,
        rows,
        new Array<number>(13).fill(0),
        Array.from({ length: 13 }, (_, i) => first + i),
      );
      expect(cache.capacity).toBe(first + 13);
    }
    expect([...cache.keys]).toEqual([...numbered(kvHeads, 39, headDim, 0)]);
    expect(cache.reservedBytes).toBe(reserved);
  });

  it('gives a copy of its first rows that another takes over', () => {
    const cache = filled(10, 12);
    const other = cache.copyOf(4);
    expect(other.labels).toEqual(cache.labels.slice(0, 4));
    expect(other.positions).toEqual(cache.positions.slice(0, 4));
    for (let head = 0; head < kvHeads; head++) {
      const expected = usedRows(cache, cache.values, head, headDim).slice(0, 4);
      expect(usedRows(other, other.values, head, headDim)).toEqual(expected);
    }
    cache.compact([9]);
    expect(usedRows(other, other.keys, 0, headDim)[0][0]).toBe(0);
  });
});

it('drops image tokens from every layer that still holds them, and never text', () => {
  const cache = new KeyValueCache(2, 1, 2, 8);
  const rows = (count: number): Float32Array => numbered(1, count, 2, 0);
  cache.layers[0].append(rows(5), rows(5), [SYSTEM_ROW, 0, 1, 2, OUTPUT_ROW], [0, 1, 2, 3, 4]);
  cache.layers[1].append(rows(3), rows(3), [SYSTEM_ROW, 2, OUTPUT_ROW], [0, 3, 4]);
  cache.dropImageTokens((token) => token === 1);
  expect(cache.layers[0].labels).toEqual([SYSTEM_ROW, 1, OUTPUT_ROW]);
  expect(cache.layers[1].labels).toEqual([SYSTEM_ROW, OUTPUT_ROW]);
  expect(cache.bytes).toBe((3 + 2) * 2 * 2 * 4);
});
