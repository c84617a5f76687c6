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
  const heads = vision.numAttentionHeads;
  const size = vision.hiddenSize / heads;

  const normed = layerNorm(graph, tensors, input, `${prefix}.layer_norm1`, vision.layerNormEps);
  const project = (name: string): Value =>
    linear(graph, tensors, normed, `${prefix}.self_attn.${name}_proj`, true);
  const query = splitHeads(graph, project('q'), heads, size);
  const keyRows = project('k');
  const key = splitHeads(graph, keyRows, heads, size);
  const value = splitHeads(graph, project('v'), heads, size);
  const keyColumns = graph.add('Transpose', [key], { perm: [0, 2, 1] });
  const scaled = graph.add('Mul', [query, graph.scalar(1 / Math.sqrt(size))]);
  const probabilities = graph.add('Softmax', [graph.add('MatMul', [scaled, keyColumns])], { axis: -1 });
  const mixed = joinHeads(graph, graph.add('MatMul', [probabilities, value]), vision.hiddenSize);
  const attended = graph.add('Add', [
    input,
    linear(graph, tensors, mixed, `${prefix}.self_attn.out_proj`, true),
  ]);

  if (signals.attention) emitAttentionSignal(graph, vision, probabilities, tokens);
  if (signals.keys) {
    const keyMean = graph.add('ReduceMean', [key, graph.integers([0])], { keepdims: 0 });
    graph.floatOutput('keys', keyMean, [tokens, size]);
  }

  const second = layerNorm(graph, tensors, attended, `${prefix}.layer_norm2`, vision.layerNormEps);
  const widened = activate(
    graph,
    linear(graph, tensors, second, `${prefix}.mlp.fc1`, true),
    vision.hiddenAct,
  );
  return graph.add('Add', [attended, linear(graph, tensors, widened, `${prefix}.mlp.fc2`, true)]);
}

/** `attention` [patches] of probabilities [heads, tokens, tokens]. */
function emitAttentionSignal(
  graph: GraphBuilder,
  vision: VisionConfig,
  probabilities: Value,
  tokens: number,
): void {
  if (vision.hasClassToken) {
    // The CLS query's row without the CLS key: [heads, 1, patches].
    const row = graph.add('Slice', [
      probabilities,
      graph.integers([0, 1]),
      graph.integers([1, tokens]),
      graph.integers([1, 2]),
    ]);
    const sum = graph.add('ReduceSum', [row, graph.integers([0, 1])], { keepdims: 0 });
    graph.floatOutput('attention', sum, [tokens - 1]);
  } else {
    const received = graph.add('ReduceMean', [probabilities, graph.integers([0, 1])], { keepdims: 0 });
    graph.floatOutput('attention', received, [tokens]);
  }
}
