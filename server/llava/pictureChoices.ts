import type { TokenId } from '../protocol';
import { textPatches } from './fineText';
import { type PreparedImage, tokenPlanes } from './imageTokens';
import { automaticBudget } from './reduction/automaticBudget';
import type { Reduction } from './reduction/reduction';

/** The reductions, with numbers of tokens where their budgets are automatic: those that these pictures need together. */
export function resolveBudgets(
  reductions: readonly Reduction[],
  images: readonly PreparedImage[],
): readonly Reduction[] {
  if (!reductions.some((reduction) => reduction.resolve)) return reductions;
  const automatic = automaticBudget(images.flatMap(tokenPlanes));
  return reductions.map((reduction) => reduction.resolve?.(automatic) ?? reduction);
}

/** What in the pictures looks like text: the ids of its tokens, and how many patches of it a picture had that was made smaller. */
export function fineTextTokens(images: readonly PreparedImage[]): { ids: TokenId[]; shrunk: number } {
  const ids: TokenId[] = [];
  let shrunk = 0;
  for (const image of images) {
    const { layout, raster } = image.plan;
    const planes = tokenPlanes(image);
    if (image.unshrunk) {
      shrunk += textPatches({ ...planes[0], pixels: image.unshrunk() }).length;
      continue;
    }
    const found = new Set(planes.flatMap((plane) => textPatches(plane).map((patch) => plane.first + patch)));
    raster.forEach((index, patch) => {
      if (found.has(index)) ids.push(layout.firstId + patch);
    });
  }
  return { ids, shrunk };
}
