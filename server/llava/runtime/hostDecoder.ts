import { type TextConfig, windowOf } from '../checkpoint/config';
import type { DecoderGraph } from '../graph/decoder';
import { gatherRows, type Matrix } from '../matrix';
import {
  type DecoderRunner,
  type HiddenStates,
  type LayerRun,
  type NewRows,
  rowInputs,
  type RunOutput,
} from './decoderRunner';
import type { GraphSessions } from './graphSessions';
import { KeyValueCache } from './keyValueCache';
import { floats, floatTensor, idTensor, type Tensors } from './session';

/** Caches and hidden states in this process's memory, which the CPU's sessions read without copying. */
export class HostDecoder implements DecoderRunner {
  readonly cache: KeyValueCache;

  constructor(
    private readonly text: TextConfig,
    private readonly sessions: GraphSessions,
    capacity: number,
  ) {
    this.cache = new KeyValueCache(text.numHiddenLayers, text.numKeyValueHeads, text.headDim, capacity);
  }

  replacesSessions(): boolean {
    // A session here goes when another one takes over its layers, and its memory with it.
    return false;
  }

  async prepare(run: LayerRun, past: boolean): Promise<void> {
    for (const piece of this.sessions.pieces({ ...run, past })) await this.sessions.decoder(piece);
  }

  async run(run: LayerRun, rows: NewRows): Promise<RunOutput> {
    const past = rows.inChunks === true || (run.from < run.to && this.cache.layers[run.from].length > 0);
    const attention: Float32Array[] = [];
    let hidden = await this.enter(rows.input);
    let output: RunOutput | undefined;
    for (const piece of this.sessions.pieces({ ...run, past })) {
      output = await this.runPiece(piece, hidden, rows);
      attention.push(...output.attention);
      if (output.hidden) hidden = hiddenTensor(output.hidden);
    }
    if (!output) throw new Error(`There are no layers from ${run.from} to ${run.to}.`);
    return { ...output, attention };
  }

  private async runPiece(
    piece: DecoderGraph,
    hidden: Tensors[string],
    { labels, positions, furthest, textStart }: NewRows,
  ): Promise<RunOutput> {
    const { text } = this;
    const session = await this.sessions.decoder(piece);
    const feeds: Tensors = { hidden, ...rowInputs(text, positions, furthest) };
    if (piece.score === 'textQueries') feeds.textStart = idTensor([textStart ?? 0]);
    if (piece.past) this.feedCache(feeds, piece, positions);
    if (piece.past && piece.score === 'lastQueryNoRotary') {
      // Padded like the cache; the bias hides what that gives.
      const places = [...this.cache.layers[piece.to - 1].positions];
      while (places.length < this.rowsFed(piece.to - 1)) places.push(0);
      const { cos, sin } = rowInputs(text, places, furthest);
      Object.assign(feeds, { pastCos: cos, pastSin: sin });
    }
    const output = await session.run(feeds);

    const attention: Float32Array[] = [];
    let score = output.score && floats(output.score);
    for (let index = piece.from; index < piece.to; index++) {
      const layer = this.cache.layers[index];
      // With a past the row covers the cache's capacity (unused rows are 0) and then the new rows.
      const used = layer.length;
      const capacity = piece.past ? this.rowsFed(index) : 0;
      attention.push(compactRow(floats(output[`attention.${index}`]), capacity, used, labels.length));
      if (index === piece.to - 1) score &&= compactRow(score, capacity, used, labels.length);
      layer.append(floats(output[`key.${index}`]), floats(output[`value.${index}`]), labels, positions);
    }
    return {
      attention,
      hidden: output.nextHidden && {
        data: floats(output.nextHidden),
        rows: labels.length,
        columns: text.hiddenSize,
      },
      logits: output.logits && floats(output.logits),
      score,
    };
  }

  /** Hidden states as a tensor; tokens are looked up. */
  private async enter(input: NewRows['input']): Promise<Tensors[string]> {
    if ('rows' in input) return hiddenTensor(input);
    const embedding = await this.sessions.embedding();
    return (await embedding.run({ ids: idTensor(input) })).hidden;
  }

  /** Rows of the cache as a graph with a past sees it. */
  private rowsFed(layer: number): number {
    const { length, capacity } = this.cache.layers[layer];
    return length > 0 ? capacity : EMPTY_CAPACITY;
  }

  async select(hidden: HiddenStates, rows: readonly number[]): Promise<Matrix> {
    return gatherRows(hostMatrix(hidden), rows);
  }

  async join(parts: readonly HiddenStates[]): Promise<Matrix> {
    const matrices = parts.map(hostMatrix);
    const { columns } = matrices[0];
    const rows = matrices.reduce((sum, matrix) => sum + matrix.rows, 0);
    const data = new Float32Array(rows * columns);
    let next = 0;
    for (const matrix of matrices) {
      data.set(matrix.data, next);
      next += matrix.data.length;
    }
    return { data, rows, columns };
  }

  dispose(): void {
    // Memory of this process needs nothing.
  }

  private feedCache(
    feeds: Tensors,
    { from, to }: Pick<DecoderGraph, 'from' | 'to'>,
    positions: readonly number[],
  ): void {
    const { text } = this;
    for (let index = from; index < to; index++) {
      const layer = this.cache.layers[index];
      const { keys, values, capacity } = layer.length > 0 ? layer : emptyPast(text);
      const shape = [text.numKeyValueHeads, 1, capacity, text.headDim];
      const bias = layer.length > 0 ? layer.biasFor(positions, windowOf(text, index)) : HIDDEN_ROW;
      feeds[`pastKey.${index}`] = floatTensor(keys, shape);
      feeds[`pastValue.${index}`] = floatTensor(values, shape);
      feeds[`bias.${index}`] = floatTensor(bias.data, [bias.rows, capacity]);
    }
  }
}

/** Graphs with a past serve without one too: one row that nobody sees. */
const EMPTY_CAPACITY = 1;
const HIDDEN_ROW = { data: Float32Array.of(-Infinity), rows: 1 };

function emptyPast({ numKeyValueHeads, headDim }: TextConfig): {
  keys: Float32Array;
  values: Float32Array;
  capacity: number;
} {
  const row = new Float32Array(numKeyValueHeads * EMPTY_CAPACITY * headDim);
  return { keys: row, values: row, capacity: EMPTY_CAPACITY };
}

/** Hidden states that lie in this process. */
function hostMatrix(hidden: HiddenStates): Matrix {
  if (!('data' in hidden)) throw new Error('These hidden states lie on a device.');
  return hidden;
}

function hiddenTensor(hidden: HiddenStates): Tensors[string] {
  const { data, rows, columns } = hostMatrix(hidden);
  return floatTensor(data, [rows, columns]);
}

/** Cuts the unused rows of the cache's capacity out of attention rows [heads?, capacity + rows]. */
function compactRow(row: Float32Array, capacity: number, used: number, rows: number): Float32Array {
  if (capacity === used) return row;
  const width = capacity + rows;
  const heads = row.length / width;
  const compacted = new Float32Array(heads * (used + rows));
  for (let head = 0; head < heads; head++) {
    const target = head * (used + rows);
    compacted.set(row.subarray(head * width, head * width + used), target);
    compacted.set(row.subarray(head * width + capacity, (head + 1) * width), target + used);
  }
  return compacted;
}
