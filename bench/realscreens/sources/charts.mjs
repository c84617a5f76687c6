// Bar charts drawn by matplotlib.
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Debian's own, which has Debian's package python3-matplotlib. */
const PYTHON = '/usr/bin/python3';

/** Colours that have one name: matplotlib's `tab:` palette and the names of the questions agree on them. */
const CHARTS = [
  {
    name: 'chart-fruit',
    title: 'Fruit sold',
    bars: [
      ['Apple', 42],
      ['Pear', 17],
      ['Plum', 65],
    ],
    colours: ['red', 'green', 'purple'],
  },
  {
    name: 'chart-builds',
    title: 'Builds',
    bars: [
      ['Mon', 12],
      ['Tue', 30],
      ['Wed', 21],
      ['Thu', 8],
    ],
    colours: ['blue', 'blue', 'blue', 'blue'],
  },
  {
    name: 'chart-dark',
    title: 'Traffic',
    bars: [
      ['North', 75],
      ['South', 50],
      ['East', 25],
    ],
    colours: ['orange', 'green', 'red'],
    dark: true,
  },
  {
    name: 'chart-five',
    title: 'Bugs by team',
    bars: [
      ['A', 3],
      ['B', 9],
      ['C', 5],
      ['D', 14],
      ['E', 7],
    ],
    colours: ['purple', 'orange', 'green', 'red', 'blue'],
  },
  {
    name: 'chart-two',
    title: 'Vote',
    bars: [
      ['Yes', 61],
      ['No', 39],
    ],
    colours: ['green', 'red'],
    small: true,
  },
  {
    name: 'chart-dark-four',
    title: 'Memory (MB)',
    bars: [
      ['web', 120],
      ['api', 310],
      ['db', 540],
      ['job', 90],
    ],
    colours: ['blue', 'orange', 'purple', 'green'],
    dark: true,
  },
];

const SCRIPT = `import json, sys
import matplotlib
matplotlib.use('Agg')
import matplotlib.pyplot as plt
for chart in json.load(sys.stdin):
    plt.style.use(['default', 'dark_background'] if chart.get('dark') else 'default')
    plt.rcParams['font.size'] = 12
    figure, axes = plt.subplots(figsize=(2.4, 2.0) if chart.get('small') else (3.4, 2.8), dpi=100)
    bars = axes.bar([label for label, _ in chart['bars']], [value for _, value in chart['bars']], color=['tab:' + c for c in chart['colours']])
    axes.bar_label(bars)
    axes.margins(y=0.15)
    axes.set_title(chart['title'])
    figure.tight_layout()
    figure.savefig(chart['file'])
`;

export async function charts(wanted) {
  const chosen = CHARTS.filter(wanted);
  if (chosen.length === 0) return [];
  const folder = await mkdtemp(join(tmpdir(), 'fovea-charts-'));
  try {
    const files = chosen.map((chart) => ({ ...chart, file: join(folder, `${chart.name}.png`) }));
    const python = run(PYTHON, ['-c', SCRIPT]);
    python.child.stdin.end(JSON.stringify(files));
    await python;
    return await Promise.all(
      files.map(async ({ name, title, bars, colours, dark, file }) => ({
        name,
        origin: 'matplotlib 3.6',
        licence: 'PSF-like (matplotlib)',
        png: await readFile(file),
        facts: {
          kind: 'a bar chart',
          title,
          theme: dark ? 'dark' : 'light',
          bars: bars.map(([label, height], index) => ({
            label,
            height,
            value: `${height}`,
            colour: colours[index],
          })),
          noDialog: true,
          noProgress: true,
        },
      })),
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
