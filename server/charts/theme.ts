/**
 * Colours of charts as CSS values. Every one is a custom property with a fallback: a host gives the properties (see
 * {@link CHART_PROPERTIES}) and charts follow its theme at once; a chart saved alone shows the fallbacks.
 */
export interface ChartColors {
  text: string;
  muted: string;
  grid: string;
  background: string;
  /** Line colours that stay apart for colour-blind eyes, in grey and on the background. */
  series: readonly string[];
  /** A line that something is compared with. */
  reference: string;
}

type Palette = Readonly<Record<(typeof CHART_PROPERTIES)[number], string>>;

export const CHART_PROPERTIES = [
  '--chart-text',
  '--chart-muted',
  '--chart-grid',
  '--chart-background',
  '--chart-1',
  '--chart-2',
  '--chart-3',
  '--chart-4',
] as const;

export const LIGHT_CHART: Palette = {
  '--chart-text': '#1f2328',
  '--chart-muted': '#59636e',
  '--chart-grid': '#d8dee4',
  '--chart-background': '#ffffff',
  '--chart-1': '#7d8590',
  '--chart-2': '#0b62c4',
  '--chart-3': '#c25e00',
  '--chart-4': '#7a3fc2',
};

export const DARK_CHART: Palette = {
  '--chart-text': '#d6dbe1',
  '--chart-muted': '#9aa4af',
  '--chart-grid': '#3a4048',
  '--chart-background': '#16191d',
  '--chart-1': '#8b949e',
  '--chart-2': '#4aa3ff',
  '--chart-3': '#f0953e',
  '--chart-4': '#bd93f9',
};

function property(name: keyof Palette): string {
  return `var(${name}, ${LIGHT_CHART[name]})`;
}

export const CHART_COLORS: ChartColors = {
  text: property('--chart-text'),
  muted: property('--chart-muted'),
  grid: property('--chart-grid'),
  background: property('--chart-background'),
  series: [property('--chart-1'), property('--chart-2'), property('--chart-3'), property('--chart-4')],
  reference: property('--chart-muted'),
};
