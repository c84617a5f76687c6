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
  rotate,
  rotateBack,
  scaledProduct,
  splitKeyHeads,
  splitQueryHeads,
} from './decoder';
import { type FloatType, GraphBuilder, type GraphTarget, type OnnxModel, type Value } from './onnx';

/** A piece of the decoder that lives on a device: layers [from, to), and what it reports. */
export type DevicePiece = Pick<DecoderGraph, 'from' | 'to' | 'attention' | 'score'>;

/**
 * Emits a run of decoder layers for a device whose memory keeps hidden states and caches between runs.
 *
 * Inputs: `hidden` [n, dim]; `cos`, `sin` [n, headDim / 2]; `positions` [n] and `keyPositions` [keys] (float), those of the new
 * rows and of everything they may look at (the cached rows, then the new ones; all layers of a piece hold the same rows);
 * per layer i `pastKey.i`, `pastValue.i` [kvHeads, past, headDim], past >= 0; `textStart` [1] for the score `textQueries`; `keyCos`,
 * `keySin` [keys, headDim / 2] for the score `lastQueryNoRotary`.
 *
 * Outputs: `nextHidden` [n, dim]; per layer `key.i`, `value.i` [kvHeads, keys, headDim], the WHOLE new cache; and the only ones
 * that leave the device, `attention` [layers, (heads,) keys] and `score` [keys]. All are float32 but the caches, which are
 * of the type that the piece computes in.
 *
 * On the CPU a cache that goes in and out would be copied through the binding at every step; here it never leaves the
 * device, and joining it with the new rows is one copy at the device's own speed. One graph serves prompt and answer, so that
 * a layer's weights are on the device once.
 */
export function emitDevicePiece(
  text: TextConfig,
  tensors: TensorMap,
  piece: DevicePiece,
  kernel: AttentionKernel,
  target?: GraphTarget,
): OnnxModel {
  const graph = new GraphBuilder(`device decoder ${piece.from}-${piece.to}`, target);
  let hidden = graph.floatInput('hidden', ['n', text.hiddenSize]);
  const rotary = {
    cos: graph.floatInput('cos', ['n', text.headDim / 2]),
    sin: graph.floatInput('sin', ['n', text.headDim / 2]),
  };
  const positions = graph.input('positions', 'float32', ['n']);
  const keyPositions = graph.input('keyPositions', 'float32', ['keys']);
  const keys = graph.add('Shape', [keyPositions]);
  const whole = once(() => emitMask(graph, undefined, positions, keyPositions));
  const windowed = once(() => emitMask(graph, text.slidingWindow, positions, keyPositions));
  const rows: Value[] = [];
  for (let layer = piece.from; layer < piece.to; layer++) {
    // The fused kernel takes the order of rows for their distance, which is wrong for a window over gapped positions.
    const scored = piece.score !== undefined && layer === piece.to - 1;
    const window = windowOf(text, layer);
    const mask = window === undefined ? whole : windowed;
    const fused = kernel === 'fused' && window === undefined && !scored;
    const attend = fused ? emitFusedAttention : emitPlainAttention;
    hidden = emitLayer(graph, tensors, text, layer, hidden, (raw) => {
      const projections = {
        query: rotate(graph, raw.query, rotary, text.numAttentionHeads * text.headDim),
        key: rotate(graph, raw.key, rotary, text.numKeyValueHeads * text.headDim),
        value: raw.value,
      };
      const cache = emitCacheInputs(graph, text, layer);
      const attention = attend(graph, text, projections, cache, keys, mask);
      graph.output(`key.${layer}`, attention.key, graph.float, [text.numKeyValueHeads, 'keys', text.headDim]);
      graph.output(`value.${layer}`, attention.value, graph.float, [
        text.numKeyValueHeads,
        'keys',
        text.headDim,
      ]);
      rows.push(attention.lastScores);
      const { probabilities } = attention;
      if (scored && piece.score && probabilities) {
        const score = emitScore(graph, text, piece.score, {
          probabilities,
          rawQuery: raw.query,
          keysBeforeRotary: () => {
            const [cos, sin] = ['keyCos', 'keySin'].map((name) =>
              graph.floatInput(name, ['keys', text.headDim / 2]),
            );
            return rotateBack(graph, attention.key, { cos, sin }, text.rope);
          },
          lastMask: () => lastRow(graph, mask(), 0),
        });
        graph.floatOutput('score', score, ['keys']);
      }
      return attention.mixed;
    });
  }
  graph.floatOutput('nextHidden', hidden, ['n', text.hiddenSize]);
  const byHead = piece.attention === 'heads' ? [text.numAttentionHeads] : [];
  const attention = emitAttentionRows(graph, piece.attention, rows);
  graph.floatOutput('attention', attention, [rows.length, ...byHead, 'keys']);
  return graph.build();
}

/** Emits the head: `hidden` [rows, dim] -> `logits` [rows, vocabulary]. */
export function emitDeviceHead(text: TextConfig, tensors: TensorMap, target?: GraphTarget): OnnxModel {
  const graph = new GraphBuilder('device head', target);
  emitLogits(graph, text, tensors, graph.floatInput('hidden', ['rows', text.hiddenSize]));
  return graph.build();
}

/** Emits a choice of rows: `data` [rows, dim], or [heads, rows, dim] for caches, of type `float`, and `rows` [m] -> `chosen`. */
export function emitGather(of: 'rows' | 'cache', float: FloatType = 'float32'): OnnxModel {
  const graph = new GraphBuilder('gather');
  const leading = of === 'cache' ? ['heads'] : [];
  const data = graph.input('data', float, [...leading, 'rows', 'dim']);
  const chosen = graph.add('Gather', [data, graph.input('rows', 'int64', ['m'])], { axis: leading.length });
  graph.output('chosen', chosen, float, [...leading, 'm', 'dim']);
  return graph.build();
}

/** Emits `above` [m, dim] and `below` [n, dim] -> `rows` [m + n, dim]. */
export function emitJoin(): OnnxModel {
  const graph = new GraphBuilder('join');
  const parts = ['above', 'below'].map((name) => graph.input(name, 'float32', [name, 'dim']));
  graph.output('rows', graph.add('Concat', parts, { axis: 0 }), 'float32', ['rows', 'dim']);
  return graph.build();
}

interface CacheInputs {
  /** [kvHeads, past, headDim] */
  key: Value;
  value: Value;
}

interface Attention {
  /** [n, heads * headDim] */
  mixed: Value;
  /** The whole new cache [kvHeads, keys, headDim]. */
  key: Value;
  value: Value;
  /** Of the last query, before the softmax [1, heads, keys]. */
  lastScores: Value;
  /** [kvHeads, groups, n, keys]; absent where one kernel does it all. */
  probabilities?: Value;
}

/**
 * Attention rows of the last query, `lastScores` being those of the layers: -> [layers, (heads,) keys]. For all layers at once, since on
 * a device every node costs the same, however little it computes.
 */
function emitAttentionRows(
  graph: GraphBuilder,
  attention: DevicePiece['attention'],
  lastScores: readonly Value[],
): Value {
  const scores = lastScores.length === 1 ? lastScores[0] : graph.add('Concat', [...lastScores], { axis: 0 });
  const rows = graph.add('Softmax', [scores], { axis: -1 });
  return attention === 'heads' ? rows : graph.add('ReduceMean', [rows, graph.integers([1])], { keepdims: 0 });
}

function emitCacheInputs(graph: GraphBuilder, text: TextConfig, layer: number): CacheInputs {
  const shape = [text.numKeyValueHeads, `past.${layer}`, text.headDim];
  return {
    key: graph.input(`pastKey.${layer}`, graph.float, shape),
    value: graph.input(`pastValue.${layer}`, graph.float, shape),
  };
}

/** [n, keys]: 0 where the query may look, -Infinity elsewhere. Causal and, where there is one, within the window. */
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
  past: CacheInputs,
  keys: Value,
  mask: () => Value,
): Attention {
  const { numAttentionHeads: heads, numKeyValueHeads: kvHeads, headDim } = text;
  const groups = heads / kvHeads;
  const query = splitQueryHeads(graph, projections.query, kvHeads, groups, headDim);
  const newKey = splitKeyHeads(graph, projections.key, kvHeads, headDim);
  const newValue = splitKeyHeads(graph, projections.value, kvHeads, headDim);
  const key = graph.add('Concat', [past.key, newKey], { axis: 1 });
  const value = graph.add('Concat', [past.value, newValue], { axis: 1 });
  const shaped = (input: Value, ...leading: number[]): Value =>
    graph.add('Reshape', [input, graph.add('Concat', [graph.integers(leading), keys], { axis: 0 })]);
  const products = shaped(scaledProduct(graph, query, key, headDim), kvHeads, groups, -1);
  const scores = graph.add('Add', [products, mask()]);
  const probabilities = graph.add('Softmax', [scores], { axis: -1 });
  const mixed = graph.add('MatMul', [shaped(probabilities, kvHeads, -1), value]);
  return {
    mixed: joinQueryHeads(graph, mixed, heads, headDim),
    key,
    value,
    lastScores: graph.add('Reshape', [lastRow(graph, scores, 2), graph.integers([1, heads, -1])]),
    probabilities,
  };
}

/** One kernel for the mixing; the last query's row is computed beside it. */
function emitFusedAttention(
  graph: GraphBuilder,
  text: TextConfig,
  projections: Projections,
  past: CacheInputs,
  keys: Value,
): Attention {
  const { numAttentionHeads: heads, numKeyValueHeads: kvHeads, headDim } = text;
  const cached = (input: Value): Value => graph.add('Unsqueeze', [input, graph.integers([0])]);
  const total = graph.cast(keys, 'int32');
  const lastKey = graph.cast(graph.add('Sub', [keys, graph.integers([1])]), 'int32');
  const [mixed, presentKey, presentValue] = graph.addMany(
    'GroupQueryAttention',
    [
      projections.query,
      projections.key,
      graph.add('Reshape', [projections.value, graph.integers([1, -1, kvHeads * headDim])]),
      cached(past.key),
      cached(past.value),
      lastKey,
      graph.add('Squeeze', [total, graph.integers([0])]),
    ],
    3,
    { num_heads: heads, kv_num_heads: kvHeads },
  );
  const key = graph.add('Squeeze', [presentKey, graph.integers([0])]);
  const value = graph.add('Squeeze', [presentValue, graph.integers([0])]);
  const scale = graph.scalar(1 / Math.sqrt(headDim));
  const lastQuery = graph.add('Mul', [lastRow(graph, projections.query, 1), scale]);
  return {
    mixed: graph.add('Reshape', [mixed, graph.integers([-1, heads * headDim])]),
    key,
    value,
    lastScores: emitLastScores(graph, lastQuery, key, text),
  };
}

/** K q, and not q K^T, for which the whole cache would be turned round at every step: -> [1, heads, keys]. */
function emitLastScores(graph: GraphBuilder, query: Value, key: Value, text: TextConfig): Value {
  const { numAttentionHeads: heads, numKeyValueHeads: kvHeads, headDim } = text;
  const groups = heads / kvHeads;
  const columns = groups === 1 ? [kvHeads, headDim, 1] : [kvHeads, groups, headDim];
  const rows = graph.add('Reshape', [query, graph.integers(columns)]);
  const turned = groups === 1 ? rows : graph.add('Transpose', [rows], { perm: [0, 2, 1] });
  // [kvHeads, keys, groups]
  const products = graph.add('MatMul', [key, turned]);
  const byQuery = groups === 1 ? products : graph.add('Transpose', [products], { perm: [0, 2, 1] });
  return graph.add('Reshape', [byQuery, graph.integers([1, heads, -1])]);
}

function once<Result>(make: () => Result): () => Result {
  let made: { result: Result } | undefined;
  return () => (made ??= { result: make() }).result;
}
