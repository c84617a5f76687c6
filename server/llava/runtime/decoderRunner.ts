import type { TextConfig } from '../checkpoint/config';
import type { DecoderGraph } from '../graph/decoder';
import type { Matrix } from '../matrix';
import type { DecoderCache, RowLabel } from './decoderCache';
import type { DeviceMatrix } from './deviceMatrix';
import { rotaryTable } from './rotary';
import { floatTensor, type Tensors } from './session';

/** Which layers to run, and what to report: see {@link DecoderGraph}. */
export type LayerRun = Pick<DecoderGraph, 'from' | 'to' | 'head' | 'attention' | 'score'>;

/** Hidden states between two runs, where the runner left them. */
export type HiddenStates = Matrix | DeviceMatrix;

/** Gives up hidden states that nobody reads any more; memory of this process needs nothing. */
export function releaseHidden(hidden: HiddenStates): void {
  if ('tensor' in hidden) hidden.tensor.dispose();
}

/** New rows for some layers. */
export interface NewRows {
  /** Tokens, for a run that begins at layer 0; or hidden states, which stay the caller's. */
  readonly input: readonly number[] | HiddenStates;
  readonly labels: readonly RowLabel[];
  /** Rotary positions, ascending. */
  readonly positions: readonly number[];
  /** These rows are a part of a prompt of which other parts follow or went before: all of them go through the same session. */
  readonly inChunks?: boolean;
  /** The prompt's last position, where these rows are a part of it: dynamic rotary scaling depends on it. */
  readonly furthest?: number;
  /** For the score `textQueries`, otherwise not read: the first of the new rows that counts as text. */
  readonly textStart?: number;
}

export interface RunOutput {
  /** Per layer the last query's attention over cached and new rows, [(heads,) rows]. */
  readonly attention: readonly Float32Array[];
  /** Of the new rows, where the run has no head. */
  readonly hidden: HiddenStates | undefined;
  readonly logits: Float32Array | undefined;
  /** Over cached and new rows. */
  readonly score: Float32Array | undefined;
}

/**
 * Runs decoder layers for one question and owns their caches. New rows see what their layers have cached and are
 * appended to it.
 */
export interface DecoderRunner {
  readonly cache: DecoderCache;
  /** Whether these runs need other sessions than there are, of layers that are in memory already. */
  replacesSessions(runs: readonly LayerRun[]): boolean;
  /** Makes the sessions of a run beforehand. */
  prepare(run: LayerRun, past: boolean): Promise<void>;
  run(run: LayerRun, rows: NewRows): Promise<RunOutput>;
  /** Some rows of hidden states. */
  select(hidden: HiddenStates, rows: readonly number[]): Promise<HiddenStates>;
  /** Two or more, one below the other; the parts stay the caller's. */
  join(parts: readonly HiddenStates[]): Promise<HiddenStates>;
  /** Gives up what lies on a device. */
  dispose(): void;
}

/**
 * What a decoder graph wants to know about the places of its rows.
 *
 * @param furthest position of the sequence that the rows belong to; theirs by default.
 */
export function rowInputs(
  text: TextConfig,
  positions: readonly number[],
  furthest?: number,
): { cos: Tensors[string]; sin: Tensors[string]; positions: Tensors[string] } {
  const { cos, sin } = rotaryTable(text.rope, text.headDim, positions, furthest);
  const shape = [positions.length, text.headDim / 2];
  return {
    cos: floatTensor(cos, shape),
    sin: floatTensor(sin, shape),
    positions: floatTensor(Float32Array.from(positions), [positions.length]),
  };
}
