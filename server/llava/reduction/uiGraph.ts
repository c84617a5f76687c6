import { budgetTokens } from './budget';
import { tokenImportance } from './importance';
import { defineMethod } from './method';
import { patchComparison } from './patchPixels';
import type { TokenPlane } from './reduction';
import { keptTokens, ranking } from './topK';

/**
 * UI graph: neighbouring patches that look the same form one component (a background, a flat panel), and only a few tokens of each
 * component go on. Text and icons differ from patch to patch, so that each of their patches is a component of its own.
 */
export const uiGraph = defineMethod(
  {
    id: 'uigraph',
    name: 'UI graph',
    summary: 'Keeps a few tokens of every flat area of a screenshot, and everything else.',
    details:
      'Patches that are neighbours (left, right, above, below) and whose pixels all differ by less than "threshold" belong together; chains of such neighbours ' +
      'form one area. Of every area only "keep" tokens go on, those with most attention inside the vision tower; a patch unlike its neighbours is an area of ' +
      'its own and stays. How many tokens are left depends on the picture. Acts after the projector, so that an importance method can follow. The pixels are ' +
      'those that the tower saw, after scaling.',
    paper: 'ShowUI: One Vision-Language-Action Model for GUI Visual Agent, arXiv 2411.17465',
    places: ['embeddings'],
    needs: [],
    control: false,
    parameters: [
      {
        name: 'threshold',
        type: 'number',
        minimum: 0,
        maximum: 256,
        default: 8,
        description:
          'Levels (0 to 255) that any colour channel of any pixel must differ by to make two patches different.',
      },
      {
        name: 'keep',
        type: 'budget',
        minimum: 1,
        default: '1',
        description: 'How many tokens of each area go on; a fraction is of the tokens of the area.',
      },
    ],
  },
  ({ threshold, keep }) => ({
    visionNeeds: { attention: true },
    atEmbeddings: (input) => {
      const scores = tokenImportance(input, 'uigraph');
      const area = areas(input.planes, threshold);
      const size = new Map<number, number>();
      for (const raster of input.raster) {
        if (raster >= 0) size.set(area[raster], (size.get(area[raster]) ?? 0) + 1);
      }
      const left = new Map<number, number>();
      for (const [root, tokens] of size) left.set(root, budgetTokens(keep, tokens));
      const kept: number[] = [];
      for (const token of ranking(scores.values)) {
        // Tokens that are no patch (CLS, a context token) have no look to compare.
        const root = input.raster[token] < 0 ? undefined : area[input.raster[token]];
        const allowed = root === undefined ? 1 : left.get(root)!;
        if (allowed === 0) continue;
        if (root !== undefined) left.set(root, allowed - 1);
        kept.push(token);
      }
      return {
        tokens: keptTokens(kept.sort((a, b) => a - b)),
        scores,
        note: `${size.size} areas among ${input.raster.length} tokens.`,
      };
    },
  }),
);

/** For every raster index the lowest one of its area. Areas go through tiles, but not from the overview into the details. */
function areas(planes: readonly TokenPlane[], threshold: number): number[] {
  return planes.flatMap((plane) => Array.from(components(plane, threshold), (patch) => plane.first + patch));
}

/** For every patch the lowest patch of its component (union-find with path halving over the edges of the raster). */
function components({ rows, columns, pixels }: TokenPlane, threshold: number): Uint32Array {
  const parent = Uint32Array.from({ length: rows * columns }, (_, patch) => patch);
  const find = (patch: number): number => {
    while (parent[patch] !== patch) {
      parent[patch] = parent[parent[patch]];
      patch = parent[patch];
    }
    return patch;
  };
  const difference = patchComparison(pixels);
  const join = (a: number, b: number): void => {
    if (difference(a, b, threshold) >= threshold) return;
    const [rootA, rootB] = [find(a), find(b)];
    parent[Math.max(rootA, rootB)] = Math.min(rootA, rootB);
  };
  for (let patch = 0; patch < parent.length; patch++) {
    if ((patch + 1) % columns !== 0) join(patch, patch + 1);
    if (patch + columns < parent.length) join(patch, patch + columns);
  }
  return parent.map((_, patch) => find(patch));
}
