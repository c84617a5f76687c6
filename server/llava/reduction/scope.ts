import { tileBudget } from './budget';
import { cosineMatrix, type CosineMatrix, type CosineRow } from './cosine';
import { FallingCandidates, marked } from './greedy';
import { visionImportance } from './importance';
import { KEEP_PATCHES } from './commonParameters';
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
      KEEP_PATCHES,
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
  const gain = (candidate: number): number => coverage(data, candidate * count, covered) * weights[candidate];
  const candidates = new FallingCandidates(Float64Array.from(weights, (_, candidate) => gain(candidate)));
  const taken = new Uint8Array(count);
  for (let picked = 0; picked < wanted; picked++) {
    let best: number;
    do {
      best = candidates.leader;
      candidates.lowerLeader(gain(best));
    } while (candidates.leader !== best);
    candidates.removeLeader();
    taken[best] = 1;
    const row = best * count;
    for (let index = 0; index < count; index++) {
      if (data[row + index] > covered[index]) covered[index] = data[row + index];
    }
  }
  return marked(taken);
}

/**
 * Sum of relu(data[row + i] - covered[i]), without branches, which a processor cannot guess here: x + |x| is exactly twice
 * relu(x). Four sums, so that an addition need not wait for the one before.
 */
function coverage(data: CosineRow, row: number, covered: Float64Array): number {
  const whole = covered.length & ~3;
  let [sum0, sum1, sum2, sum3] = [0, 0, 0, 0];
  for (let index = 0; index < whole; index += 4) {
    const more0 = data[row + index] - covered[index];
    const more1 = data[row + index + 1] - covered[index + 1];
    const more2 = data[row + index + 2] - covered[index + 2];
    const more3 = data[row + index + 3] - covered[index + 3];
    sum0 += more0 + Math.abs(more0);
    sum1 += more1 + Math.abs(more1);
    sum2 += more2 + Math.abs(more2);
    sum3 += more3 + Math.abs(more3);
  }
  for (let index = whole; index < covered.length; index++) {
    const more = data[row + index] - covered[index];
    sum0 += more + Math.abs(more);
  }
  return 0.5 * (sum0 + sum1 + (sum2 + sum3));
}
