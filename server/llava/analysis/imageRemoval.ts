import type { RemovalPoint } from '../../protocol';
import type { Prompt } from '../decoding';
import { throwIfCancelled } from '../errors';
import { embed } from '../prompt';
import type { GenerationContext } from '../question';
import type { DecoderGraph } from '../graph/decoder';
import { gatherRows, type Matrix } from '../matrix';
import { rowInputs } from '../runtime/decoderRunner';
import { floats, floatTensor } from '../runtime/session';
import { topLogits } from '../text/sampling';

export interface RemovalOptions {
  readonly signal?: AbortSignal;
  /** 0..1 of the layers. */
  readonly onProgress?: (fraction: number) => void;
}

/** Rows on their way through the decoder. */
interface Rows {
  readonly hidden: Matrix;
  readonly positions: readonly number[];
}

/**
 * The experiment that FastV's picture asks for: for every K from 0 to the number of layers, all image tokens are dropped
 * from decoder layer K on, and the unreduced answer is teacher-forced. Little attention in deep layers does not prove that image
 * tokens are redundant there, since text rows may have taken up what they said; a likelihood that stays does.
 *
 * Text rows keep their rotary positions, as they do under every reduction inside the decoder, for K = 0 too: nothing but the
 * layer changes along the curve. The layers before K are the same for every K, so they are computed once: the cost is one
 * prefill and, per K, the deeper layers for the few text rows.
 *
 * @param answerIds the unreduced answer, its end included.
 * @returns one point per K; the last one is the unreduced model.
 */
export async function measureImageRemoval(
  context: GenerationContext,
  prompt: Prompt,
  answerIds: readonly number[],
  { signal, onProgress }: RemovalOptions = {},
): Promise<RemovalPoint[]> {
  const { text } = context.checkpoint.config;
  const layers = text.numHiddenLayers;
  // The last answer token predicts nothing that is asked for.
  const answer = await embed(context, answerIds.slice(0, -1));
  let trunk: Rows = {
    hidden: appended(prompt.hidden, answer),
    positions: Array.from({ length: prompt.hidden.rows + answer.rows }, (_, index) => index),
  };
  const isText = trunk.positions.map((row) => !(prompt.labels[row] >= 0));
  const textRows = trunk.positions.filter((row) => isText[row]);

  const points: RemovalPoint[] = [];
  for (let layer = 0; layer <= layers; layer++) {
    let rows = layer < layers ? rowsOf(trunk, textRows) : trunk;
    for (let deeper = layer; deeper < layers; deeper++) {
      throwIfCancelled(signal);
      rows = await throughLayer(context, deeper, rows);
    }
    // The last position of the prompt predicts the first answer token, and so on.
    const first = rows.positions.length - answerIds.length;
    const predicting = rowsOf(
      rows,
      answerIds.map((_, index) => first + index),
    );
    const { logLikelihood, firstChange } = judge(context, answerIds, await logitsOf(context, predicting));
    // Where nothing is removed the answer is its own, whatever a near tie becomes in one pass instead of many.
    const changes = firstChange !== undefined && layer < layers;
    points.push(changes ? { layer, logLikelihood, firstChange } : { layer, logLikelihood });
    onProgress?.((layer + 1) / (layers + 1));
    throwIfCancelled(signal);
    if (layer < layers) trunk = await throughLayer(context, layer, trunk);
  }
  return points;
}

/** How likely the model finds the answer, and where it would part from it. `logits` is [answer tokens, vocabulary]. */
function judge(
  { tokenizer, checkpoint }: GenerationContext,
  answerIds: readonly number[],
  logits: Float32Array,
): Pick<RemovalPoint, 'logLikelihood' | 'firstChange'> {
  const vocabulary = checkpoint.config.text.vocabSize;
  let logLikelihood = 0;
  let firstChange: RemovalPoint['firstChange'];
  answerIds.forEach((id, index) => {
    const row = logits.subarray(index * vocabulary, (index + 1) * vocabulary);
    logLikelihood += logProbability(row, id);
    const choice = topLogits(row, 1).topTokenIds[0];
    // Up to here the greedy answer is the forced one, so this is exactly where it changes.
    if (choice !== id)
      firstChange ??= { index, id: choice, text: tokenizer.decode([choice], { skipSpecialTokens: false }) };
  });
  return { logLikelihood, firstChange };
}

/** log softmax(logits)[id], in nats. */
export function logProbability(logits: Float32Array, id: number): number {
  const maximum = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const sum = logits.reduce((total, logit) => total + Math.exp(logit - maximum), 0);
  return logits[id] - maximum - Math.log(sum);
}

/** One decoder layer for all rows at once. */
async function throughLayer(context: GenerationContext, layer: number, rows: Rows): Promise<Rows> {
  const output = await run(context, { from: layer, to: layer + 1, head: 'none' }, rows);
  const { columns } = rows.hidden;
  return {
    hidden: { data: floats(output.nextHidden), rows: rows.positions.length, columns },
    positions: rows.positions,
  };
}

/** The head alone: [rows, vocabulary]. */
async function logitsOf(context: GenerationContext, rows: Rows): Promise<Float32Array> {
  const { numHiddenLayers } = context.checkpoint.config.text;
  const output = await run(context, { from: numHiddenLayers, to: numHiddenLayers, head: 'all' }, rows);
  return floats(output.logits);
}

async function run(
  { sessions, checkpoint }: GenerationContext,
  part: Pick<DecoderGraph, 'from' | 'to' | 'head'>,
  { hidden, positions }: Rows,
) {
  const session = await sessions.decoder({ ...part, past: false, attention: 'mean' });
  return session.run({
    hidden: floatTensor(hidden.data, [hidden.rows, hidden.columns]),
    ...rowInputs(checkpoint.config.text, positions),
  });
}

function rowsOf({ hidden, positions }: Rows, rows: readonly number[]): Rows {
  return {
    hidden: gatherRows(hidden, rows),
    positions: rows.map((row) => positions[row]),
  };
}

function appended(above: Matrix, below: Matrix): Matrix {
  const data = new Float32Array(above.data.length + below.data.length);
  data.set(above.data);
  data.set(below.data, above.data.length);
  return { data, rows: above.rows + below.rows, columns: above.columns };
}
