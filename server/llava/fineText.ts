import type { AnswerWarning, ReductionTrace, TokenId } from '../protocol';
import { fatesAfter } from '../traceView/fates';
import { distinctPatches } from './reduction/distinctPatches';
import type { PicturePlane } from './reduction/patches';
import type { PatchPixels } from './reduction/patches';

/**
 * Levels (luminance, 0 to 255) per step from pixel to pixel that letters reach. Two things are asked of a patch: brightness changes this
 * much in BOTH directions (straight edges of windows and buttons change it in one), and in one of them it changes this much and BACK
 * (strokes do; the rim of a shape changes it once). On the pages among the real screenshots, where the browser says where text is, this
 * finds 93 % of the patches with text; 82 % of what it finds is text, the rest mostly icons and ticks (bench/textPatches.test.ts).
 */
const TEXT_CHANGE = 3;

/** In a photograph nearly every patch is unlike its neighbours, and texture cannot be told from text: nothing is claimed then. */
export const MOST_DISTINCT = 0.85;

/** How much of the text-like part of the pictures is left. */
export interface FineText {
  /** Patches that look like text. */
  readonly patches: number;
  /** Of these, the ones that did not reach the answer unchanged and alone: dropped, or averaged with others. */
  readonly lost: number;
  /** 0..1: the same as a share, where a patch that some layers of the decoder have seen counts for the layers that have not. */
  readonly share: number;
}

/** Indices of the patches of a screenshot that look like text; none in a photograph. */
export function textPatches(plane: PicturePlane): number[] {
  const { rows, columns, pixels } = plane;
  const patches = rows * columns;
  if (distinctPatches(plane) > MOST_DISTINCT * patches) return [];
  return Array.from({ length: patches }, (_, patch) => patch).filter((patch) => looksLikeText(pixels, patch));
}

function looksLikeText({ data, patchSize }: PatchPixels, patch: number): boolean {
  const start = patch * patchSize * patchSize * 3;
  const luminance = new Float32Array(patchSize * patchSize);
  for (let pixel = 0; pixel < luminance.length; pixel++) {
    const at = start + pixel * 3;
    // ITU-R BT.601
    luminance[pixel] = 0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2];
  }
  const across = changes(luminance, patchSize, patchSize, 1);
  const down = changes(luminance, patchSize, 1, patchSize);
  return Math.min(across.all, down.all, Math.max(across.back, down.back)) >= TEXT_CHANGE;
}

/** Mean change per step along the lines of a square, and the part of it that is taken back before the line ends. */
function changes(
  values: Float32Array,
  side: number,
  line: number,
  step: number,
): { all: number; back: number } {
  let all = 0;
  let lasting = 0;
  for (let i = 0; i < side; i++) {
    const start = i * line;
    for (let j = 1; j < side; j++) all += Math.abs(values[start + j * step] - values[start + (j - 1) * step]);
    lasting += Math.abs(values[start + (side - 1) * step] - values[start]);
  }
  const steps = side * (side - 1);
  return { all: all / steps, back: (all - lasting) / steps };
}

/**
 * How many of the tokens with text went on unchanged until the answer began; those of a shrunk picture share theirs with others.
 * @param layers of the decoder.
 */
export function fineTextLeft(
  trace: ReductionTrace,
  { ids, shrunk }: { ids: readonly TokenId[]; shrunk: number },
  layers: number,
): FineText {
  const atPrefill = trace.stages.filter(({ place }) => place.at !== 'step').length;
  const fates = fatesAfter(trace, atPrefill);
  let lost = shrunk;
  let unseen = shrunk;
  for (const id of ids) {
    const fate = fates.get(id);
    if (fate?.state === 'kept') continue;
    lost++;
    const place = fate?.stage === undefined ? undefined : trace.stages[fate.stage].place;
    unseen += place?.at === 'layer' ? 1 - place.layer / layers : 1;
  }
  const patches = ids.length + shrunk;
  return { patches, lost, share: patches === 0 ? 0 : unseen / patches };
}

/**
 * This share of the text must be gone, of at least so many patches, before the user is told: then most answers about text are lost
 * (docs/results/reduction.md, "The warning about fine text").
 */
export const FINE_TEXT_WARNING = { share: 0.5, patches: 8 } as const;

/** What the user is told where so much of the text is gone that answers about it are likely to be wrong. */
export function fineTextWarning({ patches, lost, share }: FineText): AnswerWarning | undefined {
  if (patches < FINE_TEXT_WARNING.patches || share < FINE_TEXT_WARNING.share) return undefined;
  return {
    code: 'reduction.fine-text',
    message: `Fine text is likely lost: ${lost} of ${patches} patches that look like text did not reach the answer as they are.`,
    askAgain: { reduction: 'none' },
  };
}
