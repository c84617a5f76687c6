import { tileBudget } from './budget';
import { cosineMatrix, type CosineMatrix } from './cosine';
import { highestFree, marked } from './greedy';
import { visionImportance } from './importance';
import { defineMethod } from './method';
import { keepAll, keptTokens } from './topK';

/**
 * SCOPE: picks one patch after the other, each time the one with the highest
 * [sum over all patches i of relu(cosine(i, j) - best cosine of i with a picked patch)] * importance_j ^ alpha.
 */
export const scope = defineMethod(
  {
    id: 'scope',
    name: 'SCOPE',
    summary: 'Keeps patches that together resemble the whole picture, important ones first.',
    details:
      'After the vision tower, patches are picked one by one: each time the one that adds most coverage (likeness to patches that nothing picked so far ' +
      'resembles), weighted by its attention inside the vision tower to the power "alpha"; 0 counts coverage alone. Picked patches go on in raster order, ' +
      'the others are dropped. The choice does not depend on the question.',
    paper: 'SCOPE: Saliency-Coverage Oriented Token Pruning for Efficient Multimodal LLMs, arXiv 2510.24214',
    places: ['vision'],
    needs: [],
    control: false,
    parameters: [
      {
        name: 'keep',
        type: 'budget',
        minimum: 1,
        auto: true,
        default: '64',
        description: 'How many patches go on; a fraction is of the patches.',
      },
      {
        name: 'alpha',
        type: 'number',
        minimum: 0,
        maximum: 10,
        default: 1,
        description: 'Exponent of importance.',
      },
    ],
  },
  ({ keep, alpha }) => ({
    visionNeeds: { attention: true },
    wantsSimilarity: true,
    atVision: (input) => {
      const patches = input.grid.rows * input.grid.columns;
      const scores = visionImportance(input, 'scope');
      const count = tileBudget(keep, input.tile, patches);
      if (count >= patches) return keepAll(patches, scores);
      const weights = Float64Array.from(scores.values, (value) => value ** alpha);
      const cosines = cosineMatrix(input.features, patches, input.similarity);
      return { tokens: keptTokens(pickCover(cosines, weights, count)), scores };
    },
  }),
);

/**
 * The greedy cover, ascending. Coverage gains only ever shrink as more is covered (rounding included: sums and differences
 * round monotonously), so a gain computed earlier is an upper bound, and only the candidate that leads by its bound
 * has to be computed anew: the same picks as computing all gains each time, in a fraction of the time.
 */
function pickCover({ data, count }: CosineMatrix, weights: Float64Array, wanted: number): number[] {
  const covered = new Float64Array(count);
  const gain = (candidate: number): number => {
    let sum = 0;
    const row = candidate * count;
    for (let index = 0; index < count; index++) {
      const more = data[row + index] - covered[index];
      if (more > 0) sum += more;
    }
    return sum * weights[candidate];
  };
  const bounds = Float64Array.from({ length: count }, (_, candidate) => gain(candidate));
  const taken = new Uint8Array(count);
  for (let picked = 0; picked < wanted; picked++) {
    let best = highestFree(bounds, taken);
    for (;;) {
      bounds[best] = gain(best);
      const leader = highestFree(bounds, taken);
      if (leader === best) break;
      best = leader;
    }
    taken[best] = 1;
    const row = best * count;
    for (let index = 0; index < count; index++) {
      if (data[row + index] > covered[index]) covered[index] = data[row + index];
    }
  }
  return marked(taken);
}
