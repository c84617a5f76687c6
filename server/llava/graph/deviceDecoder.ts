import type { TensorMap } from '../checkpoint/checkpoint';
import { type TextConfig, windowOf } from '../checkpoint/config';
import type { AttentionKernel } from '../runtime/device';
import {
  type DecoderGraph,
  emitLayer,
  emitLogits,
  emitScore,
  joinQueryHeads,
  lastRow,
  type Projections,
  turn,
  rotateBack,
  settle,
  type Residual,
  type RotaryInputs,
  splitKeyHeads,
  splitQueryHeads,
} from './decoder';
import { type FloatType, GraphBuilder, type GraphTarget, type OnnxModel, type Value } from './onnx';

/** A piece of the decoder that lives on a device: layers [from, to), and what it reports. */
export type DevicePiece = Pick<DecoderGraph, 'from' | 'to' | 'head' | 'attention' | 'score'>;

/**
 * Emits a run of decoder layers for a device whose memory keeps hidden states and caches between runs.
 *
 * Inputs: `rows` [n, ..], one below the other for every new row: its hidden state (dim, if the piece begins at layer 0; otherwise they are
 * `hidden` [n, dim]), cosine and sine of its position (headDim / 2 each), and its place in the caches; `used`, `total` [1] and
 * `totalLength` []: the rows that are cached, and those with the new ones; `positions` [n] and `keyPositions` [capacity] (float), those of the
 * new rows and of everything they may look at (all layers of a piece hold the same rows); per layer i `pastKey.i`, `pastValue.i` [1, kvHeads, capacity,
 * headDim]; `textStart` [1] for the score `textQueries`; `keyCos`, `keySin` [total, headDim / 2] for the score `lastQueryNoRotary`.
 *
 * Outputs: `nextHidden` [n, dim] unless the piece has the head; per layer `key.i`, `value.i`, the cache with the new rows in their places;
 * and `report`, all that is wanted in this process, one behind the other: attention [layers, (heads,) total], score [total], logits [1 or
 * n, vocabulary]. All are float32 but the caches, which are of the type that the piece computes in.
 *
 * What goes to a device and what comes from it costs half a millisecond apiece, whatever its size: hence one input and one output.
 * Caches are meant to be written where they were read: whoever runs the graph gives the same tensors as inputs and as outputs.
 * Nothing reads a cache's old contents after the new ones are written. One graph serves prompt and answer, so that a layer's weights are on
 * the device once.
 */
export function emitDevicePiece(
  text: TextConfig,
  tensors: TensorMap,
  piece: DevicePiece,
  kernel: AttentionKernel,
  target?: GraphTarget,
): OnnxModel {
  const graph = new GraphBuilder(`device decoder ${piece.from}-${piece.to}`, target);
  const { hidden, rotary, places } = emitRows(graph, text, piece);
  // Queries are turned and divided by sqrt(headDim) at once.
  const scale = graph.scalar(1 / Math.sqrt(text.headDim));
  const scaledRotary = {
    cos: graph.add('Mul', [rotary.cos, scale]),
    sin: graph.add('Mul', [rotary.sin, scale]),
  };
  const positions = graph.input('positions', 'float32', ['n']);
  const keyPositions = graph.input('keyPositions', 'float32', ['capacity']);
  const counts: RowCounts = {
    used: graph.input('used', 'int64', [1]),
    total: graph.input('total', 'int64', [1]),
    totalLength: graph.input('totalLength', 'int32', []),
    // From the device's own memory: the kernel reads it there.
    lastPlace: once(() => {
      const place = graph.cast(lastRow(graph, places, 0), 'int32');
      return graph.add('Reshape', [place, graph.integers([1])]);
    }),
  };
  const whole = once(() => emitMask(graph, undefined, positions, keyPositions));
  const windowed = once(() => emitMask(graph, text.slidingWindow, positions, keyPositions));
  const lastScores: Value[] = [];
  let score: Value | undefined;
  let residual: Residual = { base: hidden };
  for (let layer = piece.from; layer < piece.to; layer++) {
    // The fused kernel takes the order of rows for their distance, which is wrong for a window over gapped positions.
    const scored = piece.score !== undefined && layer === piece.to - 1;
    const window = windowOf(text, layer);
    const mask = window === undefined ? whole : windowed;
    const fused = kernel === 'fused' && window === undefined && !scored;
    const attend = fused ? emitFusedAttention : emitPlainAttention;
    // Of a model's last layer only the last row is wanted behind keys and values.
    const endsInOneRow = piece.head === 'last' && layer === piece.to - 1;
    const goesOn = (rows: Value): Value => (endsInOneRow ? lastRow(graph, rows, 1) : rows);
    const attendTo = (raw: Projections): Value => {
      const projections = {
        query: turn(graph, raw.query, scaledRotary),
        key: turn(graph, raw.key, rotary),
        value: raw.value,
      };
      const shape = [1, text.numKeyValueHeads, 'capacity', text.headDim];
      const [key, value] = ['pastKey', 'pastValue'].map((name) =>
        graph.input(`${name}.${layer}`, graph.float, shape),
      );
      const attention = attend(graph, text, projections, { key, value }, counts, mask);
      graph.output(`key.${layer}`, attention.key, graph.float, shape);
      graph.output(`value.${layer}`, attention.value, graph.float, shape);
      lastScores.push(attention.lastScores);
      const { probabilities } = attention;
      if (scored && piece.score && probabilities) {
        score = emitScore(graph, text, piece.score, {
          probabilities: firstKeys(graph, probabilities, counts.total),
          rawQuery: withoutBatch(graph, raw.query, text.numAttentionHeads * text.headDim),
          keysBeforeRotary: () => {
            const [cos, sin] = ['keyCos', 'keySin'].map((name) =>
              graph.floatInput(name, ['total', text.headDim / 2]),
            );
            const filled = emitSlice(graph, attention.key, graph.integers([0]), counts.total, 2);
            const keys = graph.add('Squeeze', [filled, graph.integers([0])]);
            return rotateBack(graph, keys, { cos, sin }, text.rope);
          },
          lastMask: () => firstKeys(graph, lastRow(graph, mask(), 0), counts.total),
        });
      }
      return goesOn(attention.mixed);
    };
    residual = emitLayer(graph, tensors, text, layer, residual, attendTo, goesOn);
  }
  const reports = [emitAttentionRows(graph, piece.attention, lastScores, counts.total)];
  if (score !== undefined) reports.push(score);
  if (piece.head === 'none') {
    const next = withoutBatch(graph, settle(graph, residual), text.hiddenSize);
    graph.floatOutput('nextHidden', next, ['n', text.hiddenSize]);
  } else {
    reports.push(emitLogits(graph, text, tensors, residual));
  }
  const flat = reports.map((report) => graph.add('Reshape', [report, graph.integers([-1])]));
  graph.floatOutput('report', flat.length === 1 ? flat[0] : graph.add('Concat', flat, { axis: 0 }), ['all']);
  return graph.build();
}

/** What comes with the new rows: hidden states [1, n, dim], the rotary embedding's tables, and places in the caches [n, 1] (float32). */
function emitRows(
  graph: GraphBuilder,
  text: TextConfig,
  { from }: DevicePiece,
): { hidden: Value; rotary: RotaryInputs; places: Value } {
  const { hiddenSize, headDim } = text;
  const entering = from === 0 ? [hiddenSize] : [];
  const widths = [...entering, headDim / 2, headDim / 2, 1];
  const rows = graph.input('rows', 'float32', ['n', widths.reduce((sum, width) => sum + width)]);
  const columns = graph.addMany('Split', [rows, graph.integers(widths)], widths.length, { axis: -1 });
  const hidden = from === 0 ? columns[0] : graph.input('hidden', 'float32', ['n', hiddenSize]);
  const [cos, sin, places] = columns.slice(entering.length);
  const batched = graph.add('Reshape', [graph.own(hidden, 'float32'), graph.integers([1, -1, hiddenSize])]);
  const rotary = { cos: graph.own(cos, 'float32'), sin: graph.own(sin, 'float32') };
  return { hidden: batched, rotary, places };
}

/** [1, n, width] -> [n, width] */
function withoutBatch(graph: GraphBuilder, input: Value, width: number): Value {
  return graph.add('Reshape', [input, graph.integers([-1, width])]);
}

/** Emits memory for tensors of `rank` dimensions and of zeros: `zero` [] and `shape.i` [rank] -> `made.i`. */
export function emitAllocation(tensors: number, rank: number, float: FloatType): OnnxModel {
  const graph = new GraphBuilder('allocation', { float, onDevice: true });
  const zero = graph.floatInput('zero', []);
  for (let index = 0; index < tensors; index++) {
    // A shape of its own for each: onnxruntime would make one node of equal ones.
    const made = graph.add('Expand', [zero, graph.input(`shape.${index}`, 'int64', [rank])]);
    graph.output(
      `made.${index}`,
      made,
      float,
      Array.from({ length: rank }, (_, axis) => `${axis}.${index}`),
    );
  }
  return graph.build();
}

/** Emits one choice of rows out of tensors [.., rows, dim] of `rank` dimensions: `data.i` and `rows` [m] -> `chosen.i` [.., m, dim]. */
export function emitGather(tensors: number, rank: number, float: FloatType = 'float32'): OnnxModel {
  const graph = new GraphBuilder('gather');
  const leading = Array.from({ length: rank - 2 }, (_, index) => `leading.${index}`);
  const rows = graph.input('rows', 'int64', ['m']);
  for (let index = 0; index < tensors; index++) {
    const data = graph.input(`data.${index}`, float, [...leading, `all.${index}`, 'dim']);
    const chosen = graph.add('Gather', [data, rows], { axis: rank - 2 });
    graph.output(`chosen.${index}`, chosen, float, [...leading, 'm', 'dim']);
  }
  return graph.build();
}

/** Emits `above` [m, dim] and `below` [n, dim] -> `rows` [m + n, dim]. */
export function emitJoin(): OnnxModel {
  const graph = new GraphBuilder('join');
  const parts = ['above', 'below'].map((name) => graph.input(name, 'float32', [name, 'dim']));
  graph.output('rows', graph.add('Concat', parts, { axis: 0 }), 'float32', ['rows', 'dim']);
  return graph.build();
}

/** Keys and values, [1, kvHeads, capacity, headDim] each. */
interface Caches {
  readonly key: Value;
  readonly value: Value;
}

/** How many rows of a cache are in use. */
interface RowCounts {
  /** Before the new ones, and with them [1]. */
  readonly used: Value;
  readonly total: Value;
  /** `total` as the fused kernel wants it: [], int32. */
  readonly totalLength: Value;
  /** `total` - 1 in the device's memory [1], int32. */
  readonly lastPlace: () => Value;
}

interface Attention {
  /** [1, n, heads * headDim] */
  mixed: Value;
  /** The caches with the new rows. */
  key: Value;
  value: Value;
  /** Of the last query, before the softmax [1, heads, capacity]. */
  lastScores: Value;
  /** [kvHeads, groups, n, capacity]; absent where one kernel does it all. */
  probabilities?: Value;
}

/**
 * Attention rows of the last query, `lastScores` being those of the layers: -> [layers, (heads,) total]. For all layers at once, since on
 * a device every node costs the same, however little it computes.
 */
function emitAttentionRows(
  graph: GraphBuilder,
  attention: DevicePiece['attention'],
  lastScores: readonly Value[],
  total: Value,
): Value {
  const scores = lastScores.length === 1 ? lastScores[0] : graph.add('Concat', [...lastScores], { axis: 0 });
  const rows = graph.add('Softmax', [firstKeys(graph, scores, total)], { axis: -1 });
  return attention === 'heads' ? rows : graph.add('ReduceMean', [rows, graph.integers([1])], { keepdims: 0 });
}

/** What belongs to the first `total` keys of [.., capacity]. */
function firstKeys(graph: GraphBuilder, input: Value, total: Value): Value {
  return emitSlice(graph, input, graph.integers([0]), total, -1);
}

function emitSlice(graph: GraphBuilder, input: Value, from: Value, to: Value, axis: number): Value {
  return graph.add('Slice', [input, from, to, graph.integers([axis])]);
}

/** [n, capacity]: 0 where the query may look, -Infinity elsewhere. Causal and, where there is one, within the window. */
function emitMask(
  graph: GraphBuilder,
  window: number | undefined,
  positions: Value,
  keyPositions: Value,
): Value {
  const query = graph.add('Unsqueeze', [positions, graph.integers([1])]);
  const key = graph.add('Unsqueeze', [keyPositions, graph.integers([0])]);
  const distance = graph.add('Sub', [query, key]);
  const [never, always] = [graph.scalar(-Infinity), graph.scalar(0)];
  // Positions above 2048 are no half-precision numbers.
  const future = graph.add('Less', [distance, graph.scalar(0, 'float32')]);
  if (window === undefined) return graph.add('Where', [future, never, always]);
  // Not "Or", which would be computed on the CPU.
  const far = graph.add('GreaterOrEqual', [distance, graph.scalar(window, 'float32')]);
  return graph.add('Where', [future, never, graph.add('Where', [far, never, always])]);
}

function emitPlainAttention(
  graph: GraphBuilder,
  text: TextConfig,
  projections: Projections,
  past: Caches,
  { used, total }: RowCounts,
  mask: () => Value,
): Attention {
  const { numAttentionHeads: heads, numKeyValueHeads: kvHeads, headDim } = text;
  const groups = heads / kvHeads;
  const query = splitQueryHeads(graph, projections.query, kvHeads, groups, headDim);
  const written = (cached: Value, rows: Value): Value => {
    const byHead = splitKeyHeads(graph, rows, kvHeads, headDim);
    const parts = [
      emitSlice(graph, cached, graph.integers([0]), used, 2),
      graph.add('Unsqueeze', [byHead, graph.integers([0])]),
      emitSlice(graph, cached, total, graph.integers([Number.MAX_SAFE_INTEGER]), 2),
    ];
    return graph.add('Concat', parts, { axis: 2 });
  };
  const [key, value] = [written(past.key, projections.key), written(past.value, projections.value)];
  const columns = graph.add('Transpose', [key], { perm: [0, 1, 3, 2] });
  // [1, kvHeads, groups * n, capacity]
  const products = graph.add('MatMul', [query, columns]);
  const capacity = graph.add('Shape', [key], { start: 2, end: 3 });
  const shaped = (input: Value, ...leading: number[]): Value =>
    graph.add('Reshape', [input, graph.add('Concat', [graph.integers(leading), capacity], { axis: 0 })]);
  const scores = graph.add('Add', [shaped(products, kvHeads, groups, -1), mask()]);
  const probabilities = graph.add('Softmax', [scores], { axis: -1 });
  const mixed = graph.add('MatMul', [shaped(probabilities, kvHeads, -1), value]);
  return {
    mixed: graph.add('Reshape', [
      joinQueryHeads(graph, mixed, heads, headDim),
      graph.integers([1, -1, heads * headDim]),
    ]),
    key,
    value,
    lastScores: graph.add('Reshape', [lastRow(graph, scores, 2), graph.integers([1, heads, -1])]),
    probabilities,
  };
}

/** One kernel for the mixing, which writes the new rows into the caches; the last query's row is computed beside it. */
function emitFusedAttention(
  graph: GraphBuilder,
  text: TextConfig,
  projections: Projections,
  past: Caches,
  { lastPlace, totalLength }: RowCounts,
): Attention {
  const { numAttentionHeads: heads, numKeyValueHeads: kvHeads } = text;
  const [mixed, key, value] = graph.addMany(
    'GroupQueryAttention',
    [projections.query, projections.key, projections.value, past.key, past.value, lastPlace(), totalLength],
    3,
    { num_heads: heads, kv_num_heads: kvHeads, scale: { float: 1 } },
  );
  return {
    mixed,
    key,
    value,
    lastScores: emitLastScores(graph, lastRow(graph, projections.query, 1), key, text),
  };
}

/**
 * K q, and not q K^T, for which the whole cache would be turned round at every step; and query head by query head, over which the
 * product repeats the keys, for otherwise the queries would be: -> [1, heads, capacity].
 */
function emitLastScores(graph: GraphBuilder, query: Value, key: Value, text: TextConfig): Value {
  const { numAttentionHeads: heads, numKeyValueHeads: kvHeads, headDim } = text;
  const columns = graph.add('Reshape', [query, graph.integers([kvHeads, heads / kvHeads, headDim, 1])]);
  const keys = graph.add('Unsqueeze', [key, graph.integers([2])]);
  // [1, kvHeads, 1, capacity, headDim] and [kvHeads, groups, headDim, 1]
  return graph.add('Reshape', [graph.add('MatMul', [keys, columns]), graph.integers([1, heads, -1])]);
}

function once<Result>(make: () => Result): () => Result {
  let made: { result: Result } | undefined;
  return () => (made ??= { result: make() }).result;
}
