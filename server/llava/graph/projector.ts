import type { TensorMap } from '../checkpoint/checkpoint';
import type { LlavaConfig } from '../checkpoint/config';
import { activate, linear } from './layers';
import { GraphBuilder, type OnnxModel } from './onnx';

const PROJECTOR = 'model.multi_modal_projector';

/** Emits linear_1, activation, linear_2. Input `features` [tokens, visionDim]; output `embeddings` [tokens, textDim]. */
export function emitProjector(config: LlavaConfig, tensors: TensorMap): OnnxModel {
  const graph = new GraphBuilder('projector');
  const width = config.vision.hiddenSize * config.visionFeatureLayer.length;
  const features = graph.input('features', 'float32', ['tokens', width]);
  const first = linear(graph, tensors, features, `${PROJECTOR}.linear_1`, config.projectorBias);
  const active = activate(graph, first, config.projectorHiddenAct);
  const second = linear(graph, tensors, active, `${PROJECTOR}.linear_2`, config.projectorBias);
  graph.output('embeddings', second, 'float32', ['tokens', config.text.hiddenSize]);
  return graph.build();
}
