import type { TensorMap } from '../checkpoint/checkpoint';
import { rotaryScale, type RopeConfig, type TextConfig, windowOf } from '../checkpoint/config';
import type { LayerScore } from '../reduction/reduction';
import { activate, addAndNorm, find, linear, linears, rmsNorm } from './layers';
import { GraphBuilder, type OnnxModel, type Value } from './onnx';

const DECODER = 'model.language_model';
const EMBEDDING = `${DECODER}.embed_tokens`;
const TO_THE_END = Number.MAX_SAFE_INTEGER;

/** Which part of the decoder a graph runs, and what it reports. */
export interface DecoderGraph {
  /** Layers [from, to). */
  readonly from: number;
  readonly to: number;
  /** True: attends to caches of earlier positions as well as to the new rows. */
  readonly past: boolean;
  /** Rows of `logits`; `none` where layers follow (then `nextHidden` is an output). */
  readonly head: 'none' | 'last' | 'all';
  /** Attention row of the last query, of every layer: mean over heads, or head by head. */
  readonly attention: 'mean' | 'heads';
  /** Score of the last layer's attention that a reduction wants (`lastQuery` is `attention` itself). */
  readonly score?: Exclude<LayerScore, 'lastQuery'>;
}

/**
 * Emits a run of decoder layers.
 *
 * Inputs: `hidden` [n, dim]; `cos`, `sin` [n, headDim/2] of the rows' own (possibly gapped) positions;
 * `positions` [n] (float) for the causal mask; with `past`, per layer i: `pastKey.i`, `pastValue.i`
 * [kvHeads, 1, capacity, headDim] and `bias.i` [1 or n, capacity] (0 = visible, -Infinity = hidden or unused); `textStart` [1] for
 * the score `textQueries`; with `past` and the score `lastQueryNoRotary`, `pastCos`, `pastSin` [capacity, headDim/2] of the cached rows.
 *
 * Outputs: per layer `key.i`, `value.i` [kvHeads, 1, n, headDim] of the NEW rows only, `attention.i` [(heads,) capacity + n];
 * `nextHidden` [n, dim] or `logits` [1 or n, vocabulary]; `score` [(capacity +) n].
 *
 * The cache is an input but never an output ("two-part" attention): onnxruntime's binding copies every output, so
 * a cache that went in and out would cost more at every step than the attention itself.
 *
 * Query heads that share keys are a dimension of their own, over which the products repeat the keys. With their rows below each other
 * there would be one product per key head, but of several rows at a step, for which onnxruntime first copies the keys into another
 * order; for one row and a factor of 1 it reads them as they lie (SmolLM2's shape, 600 rows, runs in turn: a step takes an eighth less).
 */
export function emitDecoder(text: TextConfig, tensors: TensorMap, part: DecoderGraph): OnnxModel {
  const graph = new GraphBuilder(`decoder ${part.from}-${part.to}`);
  let residual: Residual = { base: graph.input('hidden', 'float32', ['n', text.hiddenSize]) };
  const rotary = {
    cos: graph.input('cos', 'float32', ['n', text.headDim / 2]),
    sin: graph.input('sin', 'float32', ['n', text.headDim / 2]),
  };
  const scale = graph.scalar(1 / Math.sqrt(text.headDim));
  const shared: SharedInputs = {
    rotary,
    scaledRotary: { cos: graph.add('Mul', [rotary.cos, scale]), sin: graph.add('Mul', [rotary.sin, scale]) },
    mask: emitCausalMasks(graph),
  };

  for (let layer = part.from; layer < part.to; layer++) {
    const goesOn = endsInOneRow(part, layer) ? (rows: Value) => lastRow(graph, rows, 0) : undefined;
    residual = emitLayer(
      graph,
      tensors,
      text,
      layer,
      residual,
      (projections) => emitAttention(graph, text, part, layer, projections, shared),
      goesOn,
    );
  }

  if (part.head === 'none') {
    graph.output('nextHidden', settle(graph, residual), 'float32', ['n', text.hiddenSize]);
  } else {
    graph.output('logits', emitLogits(graph, text, tensors, residual), 'float32', ['rows', text.vocabSize]);
  }
  return graph.build();
}

/** Whether only the last row is wanted behind a layer: of the others keys and values are, and nothing else of them reaches the logits. */
function endsInOneRow({ head, score, to }: DecoderGraph, layer: number): boolean {
  return head === 'last' && score === undefined && layer === to - 1;
}

/** Logits [.., rows, vocabulary] of hidden states [.., rows, dim]. */
export function emitLogits(graph: GraphBuilder, text: TextConfig, tensors: TensorMap, rows: Residual): Value {
  const { normed } = emitNorm(graph, tensors, text, `${DECODER}.norm`, rows);
  return linear(graph, tensors, normed, tensors.has('lm_head.weight') ? 'lm_head' : EMBEDDING, false);
}

/** Emits the embedding look-up: `ids` [n] -> `hidden` [n, dim]. */
export function emitEmbedding(text: TextConfig, tensors: TensorMap): OnnxModel {
  const graph = new GraphBuilder('embedding');
  const table = find(tensors, `${EMBEDDING}.weight`);
  const rows = graph.add('Gather', [graph.weight(table), graph.input('ids', 'int64', ['n'])]);
  // Only these are widened where the table is in half precision.
  const hidden = table.dtype === 'F32' ? rows : graph.cast(rows, 'float32');
  graph.output('hidden', hidden, 'float32', ['n', text.hiddenSize]);
  return graph.build();
}

/** Of the rows' own positions, [n, headDim / 2] each. */
export interface RotaryInputs {
  cos: Value;
  sin: Value;
}

interface SharedInputs {
  rotary: RotaryInputs;
  /** Turns and divides by sqrt(headDim), for queries. */
  scaledRotary: RotaryInputs;
  /** [n, n], for a window: 0 where the query may look, -Infinity elsewhere. */
  mask: (window: number | undefined) => Value;
}

/** What attention works on, before the rotary embedding [n, width]. */
export interface Projections {
  query: Value;
  key: Value;
  value: Value;
}

/** Causal (and perhaps windowed) masks among the new rows, each made once. Made from positions, so that gaps do not matter. */
function emitCausalMasks(graph: GraphBuilder): SharedInputs['mask'] {
  const positions = graph.input('positions', 'float32', ['n']);
  const query = graph.add('Unsqueeze', [positions, graph.integers([1])]);
  const key = graph.add('Unsqueeze', [positions, graph.integers([0])]);
  const distance = graph.add('Sub', [query, key]);
  const future = graph.add('Less', [distance, graph.scalar(0)]);
  const masks = new Map<number | undefined, Value>();
  return (window) => {
    let mask = masks.get(window);
    if (mask === undefined) {
      const hide =
        window === undefined
          ? future
          : graph.add('Or', [future, graph.add('GreaterOrEqual', [distance, graph.scalar(window)])]);
      mask = graph.add('Where', [hide, graph.scalar(-Infinity), graph.scalar(0)]);
      masks.set(window, mask);
    }
    return mask;
  };
}

/** Hidden states as a sum that the next norm, or {@link settle}, computes. */
export interface Residual {
  readonly base: Value;
  readonly added?: Value;
}

/** The sum itself. */
export function settle(graph: GraphBuilder, { base, added }: Residual): Value {
  return added === undefined ? base : graph.add('Add', [base, added]);
}

/**
 * One decoder layer [.., n, dim] -> [.., n, dim]; `attend` mixes the values: -> [.., n, heads * headDim]. Where it does so for some rows only,
 * `goesOn` chooses the same ones.
 */
export function emitLayer(
  graph: GraphBuilder,
  tensors: TensorMap,
  text: TextConfig,
  layer: number,
  input: Residual,
  attend: (projections: Projections) => Value,
  goesOn = (rows: Value): Value => rows,
): Residual {
  const prefix = `${DECODER}.layers.${layer}`;
  const first = emitNorm(graph, tensors, text, `${prefix}.input_layernorm`, input);
  const mixed = attend(emitProjections(graph, tensors, text, layer, first.normed));
  const projected = linear(graph, tensors, mixed, `${prefix}.self_attn.o_proj`, text.outputBias);

  const halfway = { base: goesOn(first.sum), added: projected };
  const second = emitNorm(graph, tensors, text, `${prefix}.post_attention_layernorm`, halfway);
  const width = text.intermediateSize;
  const branches = [
    { name: 'gate_proj', width },
    { name: 'up_proj', width },
  ];
  const mlp = `${prefix}.mlp`;
  const [gate, up] = linears(graph, tensors, second.normed, mlp, 'gate_up_proj', branches, text.mlpBias);
  const gated = graph.add('Mul', [activate(graph, gate, text.hiddenAct), up]);
  return { base: second.sum, added: linear(graph, tensors, gated, `${mlp}.down_proj`, text.mlpBias) };
}

/** The sum, and its norm. */
function emitNorm(
  graph: GraphBuilder,
  tensors: TensorMap,
  { rmsNormEps }: TextConfig,
  name: string,
  { base, added }: Residual,
): { sum: Value; normed: Value } {
  if (added !== undefined) return addAndNorm(graph, tensors, [base, added], name, rmsNormEps);
  return { sum: base, normed: rmsNorm(graph, tensors, base, name, rmsNormEps) };
}

function emitProjections(
  graph: GraphBuilder,
  tensors: TensorMap,
  text: TextConfig,
  layer: number,
  normed: Value,
): Projections {
  const { numAttentionHeads: heads, numKeyValueHeads: kvHeads, headDim } = text;
  const parts = [
    { name: 'q_proj', width: heads * headDim },
    { name: 'k_proj', width: kvHeads * headDim },
    { name: 'v_proj', width: kvHeads * headDim },
  ];
  const prefix = `${DECODER}.layers.${layer}.self_attn`;
  const [query, key, value] = linears(graph, tensors, normed, prefix, 'qkv_proj', parts, text.qkvBias);
  return { query, key, value };
}

/**
 * Grouped-query attention; `groups` query heads share one key/value head. Returns [n, heads * headDim]; [1, heads * headDim] where the
 * layer {@link endsInOneRow}.
 */
function emitAttention(
  graph: GraphBuilder,
  text: TextConfig,
  part: DecoderGraph,
  layer: number,
  projections: Projections,
  { rotary, scaledRotary, mask: maskOf }: SharedInputs,
): Value {
  const queries = endsInOneRow(part, layer)
    ? (rows: Value, axis: number): Value => lastRow(graph, rows, axis)
    : (rows: Value): Value => rows;
  const mask = queries(maskOf(windowOf(text, layer)), 0);
  const { numAttentionHeads: heads, numKeyValueHeads: kvHeads, headDim } = text;
  // [kvHeads, groups, n, headDim], and [kvHeads, 1, n, headDim] for keys and values
  const byHead = (rows: Value, groups: number): Value => {
    const shaped = graph.add('Reshape', [rows, graph.integers([-1, kvHeads, groups, headDim])]);
    return graph.add('Transpose', [shaped], { perm: [1, 2, 0, 3] });
  };
  const query = queries(turn(graph, byHead(projections.query, heads / kvHeads), scaledRotary), 2);
  const key = turn(graph, byHead(projections.key, 1), rotary);
  const value = byHead(projections.value, 1);
  graph.output(`key.${layer}`, key, 'float32', [kvHeads, 1, 'n', headDim]);
  graph.output(`value.${layer}`, value, 'float32', [kvHeads, 1, 'n', headDim]);

  const scoresOver = (keys: Value): Value => graph.add('FusedMatMul', [query, keys], { transB: 1 });
  const newScores = graph.add('Add', [scoresOver(key), mask]);
  // [kvHeads, groups, n, keys]
  let probabilities: Value;
  let mixed: Value;
  let keysBeforeRotary = (): Value => splitKeyHeads(graph, projections.key, kvHeads, headDim);
  let lastMask = (): Value => lastRow(graph, mask, 0);
  if (part.past) {
    const [pastKey, pastValue] = ['pastKey', 'pastValue'].map((name) =>
      graph.input(`${name}.${layer}`, 'float32', [kvHeads, 1, `capacity.${layer}`, headDim]),
    );
    const bias = graph.input(`bias.${layer}`, 'float32', ['biasRows', `capacity.${layer}`]);
    const pastScores = graph.add('Add', [scoresOver(pastKey), queries(bias, 0)]);
    const scores = graph.add('Concat', [pastScores, newScores], { axis: 3 });
    probabilities = graph.add('Softmax', [scores], { axis: -1 });
    const capacity = graph.add('Shape', [pastKey], { start: 2, end: 3 });
    const last = graph.integers([3]);
    const onPast = graph.add('Slice', [probabilities, graph.integers([0]), capacity, last]);
    const onNew = graph.add('Slice', [probabilities, capacity, graph.integers([TO_THE_END]), last]);
    mixed = graph.add('Add', [graph.add('MatMul', [onPast, pastValue]), graph.add('MatMul', [onNew, value])]);
    const [newKeys, newMask] = [keysBeforeRotary, lastMask];
    keysBeforeRotary = () => {
      const [cos, sin] = ['pastCos', 'pastSin'].map((name) =>
        graph.input(name, 'float32', [`capacity.${layer}`, headDim / 2]),
      );
      const rotated = graph.add('Squeeze', [pastKey, graph.integers([1])]);
      return graph.add('Concat', [rotateBack(graph, rotated, { cos, sin }, text.rope), newKeys()], {
        axis: 1,
      });
    };
    lastMask = () => graph.add('Concat', [lastRow(graph, bias, 0), newMask()], { axis: 1 });
  } else {
    probabilities = graph.add('Softmax', [newScores], { axis: -1 });
    mixed = graph.add('MatMul', [probabilities, value]);
  }

  graph.sideOutput(() => {
    const row = emitAttentionRow(graph, part.attention, probabilities, heads);
    const shape = part.attention === 'heads' ? [heads, `keys.${layer}`] : [`keys.${layer}`];
    graph.output(`attention.${layer}`, row, 'float32', shape);
  });
  if (part.score && layer === part.to - 1) {
    const { score } = part;
    graph.sideOutput(() =>
      graph.output(
        'score',
        emitScore(graph, text, score, {
          probabilities,
          rawQuery: projections.query,
          keysBeforeRotary,
          lastMask,
        }),
        'float32',
        [`keys.${layer}`],
      ),
    );
  }
  const rowsFirst = graph.add('Transpose', [mixed], { perm: [2, 0, 1, 3] });
  return graph.add('Reshape', [rowsFirst, graph.integers([-1, heads * headDim])]);
}

/** [kvHeads, groups * n, headDim] -> [n, heads * headDim] */
export function joinQueryHeads(graph: GraphBuilder, mixed: Value, heads: number, headDim: number): Value {
  const grouped = graph.add('Reshape', [mixed, graph.integers([heads, -1, headDim])]);
  const rowsFirst = graph.add('Transpose', [grouped], { perm: [1, 0, 2] });
  return graph.add('Reshape', [rowsFirst, graph.integers([-1, heads * headDim])]);
}

/** Rotary position embedding of [1, n, width] or [.., .., n, headDim]: row s of cos and sin belongs to row s of the input. */
export function turn(graph: GraphBuilder, input: Value, { cos, sin }: RotaryInputs): Value {
  return graph.add('RotaryEmbedding', [input, graph.integers([0]), cos, sin]);
}

/** Keys [kvHeads, n, headDim] as they were before their rotation by cos/sin: the same angles the other way round. */
export function rotateBack(
  graph: GraphBuilder,
  keys: Value,
  { cos, sin }: RotaryInputs,
  rope: RopeConfig,
): Value {
  const batched = graph.add('Unsqueeze', [keys, graph.integers([0])]);
  const rotated = turn(graph, batched, { cos, sin: graph.add('Neg', [sin]) });
  const unrotated = graph.add('Squeeze', [rotated, graph.integers([0])]);
  // Cosines and sines are scaled, and have been applied twice by now.
  const scale = rotaryScale(rope);
  return scale === 1 ? unrotated : graph.add('Mul', [unrotated, graph.scalar(1 / scale ** 2)]);
}

/** [.., n, heads * headDim] -> [kvHeads, groups * n, headDim] */
export function splitQueryHeads(
  graph: GraphBuilder,
  input: Value,
  kvHeads: number,
  groups: number,
  size: number,
): Value {
  const shaped = graph.add('Reshape', [input, graph.integers([-1, kvHeads * groups, size])]);
  const headsFirst = graph.add('Transpose', [shaped], { perm: [1, 0, 2] });
  return graph.add('Reshape', [headsFirst, graph.integers([kvHeads, -1, size])]);
}

/** [.., n, kvHeads * headDim] -> [kvHeads, n, headDim] */
export function splitKeyHeads(graph: GraphBuilder, input: Value, kvHeads: number, size: number): Value {
  const shaped = graph.add('Reshape', [input, graph.integers([-1, kvHeads, size])]);
  return graph.add('Transpose', [shaped], { perm: [1, 0, 2] });
}

export function lastRow(graph: GraphBuilder, input: Value, axis: number): Value {
  return graph.add('Slice', [
    input,
    graph.integers([-1]),
    graph.integers([TO_THE_END]),
    graph.integers([axis]),
  ]);
}

/**
 * The last query's row of probabilities [kvHeads, groups, n, keys]: [keys], or [heads, keys]. Costs less than the noise.
 */
export function emitAttentionRow(
  graph: GraphBuilder,
  attention: DecoderGraph['attention'],
  probabilities: Value,
  heads: number,
): Value {
  const row = lastRow(graph, probabilities, 2);
  const byHead = graph.add('Reshape', [row, graph.integers([heads, -1])]);
  return attention === 'heads'
    ? byHead
    : graph.add('ReduceMean', [byHead, graph.integers([0])], { keepdims: 0 });
}

/** q K^T / sqrt(headDim) without onnxruntime's FusedMatMul, which only the CPU has: [.., n, headDim] -> [.., n, keys]. */
function scaledProduct(graph: GraphBuilder, query: Value, key: Value, headDim: number): Value {
  const scaled = graph.add('Mul', [query, graph.scalar(1 / Math.sqrt(headDim))]);
  return graph.add('MatMul', [scaled, graph.add('Transpose', [key], { perm: [0, 2, 1] })]);
}

/** What a score is made from; what not every score needs is emitted on demand. */
export interface ScoreInputs {
  /** [kvHeads, groups, n, keys] */
  readonly probabilities: Value;
  /** Of the new rows, [.., n, heads * headDim]. */
  readonly rawQuery: Value;
  /** [kvHeads, keys, headDim] */
  readonly keysBeforeRotary: () => Value;
  /** [1, keys]: 0 where the last query may look. */
  readonly lastMask: () => Value;
}

/** One number per key [keys]. */
export function emitScore(
  graph: GraphBuilder,
  text: TextConfig,
  score: NonNullable<DecoderGraph['score']>,
  { probabilities, rawQuery, keysBeforeRotary, lastMask }: ScoreInputs,
): Value {
  const { numAttentionHeads: heads, numKeyValueHeads: kvHeads, headDim } = text;
  switch (score) {
    case 'columnSum': {
      const sums = graph.add('ReduceSum', [probabilities, graph.integers([2])], { keepdims: 0 });
      return graph.add('ReduceMean', [sums, graph.integers([0, 1])], { keepdims: 0 });
    }
    case 'textQueries': {
      const start = graph.input('textStart', 'int64', [1]);
      const rows = graph.add('Slice', [
        probabilities,
        start,
        graph.integers([TO_THE_END]),
        graph.integers([2]),
      ]);
      return graph.add('ReduceMean', [rows, graph.integers([0, 1, 2])], { keepdims: 0 });
    }
    case 'lastQueryNoRotary': {
      const query = splitQueryHeads(graph, lastRow(graph, rawQuery, 0), kvHeads, heads / kvHeads, headDim);
      const products = scaledProduct(graph, query, keysBeforeRotary(), headDim);
      const row = graph.add('Softmax', [graph.add('Add', [products, lastMask()])], { axis: -1 });
      return graph.add('ReduceMean', [row, graph.integers([0, 1])], { keepdims: 0 });
    }
  }
}
