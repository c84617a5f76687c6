import { escapeMarkup } from '../traceView/wording';
import type { Scale } from './scale';
import { CHART_COLORS } from './theme';

/** What all charts have in common: size, margins, axes, legend. Text is untrusted and escaped here. */

export const CHART_WIDTH = 480;
export const CHART_HEIGHT = 290;
const FONT = 'var(--chart-font, system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif)';
const SMALL = 12;

/** The rectangle that data is drawn in. */
export interface PlotArea {
  left: number;
  right: number;
  top: number;
  bottom: number;
}

export interface LegendEntry {
  name: string;
  /** Markup of a sample, drawn in a 22 x 12 box at the origin. */
  sample: string;
}

export interface Labels {
  /** Says everything that matters to who cannot see the chart; a table gives the numbers. */
  description: string;
  x: string;
  y: string;
}

/** Where data goes under a y axis with tick labels of up to `widest` characters and legends of `legendLines`. */
export function plotArea(widest: number, legendLines: number, height = CHART_HEIGHT): PlotArea {
  return { left: 20 + widest * 7, right: CHART_WIDTH - 14, top: 30 + 20 * legendLines, bottom: height - 48 };
}

export function svgDocument(description: string, content: string, height = CHART_HEIGHT): string {
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${CHART_WIDTH} ${round(height)}" role="img" aria-label="${escapeMarkup(description)}" ` +
    `font-family="${escapeMarkup(FONT)}" font-size="${SMALL}" fill="${CHART_COLORS.text}">${content}</svg>`
  );
}

/** Horizontal grid lines with their numbers, and the axis' name above them. */
export function yAxis(
  scale: Scale,
  area: PlotArea,
  label: string,
  format: (value: number) => string,
): string {
  const lines = scale.ticks.map((tick) => {
    const y = round(scale.at(tick));
    return (
      `<line x1="${area.left}" x2="${area.right}" y1="${y}" y2="${y}" stroke="${CHART_COLORS.grid}"/>` +
      `<text x="${area.left - 7}" y="${y + 4}" text-anchor="end" fill="${CHART_COLORS.muted}">${escapeMarkup(format(tick))}</text>`
    );
  });
  const name = `<text x="8" y="16" font-weight="600">${escapeMarkup(label)}</text>`;
  return name + lines.join('');
}

/** Marks below the plot at the given places, and the axis' name in the middle. */
export function xAxis(ticks: readonly { at: number; text: string }[], area: PlotArea, label: string): string {
  const marks = ticks.map(
    ({ at, text }) =>
      `<line x1="${round(at)}" x2="${round(at)}" y1="${area.bottom}" y2="${area.bottom + 4}" stroke="${CHART_COLORS.muted}"/>` +
      `<text x="${round(at)}" y="${area.bottom + 18}" text-anchor="middle" fill="${CHART_COLORS.muted}">${escapeMarkup(text)}</text>`,
  );
  return (
    `<line x1="${area.left}" x2="${area.right}" y1="${area.bottom}" y2="${area.bottom}" stroke="${CHART_COLORS.muted}"/>` +
    marks.join('') +
    `<text x="${(area.left + area.right) / 2}" y="${area.bottom + 38}" text-anchor="middle" font-weight="600">${escapeMarkup(label)}</text>`
  );
}

/** Entries beside each other under the axis' name, in as many lines as they need. */
export function legend(entries: readonly LegendEntry[]): { markup: string; lines: number } {
  let x = 8;
  let line = 0;
  const parts = entries.map(({ name, sample }) => {
    const width = 40 + name.length * 6.4;
    if (x > 8 && x + width > CHART_WIDTH) {
      x = 8;
      line++;
    }
    const y = 24 + 20 * line;
    const part = `<g transform="translate(${round(x)} ${y})">${sample}<text x="28" y="10" fill="${CHART_COLORS.text}">${escapeMarkup(name)}</text></g>`;
    x += width;
    return part;
  });
  return { markup: parts.join(''), lines: entries.length > 0 ? line + 1 : 0 };
}

/** Lines of text that show when the pointer rests on what they are put into. */
export function tooltip(lines: readonly string[]): string {
  return `<title>${escapeMarkup(lines.join('\n'))}</title>`;
}

/** Hundredths of a drawing unit are finer than any screen. */
export function round(value: number): number {
  return Math.round(value * 100) / 100;
}

/** Longest text of the tick labels, in characters. */
export function widestLabel(scale: Scale, format: (value: number) => string): number {
  return Math.max(...scale.ticks.map((tick) => format(tick).length));
}

/** Tick texts for things that are counted from 0: every one where they fit, otherwise round numbers. */
export function categoryTicks(
  labels: readonly string[],
  ticks: readonly number[],
  at: (index: number) => number,
  area: PlotArea,
): { at: number; text: string }[] {
  const room = (area.right - area.left) / labels.length;
  const fits = labels.every((label) => label.length * 7 + 8 <= room);
  const shown = fits ? labels.map((_, index) => index) : ticks;
  return shown.map((index) => ({ at: at(index), text: labels[index] }));
}
