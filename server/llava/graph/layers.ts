import { type Quantization, someRows, type TensorMap, type TensorSource } from '../checkpoint/checkpoint';
import type { Activation } from '../checkpoint/config';
import { BLOCK_SIZE } from '../checkpoint/quantize';
import { ModelError } from '../errors';
import type { GraphBuilder, Value } from './onnx';

/** Looks a tensor up by its canonical name; the checkpoint was verified when it was opened. */
export function weight(graph: GraphBuilder, tensors: TensorMap, name: string): Value {
  return graph.floatWeight(find(tensors, name));
}

/** @throws ModelError `model.missing-tensor` */
export function find(tensors: TensorMap, name: string): TensorSource {
  const source = tensors.get(name);
  if (!source) {
    throw new ModelError({
      code: 'model.missing-tensor',
      message: `The checkpoint has no tensor named ${name}.`,
      nextStep: 'Download the checkpoint again, or choose another one.',
    });
  }
  return source;
}

/**
 * y = x W^T (+ b). HF stores W as [out, in], which is what Gemm(transB) and MatMulNBits read without a transposed copy; on a
 * device it is turned to [in, out] when the graph is loaded.
 * x: [rows, in].
 */
export function linear(
  graph: GraphBuilder,
  tensors: TensorMap,
  input: Value,
  prefix: string,
  bias: boolean,
): Value {
  const added = bias ? [weight(graph, tensors, `${prefix}.bias`)] : [];
  return product(graph, input, find(tensors, `${prefix}.weight`), added);
}

function product(graph: GraphBuilder, input: Value, source: TensorSource, added: readonly Value[]): Value {
  if (source.quantization) return quantizedProduct(graph, input, source, source.quantization, added);
  if (source.rowScales) return byteProduct(graph, input, source, source.rowScales, added);
  return floatProduct(graph, input, graph.floatWeight(source), added);
}

/**
 * Both sides in 8 bits. onnxruntime rounds all activations with one scale, so every row is scaled to a largest magnitude of 1 first: else one
 * large row, as vision towers have, would leave the others few steps.
 */
function byteProduct(
  graph: GraphBuilder,
  input: Value,
  source: TensorSource,
  rowScales: TensorSource,
  bias: readonly Value[],
): Value {
  const sizes = graph.add('Abs', [input]);
  const largest = graph.add('ReduceMax', [sizes, graph.integers([-1])], { keepdims: 1 });
  // A row of zeros stays one.
  const scale = graph.add('Max', [largest, graph.scalar(SMALLEST_ROW)]);
  const scaled = graph.add('Div', [input, scale]);
  const inputs = [scaled, graph.weight(source), graph.weight(rowScales)];
  const product = graph.add('Mul', [graph.add('DynamicQuantizeMatMul', inputs), scale]);
  return bias.length > 0 ? graph.add('Add', [product, ...bias]) : product;
}

const SMALLEST_ROW = 1e-20;

function floatProduct(graph: GraphBuilder, input: Value, matrix: Value, bias: readonly Value[]): Value {
  if (!graph.target.onDevice) return graph.add('Gemm', [input, matrix, ...bias], { transB: 1 });
  // WebGPU's product reads a turned matrix two to three times as fast (an H100, 4096 -> 12288: 12.6 and 5.5 ms for 640 rows, 0.75 and
  // 0.28 ms for one). Not Gemm: onnxruntime would put the transposition of its second input back into it.
  const product = graph.add('MatMul', [input, graph.add('Transpose', [matrix], { perm: [1, 0] })]);
  return bias.length > 0 ? graph.add('Add', [product, ...bias]) : product;
}

/** One of several linear layers that read the same input. */
export interface Part {
  readonly name: string;
  /** Of its output. */
  readonly width: number;
}

/**
 * Linear layers `prefix.<part>` over the same input [rows, in]. Where their weights are merged as `prefix.merged`, one product on the CPU; on a
 * device, where taking it apart costs more than two of them, one each.
 */
export function linears(
  graph: GraphBuilder,
  tensors: TensorMap,
  input: Value,
  prefix: string,
  merged: string,
  parts: readonly Part[],
  bias: boolean,
): Value[] {
  const name = `${prefix}.${merged}`;
  if (!tensors.has(`${name}.weight`))
    return parts.map((part) => linear(graph, tensors, input, `${prefix}.${part.name}`, bias));
  if (graph.target.onDevice) {
    let next = 0;
    return parts.map(({ width }) => {
      const cut = (source: TensorSource): TensorSource => someRows(source, next, width);
      const weights = cut(find(tensors, `${name}.weight`));
      const added = bias ? [graph.floatWeight(cut(find(tensors, `${name}.bias`)))] : [];
      next += width;
      return product(graph, input, weights, added);
    });
  }
  const all = linear(graph, tensors, input, name, bias);
  const widths = graph.integers(parts.map(({ width }) => width));
  return graph.addMany('Split', [all, widths], parts.length, { axis: -1 });
}

/**
 * onnxruntime computes with the activations quantised to 8 bits, block by block ("accuracy level 4"): for one row it is
 * twice to five times as fast as with float32 activations, and the error is a tenth of that of the weights.
 */
const INT8_ACTIVATIONS = 4;

function quantizedProduct(
  graph: GraphBuilder,
  input: Value,
  source: TensorSource,
  { bits, columns, scales, zeroPoints }: Quantization,
  bias: readonly Value[],
): Value {
  const inputs = [input, graph.weight(source), graph.floatWeight(scales)];
  if (zeroPoints || bias.length > 0) inputs.push(zeroPoints ? graph.weight(zeroPoints) : '');
  if (bias.length > 0) inputs.push('', ...bias);
  return graph.add('MatMulNBits', inputs, {
    K: columns,
    N: source.shape[0],
    bits,
    block_size: BLOCK_SIZE,
    accuracy_level: INT8_ACTIVATIONS,
  });
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

/** a + b, and its root-mean-square norm. In one node where nodes are what costs; on the CPU that takes half as long again. */
export function addAndNorm(
  graph: GraphBuilder,
  tensors: TensorMap,
  [a, b]: readonly [Value, Value],
  prefix: string,
  epsilon: number,
): { sum: Value; normed: Value } {
  if (!graph.target.onDevice) {
    const sum = graph.add('Add', [a, b]);
    return { sum, normed: rmsNorm(graph, tensors, sum, prefix, epsilon) };
  }
  const inputs = [a, b, weight(graph, tensors, `${prefix}.weight`)];
  const [normed, , , sum] = graph.addMany('SkipSimplifiedLayerNormalization', inputs, 4, {
    epsilon: { float: epsilon },
  });
  return { sum, normed };
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
