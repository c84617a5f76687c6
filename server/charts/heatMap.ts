import { heatColor } from '../traceView/palette';
import {
  categoryTicks,
  CHART_WIDTH,
  type Labels,
  plotArea,
  round,
  svgDocument,
  tooltip,
  xAxis,
} from './frame';
import { escapeMarkup } from '../traceView/wording';
import { indexTicks } from './scale';
import { CHART_COLORS } from './theme';

export interface HeatMap extends Labels {
  /** Names from left to right, and from the bottom up. */
  columns: readonly string[];
  rows: readonly string[];
  /** [rows][columns] */
  values: readonly (readonly number[])[];
  /** The value of the brightest colour; 0 is the darkest. */
  highest: number;
  format: (value: number) => string;
  cellName: (row: number, column: number) => string;
}

const ROW_HEIGHT = { least: 9, most: 26 };
const PLOT_HEIGHT = 220;
const KEY_STEPS = 32;

/** A number for every pair of row and column, as colour. */
export function heatMap(chart: HeatMap): string {
  const { rows, columns, values, highest, format } = chart;
  const rowHeight = Math.max(ROW_HEIGHT.least, Math.min(ROW_HEIGHT.most, PLOT_HEIGHT / rows.length));
  const key = colorKey(highest, format);
  const area = plotArea(Math.max(...rows.map((row) => row.length)), 1);
  area.bottom = area.top + rowHeight * rows.length;
  const height = area.bottom + 48;
  const step = (area.right - area.left) / Math.max(1, columns.length);
  const at = (index: number): number => area.left + (index + 0.5) * step;

  const cells = values.flatMap((row, r) =>
    row.map((value, c) => {
      const said = tooltip([chart.cellName(r, c), format(value)]);
      const color = heatColor(highest > 0 ? value / highest : 0);
      const y = area.bottom - (r + 1) * rowHeight;
      return `<rect x="${round(area.left + c * step)}" y="${round(y)}" width="${round(step + 0.3)}" height="${round(rowHeight + 0.3)}" fill="${color}">${said}</rect>`;
    }),
  );
  const every = Math.ceil(14 / rowHeight);
  const names = rows.map((row, r) =>
    r % every === 0
      ? `<text x="${area.left - 7}" y="${round(area.bottom - (r + 0.5) * rowHeight + 4)}" text-anchor="end" fill="${CHART_COLORS.muted}">${escapeMarkup(row)}</text>`
      : '',
  );
  const ticks = categoryTicks(columns, indexTicks(columns.length, 10), at, area);
  return svgDocument(
    chart.description,
    `<text x="8" y="16" font-weight="600">${escapeMarkup(chart.y)}</text>` +
      key +
      `<g shape-rendering="crispEdges">${cells.join('')}</g>` +
      names.join('') +
      xAxis(ticks, area, chart.x),
    height,
  );
}

/** The colours from 0 to the highest value, in the top right corner. */
export function colorKey(highest: number, format: (value: number) => string, y = 8): string {
  const end = format(highest);
  const right = CHART_WIDTH - 20 - end.length * 7;
  const left = right - KEY_STEPS * 3;
  const steps = Array.from(
    { length: KEY_STEPS },
    (_, index) =>
      `<rect x="${left + index * 3}" y="${y}" width="3.3" height="10" fill="${heatColor(index / (KEY_STEPS - 1))}"/>`,
  );
  return (
    steps.join('') +
    `<text x="${left - 6}" y="${y + 9}" text-anchor="end" fill="${CHART_COLORS.muted}">0</text>` +
    `<text x="${right + 6}" y="${y + 9}" fill="${CHART_COLORS.muted}">${escapeMarkup(end)}</text>`
  );
}
