import path from 'node:path';

import type { TensorSource } from '../checkpoint/checkpoint';
import { float32Bits, narrowFloat16 } from '../checkpoint/halfPrecision';
import { ProtobufWriter } from './protobuf';

/** Name of a value (an edge) of the graph under construction. */
export type Value = string;

/** What a graph computes in. Half precision is for devices that have it in their hardware; the CPU widens it. */
export type FloatType = 'float32' | 'float16';

export type ElementType = FloatType | 'int32' | 'int64';

/** What a graph is made for. */
export interface GraphTarget {
  /** What it computes in; what enters and leaves through `floatInput` and `floatOutput` is float32. */
  readonly float: FloatType;
  /** Whether it runs on a device that has a copy of every weight in memory of its own, and where each node costs as much as any other. */
  readonly onDevice: boolean;
}

export const CPU_TARGET: GraphTarget = { float: 'float32', onDevice: false };

/** A number, or the name of a dimension that is known only at run time. */
export type Dimension = number | string;

export type Attribute = number | { readonly float: number } | string | readonly number[];

/** An emitted model: the protobuf bytes, and the folder that its external weights are relative to. */
export interface OnnxModel {
  readonly bytes: Uint8Array;
  /** Undefined where the graph has no external weights. */
  readonly weightsFolder: string | undefined;
  /**
   * Whether onnxruntime should rearrange the weights when it loads them, which copies them into private memory. Quantised
   * ones need it (17 times slower otherwise), float32 ones do not, and there is one switch for both.
   */
  readonly prepack: boolean;
}

// https://github.com/onnx/onnx/blob/main/onnx/onnx.proto : field numbers and enums.
const DATA_TYPE: Record<ElementType | TensorSource['dtype'], number> = {
  float32: 1,
  float16: 10,
  int32: 6,
  int64: 7,
  F32: 1,
  F16: 10,
  BF16: 16,
  U8: 2,
  I8: 3,
};
const ATTRIBUTE_FLOAT = 1;
const ATTRIBUTE_INT = 2;
const ATTRIBUTE_STRING = 3;
const ATTRIBUTE_INTS = 7;
const EXTERNAL = 1;
const IR_VERSION = 10;
const ONNX_OPSET = 21;
const MICROSOFT_OPSET = 1;

/** Operators of onnxruntime's own domain that the graphs use; everything else is standard ONNX. */
const MICROSOFT_OPERATORS = new Set([
  'DynamicQuantizeMatMul',
  'FusedMatMul',
  'GroupQueryAttention',
  'MatMulNBits',
  'MultiHeadAttention',
  'QuickGelu',
  'RotaryEmbedding',
  'SkipSimplifiedLayerNormalization',
]);

/** Those whose weights are rearranged when a graph is loaded. */
const PREPACKED = new Set(['DynamicQuantizeMatMul', 'MatMulNBits']);

interface Node {
  operator: string;
  inputs: Value[];
  outputs: Value[];
  attributes: Record<string, Attribute>;
}

interface Port {
  name: string;
  type: ElementType;
  dimensions: readonly Dimension[];
}

/**
 * Builds one ONNX graph. Weights are not copied: they become external data that points at byte ranges of the
 * checkpoint's own files, which onnxruntime maps into memory.
 * Emission is deterministic: the same calls give the same bytes.
 */
export class GraphBuilder {
  private readonly nodes: Node[] = [];
  private readonly inputs: Port[] = [];
  private readonly outputs: Port[] = [];
  private readonly constants = new Map<
    string,
    { type: ElementType; dimensions: number[]; data: Uint8Array }
  >();
  private readonly weights = new Map<string, TensorSource>();
  private readonly sideOutputs: (() => void)[] = [];
  /** Values that are outputs, and are called so in the file: a node that passes them on would copy them. */
  private readonly outputNames = new Map<Value, string>();
  /** Outputs of nodes. */
  private readonly computed = new Set<Value>();
  private counter = 0;

  constructor(
    private readonly name: string,
    readonly target: GraphTarget = CPU_TARGET,
  ) {}

  get float(): FloatType {
    return this.target.float;
  }

  input(name: string, type: ElementType, dimensions: readonly Dimension[]): Value {
    this.inputs.push({ name, type, dimensions });
    return name;
  }

  /** A float32 input, as the graph computes with it. */
  floatInput(name: string, dimensions: readonly Dimension[]): Value {
    return this.own(this.input(name, 'float32', dimensions), 'float32');
  }

  /** A value of the graph's own type as a float32 output. */
  floatOutput(name: string, value: Value, dimensions: readonly Dimension[]): void {
    const output = this.float === 'float32' ? value : this.cast(value, 'float32');
    this.output(name, output, 'float32', dimensions);
  }

  /** Makes a value an output of the graph under the given name. */
  output(name: string, value: Value, type: ElementType, dimensions: readonly Dimension[]): void {
    if (this.computed.has(value) && !this.outputNames.has(value)) this.outputNames.set(value, name);
    else this.nodes.push({ operator: 'Identity', inputs: [value], outputs: [name], attributes: {} });
    this.outputs.push({ name, type, dimensions });
  }

  /**
   * Adds nodes that nothing but outputs of the graph depend on, when the graph is built: the latest of them first. onnxruntime
   * orders nodes depth-first, beginning at the last one of the file that nothing reads. So the side outputs of early layers
   * are computed as soon as what they read is there, and that is freed; written in their layers they would all be computed
   * at the very end, with the attention probabilities of all layers still in memory.
   */
  sideOutput(emit: () => void): void {
    this.sideOutputs.push(emit);
  }

  /** A tensor of the checkpoint as it is, by reference. */
  weight(source: TensorSource): Value {
    this.weights.set(source.name, source);
    return source.name;
  }

  /**
   * A tensor of numbers of the checkpoint, as the graph computes with it. Where it lies in another precision onnxruntime converts it
   * when it loads the graph, which is a copy; what is large should be there in the right one.
   */
  floatWeight(source: TensorSource): Value {
    const value = this.weight(source);
    return DATA_TYPE[source.dtype] === DATA_TYPE[this.float] ? value : this.cast(value, this.float);
  }

  floats(values: readonly number[], dimensions: number[] = [values.length]): Value {
    const data = new Uint8Array(Float32Array.from(values).buffer);
    return this.constant('float32', dimensions, data, `f${values.join(',')}`);
  }

  /** A constant of the graph's own type; `type` where positions are compared, which half precision cannot hold. */
  scalar(value: number, type: FloatType = this.float): Value {
    if (type === 'float32') return this.floats([value], []);
    const half = new Uint16Array(1);
    narrowFloat16(Uint32Array.of(float32Bits(value)), half);
    return this.constant(type, [], new Uint8Array(half.buffer), `h${value}`);
  }

  integers(values: readonly number[]): Value {
    const data = new Uint8Array(BigInt64Array.from(values, BigInt).buffer);
    return this.constant('int64', [values.length], data, `i${values.join(',')}`);
  }

  /** Adds a node with one output. An empty string stands for an absent optional input. */
  add(operator: string, inputs: Value[], attributes: Record<string, Attribute> = {}): Value {
    return this.addMany(operator, inputs, 1, attributes)[0];
  }

  /** A value as the graph computes with it. */
  own(input: Value, type: FloatType): Value {
    return type === this.float ? input : this.cast(input, this.float);
  }

  cast(input: Value, type: ElementType): Value {
    return this.add('Cast', [input], { to: DATA_TYPE[type] });
  }

  addMany(
    operator: string,
    inputs: Value[],
    outputs: number,
    attributes: Record<string, Attribute> = {},
  ): Value[] {
    const id = this.counter++;
    const names = Array.from(
      { length: outputs },
      (_, index) => `${operator}_${id}${index ? `_${index}` : ''}`,
    );
    this.nodes.push({ operator, inputs, outputs: names, attributes });
    for (const name of names) this.computed.add(name);
    return names;
  }

  build(): OnnxModel {
    for (const emit of this.sideOutputs.splice(0).reverse()) emit();
    const folder = commonFolder(
      [...this.weights.values()].filter((source) => !source.bytes).map((source) => source.file),
    );
    const model = new ProtobufWriter()
      .integer(1, IR_VERSION)
      .string(2, 'fovea')
      .message(7, (graph) => this.writeGraph(graph, folder))
      .message(8, (opset) => opset.string(1, '').integer(2, ONNX_OPSET))
      .message(8, (opset) => opset.string(1, 'com.microsoft').integer(2, MICROSOFT_OPSET));
    const prepack = this.nodes.some(({ operator }) => PREPACKED.has(operator));
    return { bytes: model.finish(), weightsFolder: folder, prepack };
  }

  private constant(type: ElementType, dimensions: number[], data: Uint8Array, key: string): Value {
    const name = `${key}[${dimensions.join('x')}]`;
    this.constants.set(name, { type, dimensions, data });
    return name;
  }

  private writeGraph(graph: ProtobufWriter, folder: string | undefined): void {
    const named = (value: Value): string => this.outputNames.get(value) ?? value;
    for (const { inputs, outputs, ...node } of this.nodes) {
      const renamed = { ...node, inputs: inputs.map(named), outputs: outputs.map(named) };
      graph.message(1, (writer) => writeNode(writer, renamed));
    }
    graph.string(2, this.name);
    for (const [name, constant] of this.constants) {
      graph.message(5, (tensor) => {
        for (const dimension of constant.dimensions) tensor.integer(1, dimension);
        tensor.integer(2, DATA_TYPE[constant.type]).string(8, name).raw(9, constant.data);
      });
    }
    for (const source of this.weights.values()) {
      graph.message(5, (tensor) => {
        for (const dimension of source.shape) tensor.integer(1, dimension);
        tensor.integer(2, DATA_TYPE[source.dtype]).string(8, source.name);
        if (source.bytes) {
          tensor.raw(9, source.bytes);
          return;
        }
        const location = path
          .relative(folder ?? '', source.file)
          .split(path.sep)
          .join('/');
        const entries = { location, offset: String(source.offset), length: String(source.byteLength) };
        for (const [key, value] of Object.entries(entries)) {
          tensor.message(13, (entry) => entry.string(1, key).string(2, value));
        }
        tensor.integer(14, EXTERNAL);
      });
    }
    for (const port of this.inputs) graph.message(11, (writer) => writePort(writer, port));
    for (const port of this.outputs) graph.message(12, (writer) => writePort(writer, port));
  }
}

function writeNode(writer: ProtobufWriter, node: Node): void {
  for (const input of node.inputs) writer.string(1, input);
  for (const output of node.outputs) writer.string(2, output);
  writer.string(3, node.outputs[0]).string(4, node.operator);
  for (const [name, value] of Object.entries(node.attributes)) {
    writer.message(5, (attribute) => writeAttribute(attribute.string(1, name), value));
  }
  if (MICROSOFT_OPERATORS.has(node.operator)) writer.string(7, 'com.microsoft');
}

function writeAttribute(writer: ProtobufWriter, value: Attribute): void {
  if (typeof value === 'number') writer.integer(3, value).integer(20, ATTRIBUTE_INT);
  else if (typeof value === 'string') writer.string(4, value).integer(20, ATTRIBUTE_STRING);
  else if ('float' in value) writer.float(2, value.float).integer(20, ATTRIBUTE_FLOAT);
  else {
    for (const item of value) writer.integer(8, item);
    writer.integer(20, ATTRIBUTE_INTS);
  }
}

function writePort(writer: ProtobufWriter, port: Port): void {
  writer.string(1, port.name).message(2, (type) =>
    type.message(1, (tensor) =>
      tensor.integer(1, DATA_TYPE[port.type]).message(2, (shape) => {
        for (const dimension of port.dimensions) {
          shape.message(1, (item) =>
            typeof dimension === 'number' ? item.integer(1, dimension) : item.string(2, dimension),
          );
        }
      }),
    ),
  );
}

/** The deepest folder that contains all files (real paths), or undefined for none. */
export function commonFolder(files: readonly string[]): string | undefined {
  if (files.length === 0) return undefined;
  let folder = path.dirname(files[0]);
  while (!files.every((file) => file.startsWith(folder.endsWith(path.sep) ? folder : folder + path.sep))) {
    folder = path.dirname(folder);
  }
  return folder;
}
