import type { AnswerResult } from '../protocol';
import { boxOf, drawMap, goesOn, slimmer, type Box, type Cell } from './drawing';
import { fatesAfter, lastPointBeforeAnswer, timelineOf } from './fates';
import { extentOf, pictureRect, planesOf } from './geometry';
import { heatColor, LIGHT_PALETTE, type MapPalette } from './palette';
import { scaleOf, type TokenValues } from './values';
import {
  countWords,
  escapeMarkup,
  formatBytes,
  formatCount,
  formatMacs,
  formatMilliseconds,
  formatScore,
  planeName,
  visibleText,
} from './wording';

export interface FigureOptions {
  /** Index of the image in the prompt. Default 0. */
  image?: number;
  /** Index of the plane of tiles. Default: the last one, which shows the details of tiled models. */
  plane?: number;
  /** Index of the point of the stage bar. Default: what the decoder used. */
  point?: number;
  /** Draw a heat-map instead of states. */
  values?: TokenValues;
  /** Width of the figure in pixels. */
  width?: number;
  palette?: MapPalette;
  /** False leaves the legend out, for all but the last of several images. Default true. */
  legend?: boolean;
  /** Room around the map in pixels. Default: enough for a page; 0 for a small map in a table. */
  margin?: number;
}

/** A picture of a token map: fill `background`, draw the source image into `picture`, then draw `svg` over it. */
export interface Figure {
  width: number;
  height: number;
  background: string;
  /** Where the source image goes, in figure pixels. */
  picture: Box;
  /** An SVG document of the figure's size with a transparent background. */
  svg: string;
}

const DEFAULT_WIDTH = 1200;
/** Tall pictures would make the figure endless: the map is at most this many times as high as wide. */
const TALLEST = 1.6;
const MARGIN = 24;
const LINE = 22;
const FONT = 15;
const MAX_LINES = 14;

/** The token map of one image with a legend that says how to reproduce it. */
export function figureOf(result: AnswerResult, options: FigureOptions = {}): Figure {
  const { trace } = result;
  const palette = options.palette ?? LIGHT_PALETTE;
  const width = options.width ?? DEFAULT_WIDTH;
  const layout = trace.images[options.image ?? 0];
  const planes = planesOf(layout);
  const planeIndex = options.plane ?? planes.length - 1;
  const points = timelineOf(trace);
  const point = points[options.point ?? lastPointBeforeAnswer(points)];
  const fates = fatesAfter(trace, point.stages);

  const extent = extentOf(layout);
  const margin = options.margin ?? MARGIN;
  const room = width - 2 * margin;
  const scale = Math.min(room / extent.width, (room * TALLEST) / extent.height);
  const mapWidth = Math.round(extent.width * scale);
  const mapHeight = Math.round(extent.height * scale);
  const left = Math.round((width - mapWidth) / 2);
  const transform = { scale, left: left - extent.x * scale, top: margin - extent.y * scale };
  const picture = boxOf(pictureRect(layout), transform);
  const drawing = drawMap(layout, planes[planeIndex], fates, transform, options.values);

  const parts: string[] = [];
  const whole = { x: left, y: margin, width: mapWidth, height: mapHeight };
  parts.push(paddingMarkup(whole, picture, 'fill="url(#padding)"'));
  const seen = planes[planeIndex].tiles.map((tile) => boxOf(layout.tiles[tile].source, transform));
  parts.push(unseenMarkup(picture, seen, palette));
  if (options.values) {
    parts.push(fill(drawing.runs.dropped, `fill="${palette.background}" fill-opacity="0.6"`));
    parts.push(fill(drawing.runs.merged, `fill="${palette.background}" fill-opacity="0.35"`));
    for (const { color, opacity, ...box } of drawing.heat) {
      parts.push(`<rect ${attributes(box)} fill="${color}" fill-opacity="${opacity.toFixed(2)}"/>`);
    }
  } else {
    parts.push(fill(drawing.runs.dropped, `fill="${palette.background}" fill-opacity="0.74"`));
    parts.push(fill(drawing.runs.dropped, 'fill="url(#dropped)"'));
    parts.push(fill(drawing.runs.merged, `fill="${palette.background}" fill-opacity="0.5"`));
    parts.push(fill(drawing.runs.merged, 'fill="url(#merged)"'));
    parts.push(paddingMarkup(whole, picture, `fill="${palette.background}" fill-opacity="0.62"`));
    parts.push(outlineMarkup(drawing.outline, palette));
    for (const box of drawing.cells.filter(({ state }) => state === 'carrier'))
      parts.push(carrierMarkup(box, palette));
    parts.push(newlineMarkup(drawing.newlines, palette));
  }

  const [legendParts, legendHeight] =
    options.legend === false
      ? [[], 0]
      : legendMarkup(result, options, {
          palette,
          top: margin + mapHeight + 16,
          width,
          point: point.stages,
          plane: planes.length > 1 ? planeName(planes.length, planeIndex) : '',
          hasMerged: drawing.runs.merged.length > 0 || drawing.runs.carrier.length > 0,
          hasNewlines: drawing.newlines.length > 0,
        });
  parts.push(...legendParts);
  const below = options.margin === undefined ? 16 + legendHeight : legendHeight;
  const height = margin + mapHeight + below + margin;
  const svg =
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" ` +
    `font-family="system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, 'DejaVu Sans', sans-serif">` +
    `<defs>${patternMarkup(palette)}</defs>${parts.join('')}</svg>`;
  return { width, height, background: palette.background, picture, svg };
}

/** Breaks text into lines by an estimate of glyph widths: an SVG that is drawn without a browser cannot measure. */
export function wrapText(text: string, width: number, fontSize: number): string[] {
  const lines: string[] = [];
  for (const paragraph of visibleText(text).split('\n')) {
    let line = '';
    let used = 0;
    for (const piece of paragraph.match(/\s+|[^\s]+/g) ?? []) {
      const size = textWidth(piece, fontSize);
      if (used + size <= width || (line === '' && size <= width)) {
        line += piece;
        used += size;
        continue;
      }
      if (line.trim() !== '') lines.push(line.trimEnd());
      line = '';
      used = 0;
      if (/^\s+$/.test(piece)) continue;
      // One word that is longer than a line (a path, a language without spaces) breaks anywhere.
      for (const character of piece) {
        const own = textWidth(character, fontSize);
        if (used + own > width && line !== '') {
          lines.push(line);
          line = '';
          used = 0;
        }
        line += character;
        used += own;
      }
    }
    if (line.trim() !== '') lines.push(line.trimEnd());
  }
  return lines;
}

/** Average advance of Latin text and of full-width characters, in parts of the font size. */
const NARROW = 0.52;
const WIDE = 1.05;

function textWidth(text: string, fontSize: number): number {
  let width = 0;
  for (const character of text) width += (character > '\u2e7f' ? WIDE : NARROW) * fontSize;
  return width;
}

function patternMarkup({ dropped, merged }: MapPalette): string {
  return (
    `<pattern id="dropped" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">` +
    `<rect width="1" height="7" fill="${dropped}" fill-opacity="0.4"/></pattern>` +
    `<pattern id="merged" width="7" height="7" patternUnits="userSpaceOnUse">` +
    `<circle cx="3.5" cy="3.5" r="1.4" fill="${merged}" fill-opacity="0.9"/></pattern>` +
    `<pattern id="padding" width="10" height="10" patternUnits="userSpaceOnUse" patternTransform="rotate(-45)">` +
    `<rect width="10" height="10" fill="${dropped}" fill-opacity="0.10"/>` +
    `<rect width="1" height="10" fill="${dropped}" fill-opacity="0.30"/></pattern>`
  );
}

function paddingMarkup(whole: Box, picture: Box, style: string): string {
  return `<path fill-rule="evenodd" ${style} d="${boxPath(whole)}${boxPath(picture)}"/>`;
}

/** The part of the picture that no tile saw (cropped away). */
function unseenMarkup(picture: Box, seen: readonly Box[], { background }: MapPalette): string {
  const holes = seen.map((box) => clip(box, picture)).filter(({ width, height }) => width > 0 && height > 0);
  return `<path fill-rule="evenodd" fill="${background}" fill-opacity="0.82" d="${boxPath(picture)}${holes.map(boxPath).join('')}"/>`;
}

function clip(a: Box, b: Box): Box {
  const x = Math.max(a.x, b.x);
  const y = Math.max(a.y, b.y);
  return {
    x,
    y,
    width: Math.min(a.x + a.width, b.x + b.width) - x,
    height: Math.min(a.y + a.height, b.y + b.height) - y,
  };
}

function boxPath({ x, y, width, height }: Box): string {
  return `M${x} ${y}h${width}v${height}h${-width}z`;
}

function fill(boxes: readonly Box[], style: string): string {
  return boxes.length === 0 ? '' : `<path ${style} d="${boxes.map(boxPath).join('')}"/>`;
}

function outlineMarkup(segments: ReturnType<typeof drawMap>['outline'], { kept, halo }: MapPalette): string {
  const d = segments.map(({ x1, y1, x2, y2 }) => `M${x1} ${y1}L${x2} ${y2}`).join('');
  return (
    `<path d="${d}" stroke="${halo}" stroke-opacity="0.85" stroke-width="4" stroke-linecap="square" fill="none"/>` +
    `<path d="${d}" stroke="${kept}" stroke-width="2" stroke-linecap="square" fill="none"/>`
  );
}

function newlineKey({ kept }: MapPalette): string {
  return `<rect x="5" y="1" width="6" height="14" fill="${kept}" fill-opacity="0.85"/>`;
}

/** Newlines: thin bars behind their rows, full where they went on, hatched where they went with their row. */
function newlineMarkup(newlines: readonly Cell[], palette: MapPalette): string {
  const kept = newlines.filter(({ state }) => goesOn(state)).map(slimmer);
  const dropped = newlines.filter(({ state }) => state === 'dropped').map(slimmer);
  return (
    fill(kept, `fill="${palette.kept}" fill-opacity="0.85"`) +
    fill(dropped, `fill="${palette.background}" fill-opacity="0.74"`) +
    fill(dropped, 'fill="url(#dropped)"')
  );
}

/** A token that carries others: a filled corner in the colour of merging. */
function carrierMarkup({ x, y, width, height }: Box, { merged, halo }: MapPalette): string {
  const size = Math.round(Math.min(width, height) * 0.42);
  return `<path d="M${x} ${y}h${size}l${-size} ${size}z" fill="${merged}" stroke="${halo}" stroke-width="0.75"/>`;
}

function attributes({ x, y, width, height }: Box): string {
  return `x="${x}" y="${y}" width="${width}" height="${height}"`;
}

interface LegendPlace {
  palette: MapPalette;
  top: number;
  width: number;
  point: number;
  plane: string;
  hasMerged: boolean;
  hasNewlines: boolean;
}

function legendMarkup(result: AnswerResult, options: FigureOptions, place: LegendPlace): [string[], number] {
  const { palette, width } = place;
  const parts: string[] = [];
  const room = width - 2 * MARGIN;
  let y = place.top;
  const text = (x: number, content: string, style = ''): void => {
    parts.push(
      `<text x="${x}" y="${y + FONT}" font-size="${FONT}" fill="${palette.foreground}" ${style}>${escapeMarkup(content)}</text>`,
    );
  };
  let x = MARGIN;
  const key = (label: string, swatch: string): void => {
    parts.push(`<g transform="translate(${x} ${y + 3})">${swatch}</g>`);
    x += 24;
    text(x, label);
    x += textWidth(label, FONT) + 24;
  };
  const frame = `<rect x="0.5" y="0.5" width="15" height="15" fill="none" stroke="${palette.line}"/>`;
  if (options.values) {
    const { low, high } = scaleOf(options.values);
    text(x, options.values.name);
    x += textWidth(options.values.name, FONT) + 16;
    const steps = 24;
    for (let step = 0; step < steps; step += 1) {
      parts.push(
        `<rect x="${x + step * 6}" y="${y + 3}" width="6" height="15" fill="${heatColor(step / (steps - 1))}"/>`,
      );
    }
    x += steps * 6 + 10;
    text(x, `${formatScore(low)} to ${formatScore(high)}`);
  } else {
    key(
      'kept',
      `<rect x="1" y="1" width="14" height="14" fill="none" stroke="${palette.kept}" stroke-width="2"/>`,
    );
    if (place.hasMerged) {
      key(
        'carries others',
        `<rect x="1" y="1" width="14" height="14" fill="none" stroke="${palette.kept}" stroke-width="2"/>${carrierMarkup({ x: 2, y: 2, width: 16, height: 16 }, palette)}`,
      );
      key('merged', `<rect width="16" height="16" fill="url(#merged)"/>${frame}`);
    }
    key('dropped', `<rect width="16" height="16" fill="url(#dropped)"/>${frame}`);
    if (place.hasNewlines) key('newline', newlineKey(palette));
  }
  y += LINE + 10;
  const wrapped = (content: string, style: string): void => {
    const lines = wrapText(content, room, FONT);
    for (const line of lines.slice(0, MAX_LINES)) {
      text(MARGIN, line, style);
      y += LINE;
    }
    if (lines.length > MAX_LINES) {
      text(MARGIN, '…', style);
      y += LINE;
    }
  };
  wrapped(result.question, 'font-weight="600"');
  wrapped(result.answer, '');
  y += 8;
  const { costs, model } = result;
  const { total, atDecoder } = costs.imageTokens;
  const muted = `fill-opacity="0.75"`;
  wrapped(
    [
      result.reduction === 'none' ? 'no reduction' : result.reduction,
      `${formatCount(atDecoder)} of ${formatCount(total)} image tokens entered the decoder`,
      countWords(result, place.point),
      place.plane,
    ]
      .filter((part) => part !== '')
      .join(' · '),
    muted,
  );
  wrapped(
    [
      `prefill ${formatMilliseconds(costs.timings.prefill)}${costs.prefixReused ? ` (${formatCount(costs.prefixReused.tokens)} tokens read before)` : ''}`,
      `cache ${formatBytes(costs.cacheBytes)}`,
      formatMacs(costs.prefillMacs),
      `${result.device} ${result.precision}`,
      `${model.name} (${model.hash.slice(0, 12)})`,
      'Fovea',
    ].join(' · '),
    muted,
  );
  return [parts, y - place.top];
}
