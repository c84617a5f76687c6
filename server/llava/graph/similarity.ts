import { GraphBuilder, type OnnxModel } from './onnx';

/** Emits the cosine similarity of rows: `rows` [n, dim] -> `similarity` [n, n]. A row of zeros is similar to nothing. */
export function emitSimilarity(): OnnxModel {
  const graph = new GraphBuilder('similarity');
  const rows = graph.input('rows', 'float32', ['n', 'dim']);
  const unit = graph.add('LpNormalization', [rows], { axis: 1, p: 2 });
  graph.output('similarity', graph.add('FusedMatMul', [unit, unit], { transB: 1 }), 'float32', ['n', 'n']);
  return graph.build();
}
