import { budgetTokens } from './budget';
import { cosineMatrix, type CosineMatrix, type CosineRow } from './cosine';
import { highestFree, marked } from './greedy';
import { KEEP_TOKENS } from './commonParameters';
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
    parameters: [KEEP_TOKENS],
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

/** The greedy max-min choice, ascending. Nearest is by the highest cosine: 1 - cosine falls with it, rounding included. */
function pickFarthest({ data, count }: CosineMatrix, wanted: number): number[] {
  const taken = new Uint8Array(count);
  // Distance of each token to the nearest of those that count: first all others, then those picked.
  const distance = Float64Array.from(
    taken,
    (_, token) =>
      1 - highest(data, token * count, token, highest(data, token * count + token + 1, count - token - 1)),
  );
  let best = highestFree(distance, taken);
  distance.fill(Infinity);
  for (let picked = 1; ; picked++) {
    taken[best] = 1;
    if (picked === wanted) return marked(taken);
    lowerDistances(distance, data, best * count);
    best = highestFree(distance, taken);
  }
}

/** Takes note of a pick, by its row of cosines. */
function lowerDistances(distance: Float64Array, data: CosineRow, row: number): void {
  for (let index = 0; index < distance.length; index++) {
    const own = 1 - data[row + index];
    if (own < distance[index]) distance[index] = own;
  }
}

/** The highest of `count` values, and of `found`. */
function highest(data: CosineRow, from: number, count: number, found = -Infinity): number {
  for (let at = from; at < from + count; at++) if (data[at] > found) found = data[at];
  return found;
}
