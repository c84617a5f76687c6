import { Tensor } from 'onnxruntime-node';

import type { TensorMap } from '../../server/llava/checkpoint/checkpoint';
import type { TextConfig } from '../../server/llava/checkpoint/config';
import { activate, find, linear, linears, rmsNorm } from '../../server/llava/graph/layers';
import { GraphBuilder, type OnnxModel, type Value } from '../../server/llava/graph/onnx';
import { Session, floatTensor, type Tensors } from '../../server/llava/runtime/session';

/*
 * The control of the decode measurement: the decoder as exporters write it for transformers.js and others, on the same weights.
 * GroupQueryAttention does rotary embedding and attention, the cache goes in and comes out whole at every step. Its inputs and
 * outputs have the names that transformers.js expects, so that the same file can be given to it.
 */

const DECODER = 'model.language_model';
const INT32 = 6;
/** Positions whose rotary angles the graph holds. */
const POSITIONS = 2048;

export function emitExportedDecoder(text: TextConfig, tensors: TensorMap): OnnxModel {
  const { numAttentionHeads: heads, numKeyValueHeads: kvHeads, headDim, hiddenSize } = text;
  const graph = new GraphBuilder('exported decoder');
  const ids = graph.input('input_ids', 'int64', ['batch', 'n']);
  const mask = graph.input('attention_mask', 'int64', ['batch', 'total']);
  const table = find(tensors, `${DECODER}.embed_tokens.weight`);
  const looked = graph.add('Gather', [graph.weight(table), ids]);
  const rows = table.dtype === 'F32' ? looked : graph.cast(looked, 'float32');
  let hidden = graph.add('Reshape', [rows, graph.integers([-1, hiddenSize])]);

  const counted = graph.add('ReduceSum', [mask, graph.integers([1])], { keepdims: 0 });
  const lengths = graph.add('Cast', [graph.add('Sub', [counted, graph.integers([1])])], { to: INT32 });
  const total = graph.add(
    'Cast',
    [graph.add('Squeeze', [graph.add('Shape', [mask], { start: 1, end: 2 })])],
    {
      to: INT32,
    },
  );
  const frequencies = Array.from({ length: headDim / 2 }, (_, i) => text.rope.theta ** ((-2 * i) / headDim));
  const places = Array.from({ length: POSITIONS }, (_, index) => index);
  const angles = graph.add('Mul', [
    graph.floats(places, [POSITIONS, 1]),
    graph.floats(frequencies, [1, headDim / 2]),
  ]);
  const cos = graph.add('Cos', [angles]);
  const sin = graph.add('Sin', [angles]);
  const batched = (rows: Value, width: number): Value =>
    graph.add('Reshape', [rows, graph.integers([1, -1, width])]);

  for (let layer = 0; layer < text.numHiddenLayers; layer++) {
    const prefix = `${DECODER}.layers.${layer}`;
    const normed = rmsNorm(graph, tensors, hidden, `${prefix}.input_layernorm`, text.rmsNormEps);
    const attention = `${prefix}.self_attn`;
    const projections = [
      { name: 'q_proj', width: heads * headDim },
      { name: 'k_proj', width: kvHeads * headDim },
      { name: 'v_proj', width: kvHeads * headDim },
    ];
    const [query, key, value] = linears(
      graph,
      tensors,
      normed,
      attention,
      'qkv_proj',
      projections,
      text.qkvBias,
    );
    const past = ['key', 'value'].map((kind) =>
      graph.input(`past_key_values.${layer}.${kind}`, 'float32', ['batch', kvHeads, 'past', headDim]),
    );
    const [mixed, presentKey, presentValue] = graph.addMany(
      'GroupQueryAttention',
      [
        batched(query, heads * headDim),
        batched(key, kvHeads * headDim),
        batched(value, kvHeads * headDim),
        ...past,
        lengths,
        total,
        cos,
        sin,
      ],
      3,
      { num_heads: heads, kv_num_heads: kvHeads, do_rotary: 1, scale: { float: 1 / Math.sqrt(headDim) } },
    );
    const shape = ['batch', kvHeads, 'total', headDim];
    graph.output(`present.${layer}.key`, presentKey, 'float32', shape);
    graph.output(`present.${layer}.value`, presentValue, 'float32', shape);
    const rows = graph.add('Reshape', [mixed, graph.integers([-1, heads * headDim])]);
    const attended = graph.add('Add', [
      hidden,
      linear(graph, tensors, rows, `${prefix}.self_attn.o_proj`, text.outputBias),
    ]);
    const second = rmsNorm(graph, tensors, attended, `${prefix}.post_attention_layernorm`, text.rmsNormEps);
    const branches = ['gate_proj', 'up_proj'].map((name) => ({ name, width: text.intermediateSize }));
    const mlp = `${prefix}.mlp`;
    const [gate, up] = linears(graph, tensors, second, mlp, 'gate_up_proj', branches, text.mlpBias);
    const gated = graph.add('Mul', [activate(graph, gate, text.hiddenAct), up]);
    const down = linear(graph, tensors, gated, `${mlp}.down_proj`, text.mlpBias);
    hidden = graph.add('Add', [attended, down]);
  }
  // The last row alone, as the best exports do it.
  const last = graph.add('Slice', [
    hidden,
    graph.integers([-1]),
    graph.integers([2 ** 40]),
    graph.integers([0]),
  ]);
  const normed = rmsNorm(graph, tensors, last, `${DECODER}.norm`, text.rmsNormEps);
  const head = tensors.has('lm_head.weight') ? 'lm_head' : `${DECODER}.embed_tokens`;
  const logits = linear(graph, tensors, normed, head, false);
  graph.output('logits', batched(logits, text.vocabSize), 'float32', ['batch', 'rows', text.vocabSize]);
  return graph.build();
}

/** A conversation with the exported decoder: every call feeds ids after those before, and answers with logits [vocabulary]. */
export interface CacheInOutRun {
  feed(ids: readonly number[]): Promise<Float32Array>;
}

/** @returns a function that begins a new conversation. */
export async function openCacheInOut(text: TextConfig, tensors: TensorMap): Promise<() => CacheInOutRun> {
  const session = await Session.create(emitExportedDecoder(text, tensors), 'cpu');
  return () => {
    let cache: Tensors = {};
    let length = 0;
    const layers = Array.from({ length: text.numHiddenLayers }, (_, index) => index);
    for (const layer of layers) {
      for (const kind of ['key', 'value']) {
        const empty = [1, text.numKeyValueHeads, 0, text.headDim];
        cache[`past_key_values.${layer}.${kind}`] = floatTensor(new Float32Array(0), empty);
      }
    }
    return {
      async feed(ids) {
        length += ids.length;
        const output = await session.run({
          ...cache,
          input_ids: new Tensor('int64', BigInt64Array.from(ids, BigInt), [1, ids.length]),
          attention_mask: new Tensor('int64', new BigInt64Array(length).fill(1n), [1, length]),
        });
        cache = {};
        for (const layer of layers) {
          for (const kind of ['key', 'value'])
            cache[`past_key_values.${layer}.${kind}`] = output[`present.${layer}.${kind}`];
        }
        return output.logits.data as Float32Array;
      },
    };
  };
}
