import {
  type CachedRows,
  type DecoderCache,
  type KeptRows,
  type RowLabel,
  takeOverRows,
} from './decoderCache';

/** Rows that an answer's next token makes room for at once: laying a layer out anew copies it, unused rows cost attention time. */
const GROWTH = 64;

/**
 * Keys and values of one decoder layer, [kvHeads, capacity, headDim] each, owned by us: new rows are appended, dropped
 * rows are compacted in place, and the graph reads them without ever giving them back.
 *
 * A graph computes the attention of unused rows too. So `capacity` is what is in use or little more, and heads are moved apart within
 * the memory that was reserved when rows are appended; a prompt in chunks would otherwise cost the attention over its whole length
 * for each of them. Reserved memory that was never written to is none for the system.
 */
export class LayerCache implements CachedRows, KeptRows {
  /** [reserved rows * kvHeads * headDim], of which the first kvHeads * capacity * headDim are the cache. */
  private keyMemory: Float32Array;
  private valueMemory: Float32Array;
  /** [capacity]: 0 for rows in use, -Infinity for the rest. */
  bias: Float32Array;
  /** One label per row in use. */
  readonly labels: RowLabel[] = [];
  /** Original (rotary) position of every row in use. */
  readonly positions: number[] = [];
  /** Rows of each head as they lie in memory. */
  capacity = 0;

  /** @param reserved rows that are expected. */
  constructor(
    private readonly kvHeads: number,
    private readonly headDim: number,
    private reserved: number,
  ) {
    this.keyMemory = this.allocate(reserved);
    this.valueMemory = this.allocate(reserved);
    this.bias = new Float32Array(0);
  }

  /** [kvHeads, capacity, headDim] */
  get keys(): Float32Array {
    return this.keyMemory.subarray(0, this.kvHeads * this.capacity * this.headDim);
  }

  /** [kvHeads, capacity, headDim] */
  get values(): Float32Array {
    return this.valueMemory.subarray(0, this.kvHeads * this.capacity * this.headDim);
  }

  get length(): number {
    return this.labels.length;
  }

  /** Bytes of the rows in use. */
  get bytes(): number {
    return this.length * this.kvHeads * this.headDim * 2 * Float32Array.BYTES_PER_ELEMENT;
  }

  get reservedBytes(): number {
    return this.keyMemory.byteLength + this.valueMemory.byteLength;
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
    if (start + rows > this.capacity) this.makeRoom(start + rows, rows === 1);
    const width = this.headDim;
    for (let head = 0; head < this.kvHeads; head++) {
      const target = (head * this.capacity + start) * width;
      const source = head * rows * width;
      this.keyMemory.set(keys.subarray(source, source + rows * width), target);
      this.valueMemory.set(values.subarray(source, source + rows * width), target);
    }
    this.bias.fill(0, start, start + rows);
    this.labels.push(...labels);
    this.positions.push(...positions);
  }

  /** Forgets all rows but the first. */
  truncate(rows: number): void {
    this.labels.length = rows;
    this.positions.length = rows;
    this.bias.fill(-Infinity, rows);
  }

  /** A copy of the first rows in memory of its own. */
  copyOf(rows: number): LayerCache {
    const copy = new LayerCache(this.kvHeads, this.headDim, rows);
    this.move(this.keyMemory, this.capacity, copy.keyMemory, rows, rows);
    this.move(this.valueMemory, this.capacity, copy.valueMemory, rows, rows);
    copy.labels.push(...this.labels.slice(0, rows));
    copy.positions.push(...this.positions.slice(0, rows));
    copy.setCapacity(rows);
    return copy;
  }

  dispose(): void {
    // The memory is this process's.
  }

  /** Keeps the given rows (ascending) and forgets the others, in place; gives memory back when much became free. */
  compact(keep: ArrayLike<number>): void {
    const width = this.headDim;
    for (let head = 0; head < this.kvHeads; head++) {
      const base = head * this.capacity * width;
      for (let row = 0; row < keep.length; row++) {
        const source = base + keep[row] * width;
        this.keyMemory.copyWithin(base + row * width, source, source + width);
        this.valueMemory.copyWithin(base + row * width, source, source + width);
      }
    }
    for (let row = 0; row < keep.length; row++) {
      this.labels[row] = this.labels[keep[row]];
      this.positions[row] = this.positions[keep[row]];
    }
    this.truncate(keep.length);
    if (this.capacity > keep.length + 2 * GROWTH) this.reallocate(keep.length + GROWTH);
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

  /** Makes room for `needed` rows, and for some more where one came by itself: it is an answer's, and others will follow. */
  private makeRoom(needed: number, moreFollow: boolean): void {
    const wanted = needed + (moreFollow ? GROWTH : 0);
    if (needed > this.reserved) this.reallocate(wanted);
    else this.layOut(Math.min(wanted, this.reserved));
  }

  /** Moves the heads within the reserved memory, `capacity` rows apart. */
  private layOut(capacity: number): void {
    // Backwards, because every head moves to where the next one lies.
    const width = this.headDim;
    for (let head = this.kvHeads - 1; head > 0; head--) {
      const source = head * this.capacity * width;
      const target = head * capacity * width;
      this.keyMemory.copyWithin(target, source, source + this.length * width);
      this.valueMemory.copyWithin(target, source, source + this.length * width);
    }
    this.setCapacity(capacity);
  }

  private reallocate(capacity: number): void {
    const moved = (from: Float32Array): Float32Array => {
      const to = this.allocate(capacity);
      this.move(from, this.capacity, to, capacity, this.length);
      return to;
    };
    this.keyMemory = moved(this.keyMemory);
    this.valueMemory = moved(this.valueMemory);
    this.reserved = capacity;
    this.setCapacity(capacity);
  }

  private setCapacity(capacity: number): void {
    this.capacity = capacity;
    this.bias = new Float32Array(capacity).fill(-Infinity, this.length);
  }

  private allocate(rows: number): Float32Array {
    return new Float32Array(this.kvHeads * rows * this.headDim);
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
  readonly layers: LayerCache[];

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

  takeOver(kept: readonly KeptRows[], labels: readonly RowLabel[]): void {
    takeOverRows(this.layers, kept, labels, LayerCache);
  }

  async keep(rows: number, depth: number, how: 'copy' | 'move'): Promise<LayerCache[]> {
    const layers = this.layers.slice(0, depth);
    if (how === 'copy') return layers.map((layer) => layer.copyOf(rows));
    for (const layer of layers) layer.truncate(rows);
    return layers;
  }
}
