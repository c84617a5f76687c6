import { defineMethod } from './method';
import type { Grid } from './patches';
import type { SelectedToken } from './reduction';

/** Control: average pooling over a coarse grid (the content half of LLaMA-VID, without its trained context token). */
export const pool = defineMethod(
  {
    id: 'pool',
    name: 'Average pooling (control)',
    summary: 'Averages the patches of each cell of a coarse grid.',
    details:
      'After the vision tower, the raster is cut into "grid" x "grid" cells and the patches of each cell go on as their average. Where the sides do not ' +
      'divide evenly, a patch belongs to the cell that its centre lies in, so that every patch is counted exactly once. ' +
      'A side of the raster that is shorter than "grid" is not cut.',
    places: ['vision'],
    needs: [],
    control: true,
    parameters: [
      {
        name: 'grid',
        type: 'integer',
        minimum: 1,
        maximum: 1000,
        default: 8,
        description: 'Cells along each side; 8 makes 64 tokens.',
      },
    ],
  },
  ({ grid: cells }) => ({ atVision: ({ grid }) => ({ tokens: poolCells(grid, cells) }) }),
);

/** The averages of `cells` x `cells` cells of the raster, in raster order; a cell of one patch is that patch. */
export function poolCells(grid: Grid, cells: number): SelectedToken[] {
  const rowStarts = cuts(grid.rows, cells);
  const columnStarts = cuts(grid.columns, cells);
  const tokens: SelectedToken[] = [];
  for (let i = 0; i + 1 < rowStarts.length; i++) {
    for (let j = 0; j + 1 < columnStarts.length; j++) {
      tokens.push(
        average(grid.columns, [rowStarts[i], rowStarts[i + 1]], [columnStarts[j], columnStarts[j + 1]]),
      );
    }
  }
  return tokens;
}

/** Where each cell starts, and the end: cell i takes the patches whose centres lie in [i, i + 1) * length / cells. */
function cuts(length: number, cells: number): number[] {
  const used = Math.min(cells, length);
  // The first patch with (patch + 0.5) * used / length >= cell, in integers as far as they go.
  return Array.from({ length: used + 1 }, (_, cell) =>
    cell === 0 ? 0 : Math.ceil((2 * cell * length - used) / (2 * used)),
  );
}

function average(columns: number, [top, bottom]: number[], [left, right]: number[]): SelectedToken {
  const middle = Math.floor((top + bottom) / 2) * columns + Math.floor((left + right) / 2);
  const count = (bottom - top) * (right - left);
  if (count === 1) return { kind: 'kept', index: middle };
  const sources = new Uint32Array(count);
  let at = 0;
  for (let row = top; row < bottom; row++) {
    for (let column = left; column < right; column++) sources[at++] = row * columns + column;
  }
  return { kind: 'merged', target: middle, sources, weights: new Float32Array(count).fill(1 / count) };
}
