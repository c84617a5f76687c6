import { combine } from './combine';
import type { LlamaVidHead } from './trainedHeads';
import { applyLinear, gelu, noHead, softmaxRows } from './heads';
import { defineMethod } from './method';
import { poolCells } from './pool';
import type { Matrix } from '../matrix';
import type { SelectedToken } from './reduction';

/**
 * LLaMA-VID: a picture becomes one context token, gathered by the question's attention over all patches, and a few content tokens, averages over a
 * coarse grid.
 */
export const llamaVid = defineMethod(
  {
    id: 'llamavid',
    name: 'LLaMA-VID',
    summary: 'Makes a picture one token gathered by the question and a few averaged ones.',
    details:
      'After the vision tower, trained queries read the question and attend to all patches; what they gather becomes one context token, which comes first. ' +
      'Behind it come the content tokens: the averages of the cells of a grid with "grid" cells along each side (1 is the mean of the whole picture), ' +
      'through a projector of their own. The embedded model was trained with 1, 2, 4, 6, 8 and 12 cells along a side: 1 + 1 to 1 + 144 tokens. The context token stands for no place in the picture: the view shows how much each patch gave to it. The projections are trained ' +
      'for one model; without them use pool, the content half under its own name.',
    paper: 'LLaMA-VID: An Image is Worth 2 Tokens in Large Language Models, arXiv 2311.17043',
    places: ['vision'],
    needs: ['heads'],
    control: false,
    parameters: [
      {
        name: 'grid',
        type: 'integer',
        minimum: 1,
        maximum: 1000,
        default: 1,
        description: 'Content cells along each side; 1 makes 1 + 1 tokens, 8 makes 1 + 64.',
      },
    ],
  },
  ({ grid: cells }) => ({
    usesHead: (heads) => heads.llamaVid !== undefined,
    readsQuestion: true,
    atVision: ({ heads, grid, features, questionEmbeddings }) => {
      const head = heads?.llamaVid;
      if (!head) throw noHead('llamavid');
      const normed = layerNorm(firstRows(features, grid.rows * grid.columns), head.featureNorm);
      const { weights, vector } = gatherContext(head, normed, questionEmbeddings);
      const context: SelectedToken = { kind: 'context', weights, vector };
      return {
        tokens: [context, ...contentTokens(head, normed, poolCells(grid, cells))],
        scores: { name: 'contextAttention', values: weights },
      };
    },
  }),
);

/**
 * One token of all patches. Trained queries read the question (softmax attention over its words); what each has read weighs the
 * patches by softmax(q k^T / sqrt(C)); the queries' mixtures of features are averaged and mapped into the decoder's embedding space.
 * @param features normed, [patches, visionDim]
 * @param question [words, textDim]; without words every patch counts the same.
 * @returns how much each patch gave (sums to 1) and the token [textDim].
 */
export function gatherContext(
  head: LlamaVidHead,
  features: Matrix,
  question: Matrix,
): { weights: Float32Array; vector: Float32Array } {
  const weights = meanAttention(head, features, question);
  const mixture = new Float32Array(features.columns);
  for (let patch = 0; patch < features.rows; patch++) {
    const from = patch * features.columns;
    for (let k = 0; k < features.columns; k++) mixture[k] += weights[patch] * features.data[from + k];
  }
  const { data: vector } = applyLinear(head.context, { data: mixture, rows: 1, columns: features.columns });
  return { weights, vector };
}

/** Attention over the patches, mean over the queries. Averaging the weights first gives the same mixture as averaging the mixtures. */
function meanAttention(head: LlamaVidHead, features: Matrix, question: Matrix): Float32Array {
  if (question.rows === 0) return new Float32Array(features.rows).fill(1 / features.rows);
  const words = attend(head.queries, applyLinear(head.textKey, question));
  const read = applyLinear({ weight: transposed(applyLinear(head.textValue, question)) }, words);
  const looks = attend(applyLinear(head.query, read), applyLinear(head.key, features));
  const mean = new Float32Array(features.rows);
  looks.data.forEach((weight, at) => {
    mean[at % features.rows] += weight / looks.rows;
  });
  return mean;
}

/** softmax(q k^T / sqrt(C)) of queries [rows, C] and keys [keys, C]: [rows, keys] */
function attend(queries: Matrix, keys: Matrix): Matrix {
  const logits = applyLinear({ weight: keys }, queries);
  const scale = 1 / Math.sqrt(queries.columns);
  for (let at = 0; at < logits.data.length; at++) logits.data[at] *= scale;
  softmaxRows(logits);
  return logits;
}

/** The averaged patches of every cell, through the head's own projector. */
function contentTokens(
  head: LlamaVidHead,
  features: Matrix,
  cells: readonly SelectedToken[],
): SelectedToken[] {
  const hidden = applyLinear(head.content[0], combine(features, cells));
  gelu(hidden);
  const content = applyLinear(head.content[1], hidden);
  return cells.map((cell, row): SelectedToken => {
    const vector = content.data.subarray(row * content.columns, (row + 1) * content.columns);
    if (cell.kind === 'merged') return { ...cell, vector };
    if (cell.kind === 'context') throw new Error('pooling makes no context tokens');
    return {
      kind: 'merged',
      target: cell.index,
      sources: Uint32Array.of(cell.index),
      weights: Float32Array.of(1),
      vector,
    };
  });
}

/** Layer normalisation of every row (epsilon 1e-5, torch's default). */
function layerNorm(
  { data, rows, columns }: Matrix,
  { weight, bias }: { weight: Float32Array; bias: Float32Array },
): Matrix {
  const normed = new Float32Array(data.length);
  for (let row = 0; row < rows; row++) {
    const from = row * columns;
    let sum = 0;
    for (let k = 0; k < columns; k++) sum += data[from + k];
    const mean = sum / columns;
    let squares = 0;
    for (let k = 0; k < columns; k++) squares += (data[from + k] - mean) ** 2;
    const scale = 1 / Math.sqrt(squares / columns + 1e-5);
    for (let k = 0; k < columns; k++) {
      normed[from + k] = (data[from + k] - mean) * scale * weight[k] + bias[k];
    }
  }
  return { data: normed, rows, columns };
}

function transposed({ data, rows, columns }: Matrix): Matrix {
  const turned = new Float32Array(data.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++)
      turned[column * rows + row] = data[row * columns + column];
  }
  return { data: turned, rows: columns, columns: rows };
}

function firstRows({ data, columns }: Matrix, rows: number): Matrix {
  return { data: data.subarray(0, rows * columns), rows, columns };
}
