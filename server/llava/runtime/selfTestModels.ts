import { elementCount, tensorInMemory, type TensorMap, type TensorSource } from '../checkpoint/checkpoint';
import type { LlavaConfig, TextConfig } from '../checkpoint/config';
import { narrowFloat16 } from '../checkpoint/halfPrecision';
import { expectedTensors } from '../checkpoint/expectedTensors';
import { quantizedSizes, quantizeRows } from '../checkpoint/quantize';
import { linear } from '../graph/layers';
import { type FloatType, GraphBuilder, type OnnxModel } from '../graph/onnx';
import { mulberry32 } from '../mulberry32';

/** A model of random weights that lies in memory: small, but with the shapes that kernels are chosen by. */
export interface SyntheticModel {
  readonly name: string;
  readonly config: LlavaConfig;
  readonly tensors: TensorMap;
}

/** Numbers that random weights repeat after: more would only cost time. */
const PERIOD = 65521;

const TEXT: Omit<TextConfig, 'hiddenSize' | 'intermediateSize' | 'headDim'> = {
  modelType: 'llama',
  vocabSize: 320,
  numHiddenLayers: 2,
  numAttentionHeads: 4,
  numKeyValueHeads: 4,
  hiddenAct: 'silu',
  rmsNormEps: 1e-5,
  rope: { type: 'default', theta: 10000 },
  qkvBias: false,
  outputBias: false,
  mlpBias: false,
  tieWordEmbeddings: false,
  maxPositionEmbeddings: 4096,
  slidingWindow: undefined,
  bosTokenId: undefined,
  eosTokenIds: [],
};

const CLIP: LlavaConfig['vision'] = {
  modelType: 'clip_vision_model',
  hiddenSize: 128,
  intermediateSize: 256,
  numHiddenLayers: 2,
  numAttentionHeads: 2,
  imageSize: 36,
  patchSize: 4,
  hiddenAct: 'quick_gelu',
  layerNormEps: 1e-5,
  hasClassToken: true,
};

const SIGLIP: LlavaConfig['vision'] = {
  ...CLIP,
  modelType: 'siglip_vision_model',
  hiddenSize: 144,
  imageSize: 40,
  hiddenAct: 'gelu_pytorch_tanh',
  layerNormEps: 1e-6,
  hasClassToken: false,
};

function llava(text: TextConfig, vision: LlavaConfig['vision']): LlavaConfig {
  return {
    modelType: 'llava',
    imageTokenIndex: 0,
    visionFeatureLayer: [-1],
    visionFeatureSelectStrategy: 'default',
    projectorHiddenAct: 'gelu',
    projectorBias: true,
    anyres: undefined,
    vision,
    text,
  };
}

/**
 * The kinds of model that the engine runs: every activation, heads of 48, 64 and 128, heads of their own and shared
 * ones, biases, a sliding window, tied and separate heads, towers with and without CLS.
 */
export function selfTestModels(): SyntheticModel[] {
  const vicuna: TextConfig = {
    ...TEXT,
    hiddenSize: 256,
    intermediateSize: 688,
    headDim: 128,
    numAttentionHeads: 2,
    numKeyValueHeads: 2,
  };
  const qwen: TextConfig = {
    ...TEXT,
    modelType: 'qwen2',
    hiddenSize: 256,
    intermediateSize: 512,
    headDim: 64,
    numKeyValueHeads: 2,
    qkvBias: true,
    tieWordEmbeddings: true,
  };
  const mistral: TextConfig = {
    ...TEXT,
    modelType: 'mistral',
    hiddenSize: 192,
    intermediateSize: 320,
    headDim: 48,
    numKeyValueHeads: 1,
    slidingWindow: 80,
  };
  return [
    synthetic('heads of 128', llava(vicuna, CLIP), 1),
    synthetic('shared heads of 64', llava(qwen, SIGLIP), 2),
    synthetic('shared heads of 48, sliding window', llava(mistral, CLIP), 3),
  ];
}

/** The same model with its weights rounded to half precision, as a checkpoint in that precision has them. */
export function inHalfPrecision({ name, config, tensors }: SyntheticModel): SyntheticModel {
  const narrowed = Array.from(tensors, ([key, source]): [string, TensorSource] => {
    const { buffer, byteOffset, byteLength } = source.bytes!;
    const halves = new Uint16Array(byteLength / Float32Array.BYTES_PER_ELEMENT);
    narrowFloat16(new Uint32Array(buffer, byteOffset, halves.length), halves);
    return [key, tensorInMemory(source.name, 'F16', source.shape, new Uint8Array(halves.buffer))];
  });
  return { name: `${name}, half precision`, config, tensors: new Map(narrowed) };
}

/** Decoder layers of the width of ViT-L and of small language models: large enough for a device to show its speed. */
export function speedTestModel(layers: number): SyntheticModel {
  const text: TextConfig = {
    ...TEXT,
    hiddenSize: 1024,
    intermediateSize: 2816,
    headDim: 64,
    numAttentionHeads: 16,
    numKeyValueHeads: 16,
    numHiddenLayers: layers,
  };
  return synthetic('speed', llava(text, CLIP), 4);
}

/** A linear layer with 4-bit weights: `input` [rows, columns] -> `output`, both float32. */
export function quantizedProduct(float: FloatType): { model: OnnxModel; columns: number } {
  const [rows, columns] = [192, 256];
  const sizes = quantizedSizes(rows, columns, 4);
  const values = new Uint8Array(sizes.values);
  const scales = new Float32Array(sizes.scales);
  const zeroPoints = new Uint8Array(sizes.zeroPoints);
  quantizeRows(normalNumbers(5, rows * columns), columns, 4, { values, scales, zeroPoints });
  const bytesOf = (array: Float32Array | Uint8Array): Uint8Array =>
    new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  const weight: TensorSource = {
    ...tensorInMemory('product.weight', 'U8', [rows, sizes.blocksPerRow, sizes.bytesPerBlock], values),
    quantization: {
      bits: 4,
      columns,
      scales: tensorInMemory('product.scales', 'F32', [sizes.scales], bytesOf(scales)),
      zeroPoints: tensorInMemory('product.zeroPoints', 'U8', [sizes.zeroPoints], zeroPoints),
    },
  };
  const graph = new GraphBuilder('4-bit product', { float, onDevice: false });
  const input = graph.floatInput('input', ['n', columns]);
  const output = linear(graph, new Map([[weight.name, weight]]), input, 'product', false);
  graph.floatOutput('output', output, ['n', rows]);
  return { model: graph.build(), columns };
}

function synthetic(name: string, config: LlavaConfig, seed: number): SyntheticModel {
  const random = normalNumbers(seed, PERIOD);
  let next = 0;
  const tensors = new Map<string, TensorSource>();
  for (const { name: tensor, shape } of expectedTensors(config)) {
    const values = new Float32Array(elementCount(shape));
    const scale = deviation(tensor, shape);
    const mean = /norm.*\.weight$/.test(tensor) ? 1 : 0;
    for (let i = 0; i < values.length; i++) values[i] = mean + scale * random[next++ % PERIOD];
    tensors.set(tensor, tensorInMemory(tensor, 'F32', shape, new Uint8Array(values.buffer)));
  }
  return { name, config, tensors };
}

/**
 * Keeps activations near 1, and attention far from even: over an even one, wrong weights would hardly show. Tokens enter as large as the
 * prompt's rows do: of small ones the rounding of half precision makes as much as a wrong kernel.
 */
function deviation(tensor: string, shape: readonly number[]): number {
  if (tensor.endsWith('embed_tokens.weight')) return 1;
  if (shape.length === 1) return 0.1;
  const inputs = elementCount(shape.slice(1));
  return (/\.[qk]_proj\./.test(tensor) ? 2 : 1) / Math.sqrt(inputs);
}

/** Normally distributed numbers (Box and Muller 1958), the same on every machine for a seed. */
export function normalNumbers(seed: number, count: number): Float32Array {
  const random = mulberry32(seed);
  return Float32Array.from(
    { length: count },
    () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random()),
  );
}
