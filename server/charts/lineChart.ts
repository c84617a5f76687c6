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
import { indexTicks, linearScale, logScale, type Scale } from './scale';
import { CHART_COLORS } from './theme';

/** Shapes that tell series apart without colour; `open` is a circle without filling. */
export type Marker = 'circle' | 'square' | 'triangle' | 'diamond' | 'open';

export interface LineSeries {
  name: string;
  color: string;
  marker: Marker;
  /** A thin dashed line without markers: something that others are compared with. */
  dashed?: boolean;
  /** One value per x; undefined where there is none (the line has a gap). */
  values: readonly (number | undefined)[];
  /** Which points are marked, and how, where they differ in meaning. Aligned with `values`. */
  markers?: readonly (Marker | undefined)[];
}

export interface LineChart extends Labels {
  /** Names of the x places, for tooltips and, where they fit, for the axis. */
  places: readonly string[];
  series: readonly LineSeries[];
  scale: 'linear' | 'log';
  format: (value: number) => string;
  /** Included in a linear axis whatever the values are. */
  includes?: readonly number[];
  /** A dashed horizontal line. */
  reference?: { value: number; name: string };
  /** Legend entries besides those of the series. */
  also?: readonly { name: string; color: string; marker: Marker }[];
  /** More lines for the tooltip of a place. */
  note?: (place: number) => string | undefined;
  /** How places are called in tooltips, e.g. "layer 3". Default: their name. */
  placeName?: (place: number) => string;
}

const DASHED = `stroke="${CHART_COLORS.reference}" stroke-width="1.5" stroke-dasharray="5 4"`;
/** A logarithmic axis reaches this far down from the highest value: one number of 1e-30 would flatten everything that matters. */
const MOST_DECADES = 6;
/** Points further apart than this many drawing units get markers. */
const MARKER_ROOM = 9;
/** More would only make the file heavy: no pointer hits narrower bands. */
const MOST_TOOLTIPS = 300;

/** Lines over places that are counted (layers, tokens, ranks), with one tooltip per place. */
export function lineChart(chart: LineChart): string {
  const { series, format, places } = chart;
  const values = series.flatMap((line) => line.values.filter((value) => value !== undefined));
  const legends = legend([
    ...series.map(({ name, color, marker, dashed }) => ({
      name,
      sample: dashed ? referenceSample() : sampleOf(color, marker),
    })),
    ...(chart.also ?? []).map(({ name, color, marker }) => ({ name, sample: sampleOf(color, marker) })),
    ...(chart.reference ? [{ name: chart.reference.name, sample: referenceSample() }] : []),
  ]);
  const scaleOver = (bottom: number, top: number): Scale => scaleFor(chart, values, [bottom, top]);
  const lowest = Math.min(...scaleOver(1, 0).ticks);
  const lower = chart.scale === 'log' && values.some((value) => value > 0 && value < lowest);
  const axisFormat = (value: number): string =>
    lower && value === lowest ? `≤ ${format(value)}` : format(value);
  const area = plotArea(widestLabel(scaleOver(1, 0), axisFormat), legends.lines);
  const scale = scaleOver(area.bottom, area.top);
  const step = (area.right - area.left) / Math.max(1, places.length);
  const at = (index: number): number => area.left + (index + 0.5) * step;

  const lines = series.map(({ values: own, color, marker, markers, dashed }) => {
    const points = own.flatMap((value, index) =>
      value !== undefined && scale.shows(value) ? [{ index, x: at(index), y: scale.at(value) }] : [],
    );
    const d = points
      .map(
        ({ index, x, y }, i) =>
          `${i > 0 && points[i - 1].index === index - 1 ? 'L' : 'M'}${round(x)} ${round(y)}`,
      )
      .join('');
    const line = `<path d="${d}" fill="none" ${dashed ? DASHED : `stroke="${color}" stroke-width="2"`} stroke-linejoin="round"/>`;
    if (dashed || (step < MARKER_ROOM && !markers)) return line;
    const marks = points.map(({ index, x, y }) => {
      const mark = markers ? markers[index] : marker;
      return mark ? markerAt(mark, x, y, color) : '';
    });
    return line + marks.join('');
  });
  const every = Math.ceil(places.length / MOST_TOOLTIPS);
  const bands = places.map((place, index) => {
    if (index % every !== 0) return '';
    const said = [
      chart.placeName?.(index) ?? place,
      ...series.flatMap(({ name, values: own }) => {
        const value = own[index];
        return value === undefined ? [] : [`${name}: ${format(value)}`];
      }),
      chart.note?.(index),
    ].filter((text) => text !== undefined);
    return `<rect class="chart-band" x="${round(at(index) - step / 2)}" y="${area.top}" width="${round(step * every)}" height="${area.bottom - area.top}" fill-opacity="0">${tooltip(said)}</rect>`;
  });
  const reference = chart.reference
    ? `<line x1="${area.left}" x2="${area.right}" y1="${round(scale.at(chart.reference.value))}" y2="${round(scale.at(chart.reference.value))}" ${DASHED}/>`
    : '';
  const ticks = categoryTicks(places, indexTicks(places.length, 10), at, area);
  return svgDocument(
    chart.description,
    yAxis(scale, area, chart.y, axisFormat) +
      xAxis(ticks, area, chart.x) +
      legends.markup +
      reference +
      lines.join('') +
      bands.join(''),
  );
}

function scaleFor(chart: LineChart, values: readonly number[], range: [number, number]): Scale {
  if (chart.scale === 'log') {
    const positive = values.filter((value) => value > 0 && Number.isFinite(value));
    if (positive.length === 0) return logScale(0.1, 1, range);
    const [low, high] = [
      positive.reduce((a, b) => Math.min(a, b)),
      positive.reduce((a, b) => Math.max(a, b)),
    ];
    return logScale(Math.max(low, high * 10 ** -MOST_DECADES), high, range);
  }
  const all = [...values.filter(Number.isFinite), ...(chart.includes ?? []), chart.reference?.value ?? 0];
  return linearScale(
    all.reduce((a, b) => Math.min(a, b)),
    all.reduce((a, b) => Math.max(a, b)),
    range,
  );
}

function sampleOf(color: string, marker: Marker): string {
  return `<line x1="0" x2="22" y1="6" y2="6" stroke="${color}" stroke-width="2"/>${markerAt(marker, 11, 6, color)}`;
}

function referenceSample(): string {
  return `<line x1="0" x2="22" y1="6" y2="6" ${DASHED}/>`;
}

function markerAt(marker: Marker, x: number, y: number, color: string): string {
  const [cx, cy] = [round(x), round(y)];
  const halo = `stroke="${CHART_COLORS.background}" stroke-width="1"`;
  switch (marker) {
    case 'circle':
      return `<circle cx="${cx}" cy="${cy}" r="4" fill="${color}" ${halo}/>`;
    case 'open':
      return `<circle cx="${cx}" cy="${cy}" r="4" fill="${CHART_COLORS.background}" stroke="${color}" stroke-width="2"/>`;
    case 'square':
      return `<rect x="${cx - 3.5}" y="${cy - 3.5}" width="7" height="7" fill="${color}" ${halo}/>`;
    case 'triangle':
      return `<path d="M${cx} ${cy - 4.5}l4.5 8h-9z" fill="${color}" ${halo}/>`;
    case 'diamond':
      return `<path d="M${cx} ${cy - 5}l5 5l-5 5l-5 -5z" fill="${color}" ${halo}/>`;
  }
}
