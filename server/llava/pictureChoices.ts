import type { TokenId } from '../protocol';
import { MOST_DISTINCT, textPatches } from './fineText';
import { type PreparedImage, tokenPlanes } from './imageTokens';
import { automaticBudget } from './reduction/automaticBudget';
import { distinctPatches } from './reduction/distinctPatches';
import type { Reduction } from './reduction/reduction';
import type { TextSize } from './textHeight';

/** The reductions, with numbers of tokens where their budgets are automatic: those that these pictures need together. */
export function resolveBudgets(
  reductions: readonly Reduction[],
  images: readonly PreparedImage[],
): readonly Reduction[] {
  if (!reductions.some((reduction) => reduction.resolve)) return reductions;
  const automatic = automaticBudget(images.flatMap(tokenPlanes));
  return reductions.map((reduction) => reduction.resolve?.(automatic) ?? reduction);
}

/** The text that is seen smallest; none in photographs, whose texture says nothing. */
export function smallestText(images: readonly PreparedImage[]): TextSize | undefined {
  const found = images.flatMap((image) => (image.text && !isPhotograph(image) ? [image.text] : []));
  return found.reduce<TextSize | undefined>(
    (smallest, text) => (smallest && smallest.seen <= text.seen ? smallest : text),
    undefined,
  );
}

/** Whether nearly every patch of the picture, padding left aside, is unlike its neighbours. */
function isPhotograph(image: PreparedImage): boolean {
  const { width, height, tiles } = image.plan.layout;
  const [overview] = tokenPlanes(image);
  const pixels = image.unshrunk?.() ?? overview.pixels;
  const { source } = tiles[0];
  const inside = Math.min(1, width / source.width) * Math.min(1, height / source.height);
  const patches = overview.rows * overview.columns * inside;
  return distinctPatches({ ...overview, pixels }) > MOST_DISTINCT * patches;
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
