import type { Tensor } from 'onnxruntime-node';

import type { TextConfig } from '../checkpoint/config';
import type { DevicePiece } from '../graph/deviceDecoder';
import type { CachedRows, DecoderCache, KeptRows, RowLabel } from './decoderCache';
import {
  type DecoderRunner,
  type HiddenStates,
  type LayerRun,
  type NewRows,
  releaseHidden,
  rowInputs,
  type RunOutput,
} from './decoderRunner';
import type { DeviceMatrix } from './deviceMatrix';
import type { GraphSessions } from './graphSessions';
import { emptyTensor, floats, floatTensor, idTensor, type Session, type Tensors } from './session';

/**
 * Caches and hidden states in the memory of a device. A question's rows go through the pieces that the decoder is cut
 * into (see {@link GraphSessions.cut}); only attention rows, scores and logits come back.
 */
export class DeviceDecoder implements DecoderRunner {
  readonly cache: DeviceCache;

  constructor(
    private readonly text: TextConfig,
    private readonly sessions: GraphSessions,
  ) {
    this.cache = new DeviceCache(text, sessions);
  }

  async prepare(run: LayerRun): Promise<void> {
    for (const piece of this.pieces(run)) await this.sessions.devicePiece(piece);
    if (run.head !== 'none') await this.sessions.deviceHead();
  }

  async run(run: LayerRun, rows: NewRows): Promise<RunOutput> {
    const { text } = this;
    const places = rowInputs(text, rows.positions, rows.furthest);
    const attention: Float32Array[] = [];
    let score: Float32Array | undefined;
    const given = await this.enter(rows.input);
    let hidden = given;
    for (const wanted of this.pieces(run)) {
      const { session, piece } = await this.sessions.devicePiece(wanted);
      const feeds: Tensors = { hidden, ...places, ...this.cache.feeds(piece, rows.positions) };
      if (piece.score === 'textQueries') feeds.textStart = idTensor([rows.textStart ?? 0]);
      if (piece.score === 'lastQueryNoRotary') {
        const keys = [...this.cache.layers[piece.to - 1].positions, ...rows.positions];
        const { cos, sin } = rowInputs(text, keys, rows.furthest);
        Object.assign(feeds, { keyCos: cos, keySin: sin });
      }
      const output = await session.run(feeds);
      if (hidden !== given) hidden.dispose();
      hidden = output.nextHidden;
      this.cache.replace(piece, output, rows.labels, rows.positions);
      attention.push(...split(floats(output.attention), piece.to - piece.from));
      if (wanted.score) score = floats(output.score);
    }
    if (run.head === 'none') {
      const left = { tensor: hidden, rows: rows.labels.length, columns: text.hiddenSize };
      return { attention, hidden: left, logits: undefined, score };
    }
    const last = rows.labels.length - 1;
    const predicting = run.head === 'last' && last > 0 ? await this.gather(hidden, [last]) : hidden;
    const { logits } = await (await this.sessions.deviceHead()).run({ hidden: predicting });
    for (const tensor of new Set([predicting, hidden])) tensor.dispose();
    return { attention, hidden: undefined, logits: floats(logits), score };
  }

  async select(hidden: HiddenStates, rows: readonly number[]): Promise<DeviceMatrix> {
    const tensor = await this.gather(await this.enter(hidden), rows);
    return { tensor, rows: rows.length, columns: hidden.columns };
  }

  async join(parts: readonly HiddenStates[]): Promise<HiddenStates> {
    const [first, ...others] = parts;
    let joined = first;
    for (const part of others) {
      const feeds = { above: await this.enter(joined), below: await this.enter(part) };
      const { rows: tensor } = await (await this.sessions.join()).run(feeds);
      if (joined !== first) releaseHidden(joined);
      joined = { tensor, rows: joined.rows + part.rows, columns: joined.columns };
    }
    return joined;
  }

  dispose(): void {
    this.cache.dispose();
  }

  /** Hidden states as a tensor, wherever they lie. Tokens are looked up on the CPU, where the table needs no copy. */
  private async enter(input: NewRows['input']): Promise<Tensor> {
    if (!('rows' in input)) {
      const embedding = await this.sessions.embedding();
      return (await embedding.run({ ids: idTensor(input) })).hidden;
    }
    return 'data' in input ? floatTensor(input.data, [input.rows, input.columns]) : input.tensor;
  }

  private async gather(data: Tensor, rows: readonly number[]): Promise<Tensor> {
    return (await (await this.sessions.gather('rows')).run({ data, rows: idTensor(rows) })).chosen;
  }

  /** The pieces that make up a run. Only the last one reports a score. */
  private pieces({ from, to, attention, score }: LayerRun): DevicePiece[] {
    return this.sessions
      .cut(from, to)
      .map((piece) => ({ ...piece, attention, ...(score && piece.to === to ? { score } : {}) }));
  }
}

class DeviceLayerCache implements CachedRows, KeptRows {
  readonly labels: RowLabel[] = [];
  readonly positions: number[] = [];
  /** [kvHeads, length, headDim] each; undefined while empty. */
  tensors: { key: Tensor; value: Tensor } | undefined;

  get length(): number {
    return this.labels.length;
  }

  get reservedBytes(): number {
    if (!this.tensors) return 0;
    const { key, value } = this.tensors;
    return (key.size + value.size) * (key.type === 'float32' ? 4 : 2);
  }

  /** Copies of some rows (ascending). */
  async select(session: Session, keep: readonly number[]): Promise<DeviceLayerCache> {
    const selected = new DeviceLayerCache();
    const rows = idTensor(keep);
    const { key, value } = this.tensors!;
    selected.tensors = {
      key: (await session.run({ data: key, rows })).chosen,
      value: (await session.run({ data: value, rows })).chosen,
    };
    for (const row of keep) {
      selected.labels.push(this.labels[row]);
      selected.positions.push(this.positions[row]);
    }
    return selected;
  }

  dispose(): void {
    this.tensors?.key.dispose();
    this.tensors?.value.dispose();
    this.tensors = undefined;
  }
}

class DeviceCache implements DecoderCache {
  readonly layers: DeviceLayerCache[];

  constructor(
    private readonly text: TextConfig,
    private readonly sessions: GraphSessions,
  ) {
    this.layers = Array.from({ length: text.numHiddenLayers }, () => new DeviceLayerCache());
  }

  get bytes(): number {
    const { numKeyValueHeads, headDim } = this.text;
    const bytesPerValue = this.sessions.float === 'float32' ? 4 : 2;
    const row = numKeyValueHeads * headDim * 2 * bytesPerValue;
    return this.layers.reduce((sum, { length }) => sum + length * row, 0);
  }

  /** What the layers of a piece have cached, and the positions of cached and new rows. */
  feeds({ from, to }: DevicePiece, positions: readonly number[]): Tensors {
    const keyPositions = Float32Array.from([...this.layers[from].positions, ...positions]);
    const feeds: Tensors = { keyPositions: floatTensor(keyPositions, [keyPositions.length]) };
    for (let layer = from; layer < to; layer++) {
      const { tensors } = this.layers[layer];
      feeds[`pastKey.${layer}`] = tensors?.key ?? this.empty();
      feeds[`pastValue.${layer}`] = tensors?.value ?? this.empty();
    }
    return feeds;
  }

  /** Takes the caches that a piece has made of the old ones and the new rows. */
  replace(
    { from, to }: DevicePiece,
    output: Tensors,
    labels: readonly RowLabel[],
    positions: readonly number[],
  ): void {
    for (let index = from; index < to; index++) {
      const layer = this.layers[index];
      layer.tensors?.key.dispose();
      layer.tensors?.value.dispose();
      layer.tensors = { key: output[`key.${index}`], value: output[`value.${index}`] };
      layer.labels.push(...labels);
      layer.positions.push(...positions);
    }
  }

  async dropImageTokens(keeps: (imageToken: number) => boolean): Promise<void> {
    const session = await this.sessions.gather('cache');
    for (const [index, layer] of this.layers.entries()) {
      const keep = layer.labels.flatMap((label, row) => (label < 0 || keeps(label) ? [row] : []));
      if (keep.length === layer.length || !layer.tensors) continue;
      this.layers[index] = await layer.select(session, keep);
      layer.dispose();
    }
  }

  takeOver(kept: readonly KeptRows[], labels: readonly RowLabel[]): void {
    kept.forEach((layer, index) => {
      if (!(layer instanceof DeviceLayerCache)) throw new Error('These rows lie in this process.');
      layer.labels.splice(0, labels.length, ...labels);
      this.layers[index] = layer;
    });
  }

  /** Layer by layer, so that no more than one is there twice where they are moved. */
  async keep(rows: number, depth: number, how: 'copy' | 'move'): Promise<DeviceLayerCache[]> {
    const session = await this.sessions.gather('cache');
    const first = Array.from({ length: rows }, (_, row) => row);
    const kept: DeviceLayerCache[] = [];
    try {
      for (const layer of this.layers.slice(0, depth)) {
        kept.push(await layer.select(session, first));
        if (how === 'move') layer.dispose();
      }
    } catch (error) {
      for (const layer of kept) layer.dispose();
      throw error;
    }
    return kept;
  }

  dispose(): void {
    for (const layer of this.layers) layer.dispose();
  }

  private empty(): Tensor {
    return emptyTensor(this.sessions.float, [this.text.numKeyValueHeads, 0, this.text.headDim]);
  }
}

/** Equal parts of an array. */
function split(data: Float32Array, parts: number): Float32Array[] {
  const length = data.length / parts;
  return Array.from({ length: parts }, (_, part) => data.subarray(part * length, (part + 1) * length));
}
