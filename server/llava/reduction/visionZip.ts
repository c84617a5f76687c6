import { budgetTokens, tileShare } from './budget';
import { visionImportance } from './importance';
import { defineMethod } from './method';
import type { Matrix } from '../matrix';
import type { SelectedToken, VisionInput } from './reduction';
import { keepAll, keptTokens, topK } from './topK';

/**
 * VisionZip: a few dominant patches go on as they are, all others are merged into a few contextual tokens.
 *
 * Dominant: the highest attention of the CLS query (CLS itself counts as one of them and comes first); in a tower without
 * CLS the highest mean attention received. Contextual: of the M remaining patches those at 0, step, 2 step ...
 * (step = floor(M / C)) are targets; every other one joins the target whose key is most similar (cosine).
 */
export const visionZip = defineMethod(
  {
    id: 'visionzip',
    name: 'VisionZip',
    summary: 'Keeps the patches that the vision tower attends to and merges the others into a few tokens.',
    details:
      'The "dominant" patches are those that draw most attention inside the vision tower; they go on unchanged, in raster order. In a tower with a CLS token, ' +
      'CLS itself is kept first and counts as one of them (54 = CLS + 53 patches). Of the remaining patches, "contextual" evenly spaced ones ' +
      'become targets, every other patch joins the target that it resembles most, and each group goes on as one merged token behind the dominant ones. ' +
      'The choice does not depend on the question. Where both budgets together reach the number of patches, nothing is reduced.',
    paper: 'VisionZip: Longer is Better but Not Necessary in Vision Language Models, arXiv 2412.04467',
    places: ['vision'],
    needs: [],
    control: false,
    parameters: [
      {
        name: 'dominant',
        type: 'budget',
        minimum: 1,
        auto: true,
        share: 54 / 64,
        default: '54',
        description: 'Tokens that go on unchanged, the CLS token included; a fraction is of the patches.',
      },
      {
        name: 'contextual',
        type: 'budget',
        minimum: 0,
        share: 10 / 64,
        default: '10',
        description: 'Merged tokens; a fraction is of the patches. 0 drops the rest.',
      },
      {
        name: 'merge',
        type: 'choice',
        choices: ['sum', 'average'],
        default: 'sum',
        description:
          'sum: the target plus the average of those that joined it (the published code). average: the average of all of them (the paper).',
      },
    ],
  },
  ({ dominant, contextual, merge }) => ({
    visionNeeds: { classToken: true, attention: true, keys: true },
    atVision: (input) => {
      const patches = input.grid.rows * input.grid.columns;
      const importance = visionImportance(input, 'visionzip');
      const scores = { name: importance.name, values: withClassToken(importance.values, input) };
      const { total } = input.tile;
      const wanted = budgetTokens(dominant, total) + budgetTokens(contextual, total);
      // Both budgets are split together, so that their sum is met exactly through all tiles.
      const count = tileShare(Math.min(wanted, total), input.tile, patches);
      if (count >= patches) return keepAll(patches, scores);
      const contextualCount = Math.min(
        count,
        tileShare(budgetTokens(contextual, total), input.tile, patches),
      );
      const dominantCount = count - contextualCount;

      const hasClassToken = input.classToken !== undefined && dominantCount > 0;
      const kept = topK(importance.values, hasClassToken ? dominantCount - 1 : dominantCount);
      const tokens: SelectedToken[] = hasClassToken ? keptTokens([patches]) : [];
      tokens.push(...keptTokens(kept));
      if (contextualCount > 0) {
        tokens.push(...mergeContextual(keysOf(input), complement(kept, patches), contextualCount, merge));
      }
      return { tokens, scores };
    },
  }),
);

/** Scores aligned with the received tokens: CLS goes on in any case, and ranks with the best patch. */
function withClassToken(values: Float32Array, { classToken }: VisionInput): Float32Array {
  if (classToken === undefined) return values;
  return Float32Array.of(
    ...values,
    values.reduce((a, b) => Math.max(a, b), 0),
  );
}

/** The indices of 0 .. count-1 that are not among the ascending `chosen`. */
function complement(chosen: Uint32Array, count: number): Uint32Array {
  const rest = new Uint32Array(count - chosen.length);
  for (let index = 0, next = 0, at = 0; index < count; index++) {
    if (chosen[next] === index) next++;
    else rest[at++] = index;
  }
  return rest;
}

function keysOf({ keys }: VisionInput): Matrix {
  if (!keys) throw new Error('visionzip asked for the keys of the vision tower and did not get them');
  return keys;
}

/** Merges `rest` (ascending; more than `count`) into `count` tokens, in the order of their targets. */
function mergeContextual(
  keys: Matrix,
  rest: Uint32Array,
  count: number,
  merge: 'sum' | 'average',
): SelectedToken[] {
  const step = Math.floor(rest.length / count);
  const isTarget = (position: number) => position % step === 0 && position < step * count;
  const members: number[][] = [];
  for (let target = 0; target < count; target++) members.push([rest[target * step]]);

  const norms = Float64Array.from(rest, (index) => Math.sqrt(dot(keys, index, index)));
  for (let position = 0; position < rest.length; position++) {
    if (isTarget(position)) continue;
    let best = 0;
    let bestCosine = -Infinity;
    for (let target = 0; target < count; target++) {
      // The patch's own norm is common to all targets and cannot change which of them is nearest.
      const norm = norms[target * step];
      const cosine = norm === 0 ? 0 : dot(keys, rest[position], rest[target * step]) / norm;
      if (cosine > bestCosine) {
        best = target;
        bestCosine = cosine;
      }
    }
    members[best].push(rest[position]);
  }
  return members.map((sources) => ({
    kind: 'merged',
    target: sources[0],
    sources: Uint32Array.from(sources),
    weights: mergeWeights(sources.length, merge),
  }));
}

/** Weights of a target (first) and of those that joined it. */
function mergeWeights(sources: number, merge: 'sum' | 'average'): Float32Array {
  if (merge === 'average') return new Float32Array(sources).fill(1 / sources);
  const weights = new Float32Array(sources).fill(1 / (sources - 1));
  weights[0] = 1;
  return weights;
}

function dot({ data, columns }: Matrix, a: number, b: number): number {
  let sum = 0;
  const offsetA = a * columns;
  const offsetB = b * columns;
  for (let k = 0; k < columns; k++) sum += data[offsetA + k] * data[offsetB + k];
  return sum;
}
