import type { CachedRows, DecoderCache } from './decoderRunner';

/** Rows by which a full layer grows: growing copies the layer, unused rows cost attention time. */
const GROWTH = 64;

/** What a cached row belongs to: an image token (its index among the tokens that entered the decoder) or a kind of text. */
export type RowLabel = number;
export const SYSTEM_ROW: RowLabel = -1;
export const INSTRUCTION_ROW: RowLabel = -2;
export const OUTPUT_ROW: RowLabel = -3;

/**
 * Keys and values of one decoder layer, [kvHeads, capacity, headDim] each, owned by us: new rows are appended, dropped
 * rows are compacted in place, and the graph reads them without ever giving them back.
 */
export class LayerCache implements CachedRows {
  keys: Float32Array;
  values: Float32Array;
  /** [capacity]: 0 for rows in use, -Infinity for the rest. */
  bias: Float32Array;
  /** One label per row in use. */
  readonly labels: RowLabel[] = [];
  /** Original (rotary) position of every row in use. */
  readonly positions: number[] = [];
  capacity: number;

  constructor(
    private readonly kvHeads: number,
    private readonly headDim: number,
    capacity: number,
  ) {
    this.capacity = capacity;
    this.keys = new Float32Array(kvHeads * capacity * headDim);
    this.values = new Float32Array(kvHeads * capacity * headDim);
    this.bias = new Float32Array(capacity).fill(-Infinity);
  }

  get length(): number {
    return this.labels.length;
  }

  /** Bytes of the rows in use. */
  get bytes(): number {
    return this.length * this.kvHeads * this.headDim * 2 * Float32Array.BYTES_PER_ELEMENT;
  }

  /** Appends rows given as [kvHeads, rows, headDim]. */
  append(
    keys: Float32Array,
    values: Float32Array,
    labels: readonly RowLabel[],
    positions: readonly number[],
  ): void {
    const rows = labels.length;
    const start = this.length;
    if (start + rows > this.capacity) this.resize(start + rows + GROWTH);
    const width = this.headDim;
    for (let head = 0; head < this.kvHeads; head++) {
      const target = (head * this.capacity + start) * width;
      const source = head * rows * width;
      this.keys.set(keys.subarray(source, source + rows * width), target);
      this.values.set(values.subarray(source, source + rows * width), target);
    }
    this.bias.fill(0, start, start + rows);
    this.labels.push(...labels);
    this.positions.push(...positions);
  }

  /** A copy of the first rows, as {@link append} takes them. */
  firstRows(rows: number): { keys: Float32Array; values: Float32Array } {
    const copy = (from: Float32Array): Float32Array => {
      const to = new Float32Array(this.kvHeads * rows * this.headDim);
      this.move(from, this.capacity, to, rows, rows);
      return to;
    };
    return { keys: copy(this.keys), values: copy(this.values) };
  }

  /** Keeps the given rows (ascending) and forgets the others, in place; gives memory back when much became free. */
  compact(keep: ArrayLike<number>): void {
    const width = this.headDim;
    for (let head = 0; head < this.kvHeads; head++) {
      const base = head * this.capacity * width;
      for (let row = 0; row < keep.length; row++) {
        const source = base + keep[row] * width;
        this.keys.copyWithin(base + row * width, source, source + width);
        this.values.copyWithin(base + row * width, source, source + width);
      }
    }
    for (let row = 0; row < keep.length; row++) {
      this.labels[row] = this.labels[keep[row]];
      this.positions[row] = this.positions[keep[row]];
      this.bias[row] = this.bias[keep[row]];
    }
    this.labels.length = keep.length;
    this.positions.length = keep.length;
    this.bias.fill(-Infinity, keep.length);
    if (this.capacity > keep.length + 2 * GROWTH) this.resize(keep.length + GROWTH);
  }

  /**
   * What queries at `positions` (ascending) may see of the rows: [1, capacity] where it is the same for all of them,
   * otherwise [queries, capacity]. With a sliding window (Mistral) a row is hidden that lies `window` or more before a query.
   */
  biasFor(positions: readonly number[], window: number | undefined): { data: Float32Array; rows: number } {
    const furthest = positions[positions.length - 1] - this.positions[0];
    if (window === undefined || !(furthest >= window)) return { data: this.bias, rows: 1 };
    const data = new Float32Array(positions.length * this.capacity).fill(-Infinity);
    positions.forEach((position, query) => {
      for (let row = 0; row < this.length; row++) {
        if (position - this.positions[row] < window) data[query * this.capacity + row] = 0;
      }
    });
    return { data, rows: positions.length };
  }

  private resize(capacity: number): void {
    const grown = (from: Float32Array): Float32Array => {
      const to = new Float32Array(this.kvHeads * capacity * this.headDim);
      this.move(from, this.capacity, to, capacity, this.length);
      return to;
    };
    this.keys = grown(this.keys);
    this.values = grown(this.values);
    const bias = new Float32Array(capacity).fill(-Infinity);
    bias.set(this.bias.subarray(0, this.length));
    this.bias = bias;
    this.capacity = capacity;
  }

  /** Copies the first rows of [kvHeads, fromCapacity, headDim] to [kvHeads, toCapacity, headDim]. */
  private move(
    from: Float32Array,
    fromCapacity: number,
    to: Float32Array,
    toCapacity: number,
    rows: number,
  ): void {
    const width = this.headDim;
    for (let head = 0; head < this.kvHeads; head++) {
      const source = head * fromCapacity * width;
      to.set(from.subarray(source, source + rows * width), head * toCapacity * width);
    }
  }
}

/** The caches of all decoder layers of one question. */
export class KeyValueCache implements DecoderCache {
  readonly layers: readonly LayerCache[];

  constructor(layers: number, kvHeads: number, headDim: number, capacity: number) {
    this.layers = Array.from({ length: layers }, () => new LayerCache(kvHeads, headDim, capacity));
  }

  get bytes(): number {
    return this.layers.reduce((sum, layer) => sum + layer.bytes, 0);
  }

  async dropImageTokens(keeps: (imageToken: number) => boolean): Promise<void> {
    for (const layer of this.layers) {
      const keep: number[] = [];
      layer.labels.forEach((label, row) => {
        if (label < 0 || keeps(label)) keep.push(row);
      });
      if (keep.length < layer.length) layer.compact(keep);
    }
  }
}
