import type { Tensor } from 'onnxruntime-node';

import type { TextConfig } from '../checkpoint/config';
import type { DevicePiece } from '../graph/deviceDecoder';
import {
  type CachedRows,
  type DecoderCache,
  type KeptRows,
  type RowLabel,
  takeOverRows,
} from './decoderCache';
import type { GraphSessions } from './graphSessions';
import { floatTensor, idTensor, int32Scalar, type Tensors, zeroTensor } from './session';

/** Rows by which a cache grows that an answer has filled: growing copies it. */
const GROWTH = 64;

/** Layers whose caches are copied in one run: a run has its price, and until it ends old and new memory are there at once. */
const LAYERS_AT_ONCE = 8;

/** The position of a row that is not in use: later than any, so that no query looks at it. */
const NOWHERE = 2 ** 30;

/** One layer's keys and values in the memory of a device, with room for rows to come. */
class DeviceLayerCache implements CachedRows, KeptRows {
  readonly labels: RowLabel[] = [];
  readonly positions: number[] = [];
  /** [1, kvHeads, capacity, headDim] each; undefined while there is no room at all. */
  tensors: { readonly key: Tensor; readonly value: Tensor } | undefined;

  get length(): number {
    return this.labels.length;
  }

  get capacity(): number {
    return this.tensors?.key.dims[2] ?? 0;
  }

  get reservedBytes(): number {
    if (!this.tensors) return 0;
    const { key, value } = this.tensors;
    return (key.size + value.size) * (key.type === 'float32' ? 4 : 2);
  }

  /** Some rows of another layer, which lie in the given tensors. */
  static of(
    { labels, positions }: CachedRows,
    rows: readonly number[],
    tensors: DeviceLayerCache['tensors'],
  ): DeviceLayerCache {
    const layer = new DeviceLayerCache();
    layer.tensors = tensors;
    for (const row of rows) {
      layer.labels.push(labels[row]);
      layer.positions.push(positions[row]);
    }
    return layer;
  }

  /** Takes what another one holds in place of its own. */
  become(other: DeviceLayerCache): void {
    this.dispose();
    this.tensors = other.tensors;
    this.labels.splice(0, this.length, ...other.labels);
    this.positions.splice(0, this.positions.length, ...other.positions);
  }

  /** Forgets all rows but the first. */
  truncate(rows: number): void {
    this.labels.length = rows;
    this.positions.length = rows;
  }

  dispose(): void {
    this.tensors?.key.dispose();
    this.tensors?.value.dispose();
    this.tensors = undefined;
  }
}

/**
 * The caches of all decoder layers of one question in the memory of a device. Rows are written where they belong by the graphs themselves
 * ({@link open}), so that a token costs neither a copy of a cache nor memory for one: onnxruntime's WebGPU keeps ten freed buffers of a
 * size, and the system takes a third of a millisecond for another.
 */
export class DeviceCache implements DecoderCache {
  readonly layers: DeviceLayerCache[];

  /** @param expected rows that the caches will probably hold. */
  constructor(
    private readonly text: TextConfig,
    private readonly sessions: GraphSessions,
    private readonly expected: number,
  ) {
    this.layers = Array.from({ length: text.numHiddenLayers }, () => new DeviceLayerCache());
  }

  get bytes(): number {
    const { numKeyValueHeads, headDim } = this.text;
    const bytesPerValue = this.sessions.float === 'float32' ? 4 : 2;
    const row = numKeyValueHeads * headDim * 2 * bytesPerValue;
    return this.layers.reduce((sum, { length }) => sum + length * row, 0);
  }

  /**
   * Makes room for new rows in the layers of a piece.
   *
   * @returns what the piece reads of the caches, and where it writes: into the same tensors.
   */
  async open(
    { from, to }: DevicePiece,
    positions: readonly number[],
  ): Promise<{ used: number; feeds: Tensors; outputs: Tensors }> {
    const layers = this.layers.slice(from, to);
    const [{ length: used }] = layers;
    const total = used + positions.length;
    if (layers.some(({ capacity }) => capacity < total)) {
      // Rows that come later have later positions.
      const expected = this.expected - positions[positions.length - 1] - 1;
      const capacity = total + Math.max(expected, used > 0 ? GROWTH : 0);
      if (used > 0) await this.layOut(layers, firstRows(used), capacity);
      else await this.allocate(layers, capacity);
    }
    const [{ capacity }] = layers;
    const keyPositions = new Float32Array(capacity).fill(NOWHERE);
    keyPositions.set(layers[0].positions);
    keyPositions.set(positions, used);
    const feeds: Tensors = {
      positions: floatTensor(Float32Array.from(positions), [positions.length]),
      keyPositions: floatTensor(keyPositions, [capacity]),
      used: idTensor([used]),
      total: idTensor([total]),
      totalLength: int32Scalar(total),
    };
    const outputs: Tensors = {};
    layers.forEach(({ tensors }, index) => {
      const { key, value } = tensors!;
      feeds[`pastKey.${from + index}`] = outputs[`key.${from + index}`] = key;
      feeds[`pastValue.${from + index}`] = outputs[`value.${from + index}`] = value;
    });
    return { used, feeds, outputs };
  }

  /** The rows that a piece has written. */
  append({ from, to }: DevicePiece, labels: readonly RowLabel[], positions: readonly number[]): void {
    for (const layer of this.layers.slice(from, to)) {
      layer.labels.push(...labels);
      layer.positions.push(...positions);
    }
  }

  async dropImageTokens(keeps: (imageToken: number) => boolean): Promise<void> {
    // Neighbours hold the same rows unless a reduction has looked between them.
    for (let first = 0, end = 0; first < this.layers.length; first = end) {
      const { labels, length, capacity } = this.layers[first];
      end = first + 1;
      while (end < this.layers.length && sameRows(this.layers[end], this.layers[first])) end++;
      const keep = firstRows(length).filter((row) => labels[row] < 0 || keeps(labels[row]));
      if (keep.length < length)
        await this.layOut(this.layers.slice(first, end), keep, capacity - length + keep.length);
    }
  }

  takeOver(kept: readonly KeptRows[], labels: readonly RowLabel[]): void {
    takeOverRows(this.layers, kept, labels, DeviceLayerCache);
  }

  async keep(rows: number, depth: number, how: 'copy' | 'move'): Promise<DeviceLayerCache[]> {
    const layers = this.layers.slice(0, depth);
    if (how === 'move') {
      for (const [index, layer] of layers.entries()) {
        layer.truncate(rows);
        this.layers[index] = new DeviceLayerCache();
      }
      return layers;
    }
    const kept: DeviceLayerCache[] = [];
    try {
      for (const some of inGroups(layers, LAYERS_AT_ONCE))
        kept.push(...(await this.copy(some, firstRows(rows), rows)));
      return kept;
    } catch (error) {
      for (const layer of kept) layer.dispose();
      throw error;
    }
  }

  dispose(): void {
    for (const layer of this.layers) layer.dispose();
  }

  /** Gives empty layers memory. */
  private async allocate(layers: readonly DeviceLayerCache[], capacity: number): Promise<void> {
    const { numKeyValueHeads, headDim } = this.text;
    const shape = idTensor([1, numKeyValueHeads, capacity, headDim]);
    const feeds: Tensors = { zero: zeroTensor('float32', []) };
    for (let index = 0; index < 2 * layers.length; index++) feeds[`shape.${index}`] = shape;
    const made = await (await this.sessions.allocateCaches(2 * layers.length)).run(feeds);
    layers.forEach((layer, index) => {
      layer.dispose();
      layer.tensors = { key: made[`made.${2 * index}`], value: made[`made.${2 * index + 1}`] };
    });
  }

  /** Gives layers that hold the same rows other memory, with some of them. */
  private async layOut(
    layers: readonly DeviceLayerCache[],
    keep: readonly number[],
    capacity: number,
  ): Promise<void> {
    for (const some of inGroups(layers, LAYERS_AT_ONCE)) {
      const copies = await this.copy(some, keep, capacity);
      some.forEach((layer, index) => layer.become(copies[index]));
    }
  }

  /** The same rows of some layers, in memory of their own. */
  private async copy(
    layers: readonly DeviceLayerCache[],
    keep: readonly number[],
    capacity: number,
  ): Promise<DeviceLayerCache[]> {
    // Unused places hold some row: what is there is not looked at, but must be a number.
    const rows = [...keep, ...new Array<number>(capacity - keep.length).fill(0)];
    const feeds: Tensors = { rows: idTensor(rows) };
    layers.forEach(({ tensors }, index) => {
      feeds[`data.${2 * index}`] = tensors!.key;
      feeds[`data.${2 * index + 1}`] = tensors!.value;
    });
    const chosen = await (await this.sessions.gatherCaches(2 * layers.length)).run(feeds);
    return layers.map((layer, index) => {
      const tensors = { key: chosen[`chosen.${2 * index}`], value: chosen[`chosen.${2 * index + 1}`] };
      return DeviceLayerCache.of(layer, keep, tensors);
    });
  }
}

function firstRows(count: number): number[] {
  return Array.from({ length: count }, (_, row) => row);
}

function sameRows(a: DeviceLayerCache, b: DeviceLayerCache): boolean {
  return (
    a.length === b.length &&
    a.capacity === b.capacity &&
    a.positions.every((position, row) => position === b.positions[row])
  );
}

function inGroups<Item>(items: readonly Item[], size: number): Item[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, group) =>
    items.slice(group * size, (group + 1) * size),
  );
}
