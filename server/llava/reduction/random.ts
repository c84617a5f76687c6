import { mulberry32 } from '../mulberry32';
import { tileBudget } from './budget';
import { KEEP_PATCHES } from './commonParameters';
import { defineMethod } from './method';
import { indices, keepAll, keptTokens } from './topK';

/** Control: patches drawn by chance. What a method does not gain over this, it does not gain by choosing. */
export const random = defineMethod(
  {
    id: 'random',
    name: 'Random (control)',
    summary: 'Keeps patches drawn by chance.',
    details:
      'After the vision tower, "keep" patches are drawn without replacement and go on in raster order; the others are dropped. The same seed draws the ' +
      'same patches. A method that does not beat this control (over several seeds) gains nothing by how it chooses.',
    places: ['vision'],
    needs: [],
    control: true,
    parameters: [
      KEEP_PATCHES,
      {
        name: 'seed',
        type: 'integer',
        minimum: 0,
        maximum: 0xffffffff,
        default: 1,
        description: 'Which draw.',
      },
    ],
  },
  ({ keep, seed }) => ({
    atVision: ({ grid, tile }) => {
      const patches = grid.rows * grid.columns;
      const count = tileBudget(keep, tile, patches);
      if (count >= patches) return keepAll(patches);
      return { tokens: keptTokens(sample(patches, count, seed + tile.before)) };
    },
  }),
);

/** `count` of 0 .. total-1 without replacement, ascending (the first steps of a Fisher-Yates shuffle). */
function sample(total: number, count: number, seed: number): Uint32Array {
  const next = mulberry32(seed);
  const order = indices(total);
  for (let i = 0; i < count; i++) {
    const j = i + Math.floor(next() * (total - i));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order.slice(0, count).sort();
}
