import { tileBudget } from './budget';
import { KEEP_PATCHES } from './commonParameters';
import { defineMethod } from './method';
import type { Grid } from './patches';
import { keepAll, keptTokens } from './topK';

/** Control: an even grid of patches over the picture. */
export const uniform = defineMethod(
  {
    id: 'uniform',
    name: 'Uniform grid (control)',
    summary: 'Keeps patches spread evenly over the picture.',
    details:
      'After the vision tower, "keep" patches spread as evenly as their number allows go on in raster order; the others are dropped. Square numbers ' +
      'on a square raster give an exact grid. The choice looks at nothing in the picture.',
    places: ['vision'],
    needs: [],
    control: true,
    parameters: [KEEP_PATCHES],
  },
  ({ keep }) => ({
    atVision: ({ grid, tile }) => {
      const patches = grid.rows * grid.columns;
      const count = tileBudget(keep, tile, patches);
      return count >= patches ? keepAll(patches) : { tokens: keptTokens(evenGrid(grid, count)) };
    },
  }),
);

/** Exactly `count` cells of the raster, ascending: some evenly spaced rows, each with (almost) equally many evenly spaced columns. */
function evenGrid({ rows, columns }: Grid, count: number): number[] {
  // As many rows as make the spacing alike in both directions, but never so few that a row would have to hold more than it has.
  const usedRows = clamp(
    Math.round(Math.sqrt((count * rows) / columns)),
    Math.ceil(count / columns),
    Math.min(rows, count),
  );
  const cells: number[] = [];
  for (let line = 0; line < usedRows; line++) {
    const row = centre(line, usedRows, rows);
    const inRow = Math.floor(((line + 1) * count) / usedRows) - Math.floor((line * count) / usedRows);
    for (let at = 0; at < inRow; at++) cells.push(row * columns + centre(at, inRow, columns));
  }
  return cells;
}

/** The cell in the middle of the `index`-th of `parts` equal parts of a line of `length` cells; distinct while parts <= length. */
function centre(index: number, parts: number, length: number): number {
  return Math.floor(((index + 0.5) * length) / parts);
}

function clamp(value: number, minimum: number, maximum: number): number {
  return Math.min(Math.max(value, minimum), maximum);
}
