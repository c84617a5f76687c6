import type { TensorMap } from '../checkpoint/checkpoint';
import type { Activation } from '../checkpoint/config';
import { ModelError } from '../errors';
import type { GraphBuilder, Value } from './onnx';

/** Looks a tensor up by its canonical name; the checkpoint was verified when it was opened. */
export function weight(graph: GraphBuilder, tensors: TensorMap, name: string): Value {
  const source = tensors.get(name);
  if (!source) {
    throw new ModelError({
      code: 'model.missing-tensor',
      message: `The checkpoint has no tensor named ${name}.`,
      nextStep: 'Download the checkpoint again, or choose another one.',
    });
  }
  return graph.weight(source);
}

/** y = x W^T (+ b). HF stores W as [out, in], which is what Gemm(transB) reads without a transposed copy. x: [rows, in]. */
export function linear(
  graph: GraphBuilder,
  tensors: TensorMap,
  input: Value,
  prefix: string,
  bias: boolean,
): Value {
  const inputs = [input, weight(graph, tensors, `${prefix}.weight`)];
  if (bias) inputs.push(weight(graph, tensors, `${prefix}.bias`));
  return graph.add('Gemm', inputs, { transB: 1 });
}

export function layerNorm(
  graph: GraphBuilder,
  tensors: TensorMap,
  input: Value,
  prefix: string,
  epsilon: number,
): Value {
  const inputs = [
    input,
    weight(graph, tensors, `${prefix}.weight`),
    weight(graph, tensors, `${prefix}.bias`),
  ];
  return graph.add('LayerNormalization', inputs, { axis: -1, epsilon: { float: epsilon } });
}

/** Root-mean-square norm (Zhang & Sennrich 2019). */
export function rmsNorm(
  graph: GraphBuilder,
  tensors: TensorMap,
  input: Value,
  prefix: string,
  epsilon: number,
): Value {
  const inputs = [input, weight(graph, tensors, `${prefix}.weight`)];
  return graph.add('SimplifiedLayerNormalization', inputs, { axis: -1, epsilon: { float: epsilon } });
}

export function activate(graph: GraphBuilder, input: Value, activation: Activation): Value {
  switch (activation) {
    case 'gelu':
      return graph.add('Gelu', [input]);
    case 'gelu_pytorch_tanh':
      return graph.add('Gelu', [input], { approximate: 'tanh' });
    // x * sigmoid(alpha x)
    case 'quick_gelu':
      return graph.add('QuickGelu', [input], { alpha: { float: 1.702 } });
    case 'silu':
      return graph.add('QuickGelu', [input], { alpha: { float: 1 } });
    case 'relu':
      return graph.add('Relu', [input]);
  }
}

/** [rows, heads * size] -> [heads, rows, size] */
export function splitHeads(graph: GraphBuilder, input: Value, heads: number, size: number): Value {
  const shaped = graph.add('Reshape', [input, graph.integers([-1, heads, size])]);
  return graph.add('Transpose', [shaped], { perm: [1, 0, 2] });
}

/** [heads, rows, size] -> [rows, heads * size] */
export function joinHeads(graph: GraphBuilder, input: Value, width: number): Value {
  const rowsFirst = graph.add('Transpose', [input], { perm: [1, 0, 2] });
  return graph.add('Reshape', [rowsFirst, graph.integers([-1, width])]);
}
