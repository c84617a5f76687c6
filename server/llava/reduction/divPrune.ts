import { budgetTokens } from './budget';
import { cosineMatrix, type CosineMatrix } from './cosine';
import { highestFree, marked } from './greedy';
import { defineMethod } from './method';
import { keepAll, keptTokens } from './topK';

/** DivPrune: picks tokens so that the smallest cosine distance between any two of them stays as large as possible (greedily). */
export const divPrune = defineMethod(
  {
    id: 'divprune',
    name: 'DivPrune',
    summary: 'Keeps tokens that are as different from each other as possible.',
    details:
      'After the projector, the first pick is the token that lies farthest from its nearest neighbour (cosine distance); then each time the ' +
      'token that is farthest from everything picked so far. Picked tokens go on in raster order, the others are dropped. It needs no attention, so that it ' +
      'suits every tower; it depends neither on the question nor on what matters in the picture.',
    paper: 'DivPrune: Diversity-based Visual Token Pruning for Large Multimodal Models, arXiv 2503.02175',
    places: ['embeddings'],
    needs: [],
    control: false,
    parameters: [
      {
        name: 'keep',
        type: 'budget',
        minimum: 1,
        auto: true,
        default: '64',
        description: 'How many image tokens go on; a fraction is of the tokens that arrive.',
      },
    ],
  },
  ({ keep }) => ({
    wantsSimilarity: true,
    atEmbeddings: ({ embeddings, similarity }) => {
      const tokens = embeddings.rows;
      const count = budgetTokens(keep, tokens);
      if (count >= tokens) return keepAll(tokens);
      return { tokens: keptTokens(pickFarthest(cosineMatrix(embeddings, tokens, similarity), count)) };
    },
  }),
);

/** The greedy max-min choice, ascending. */
function pickFarthest({ data, count }: CosineMatrix, wanted: number): number[] {
  const taken = new Uint8Array(count);
  // Distance of each token to the nearest of those that count: first all others, then those picked.
  const distance = new Float64Array(count).fill(Infinity);
  for (let a = 0; a < count; a++) {
    for (let b = 0; b < count; b++) {
      if (a !== b) distance[a] = Math.min(distance[a], 1 - data[a * count + b]);
    }
  }
  let best = highestFree(distance, taken);
  distance.fill(Infinity);
  for (let picked = 1; ; picked++) {
    taken[best] = 1;
    if (picked === wanted) return marked(taken);
    const row = best * count;
    for (let index = 0; index < count; index++) {
      distance[index] = Math.min(distance[index], 1 - data[row + index]);
    }
    best = highestFree(distance, taken);
  }
}
