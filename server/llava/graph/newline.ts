import type { TensorMap } from '../checkpoint/checkpoint';
import type { TextConfig } from '../checkpoint/config';
import { IMAGE_NEWLINE } from '../checkpoint/expectedTensors';
import { weight } from './layers';
import { GraphBuilder, type OnnxModel } from './onnx';

/** Emits the token that ends a row of tiles: `ids` [n], all 0 -> `hidden` [n, dim]. */
export function emitNewline(text: TextConfig, tensors: TensorMap): OnnxModel {
  const graph = new GraphBuilder('newline');
  const table = graph.add('Reshape', [
    weight(graph, tensors, IMAGE_NEWLINE),
    graph.integers([1, text.hiddenSize]),
  ]);
  const rows = graph.add('Gather', [table, graph.input('ids', 'int64', ['n'])]);
  graph.output('hidden', rows, 'float32', ['n', text.hiddenSize]);
  return graph.build();
}
