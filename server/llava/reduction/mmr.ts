import { budgetTokens } from './budget';
import { cosineRows, type CosineRow } from './cosine';
import { highestFree, marked } from './greedy';
import { tokenImportance } from './importance';
import { KEEP_TOKENS } from './commonParameters';
import { defineMethod } from './method';
import { keepAll, keptTokens } from './topK';

/**
 * Maximal marginal relevance: picks one token after the other, each time the one with the highest
 * lambda * importance - (1 - lambda) * (cosine to the most similar token already picked).
 */
export const mmr = defineMethod(
  {
    id: 'mmr',
    name: 'Maximal marginal relevance',
    summary: 'Keeps tokens that are important and unlike each other.',
    details:
      'After the projector, tokens are picked one by one: each time the one whose importance (attention inside the vision tower, scaled to 0..1) most ' +
      'outweighs its likeness to the tokens picked before. "lambda" is the weight of importance: 1 ranks by importance alone, 0 by difference alone. ' +
      'Picked tokens go on in raster order, the others are dropped. The choice does not depend on the question.',
    paper:
      'IDPruner: Harmonizing Importance and Diversity in Visual Token Pruning for MLLMs, arXiv 2602.13315',
    places: ['embeddings'],
    needs: [],
    control: false,
    parameters: [
      KEEP_TOKENS,
      {
        name: 'lambda',
        type: 'number',
        minimum: 0,
        maximum: 1,
        default: 0.5,
        description: 'Weight of importance against difference.',
      },
    ],
  },
  ({ keep, lambda }) => ({
    visionNeeds: { attention: true },
    wantsSimilarity: true,
    atEmbeddings: (input) => {
      const tokens = input.embeddings.rows;
      const scores = tokenImportance(input, 'mmr');
      const count = budgetTokens(keep, tokens);
      if (count >= tokens) return keepAll(tokens, scores);

      const relevance = scaledToUnit(scores.values).map((value) => lambda * value);
      const cosines = cosineRows(input.embeddings, tokens, input.similarity);
      const nearest = new Float64Array(tokens).fill(-Infinity);
      const marginal = Float64Array.from(relevance);
      const taken = new Uint8Array(tokens);
      for (let picked = 0; picked < count; picked++) {
        const best = highestFree(marginal, taken);
        taken[best] = 1;
        lowerMarginals(marginal, nearest, relevance, 1 - lambda, cosines(best));
      }
      return { tokens: keptTokens(marked(taken)), scores };
    },
  }),
);

/**
 * Takes note of a pick, by its row of cosines. A function of its own, as it is called once per pick: it is compiled in the middle of the
 * first question, while one loop around all picks takes several questions to get there.
 */
function lowerMarginals(
  marginal: Float64Array,
  nearest: Float64Array,
  relevance: Float64Array,
  difference: number,
  row: CosineRow,
): void {
  for (let index = 0; index < row.length; index++) {
    if (row[index] > nearest[index]) nearest[index] = row[index];
    marginal[index] = relevance[index] - difference * nearest[index];
  }
}

/** Values scaled to 0 .. 1; all 0 where they are equal. */
function scaledToUnit(values: Float32Array): Float64Array {
  let lowest = Infinity;
  let highest = -Infinity;
  for (const value of values) {
    if (value < lowest) lowest = value;
    if (value > highest) highest = value;
  }
  const span = highest - lowest;
  return Float64Array.from(values, (value) => (span > 0 ? (value - lowest) / span : 0));
}
