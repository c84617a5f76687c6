import { budgetTokens } from './budget';
import { KEEP_IN_DECODER, LAYER } from './commonParameters';
import { defineMethod } from './method';
import { keptTokens, topK } from './topK';

/**
 * FastV: after the first layers of the decoder have looked at the picture, the image tokens that draw little attention
 * are dropped for all layers that follow.
 *
 * Before decoder layer K: score = attention of layer K-1, mean over heads, of the last prompt position over the image tokens
 * (the published code) or summed over all queries (the paper's text); the highest round(N * keep) stay at their
 * original positions.
 */
export const fastV = defineMethod(
  {
    id: 'fastv',
    name: 'FastV',
    summary: 'Drops, inside the decoder, the image tokens that an early layer hardly attends to.',
    details:
      'All image tokens pass the first layers of the decoder. Before layer "layer" the tokens are ranked by the attention that the layer before it paid ' +
      'to them, and only the highest "keep" go on; the rest is dropped for all later layers and for the answer. Kept tokens stay at their original positions. ' +
      'The ranking depends on the question. Known weakness: attention prefers tokens that stand late in the prompt (the bottom of the picture); ' +
      'score=lastQueryNoRotary ranks without the rotary embedding, as FEATHER proposes, and lessens that.',
    paper:
      'An Image is Worth 1/2 Tokens After Layer 2, arXiv 2403.06764; scores without rotary embedding: Feather the Throttle, arXiv 2412.13180',
    places: ['layer'],
    needs: [],
    control: false,
    parameters: [
      LAYER,
      KEEP_IN_DECODER,
      {
        name: 'score',
        type: 'choice',
        choices: ['lastQuery', 'columnSum', 'lastQueryNoRotary'],
        default: 'lastQuery',
        description:
          'Rank by the attention of the last prompt position (the published code), by the attention received from all positions (the text of ' +
          'the paper), or by the last position with queries and keys before the rotary embedding.',
      },
    ],
  },
  ({ layer, keep, score }) => ({
    layerBoundaries: () => [{ layer, score }],
    atLayer: ({ scores, enteredDecoder }) => ({
      tokens: keptTokens(topK(scores, budgetTokens(keep, enteredDecoder, scores.length))),
      scores: { name: score, values: scores },
    }),
  }),
);
