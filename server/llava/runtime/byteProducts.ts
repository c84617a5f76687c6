import { tensorInMemory } from '../checkpoint/checkpoint';
import { linear } from '../graph/layers';
import { GraphBuilder } from '../graph/onnx';
import { floats, floatTensor, Session } from './session';

const COLUMNS = 64;
const LARGEST_CODE = 127;

/**
 * Whether this processor's products in 8 bits are right. Without instructions for them (VNNI and its like) onnxruntime adds pairs of products
 * in 16 bits, which saturate where both sides are large; x64 without AVX-VNNI or AVX512-VNNI is of this kind.
 */
export async function byteProductsAreRight(): Promise<boolean> {
  const codes = new Uint8Array(COLUMNS).fill(LARGEST_CODE);
  const one = new Uint8Array(Float32Array.of(1).buffer);
  const weight = {
    ...tensorInMemory('largest.weight', 'I8', [COLUMNS, 1], codes),
    rowScales: tensorInMemory('largest.scales', 'F32', [1], one),
  };
  const graph = new GraphBuilder('largest product');
  const input = graph.input('input', 'float32', ['n', COLUMNS]);
  const product = linear(graph, new Map([[weight.name, weight]]), input, 'largest', false);
  graph.output('output', product, 'float32', ['n', 1]);
  const session = await Session.create(graph.build(), 'cpu');
  try {
    const ones = new Float32Array(COLUMNS).fill(1);
    const { output } = await session.run({ input: floatTensor(ones, [1, COLUMNS]) });
    const expected = COLUMNS * LARGEST_CODE;
    return Math.abs(floats(output)[0] - expected) < expected / 100;
  } finally {
    await session.dispose();
  }
}
