import { defineMethod } from './method';
import { patchComparison } from './patchPixels';
import type { EmbeddingsInput, TokenPlane } from './reduction';
import { keptTokens } from './topK';

/**
 * Predictive de-duplication: a patch that its left or upper neighbour already shows is dropped. As in predictive coding the comparison is
 * with what a receiver would have in the neighbour's place (the kept patch that predicted it), so that errors never add up.
 */
export const pixelPrune = defineMethod(
  {
    id: 'pixelprune',
    name: 'Predictive de-duplication (PixelPrune)',
    summary: 'Drops patches that their left or upper neighbour already shows.',
    details:
      'In raster order, a patch is dropped when no colour channel of any of its pixels differs by more than "threshold" from the patch on its left, or from the ' +
      'patch above (where such a neighbour was dropped itself, from the patch that stood for it). With threshold 0 only exact repetitions go: nothing that can be ' +
      'seen is lost, only how far it extends. How many tokens are left depends on the picture. Acts after the projector, so that an importance method can follow; ' +
      'the paper prunes before the tower, which this engine does not. The pixels are those that the tower saw, after scaling.',
    paper: 'PixelPrune: Pixel-Level Adaptive Visual Token Reduction via Predictive Coding, arXiv 2604.00886',
    places: ['embeddings'],
    needs: [],
    control: false,
    parameters: [
      {
        name: 'threshold',
        type: 'number',
        minimum: 0,
        maximum: 255,
        default: 0,
        description: 'Levels (0 to 255) that a channel may differ by in a repetition.',
      },
    ],
  },
  ({ threshold }) => ({
    atEmbeddings: (input) => {
      const kept = unpredicted(input, threshold);
      return {
        tokens: keptTokens(kept),
        note: `${input.raster.length - kept.length} of ${input.raster.length} tokens repeat a neighbour.`,
      };
    },
  }),
);

/** The tokens that no neighbour predicts, ascending. */
function unpredicted({ planes, raster }: EmbeddingsInput, threshold: number): number[] {
  const predicted = new Uint8Array(raster.length);
  for (const plane of planes) markPredicted(plane, raster, threshold, predicted);
  const kept: number[] = [];
  predicted.forEach((mark, token) => {
    if (!mark) kept.push(token);
  });
  return kept;
}

function markPredicted(
  { rows, columns, first, pixels }: TokenPlane,
  raster: Int32Array,
  threshold: number,
  predicted: Uint8Array,
): void {
  const tokenAt = new Int32Array(rows * columns).fill(-1);
  raster.forEach((index, token) => {
    if (index >= first && index < first + rows * columns) tokenAt[index - first] = token;
  });
  // For every patch the kept patch that stands for it; -1 where an earlier method took its token away.
  const shownBy = new Int32Array(rows * columns).fill(-1);
  const difference = patchComparison(pixels);
  for (let patch = 0; patch < shownBy.length; patch++) {
    if (tokenAt[patch] < 0) continue;
    const left = patch % columns === 0 ? -1 : shownBy[patch - 1];
    const up = patch < columns ? -1 : shownBy[patch - columns];
    const predictor = [left, up].find(
      (other) => other >= 0 && difference(patch, other, threshold) <= threshold,
    );
    shownBy[patch] = predictor ?? patch;
    if (predictor !== undefined) predicted[tokenAt[patch]] = 1;
  }
}
