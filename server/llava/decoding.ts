import type { TokenId, TraceStage } from '../protocol';
import type { TextConfig } from './checkpoint/config';
import { DeviceError, InputError, throwIfCancelled } from './errors';
import { PrefixCache, type Prefix } from './prefixCache';
import type { TrainedHeads } from './reduction/trainedHeads';
import type { Matrix } from './matrix';
import type { LayerInput, LayerScore, ModelShape, Reduction } from './reduction/reduction';
import { createDecoderRunner } from './runtime/createDecoderRunner';
import type { DecoderCache } from './runtime/decoderCache';
import {
  type DecoderRunner,
  type HiddenStates,
  type LayerRun,
  type NewRows,
  releaseHidden,
  type RunOutput,
} from './runtime/decoderRunner';
import type { GraphSessions } from './runtime/graphSessions';
import { INSTRUCTION_ROW, OUTPUT_ROW, type RowLabel, SYSTEM_ROW } from './runtime/decoderCache';
import { recordStage } from './trace';
import { chunkStarts, type ChunkLimits } from './promptChunks';

/** The rows that enter the decoder at prefill. */
export interface Prompt {
  /** [rows, textDim] */
  readonly hidden: Matrix;
  /** Index among the image tokens, or the kind of text. */
  readonly labels: readonly RowLabel[];
  /** Ids of the image tokens, aligned with the labels >= 0. */
  readonly imageTokens: readonly TokenId[];
  /** Raster index of every image token in its grid, or -1. */
  readonly raster: Int32Array;
  /** Token ids of the rows after the last image token: what may follow a known beginning. Undefined: nothing is taken over. */
  readonly tailIds?: readonly number[];
}

/** What one forward pass left: logits of the next token, and where the last position looked. */
export interface DecoderOutput {
  readonly logits: Float32Array;
  /** Mean over heads and over the layers that hold the token [image tokens that entered]; 0 where dropped everywhere. */
  readonly imageAttention: Float32Array;
}

/** One layer's attention row of the position that predicts answer token `step` (0 = the first). */
export interface AttentionRow {
  readonly step: number;
  readonly layer: number;
  /** Mean over heads [rows]. */
  readonly attention: Float32Array;
  /** What every row is; aligned with `attention`. */
  readonly labels: readonly RowLabel[];
}

export interface DecodingOptions {
  readonly text: TextConfig;
  readonly sessions: GraphSessions;
  readonly reductions: readonly Reduction[];
  readonly shape: ModelShape;
  /** Heads that were trained for the checkpoint. */
  readonly heads?: TrainedHeads;
  readonly signal: AbortSignal | undefined;
  readonly stages: TraceStage[];
  readonly contextId: TokenId;
  readonly onSelectionTime: (milliseconds: number) => void;
  readonly onAttention?: (row: AttentionRow) => void;
  /** Beginnings of earlier prompts; undefined computes every row. */
  readonly prefixes?: PrefixCache;
  /** What earlier questions left on the device is about to go. */
  readonly onSessionsReplaced?: () => void;
  readonly chunks?: ChunkLimits;
}

/** What a prompt took over from an earlier one: its first `tokens` rows in the first `layers` layers. */
export interface ReusedPrefix {
  readonly tokens: number;
  readonly layers: number;
}

/** Where the first `rows` rows of a prompt are kept. */
interface PrefixPlace {
  readonly key: string;
  readonly rows: number;
}

interface Beginning {
  readonly place?: PrefixPlace;
  readonly prefix?: Prefix;
}

/** Rows on their way through the decoder. */
interface PromptRows {
  readonly hidden: HiddenStates;
  readonly labels: readonly RowLabel[];
  readonly positions: readonly number[];
  /** The prompt goes on behind them. */
  readonly moreFollow?: boolean;
}

/** What a segment left: logits behind the last layer, hidden states before another; a score where one was wanted. */
type SegmentOutput = Omit<RunOutput, 'attention'>;

/** A cut before `layer`, where reductions look at attention and drop image tokens. */
interface Boundary {
  layer: number;
  score: LayerScore;
  reductions: Reduction[];
}

/** What is computed ahead of a question goes through the decoder in runs of about this time, the first of so many rows. */
const AHEAD_RUN_MS = 1000;
const AHEAD_FIRST_ROWS = 32;

/** The decoder at work on one question: prefill in segments, then one token at a time. */
export class Decoding implements AsyncDisposable {
  private readonly runner: DecoderRunner;
  private readonly boundaries: readonly Boundary[];
  private readonly byHead: boolean;
  private nextPosition = 0;
  private steps = 0;
  private prompt!: Prompt;
  /** How the prompt's last position looked at every image token that entered (for atStep). */
  private importance: Float32Array = new Float32Array(0);
  /** Head rows of the last forward pass, for atStep. */
  private lastHeads: HeadRows | undefined;
  private looked: ({ prompt: Prompt } & Beginning) | undefined;
  /** The prompt's beginning, to be kept when its rows are no longer needed here. */
  private lent: (PrefixPlace & { depth: number; hidden: HiddenStates | undefined }) | undefined;
  /** What the prefill took over; undefined where it computed every row. */
  reused: ReusedPrefix | undefined;

  constructor(
    private readonly options: DecodingOptions,
    capacity: number,
  ) {
    const { text, reductions, sessions, shape } = options;
    this.runner = createDecoderRunner(text, sessions, capacity);
    this.boundaries = collectBoundaries(reductions, shape);
    this.byHead = reductions.some((reduction) => reduction.atStep);
  }

  get cache(): DecoderCache {
    return this.runner.cache;
  }

  /** Gives up what lies on a device, and gives the prompt's beginning back; afterwards nothing can be decoded. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { looked, reused } = this;
    if (looked?.place && looked.prefix && !reused)
      this.options.prefixes?.put(looked.place.key, looked.prefix);
    await this.keepBeginning('move');
    this.runner.dispose();
  }

  /** Image tokens in the cache of the deepest layer. */
  get imageTokensLeft(): number {
    const deepest = this.cache.layers[this.cache.layers.length - 1];
    return deepest.labels.reduce((count, label) => count + (label >= 0 ? 1 : 0), 0);
  }

  /** Runs the prompt, cut at the boundaries, and fills the caches. `head: 'all'` returns logits of every row left. */
  async prefill(prompt: Prompt, head: 'last' | 'all' = 'last'): Promise<DecoderOutput> {
    const { text, signal } = this.options;
    this.prompt = prompt;
    this.nextPosition = prompt.labels.length;
    const attention = new AttentionMean(prompt.imageTokens.length, this.byHead ? text.numAttentionHeads : 0);

    const { place, prefix } = head === 'last' ? this.beginning(prompt) : {};
    if (place && prefix) this.takeOver(place, prefix, prompt);

    let hidden: HiddenStates = prompt.hidden;
    let labels = [...prompt.labels];
    let positions = labels.map((_, index) => index);
    let from = 0;
    for (const boundary of [...this.boundaries, undefined]) {
      throwIfCancelled(signal);
      const part = this.segment(from, boundary, head);
      const rows = { hidden, labels, positions };
      const output =
        from === 0 && prefix
          ? await this.runTail(part, prefix, rows, attention)
          : await this.runSegment(part, rows, attention);
      if (from === 0 && place && !prefix) {
        const first = Array.from({ length: place.rows }, (_, row) => row);
        const kept = output.hidden && (await this.runner.select(output.hidden, first));
        this.lent = { ...place, depth: part.to, hidden: kept };
      }
      if (!boundary) return this.finish(output.logits!, attention);

      const keep = this.reduceAt(boundary, output.score ?? attention.lastRow, labels);
      labels = keep.map((index) => labels[index]);
      positions = keep.map((index) => positions[index]);
      hidden = await this.runner.select(output.hidden!, keep);
      releaseHidden(output.hidden!);
      from = part.to;
    }
    throw new Error('unreachable: the last segment returns');
  }

  /**
   * Computes what a prompt's beginning leaves in the first layers, up to where the question matters, and keeps it for the prompts that
   * begin like this one. It goes through the session that a further question's own rows go through, so that it needs none of its own, and
   * in runs of about {@link AHEAD_RUN_MS}: whoever asks something else meanwhile waits for the end of one.
   */
  async readAhead(prompt: Prompt): Promise<void> {
    await this.makeWay();
    const { place, prefix } = this.beginning(prompt);
    if (!place || prefix) return;
    const part = this.segment(0, this.boundaries.at(0), 'last');
    await this.runner.prepare(part, true);
    const { columns, data } = prompt.hidden;
    const hidden = await this.joined(async (left) => {
      for (let start = 0, rows = AHEAD_FIRST_ROWS; start < place.rows;) {
        throwIfCancelled(this.options.signal);
        const end = Math.min(start + rows, place.rows);
        const before = performance.now();
        const output = await this.runSegment(
          part,
          {
            hidden: { data: data.subarray(start * columns, end * columns), rows: end - start, columns },
            labels: prompt.labels.slice(start, end),
            positions: Array.from({ length: end - start }, (_, row) => start + row),
            moreFollow: true,
          },
          undefined,
        );
        if (output.hidden) left.push(output.hidden);
        const perRow = (performance.now() - before) / (end - start);
        rows = Math.max(AHEAD_FIRST_ROWS, Math.floor(AHEAD_RUN_MS / perRow));
        start = end;
      }
    });
    this.lent = { ...place, depth: part.to, hidden };
  }

  /** A segment of which `prefix` knows the first rows. */
  private async runTail(
    part: LayerRun,
    prefix: Prefix,
    { labels, positions }: PromptRows,
    attention: AttentionMean,
  ): Promise<SegmentOutput> {
    const known = prefix.rows;
    const rows = {
      input: this.prompt.tailIds!,
      labels: labels.slice(known),
      positions: positions.slice(known),
      furthest: positions[positions.length - 1],
      textStart: instructionStart(labels) - known,
    };
    const output = await this.run(part, rows, attention);
    const { hidden } = output;
    if (!hidden || !prefix.hidden) return output;
    const whole = await this.runner.join([prefix.hidden, hidden]);
    releaseHidden(hidden);
    return { ...output, hidden: whole };
  }

  /**
   * A segment of the prompt; a long one in chunks of rows ({@link chunkStarts}), each over what those before it left in the cache. Heads
   * and scores of all chunks but the last are computed for nothing, but in one session.
   */
  private async runSegment(
    part: LayerRun,
    { hidden, labels, positions, moreFollow = false }: PromptRows,
    attention: AttentionMean | undefined,
  ): Promise<SegmentOutput> {
    const starts = this.chunkStarts(part, labels);
    const sums = part.score === 'columnSum' ? new Float32Array(labels.length) : undefined;
    let output: RunOutput | undefined;
    const after = await this.joined(async (left) => {
      for (const [index, start] of starts.entries()) {
        throwIfCancelled(this.options.signal);
        const last = index === starts.length - 1;
        const end = last ? labels.length : starts[index + 1];
        const chunk = Array.from({ length: end - start }, (_, row) => start + row);
        const input = starts.length === 1 ? hidden : await this.runner.select(hidden, chunk);
        const rows = {
          input,
          labels: labels.slice(start, end),
          positions: positions.slice(start, end),
          inChunks: starts.length > 1 || moreFollow,
          furthest: positions[positions.length - 1],
          textStart: last && !moreFollow ? instructionStart(labels) - start : end - start - 1,
        };
        output = await this.run(part, rows, last ? attention : undefined);
        if (input !== hidden) releaseHidden(input);
        if (output.hidden) left.push(output.hidden);
        if (sums) output.score?.forEach((value, row) => (sums[row] += value));
      }
    }).finally(() => releaseHidden(hidden));
    return { logits: output?.logits, hidden: after, score: sums ?? output?.score };
  }

  /** Hidden states that `make` leaves piece by piece, as one. They may lie on a device, so they are given up where it is cancelled or fails. */
  private async joined(make: (left: HiddenStates[]) => Promise<void>): Promise<HiddenStates | undefined> {
    const left: HiddenStates[] = [];
    try {
      await make(left);
      if (left.length <= 1) return left.pop();
      return await this.runner.join(left);
    } finally {
      for (const piece of left) releaseHidden(piece);
    }
  }

  /** First rows of the chunks that a segment is computed in. */
  private chunkStarts({ head, score }: LayerRun, labels: readonly RowLabel[]): number[] {
    if (head === 'all') return [0];
    const { text, chunks } = this.options;
    const starts = chunkStarts(text.numAttentionHeads, labels.length, chunks);
    // The question's own rows score together, so they are in the last chunk.
    const latest = instructionStart(labels);
    return score === 'textQueries' ? starts.filter((start) => start <= latest) : starts;
  }

  /** Feeds one answer token and predicts the next. */
  async step(token: number): Promise<DecoderOutput> {
    throwIfCancelled(this.options.signal);
    await this.reduceAtStep();
    const position = this.nextPosition++;
    const attention = new AttentionMean(
      this.prompt.imageTokens.length,
      this.byHead ? this.options.text.numAttentionHeads : 0,
    );
    this.steps++;
    const rows = { input: [token], labels: [OUTPUT_ROW], positions: [position] };
    const output = await this.run(this.segment(0, undefined, 'last'), rows, attention);
    return this.finish(output.logits!, attention);
  }

  /** Runs new rows through some layers and takes their attention, unless other rows follow whose attention is meant. */
  private async run(part: LayerRun, rows: NewRows, attention: AttentionMean | undefined): Promise<RunOutput> {
    const output = await this.runner.run(part, rows);
    if (!attention) return output;
    output.attention.forEach((row, index) => {
      const { labels } = this.cache.layers[part.from + index];
      const mean = attention.add(row, labels);
      this.options.onAttention?.({
        step: this.steps,
        layer: part.from + index,
        attention: mean,
        labels: [...labels],
      });
    });
    return output;
  }

  /**
   * Where the beginning of a prompt (system prompt and images) is kept, if it may be taken over at all. It may in the layers
   * before the first boundary, because a boundary's choice depends on the question. The score at that boundary has to come
   * from the question's own rows, and `columnSum` sums over all rows.
   * Dynamic rotary scaling and LongRoPE depend on the length of the whole prompt once it is longer than the model was trained for.
   */
  private prefixPlace({ hidden, labels, tailIds }: Prompt): PrefixPlace | undefined {
    const { rope, numHiddenLayers } = this.options.text;
    const rows = labels.findLastIndex((label) => label >= 0) + 1;
    if (!this.options.prefixes || rows === 0 || !tailIds || tailIds.length === 0) return undefined;
    const first = this.boundaries.at(0);
    if (first?.score === 'columnSum') return undefined;
    const byLength = rope.type === 'dynamic' || rope.type === 'longrope';
    if (byLength && labels.length > rope.originalMaxPositions) return undefined;
    const depth = first?.layer ?? numHiddenLayers;
    return { key: PrefixCache.key(hidden.data.subarray(0, rows * hidden.columns), depth), rows };
  }

  /** Where the prompt's beginning is kept, and what was there. Looked up once: what is there is taken out. */
  private beginning(prompt: Prompt): Beginning {
    if (this.looked?.prompt !== prompt) {
      const place = this.prefixPlace(prompt);
      this.looked = { prompt, place, prefix: place && this.options.prefixes?.take(place.key) };
    }
    return this.looked;
  }

  private takeOver({ key }: PrefixPlace, { rows, layers, hidden }: Prefix, { labels }: Prompt): void {
    this.cache.takeOver(layers, labels.slice(0, rows));
    this.reused = { tokens: rows, layers: layers.length };
    this.lent = { key, rows, depth: layers.length, hidden };
  }

  /** Keeps what was lent: once, before its rows change or are given up. */
  private async keepBeginning(how: 'copy' | 'move'): Promise<void> {
    if (!this.lent) return;
    const { key, rows, depth, hidden } = this.lent;
    this.lent = undefined;
    try {
      this.options.prefixes?.put(key, { rows, layers: await this.cache.keep(rows, depth, how), hidden });
    } catch {
      // Of what a device refuses the question has been told, or the next one will be; this one does not need it.
      if (hidden) releaseHidden(hidden);
    }
  }

  /** Makes the sessions that the prefill needs, so that their making is not counted as computing. */
  async prepare(prompt: Prompt): Promise<void> {
    await this.makeWay();
    const { prefix } = this.beginning(prompt);
    for (const part of this.segments()) {
      const taken = part.from === 0 && prefix !== undefined;
      // Further segments have as many rows as the reductions leave.
      const chunks = part.from === 0 && !taken ? this.chunkStarts(part, prompt.labels).length : 1;
      await this.runner.prepare(part, taken || chunks > 1);
    }
  }

  /** Where a device's sessions hold the layers otherwise than this question needs them, they go, and beginnings with them. */
  private async makeWay(): Promise<void> {
    if (!this.runner.replacesSessions(this.segments())) return;
    this.options.onSessionsReplaced?.();
    await this.options.sessions.startAgain();
  }

  /** The runs that a prompt goes through. */
  private segments(): LayerRun[] {
    const starts = [0, ...this.boundaries.map(({ layer }) => layer)];
    return starts.map((from, index) => this.segment(from, this.boundaries.at(index), 'last'));
  }

  /** Makes the sessions that the steps need: once the first token is out, so that nobody waits for them. */
  async prepareSteps(): Promise<void> {
    await this.runner.prepare(this.segment(0, undefined, 'last'), true);
  }

  /** The layers from `from` to a boundary, or to the end. */
  private segment(from: number, boundary: Boundary | undefined, head: 'last' | 'all'): LayerRun {
    return {
      from,
      to: boundary?.layer ?? this.options.text.numHiddenLayers,
      head: boundary ? 'none' : head,
      attention: this.byHead ? 'heads' : 'mean',
      ...(boundary && boundary.score !== 'lastQuery' ? { score: boundary.score } : {}),
    };
  }

  private finish(logits: Float32Array, attention: AttentionMean): DecoderOutput {
    if (this.options.sessions.float === 'float16' && !logits.every(Number.isFinite)) throw halfOverflow();
    const imageAttention = attention.image();
    this.lastHeads = this.byHead ? attention.heads() : undefined;
    if (this.steps === 0) this.importance = imageAttention;
    return { logits, imageAttention };
  }

  /** Asks the reductions of a boundary one after the other; answers with the rows that go on. */
  private reduceAt(boundary: Boundary, row: Float32Array, labels: readonly RowLabel[]): number[] {
    let imageRows = labels.flatMap((label, index) => (label >= 0 ? [index] : []));
    for (const reduction of boundary.reductions) {
      const tokens = imageRows.map((index) => labels[index]);
      const input: LayerInput = {
        layer: boundary.layer,
        layers: this.options.text.numHiddenLayers,
        enteredDecoder: this.prompt.imageTokens.length,
        scores: Float32Array.from(imageRows, (index) => row[index]),
        raster: Int32Array.from(tokens, (token) => this.prompt.raster[token]),
        signal: this.options.signal,
      };
      const before = performance.now();
      const selection = reduction.atLayer!(input);
      const milliseconds = performance.now() - before;
      this.options.onSelectionTime(milliseconds);
      const received = tokens.map((token) => this.prompt.imageTokens[token]);
      const place = { at: 'layer', layer: boundary.layer } as const;
      const { contextId, stages } = this.options;
      stages.push(recordStage(place, reduction, received, selection, contextId, milliseconds).stage);
      imageRows = selection.tokens.map((token) => {
        if (token.kind !== 'kept')
          throw new Error(`${reduction.id}: only whole tokens can go on inside the decoder`);
        return imageRows[token.index];
      });
    }
    const keeps = new Set(imageRows);
    return labels.flatMap((label, index) => (label < 0 || keeps.has(index) ? [index] : []));
  }

  /** Asks reductions that act while the answer is written; the caches are compacted in place. */
  private async reduceAtStep(): Promise<void> {
    for (const reduction of this.options.reductions) {
      if (!reduction.atStep || !this.lastHeads) continue;
      const shallowest = this.cache.layers[0];
      const tokens = shallowest.labels.filter((label) => label >= 0);
      const before = performance.now();
      const keep = reduction.atStep({
        step: this.steps,
        enteredDecoder: this.prompt.imageTokens.length,
        headAttention: this.lastHeads.image(tokens),
        typeMass: this.lastHeads.typeMass,
        heads: this.options.heads,
        importance: Float32Array.from(tokens, (token) => this.importance[token]),
      });
      const milliseconds = performance.now() - before;
      this.options.onSelectionTime(milliseconds);
      if (!keep || keep.length === tokens.length) continue;
      const kept = new Set(Array.from(keep, (index) => tokens[index]));
      // The beginning is kept with all its image tokens.
      await this.keepBeginning('copy');
      await this.cache.dropImageTokens((token) => kept.has(token));
      this.options.stages.push(
        recordStage(
          { at: 'step', step: this.steps + 1 },
          reduction,
          tokens.map((token) => this.prompt.imageTokens[token]),
          { tokens: Array.from(keep, (index) => ({ kind: 'kept', index }) as const) },
          this.options.contextId,
          milliseconds,
        ).stage,
      );
    }
  }
}

/** Some models' hidden states outgrow half precision; what comes of them is not a number. */
function halfOverflow(): DeviceError {
  return new DeviceError({
    code: 'device.half-overflow',
    message: 'This model cannot be computed in half precision.',
    why: 'Numbers inside it became larger than half precision holds.',
    nextStep: 'Choose another precision: q4 or fp32.',
  });
}

/** Labels of prompt rows: image tokens are numbered through, text before the first of them is `system`. */
export function labelRows(kinds: readonly ('text' | 'image')[]): RowLabel[] {
  let image = 0;
  return kinds.map((kind) => (kind === 'image' ? image++ : image === 0 ? SYSTEM_ROW : INSTRUCTION_ROW));
}

function instructionStart(labels: readonly RowLabel[]): number {
  const lastImage = labels.findLastIndex((label) => label >= 0);
  return Math.min(lastImage + 1, labels.length - 1);
}

function collectBoundaries(reductions: readonly Reduction[], shape: ModelShape): Boundary[] {
  const boundaries = new Map<number, Boundary>();
  for (const reduction of reductions) {
    if (!reduction.atLayer) continue;
    for (const { layer, score } of reduction.layerBoundaries?.(shape) ?? []) {
      if (layer < 1 || layer >= shape.layers) {
        throw new InputError({
          code: 'reduction.layer-out-of-range',
          message: `"${reduction.spec}" looks before decoder layer ${layer}, but this model has layers 1 to ${shape.layers - 1} to look before.`,
          nextStep: `Choose a layer from 1 to ${shape.layers - 1}.`,
        });
      }
      const boundary = boundaries.get(layer) ?? { layer, score, reductions: [] };
      if (boundary.score !== score) {
        throw new InputError({
          code: 'reduction.two-scores',
          message: `Two methods look before decoder layer ${layer} with different scores (${boundary.score}, ${score}).`,
          nextStep: 'Give one of them another layer.',
        });
      }
      boundary.reductions.push(reduction);
      boundaries.set(layer, boundary);
    }
  }
  return [...boundaries.values()].sort((a, b) => a.layer - b.layer);
}

/** Per-head attention of one position, mean over layers. */
interface HeadRows {
  /** [heads, tokens] for the given image tokens. */
  image(tokens: readonly number[]): Matrix;
  /** [heads, 4]: system, image, instruction, output. */
  readonly typeMass: Matrix;
}

/** Averages attention rows of several layers, which may hold different sets of tokens. */
class AttentionMean {
  private readonly sums: Float32Array;
  private readonly counts: Uint32Array;
  private readonly headSums: Float32Array;
  private readonly mass: Float32Array;
  private layers = 0;
  /** The last layer's row, mean over heads. */
  lastRow: Float32Array = new Float32Array(0);

  /** @param headCount 0 where rows come averaged over heads already. */
  constructor(
    private readonly imageTokens: number,
    private readonly headCount: number,
  ) {
    this.sums = new Float32Array(imageTokens);
    this.counts = new Uint32Array(imageTokens);
    this.headSums = new Float32Array(imageTokens * headCount);
    this.mass = new Float32Array(4 * headCount);
  }

  /** Adds one layer's row ([rows] or [heads, rows]); returns its mean over heads [rows]. */
  add(row: Float32Array, labels: readonly RowLabel[]): Float32Array {
    const rows = labels.length;
    const mean = this.headCount > 0 ? meanOverHeads(row, this.headCount, rows) : row;
    this.layers++;
    // Plain loops: this runs for every row of every layer at every answer token.
    for (let index = 0; index < rows; index++) {
      const label = labels[index];
      if (label >= 0) {
        this.sums[label] += mean[index];
        this.counts[label]++;
      }
      for (let head = 0; head < this.headCount; head++) {
        const value = row[head * rows + index];
        if (label >= 0) this.headSums[head * this.imageTokens + label] += value;
        this.mass[head * 4 + massColumn(label)] += value;
      }
    }
    this.lastRow = mean;
    return mean;
  }

  image(): Float32Array {
    return this.sums.map((sum, token) => (this.counts[token] ? sum / this.counts[token] : 0));
  }

  heads(): HeadRows {
    const { headCount, imageTokens, headSums, counts, layers } = this;
    return {
      typeMass: { data: this.mass.map((value) => value / layers), rows: headCount, columns: 4 },
      image: (tokens) => {
        const data = new Float32Array(headCount * tokens.length);
        for (let head = 0; head < headCount; head++) {
          tokens.forEach((token, column) => {
            data[head * tokens.length + column] =
              headSums[head * imageTokens + token] / Math.max(1, counts[token]);
          });
        }
        return { data, rows: headCount, columns: tokens.length };
      },
    };
  }
}

function massColumn(label: RowLabel): number {
  if (label >= 0) return 1;
  return label === SYSTEM_ROW ? 0 : label === INSTRUCTION_ROW ? 2 : 3;
}

function meanOverHeads(row: Float32Array, heads: number, rows: number): Float32Array {
  const mean = new Float32Array(rows);
  for (let head = 0; head < heads; head++) {
    for (let index = 0; index < rows; index++) mean[index] += row[head * rows + index] / heads;
  }
  return mean;
}
