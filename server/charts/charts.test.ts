import sharp from 'sharp';
import { describe, expect, it } from 'vitest';

import { heatMap } from './heatMap';
import { lineChart, type LineChart } from './lineChart';
import { stackedColumns, type StackedColumns } from './stackedColumns';

const labels = { description: 'What it shows', x: 'Layer', y: 'Share' };
const format = (value: number): string => `${value}`;
const HOSTILE = `"><script>alert(1)</script>&\u202e\u0000`;

/** A renderer that refuses what is not well-formed. */
async function expectWellFormed(svg: string): Promise<void> {
  const { width, height } = await sharp(Buffer.from(svg)).metadata();
  expect(width).toBeGreaterThan(0);
  expect(height).toBeGreaterThan(0);
}

function attribute(markup: string, name: string): number {
  return Number(new RegExp(` ${name}="([^"]*)"`).exec(markup)![1]);
}

describe('a line chart', () => {
  const chart: LineChart = {
    ...labels,
    places: ['0', '1', '2', '3'],
    scale: 'linear',
    format,
    series: [{ name: 'one', color: 'red', marker: 'circle', values: [0, 1, 2, 3] }],
  };
  const paths = (svg: string): string[] =>
    [...svg.matchAll(/<path d="([^"]*)" fill="none"/g)].map((match) => match[1]);

  it('draws one point per value, at even distances', () => {
    const points = paths(lineChart(chart))[0]
      .split(/[ML]/)
      .slice(1)
      .map((point) => point.split(' ').map(Number));
    expect(points).toHaveLength(4);
    const [first, second] = points;
    points.forEach(([x, y], index) => {
      expect(x).toBeCloseTo(first[0] + index * (second[0] - first[0]), 1);
      expect(y).toBeCloseTo(first[1] + index * (second[1] - first[1]), 1);
    });
    expect(second[1]).toBeLessThan(first[1]);
  });

  it('has gaps where there is no value, and where a logarithm has none', () => {
    const gap = (values: (number | undefined)[], scale: 'linear' | 'log'): string =>
      paths(lineChart({ ...chart, scale, series: [{ ...chart.series[0], values }] }))[0].replace(
        /[^ML]/g,
        '',
      );
    expect(gap([1, undefined, 2, 3], 'linear')).toBe('MML');
    expect(gap([1, 0, 2, 3], 'log')).toBe('MML');
    expect(gap([0, 0, 0, 0], 'log')).toBe('');
  });

  it('tells every value of a place in one tooltip', () => {
    const svg = lineChart({
      ...chart,
      placeName: (place) => `Layer ${place}`,
      note: (place) => (place === 2 ? 'a note' : undefined),
      series: [
        ...chart.series,
        { name: 'two', color: 'blue', marker: 'square', values: [5, undefined, 7, 8] },
      ],
    });
    const titles = [...svg.matchAll(/<title>([^<]*)<\/title>/g)].map((match) => match[1]);
    expect(titles).toHaveLength(4);
    expect(titles[1]).toBe('Layer 1\none: 1');
    expect(titles[2]).toBe('Layer 2\none: 2\ntwo: 7\na note');
  });

  it('ends a logarithmic axis far below the highest value, and says so', () => {
    const svg = lineChart({
      ...chart,
      scale: 'log',
      format: String,
      places: ['0', '1', '2'],
      series: [{ ...chart.series[0], values: [1, 1e-30, 0.01] }],
    });
    const texts = [...svg.matchAll(/<text [^>]*text-anchor="end"[^>]*>([^<]*)<\/text>/g)].map(
      (match) => match[1],
    );
    expect(texts[0]).toBe('≤ 0.000001');
    expect(texts.at(-1)).toBe('1');
    expect(svg).toContain('1e-30');
  });

  it('keeps the file small over thousands of places', () => {
    const values = Array.from({ length: 5000 }, (_, index) => index);
    const svg = lineChart({ ...chart, places: values.map(String), series: [{ ...chart.series[0], values }] });
    expect(svg.match(/<title>/g)!.length).toBeLessThanOrEqual(300);
    expect(svg).not.toContain('<circle cx="4');
  });
});

describe('stacked columns', () => {
  const chart: StackedColumns = {
    ...labels,
    places: ['0', '1', '2'],
    total: 1,
    format,
    series: [
      { name: 'low', color: 'rgb(1,1,1)', values: [0.2, 0.5, 0] },
      { name: 'high', color: 'rgb(2,2,2)', values: [0.8, 0.5, 1] },
    ],
  };

  it('have heights in proportion, one on the other', () => {
    const groups = [...stackedColumns(chart).matchAll(/<g class="chart-column">([^]*?)<\/g>/g)].map(
      (m) => m[1],
    );
    expect(groups).toHaveLength(3);
    const rects = groups.map((group) => group.match(/<rect [^>]*>/g)!);
    expect(rects.map((group) => group.length)).toEqual([2, 2, 1]);
    const whole = attribute(rects[2][0], 'height');
    rects.forEach((group, column) => {
      group.forEach((rect) => {
        const series = rect.includes('rgb(1,1,1)') ? 0 : 1;
        expect(attribute(rect, 'height') / whole).toBeCloseTo(chart.series[series].values[column], 2);
      });
      if (group.length === 2) {
        expect(attribute(group[1], 'y') + attribute(group[1], 'height')).toBeCloseTo(
          attribute(group[0], 'y'),
          1,
        );
      }
    });
  });
});

describe('a heat map', () => {
  it('has one cell per pair, the first row at the bottom, brighter for more', () => {
    const svg = heatMap({
      ...labels,
      columns: ['a', 'b'],
      rows: ['0', '1'],
      values: [
        [0, 0.5],
        [1, 0.5],
      ],
      highest: 1,
      format,
      cellName: (row, column) => `${row}/${column}`,
    });
    const cells = [...svg.matchAll(/<rect ([^>]*)><title>(\d)\/(\d)\n([^<]*)<\/title>/g)];
    expect(cells.map((cell) => cell.slice(2))).toEqual([
      ['0', '0', '0'],
      ['0', '1', '0.5'],
      ['1', '0', '1'],
      ['1', '1', '0.5'],
    ]);
    const [bottomLeft, bottomRight, topLeft] = cells.map((cell) => ` ${cell[1]}`);
    expect(attribute(bottomLeft, 'y')).toBeGreaterThan(attribute(topLeft, 'y'));
    expect(attribute(bottomLeft, 'x')).toBeLessThan(attribute(bottomRight, 'x'));
    const light = (cell: string): number =>
      /rgb\((\d+),(\d+),(\d+)\)/
        .exec(cell)!
        .slice(1)
        .reduce((sum, channel) => sum + Number(channel), 0);
    expect(light(topLeft)).toBeGreaterThan(light(bottomRight));
    expect(light(bottomRight)).toBeGreaterThan(light(bottomLeft));
  });
});

describe('every chart', () => {
  const places = ['a', HOSTILE];
  const text = { description: HOSTILE, x: HOSTILE, y: HOSTILE, format: () => HOSTILE };
  const charts: Record<string, string> = {
    line: lineChart({
      ...text,
      places,
      scale: 'log',
      series: [{ name: HOSTILE, color: 'red', marker: 'diamond', values: [1, 2] }],
      reference: { value: 1, name: HOSTILE },
    }),
    columns: stackedColumns({
      ...text,
      places,
      total: 1,
      series: [{ name: HOSTILE, color: 'red', values: [1, 0] }],
    }),
    heat: heatMap({
      ...text,
      columns: places,
      rows: places,
      values: [
        [0, 1],
        [1, 0],
      ],
      highest: 1,
      cellName: () => HOSTILE,
    }),
  };

  it.each(Object.keys(charts))('%s is well-formed and shows hostile text as text', async (name) => {
    const svg = charts[name];
    await expectWellFormed(svg);
    expect(svg).not.toMatch(/<script|\u202e|\0/);
    expect(svg).toContain('&lt;script&gt;');
    expect(svg).toMatch(/role="img" aria-label="/);
    // Policies of the view and of pages refuse inline styles.
    expect(svg).not.toMatch(/ style=|<style/);
  });
});
