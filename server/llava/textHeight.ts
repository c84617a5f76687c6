import type { AnswerWarning } from '../protocol';
import type { RgbImage } from './vision/resample';

/** Width of the strips that are looked at, in source pixels: some letters of small text, two or three of a heading. */
const STRIP = 96;
/** At most so many strips, spread over the width: 40 % of a 4K screenshot. */
const MOST_STRIPS = 16;
/** Levels (green, 0 to 255) from pixel to pixel that the edge of a letter has, grey text included. */
const EDGE = 24;
/** Edges that a row of a strip has at least where it is part of a line of text: three letters have six. */
const ROW_EDGES = 6;
/** Rows of a line of text in source pixels: lower is a dotted line, higher a picture. */
const LEAST_HEIGHT = 4;
const MOST_HEIGHT = 96;
/** Rows above and below a line of text within which its edges end; in texture and pictures they become fewer and more again. */
const MARGIN = 3;
/** Share of a line's edges that a row of the margin may have: borders and icons beside a text go on there. */
const QUIET = 0.25;
/** Fewer lines say nothing. */
const LEAST_LINES = 3;
/** The height that this share of the text does not reach: small text is what is lost first, and headings are few. */
const LOWER = 0.25;

/**
 * How high the smaller text of a screenshot is, in source pixels: from about the height of small letters to that of capitals. Looked
 * for are rows with many edges across, between rows that have few; that takes some milliseconds for a 4K screenshot.
 *
 * @returns undefined where there are not enough lines of text. It does not see text on texture, letters wider than a third of
 *   {@link STRIP}, text at an angle, and text that differs in colour but hardly in green.
 */
export function textHeight(image: RgbImage): number | undefined {
  const lines = textLines(image).toSorted((a, b) => a.height - b.height);
  if (lines.length < LEAST_LINES) return undefined;
  let left = LOWER * lines.reduce((sum, { edges }) => sum + edges, 0);
  return lines.find(({ edges }) => (left -= edges) <= 0)?.height;
}

/** A line of text in a strip. */
interface TextLine {
  /** In rows. */
  readonly height: number;
  /** Edges of letters in it. */
  readonly edges: number;
}

function textLines({ width, height, rgb }: RgbImage): TextLine[] {
  const strip = Math.min(STRIP, width);
  const strips = Math.min(MOST_STRIPS, Math.max(1, Math.floor(width / strip)));
  const lines: TextLine[] = [];
  const rows = new Uint16Array(height);
  for (let index = 0; index < strips; index++) {
    const left = strips === 1 ? 0 : Math.round((index * (width - strip)) / (strips - 1));
    for (let y = 0; y < height; y++) rows[y] = edgesAcross(rgb, (y * width + left) * 3, strip);
    collectLines(rows, lines);
  }
  return lines;
}

/** Edges in `pixels` pixels of a row that begins at `start`. */
function edgesAcross(rgb: Uint8Array, start: number, pixels: number): number {
  let edges = 0;
  let before = rgb[start + 1];
  for (let at = start + 4, end = start + 3 * pixels; at < end; at += 3) {
    const value = rgb[at];
    const change = value - before;
    if (change > EDGE || change < -EDGE) edges++;
    before = value;
  }
  return edges;
}

/** Adds the lines of text of one strip. @param rows edges of every row */
function collectLines(rows: Uint16Array, lines: TextLine[]): void {
  for (let first = 0; first < rows.length; first++) {
    if (rows[first] < ROW_EDGES) continue;
    let end = first;
    let edges = 0;
    while (end < rows.length && rows[end] >= ROW_EDGES) edges += rows[end++];
    const height = end - first;
    const most = (QUIET * edges) / height;
    if (
      height >= LEAST_HEIGHT &&
      height <= MOST_HEIGHT &&
      isQuiet(rows, first - MARGIN, first, most) &&
      isQuiet(rows, end, end + MARGIN, most)
    )
      lines.push({ height, edges });
    first = end;
  }
}

/** Whether a row among these has hardly any edges; beyond the picture there are none. */
function isQuiet(rows: Uint16Array, from: number, to: number, most: number): boolean {
  if (from < 0 || to > rows.length) return true;
  return rows.subarray(from, to).some((edges) => edges <= most);
}

/** The text of a picture, in pixels. */
export interface TextSize {
  /** Height in the picture itself. */
  readonly source: number;
  /** Height where the vision tower sees it largest. */
  readonly seen: number;
}

/**
 * Below three quarters of a patch, a patch holds parts of two lines (lines are about 1.6 times as far apart as their letters are high), and
 * most answers that are text of the picture are wrong, and all of real programs were: docs/results/text-height.md.
 */
export function readableHeight(patchSize: number): number {
  return 0.75 * patchSize;
}

/** What the user is told where text is so small after scaling that answers about it are likely to be wrong. */
export function smallTextWarning(
  { seen }: TextSize,
  { imageSize, patchSize }: { imageSize: number; patchSize: number },
): AnswerWarning | undefined {
  const readable = readableHeight(patchSize);
  if (seen >= readable) return undefined;
  return {
    code: 'image.small-text',
    message:
      `The text is about ${pixels(seen)} high at the model's ${imageSize} px, too small to be read (${pixels(readable)} are needed): ` +
      'words in this answer may be invented.',
  };
}

function pixels(value: number): string {
  return `${value < 1 ? value.toFixed(1) : value.toFixed(0)} px`;
}
