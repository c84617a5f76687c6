import type { TensorMap } from '../checkpoint/checkpoint';
import type { LlavaConfig } from '../checkpoint/config';
import { activate, linear } from './layers';
import { GraphBuilder, type GraphTarget, type OnnxModel } from './onnx';

const PROJECTOR = 'model.multi_modal_projector';

/** Emits linear_1, activation, linear_2. Input `features` [tokens, visionDim]; output `embeddings` [tokens, textDim]. */
export function emitProjector(config: LlavaConfig, tensors: TensorMap, target?: GraphTarget): OnnxModel {
  const graph = new GraphBuilder('projector', target);
  const width = config.vision.hiddenSize * config.visionFeatureLayer.length;
  const features = graph.floatInput('features', ['tokens', width]);
  const first = linear(graph, tensors, features, `${PROJECTOR}.linear_1`, config.projectorBias);
  const active = activate(graph, first, config.projectorHiddenAct);
  const second = linear(graph, tensors, active, `${PROJECTOR}.linear_2`, config.projectorBias);
  graph.floatOutput('embeddings', second, ['tokens', config.text.hiddenSize]);
  return graph.build();
}
