import { defineMethod } from './method';
import { keptTokens, topK } from './topK';

/** The decoder is cut into this many equal stages; tokens are dropped between them. */
const STAGES = 4;

/** PyramidDrop: the deeper the layer, the fewer image tokens. */
export const pyramidDrop = defineMethod(
  {
    id: 'pyramiddrop',
    name: 'PyramidDrop',
    summary: 'Drops image tokens in steps, the deeper in the decoder the more.',
    details:
      'The decoder is cut into four stages of equally many layers. Between the stages the image tokens are ranked by the attention of the last prompt position in ' +
      'the layer before, and only a share of them goes on: "ratio" of those that entered the decoder after the first stage, ratio * ratio after the second, ' +
      'ratio^3 after the third (rounded, at least one). Kept tokens stay at their original positions.',
    paper:
      'PyramidDrop: Accelerating Your Large Vision-Language Models via Pyramid Visual Redundancy Reduction, arXiv 2410.17247',
    places: ['layer'],
    needs: [],
    control: false,
    parameters: [
      {
        name: 'ratio',
        type: 'number',
        minimum: 0.01,
        maximum: 1,
        default: 0.5,
        description: 'The share that goes on from stage to stage.',
      },
    ],
  },
  ({ ratio }) => ({
    layerBoundaries: ({ layers }) =>
      // Before layer 0 nothing has been attended to yet: a decoder of fewer than four layers has fewer stages.
      [...new Set(boundaries(layers))]
        .filter((layer) => layer > 0)
        .map((layer) => ({ layer, score: 'lastQuery' as const })),
    atLayer: ({ layer, layers, enteredDecoder, scores }) => {
      // Where stages coincide, the last of them counts.
      const stage = boundaries(layers).filter((boundary) => boundary <= layer).length;
      const count = Math.max(1, Math.round(enteredDecoder * ratio ** stage));
      return { tokens: keptTokens(topK(scores, count)), scores: { name: 'lastQuery', values: scores } };
    },
  }),
);

/** The first layers of the second, third and fourth stage. */
function boundaries(layers: number): number[] {
  return Array.from({ length: STAGES - 1 }, (_, stage) => Math.floor((layers * (stage + 1)) / STAGES));
}
