import { budgetTokens } from './budget';
import { KEEP_IN_DECODER, LAYER } from './commonParameters';
import { defineMethod } from './method';
import { keptTokens, topK } from './topK';

/** SparseVLM's ranking: what the words of the question attend to. */
export const sparseVlm = defineMethod(
  {
    id: 'sparsevlm',
    name: 'Text-aware ranking (SparseVLM)',
    summary: 'Drops, inside the decoder, the image tokens that the words of the question hardly attend to.',
    details:
      'As FastV, but the tokens are ranked before layer "layer" by the attention of all text positions behind the picture (the question), not of the last ' +
      'position alone. This is the ranking of SparseVLM at one layer; its choice of "rater" words, its adaptive number of tokens and its recycling of dropped ' +
      'tokens are not part of it.',
    paper:
      'SparseVLM: Visual Token Sparsification for Efficient Vision-Language Model Inference, arXiv 2410.04417',
    places: ['layer'],
    needs: [],
    control: false,
    parameters: [LAYER, KEEP_IN_DECODER],
  },
  ({ layer, keep }) => ({
    layerBoundaries: () => [{ layer, score: 'textQueries' }],
    atLayer: ({ scores, enteredDecoder }) => ({
      tokens: keptTokens(topK(scores, budgetTokens(keep, enteredDecoder, scores.length))),
      scores: { name: 'textQueries', values: scores },
    }),
  }),
);
