import type { Tensor } from 'onnxruntime-node';

import type { TextConfig } from '../checkpoint/config';
import type { DevicePiece } from '../graph/deviceDecoder';
import { gatherRows } from '../matrix';
import {
  type DecoderRunner,
  type HiddenStates,
  type LayerRun,
  type NewRows,
  releaseHidden,
  rowInputs,
  type RunOutput,
} from './decoderRunner';
import { DeviceCache } from './deviceCache';
import type { DeviceMatrix } from './deviceMatrix';
import type { GraphSessions } from './graphSessions';
import { type RotaryTable, rotaryTable } from './rotary';
import { floats, floatTensor, idTensor, type Tensors, zeroTensor } from './session';

/**
 * Caches and hidden states in the memory of a device. A question's rows go through the pieces that the decoder is cut
 * into (see {@link GraphSessions.cut}); only attention rows, scores and logits come back.
 */
export class DeviceDecoder implements DecoderRunner {
  readonly cache: DeviceCache;
  /** Places for one row of hidden states between two pieces. */
  private readonly between: Tensor[] = [];

  /** @param capacity rows that the caches will probably hold. */
  constructor(
    private readonly text: TextConfig,
    private readonly sessions: GraphSessions,
    capacity: number,
  ) {
    this.cache = new DeviceCache(text, sessions, capacity);
  }

  replacesSessions(runs: readonly LayerRun[]): boolean {
    for (const { from, to } of runs) this.sessions.cut(from, to);
    return this.sessions.replaces(runs.flatMap((run) => this.pieces(run)));
  }

  async prepare(run: LayerRun): Promise<void> {
    for (const piece of this.pieces(run)) await this.sessions.devicePiece(piece);
  }

  async run(run: LayerRun, rows: NewRows): Promise<RunOutput> {
    const { text, cache } = this;
    const { labels, positions, furthest } = rows;
    const attention: Float32Array[] = [];
    let score: Float32Array | undefined;
    let logits: Float32Array | undefined;
    const entering = await this.enter(rows.input);
    const rotary = rotaryTable(text.rope, text.headDim, positions, furthest);
    let hidden = entering.onDevice;
    for (const wanted of this.pieces(run)) {
      const { session, piece } = await this.sessions.devicePiece(wanted);
      const cached = await cache.open(piece, positions);
      const feeds: Tensors = { ...cached.feeds, rows: this.packRows(rotary, cached.used, entering.here) };
      if (hidden) feeds.hidden = hidden;
      if (piece.score === 'textQueries') feeds.textStart = idTensor([rows.textStart ?? 0]);
      if (piece.score === 'lastQueryNoRotary') {
        const keys = [...cache.layers[piece.to - 1].positions, ...positions];
        const { cos, sin } = rowInputs(text, keys, furthest);
        Object.assign(feeds, { keyCos: cos, keySin: sin });
      }
      const next = piece.head === 'none' ? await this.emptyRows(labels.length) : undefined;
      const output = await session.run(feeds, { ...cached.outputs, ...(next && { nextHidden: next }) });
      if (hidden && hidden !== entering.onDevice) this.giveUp(hidden);
      hidden = next;
      entering.here = undefined;
      cache.append(piece, labels, positions);
      const report = new Report(floats(output.report));
      const total = cache.layers[piece.from].length;
      const width = (piece.attention === 'heads' ? text.numAttentionHeads : 1) * total;
      for (let layer = piece.from; layer < piece.to; layer++) attention.push(report.take(width));
      const scored = piece.score && report.take(total);
      if (wanted.score) score = scored;
      if (piece.head !== 'none') logits = report.rest();
    }
    return {
      attention,
      hidden: hidden && { tensor: hidden, rows: labels.length, columns: text.hiddenSize },
      logits,
      score,
    };
  }

  /** What lies in this process stays here, and on the device there. */
  async select(hidden: HiddenStates, rows: readonly number[]): Promise<HiddenStates> {
    if ('data' in hidden) return gatherRows(hidden, rows);
    return { ...hidden, tensor: await this.gather(hidden.tensor, rows), rows: rows.length };
  }

  async join(parts: readonly HiddenStates[]): Promise<HiddenStates> {
    const [first, ...others] = parts.map(deviceMatrix);
    let joined = first;
    for (const part of others) {
      const feeds = { above: joined.tensor, below: part.tensor };
      const { rows: tensor } = await (await this.sessions.join()).run(feeds);
      if (joined !== first) releaseHidden(joined);
      joined = { tensor, rows: joined.rows + part.rows, columns: joined.columns };
    }
    return joined;
  }

  dispose(): void {
    this.cache.dispose();
    for (const tensor of this.between.splice(0)) tensor.dispose();
  }

  /** Where hidden states lie. Tokens are looked up on the CPU, where the table needs no copy. */
  private async enter(input: NewRows['input']): Promise<{ here?: Float32Array; onDevice?: Tensor }> {
    if (!('rows' in input)) {
      const embedding = await this.sessions.embedding();
      return { here: floats((await embedding.run({ ids: idTensor(input) })).hidden) };
    }
    return 'data' in input ? { here: input.data } : { onDevice: input.tensor };
  }

  /** What a piece wants to know of every new row, side by side: see {@link emitDevicePiece}. */
  private packRows({ cos, sin }: RotaryTable, used: number, hidden: Float32Array | undefined): Tensor {
    const { headDim, hiddenSize } = this.text;
    const half = headDim / 2;
    const width = (hidden ? hiddenSize : 0) + headDim + 1;
    const rows = cos.length / half;
    const packed = new Float32Array(rows * width);
    for (let row = 0; row < rows; row++) {
      let at = row * width;
      if (hidden) {
        packed.set(hidden.subarray(row * hiddenSize, (row + 1) * hiddenSize), at);
        at += hiddenSize;
      }
      packed.set(cos.subarray(row * half, (row + 1) * half), at);
      packed.set(sin.subarray(row * half, (row + 1) * half), at + half);
      packed[at + headDim] = used + row;
    }
    return floatTensor(packed, [rows, width]);
  }

  /** A place on the device for hidden states [rows, dim]. */
  private async emptyRows(rows: number): Promise<Tensor> {
    const known = rows === 1 ? this.between.pop() : undefined;
    if (known) return known;
    const shape = idTensor([rows, this.text.hiddenSize]);
    const session = await this.sessions.allocateRows();
    return (await session.run({ zero: zeroTensor('float32', []), 'shape.0': shape }))['made.0'];
  }

  /** A single row will be wanted again at the next token. */
  private giveUp(hidden: Tensor): void {
    if (hidden.dims[0] === 1) this.between.push(hidden);
    else hidden.dispose();
  }

  private async gather(data: Tensor, rows: readonly number[]): Promise<Tensor> {
    const session = await this.sessions.gatherRows();
    return (await session.run({ 'data.0': data, rows: idTensor(rows) }))['chosen.0'];
  }

  /** The pieces that make up a run. Only the last one has the head and reports a score. */
  private pieces({ from, to, head, attention, score }: LayerRun): DevicePiece[] {
    return this.sessions.cut(from, to).map((piece) => {
      const last = piece.to === to;
      return { ...piece, head: last ? head : 'none', attention, ...(score && last ? { score } : {}) };
    });
  }
}

/** Hidden states that lie on the device. */
function deviceMatrix(hidden: HiddenStates): DeviceMatrix {
  if ('data' in hidden) throw new Error('These hidden states lie in this process.');
  return hidden;
}

/** What a piece reports, part by part. */
class Report {
  private next = 0;

  constructor(private readonly data: Float32Array) {}

  take(length: number): Float32Array {
    return this.data.subarray(this.next, (this.next += length));
  }

  rest(): Float32Array {
    return this.data.subarray(this.next);
  }
}
