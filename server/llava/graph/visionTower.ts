import type { TensorMap } from '../checkpoint/checkpoint';
import { featureStates, type LlavaConfig, patchesPerSide, type VisionConfig } from '../checkpoint/config';
import { activate, joinHeads, layerNorm, linear, splitHeads, weight } from './layers';
import { GraphBuilder, type GraphTarget, type OnnxModel, type Value } from './onnx';

const TOWER = 'model.vision_tower';

/** Which extra outputs a vision-tower graph has; each costs a little, so a graph has only those that are wanted. */
export interface VisionSignals {
  /** `attention`: CLS row summed over heads [patches], or (no CLS) the mean attention received [patches]. */
  readonly attention: boolean;
  /** `keys`: key projection of the feature layer, mean over heads [tokens, headDim]. */
  readonly keys: boolean;
}

/**
 * Emits the vision tower for one square image.
 *
 * Input `pixels` [1, 3, size, size]. Output `features` [tokens, hidden * feature layers], CLS first where there is one;
 * `attention` and `keys` as asked for, both of the layer that made the last feature state.
 */
export function emitVisionTower(
  config: LlavaConfig,
  tensors: TensorMap,
  signals: VisionSignals,
  target?: GraphTarget,
): OnnxModel {
  const vision = config.vision;
  const graph = new GraphBuilder('vision', target);
  const states = featureStates(config);
  const last = Math.max(...states);
  const patches = patchesPerSide(vision) ** 2;
  const tokens = patches + (vision.hasClassToken ? 1 : 0);

  let hidden = emitPatchEmbeddings(graph, tensors, vision);
  const hiddenStates: Value[] = [hidden];
  for (let layer = 0; layer < last; layer++) {
    const signalsHere = layer === last - 1 ? signals : { attention: false, keys: false };
    hidden = emitEncoderLayer(graph, tensors, vision, layer, hidden, tokens, signalsHere);
    hiddenStates.push(hidden);
  }

  const chosen = states.map((state) => hiddenStates[state]);
  const features = chosen.length === 1 ? chosen[0] : graph.add('Concat', chosen, { axis: 1 });
  graph.floatOutput('features', features, [tokens, vision.hiddenSize * chosen.length]);
  return graph.build();
}

function emitPatchEmbeddings(graph: GraphBuilder, tensors: TensorMap, vision: VisionConfig): Value {
  const pixels = graph.floatInput('pixels', [1, 3, vision.imageSize, vision.imageSize]);
  const convolution = [pixels, weight(graph, tensors, `${TOWER}.embeddings.patch_embedding.weight`)];
  if (!vision.hasClassToken)
    convolution.push(weight(graph, tensors, `${TOWER}.embeddings.patch_embedding.bias`));
  const side = vision.patchSize;
  const map = graph.add('Conv', convolution, { kernel_shape: [side, side], strides: [side, side] });
  const flat = graph.add('Reshape', [map, graph.integers([vision.hiddenSize, -1])]);
  let embeddings = graph.add('Transpose', [flat], { perm: [1, 0] });
  if (vision.hasClassToken) {
    const classEmbedding = weight(graph, tensors, `${TOWER}.embeddings.class_embedding`);
    const row = graph.add('Reshape', [classEmbedding, graph.integers([1, vision.hiddenSize])]);
    embeddings = graph.add('Concat', [row, embeddings], { axis: 0 });
  }
  const positions = weight(graph, tensors, `${TOWER}.embeddings.position_embedding.weight`);
  const positioned = graph.add('Add', [embeddings, positions]);
  return vision.hasClassToken
    ? layerNorm(graph, tensors, positioned, `${TOWER}.pre_layrnorm`, vision.layerNormEps)
    : positioned;
}

function emitEncoderLayer(
  graph: GraphBuilder,
  tensors: TensorMap,
  vision: VisionConfig,
  layer: number,
  input: Value,
  tokens: number,
  signals: VisionSignals,
): Value {
  const prefix = `${TOWER}.encoder.layers.${layer}`;
  const normed = layerNorm(graph, tensors, input, `${prefix}.layer_norm1`, vision.layerNormEps);
  const [query, key, value] = ['q_proj', 'k_proj', 'v_proj'].map((name): Projection => {
    const projection = `${prefix}.self_attn.${name}`;
    return {
      product: linear(graph, tensors, normed, projection, false),
      bias: weight(graph, tensors, `${projection}.bias`),
    };
  });
  const mixed = emitAttention(graph, vision, query, key, value, tokens);
  if (signals.attention) emitAttentionSignal(graph, vision, query, key, tokens);
  if (signals.keys) {
    const keyMean = graph.add('ReduceMean', [headsOf(graph, vision, key), graph.integers([0])], {
      keepdims: 0,
    });
    graph.floatOutput('keys', keyMean, [tokens, headSize(vision)]);
  }
  const attended = graph.add('Add', [
    input,
    linear(graph, tensors, mixed, `${prefix}.self_attn.out_proj`, true),
  ]);

  const second = layerNorm(graph, tensors, attended, `${prefix}.layer_norm2`, vision.layerNormEps);
  const widened = activate(
    graph,
    linear(graph, tensors, second, `${prefix}.mlp.fc1`, true),
    vision.hiddenAct,
  );
  return graph.add('Add', [attended, linear(graph, tensors, widened, `${prefix}.mlp.fc2`, true)]);
}

/** A linear layer before its bias is added [tokens, hidden]. */
interface Projection {
  readonly product: Value;
  readonly bias: Value;
}

function headSize({ hiddenSize, numAttentionHeads }: VisionConfig): number {
  return hiddenSize / numAttentionHeads;
}

/** [heads, tokens, size] */
function headsOf(graph: GraphBuilder, vision: VisionConfig, { product, bias }: Projection): Value {
  const rows = graph.add('Add', [product, bias]);
  return splitHeads(graph, rows, vision.numAttentionHeads, headSize(vision));
}

/**
 * -> [tokens, hidden]. In one node where the processor has it: it goes through the keys block by block and adds the biases on the way, so
 * that scores [heads, tokens, tokens] never lie in memory. On devices the same node has been seen to compute wrong numbers.
 */
function emitAttention(
  graph: GraphBuilder,
  vision: VisionConfig,
  query: Projection,
  key: Projection,
  value: Projection,
  tokens: number,
): Value {
  const { hiddenSize, numAttentionHeads } = vision;
  const projections = [query, key, value];
  if (graph.target.onDevice || graph.float !== 'float32') {
    const [queries, keys, values] = projections.map((each) => headsOf(graph, vision, each));
    const probabilities = emitProbabilities(graph, vision, queries, keys);
    return joinHeads(graph, graph.add('MatMul', [probabilities, values]), hiddenSize);
  }
  const inputs = projections.map(({ product }) =>
    graph.add('Reshape', [product, graph.integers([1, tokens, hiddenSize])]),
  );
  const biases = projections.map(({ bias }) => bias);
  const mixed = graph.add('MultiHeadAttention', [...inputs, graph.add('Concat', biases, { axis: 0 })], {
    num_heads: numAttentionHeads,
  });
  return graph.add('Reshape', [mixed, graph.integers([tokens, hiddenSize])]);
}

/** Of queries [heads, n, size] over keys [heads, tokens, size]: [heads, n, tokens]. */
function emitProbabilities(graph: GraphBuilder, vision: VisionConfig, queries: Value, keys: Value): Value {
  const columns = graph.add('Transpose', [keys], { perm: [0, 2, 1] });
  const scaled = graph.add('Mul', [queries, graph.scalar(1 / Math.sqrt(headSize(vision)))]);
  return graph.add('Softmax', [graph.add('MatMul', [scaled, columns])], { axis: -1 });
}

/** `attention` [patches]: what {@link VisionSignals} says of it, computed beside the attention itself. */
function emitAttentionSignal(
  graph: GraphBuilder,
  vision: VisionConfig,
  query: Projection,
  key: Projection,
  tokens: number,
): void {
  const keys = headsOf(graph, vision, key);
  if (!vision.hasClassToken) {
    const probabilities = emitProbabilities(graph, vision, headsOf(graph, vision, query), keys);
    const received = graph.add('ReduceMean', [probabilities, graph.integers([0, 1])], { keepdims: 0 });
    graph.floatOutput('attention', received, [tokens]);
    return;
  }
  const slice = (rows: Value, from: number, to: number, axis: number): Value =>
    graph.add('Slice', [rows, graph.integers([from]), graph.integers([to]), graph.integers([axis])]);
  const queryOfClass = { product: slice(query.product, 0, 1, 0), bias: query.bias };
  const row = emitProbabilities(graph, vision, headsOf(graph, vision, queryOfClass), keys);
  const onPatches = slice(row, 1, tokens, 2);
  const sum = graph.add('ReduceSum', [onPatches, graph.integers([0, 1])], { keepdims: 0 });
  graph.floatOutput('attention', sum, [tokens - 1]);
}
