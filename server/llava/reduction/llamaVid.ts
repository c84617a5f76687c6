import { applyLinear, type LlamaVidHead, noHead, softmaxRows } from './heads';
import { defineMethod } from './method';
import { poolCells } from './pool';
import type { Matrix, SelectedToken } from './reduction';

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
      'After the vision tower, trained projections let the words of the question attend to all patches; what they gather becomes one context token, which comes first. ' +
      'Behind it come the content tokens: the averages of the cells of a grid with "grid" cells along each side (1 is the mean of the whole picture; as many ' +
      'as the raster has keeps every patch). The context token stands for no place in the picture: the view shows how much each patch gave to it. The projections are trained ' +
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
    atVision: ({ heads, grid, features, questionEmbeddings }) => {
      const head = heads?.llamaVid;
      if (!head) throw noHead('llamavid');
      const patches = grid.rows * grid.columns;
      const { weights, vector } = gatherContext(head, firstRows(features, patches), questionEmbeddings);
      const context: SelectedToken = { kind: 'context', weights, vector };
      return {
        tokens: [context, ...poolCells(grid, cells)],
        scores: { name: 'contextAttention', values: weights },
      };
    },
  }),
);

/**
 * One token of all patches: every word of the question weighs the patches by softmax(q k^T / sqrt(C)), the words' mixtures of raw
 * features are averaged, and the result is mapped into the decoder's embedding space.
 * @param features [patches, visionDim]
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
  const { data: vector } = applyLinear(head.output, { data: mixture, rows: 1, columns: features.columns });
  return { weights, vector };
}

/** Attention over the patches, mean over the words. Averaging the weights first gives the same mixture as averaging the mixtures. */
function meanAttention(head: LlamaVidHead, features: Matrix, question: Matrix): Float32Array {
  if (question.rows === 0) return new Float32Array(features.rows).fill(1 / features.rows);
  const queries = applyLinear(head.query, question);
  const keys = applyLinear(head.key, features);
  const scale = 1 / Math.sqrt(queries.columns);
  const logits = applyLinear({ weight: keys }, queries);
  for (let at = 0; at < logits.data.length; at++) logits.data[at] *= scale;
  softmaxRows(logits);
  const mean = new Float32Array(features.rows);
  logits.data.forEach((weight, at) => {
    mean[at % features.rows] += weight / question.rows;
  });
  return mean;
}

function firstRows({ data, columns }: Matrix, rows: number): Matrix {
  return { data: data.subarray(0, rows * columns), rows, columns };
}
