import type { ImageLayout } from '../protocol';
import { boxOf } from '../traceView/drawing';
import { extentOf, patchRect, pictureRect, planesOf } from '../traceView/geometry';
import { heatColor, heatOpacity } from '../traceView/palette';
import { scaleOf } from '../traceView/values';
import { escapeMarkup } from '../traceView/wording';
import { CHART_WIDTH, round, svgDocument, tooltip } from './frame';
import { colorKey } from './heatMap';
import { CHART_COLORS } from './theme';

export interface PictureMap {
  description: string;
  layout: ImageLayout;
  /** One number per patch, in raster order through all tiles. */
  values: readonly number[];
  /** What the numbers are. */
  name: string;
  format: (value: number) => string;
  /** `data:` URL of the upright picture; without it the map has a plain ground. */
  picture?: string;
}

const TOP = 30;
/** A tall picture would push everything else off the page. */
const TALLEST = 1.1;

/** A number per patch as colour over the picture, at its true place. */
export function pictureMap(chart: PictureMap): string {
  const { layout, values, format } = chart;
  const extent = extentOf(layout);
  const scale = Math.min(CHART_WIDTH / extent.width, (CHART_WIDTH * TALLEST) / extent.height);
  const height = extent.height * scale;
  const transform = {
    scale,
    left: (CHART_WIDTH - extent.width * scale) / 2 - extent.x * scale,
    top: TOP - extent.y * scale,
  };
  // Where tiles overlap, the last plane shows the details.
  const plane = planesOf(layout).at(-1);
  const tiles = (plane?.tiles ?? []).map((index) => layout.tiles[index]);
  const first = (firstId: number): number => firstId - layout.firstId;
  const shown = tiles.flatMap(({ firstId, rows, columns }) =>
    values.slice(first(firstId), first(firstId) + rows * columns),
  );
  const colors = scaleOf({ name: chart.name, values: new Map(shown.entries()) });

  const cells = tiles.flatMap((tile) =>
    Array.from({ length: tile.rows * tile.columns }, (_, raster) => {
      const row = Math.floor(raster / tile.columns);
      const column = raster % tile.columns;
      const { x, y, width, height: side } = boxOf(patchRect(tile, row, column), transform);
      const value = values[first(tile.firstId) + raster];
      const part = colors.at(value);
      const said = tooltip([`row ${row + 1}, column ${column + 1}`, `${chart.name}: ${format(value)}`]);
      return `<rect x="${x}" y="${y}" width="${width}" height="${side}" fill="${heatColor(part)}" fill-opacity="${heatOpacity(part).toFixed(2)}">${said}</rect>`;
    }),
  );
  const box = boxOf(pictureRect(layout), transform);
  const place = `x="${box.x}" y="${box.y}" width="${box.width}" height="${box.height}"`;
  const ground = chart.picture
    ? `<image href="${escapeMarkup(chart.picture)}" ${place} preserveAspectRatio="none"/>`
    : `<rect ${place} fill="${CHART_COLORS.grid}"/>`;
  // A few patches often stand far above the rest: the scale ends below them, and says so.
  const clipped = shown.some((value) => value > colors.high);
  return svgDocument(
    chart.description,
    `<text x="8" y="16" font-weight="600">${escapeMarkup(chart.name)}</text>` +
      colorKey(
        colors.high,
        (value) => `${format(value)}${clipped && value === colors.high ? ' and more' : ''}`,
      ) +
      ground +
      cells.join(''),
    round(TOP + height),
  );
}
