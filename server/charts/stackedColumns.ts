import {
  categoryTicks,
  type Labels,
  legend,
  plotArea,
  round,
  svgDocument,
  tooltip,
  widestLabel,
  xAxis,
  yAxis,
} from './frame';
import { indexTicks, linearScale } from './scale';
import { CHART_COLORS } from './theme';

export interface StackedColumns extends Labels {
  /** Names of the columns. */
  places: readonly string[];
  /** From the bottom up. */
  series: readonly { name: string; color: string; values: readonly number[] }[];
  /** Top of the axis. */
  total: number;
  format: (value: number) => string;
  placeName?: (place: number) => string;
}

/** Gaps between columns, as a part of their width; none where columns are so narrow that they read as an area. */
const GAP = 0.16;
const NARROW = 7;

/** Parts of a whole, place by place. */
export function stackedColumns(chart: StackedColumns): string {
  const { series, places, format } = chart;
  const legends = legend(
    series.map(({ name, color }) => ({
      name,
      sample: `<rect x="3" y="0" width="16" height="12" rx="2" fill="${color}"/>`,
    })),
  );
  const area = plotArea(widestLabel(linearScale(0, chart.total, [1, 0]), format), legends.lines);
  const scale = linearScale(0, chart.total, [area.bottom, area.top]);
  const step = (area.right - area.left) / Math.max(1, places.length);
  // A handful of columns need not fill the chart.
  const width = Math.min(step < NARROW ? step : step * (1 - GAP), 90);
  const at = (index: number): number => area.left + (index + 0.5) * step;

  const columns = places.map((place, index) => {
    let below = 0;
    const said = [
      chart.placeName?.(index) ?? place,
      ...series.map(({ name, values }) => `${name}: ${format(values[index])}`),
    ];
    const parts = series.map(({ color, values }) => {
      const from = scale.at(below);
      below += values[index];
      const to = scale.at(below);
      if (from - to < 0.01) return '';
      const edge =
        step < NARROW
          ? ' shape-rendering="crispEdges"'
          : ` stroke="${CHART_COLORS.background}" stroke-width="1"`;
      return `<rect x="${round(at(index) - width / 2)}" y="${round(to)}" width="${round(width)}" height="${round(from - to)}" fill="${color}"${edge}/>`;
    });
    return `<g class="chart-column">${parts.join('')}${tooltip(said)}</g>`;
  });
  const ticks = categoryTicks(places, indexTicks(places.length, 10), at, area);
  return svgDocument(
    chart.description,
    yAxis(scale, area, chart.y, format) + columns.join('') + xAxis(ticks, area, chart.x) + legends.markup,
  );
}
