/** Colours of the token map where no editor theme gives them: blue, orange and grey stay apart for colour-blind eyes. */
export interface MapPalette {
  /** What lies behind the picture and what dropped patches fade into. */
  background: string;
  foreground: string;
  muted: string;
  line: string;
  kept: string;
  merged: string;
  dropped: string;
  /** Thin line around coloured lines, so that they stand out from any picture. */
  halo: string;
}

export const LIGHT_PALETTE: MapPalette = {
  background: '#ffffff',
  foreground: '#1f2328',
  muted: '#59636e',
  line: '#d1d9e0',
  kept: '#0b62c4',
  merged: '#b35900',
  dropped: '#6e7781',
  halo: '#ffffff',
};

/** Low to high, lightness rising evenly: readable in grey and over any picture. */
const HEAT: readonly (readonly [number, number, number])[] = [
  [43, 26, 107],
  [122, 31, 162],
  [212, 61, 107],
  [249, 140, 59],
  [253, 228, 90],
];

/** @param value 0..1 @returns an opaque CSS colour */
export function heatColor(value: number): string {
  const position = Math.min(1, Math.max(0, value)) * (HEAT.length - 1);
  const index = Math.min(HEAT.length - 2, Math.floor(position));
  const part = position - index;
  const channel = (c: 0 | 1 | 2): number =>
    Math.round(HEAT[index][c] + (HEAT[index + 1][c] - HEAT[index][c]) * part);
  return `rgb(${channel(0)},${channel(1)},${channel(2)})`;
}

/** How opaque a heat cell is: the picture shows through where there is little to show. */
export function heatOpacity(value: number): number {
  return 0.92 * Math.min(1, Math.max(0, value)) ** 0.6;
}
