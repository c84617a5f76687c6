import type { ImageLayout, TokenId } from '../protocol';
import type { Fate, TokenState } from './fates';
import { newlineRect, patchRect, type Plane } from './geometry';
import { heatColor, heatOpacity } from './palette';
import { scaleOf, valueOf, type TokenValues } from './values';

/** Maps source pixels to drawing pixels: `x * scale + left`. */
export interface Transform {
  scale: number;
  left: number;
  top: number;
}

/** A rectangle in whole drawing pixels: neighbours share their edges exactly, so no seams show between them. */
export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Cell extends Box {
  id: TokenId;
  state: TokenState;
}

export interface Segment {
  x1: number;
  y1: number;
  x2: number;
  y2: number;
}

/** Everything that is drawn over a picture, independent of what draws it (canvas or SVG). */
export interface MapDrawing {
  cells: Cell[];
  /** Boxes to fill per state: neighbours of one row are joined. */
  runs: Record<TokenState, Box[]>;
  /** Outline of what went on (kept and carrier cells together). */
  outline: Segment[];
  /** Thin cells behind the rows; they cover nothing of the picture. */
  newlines: Cell[];
  /** Heat-map cells; empty when the map shows states. */
  heat: (Box & { color: string; opacity: number })[];
}

/** Rows of cells as they lie in the drawing, per tile. */
export function drawMap(
  layout: ImageLayout,
  plane: Plane,
  fates: ReadonlyMap<TokenId, Fate>,
  transform: Transform,
  values?: TokenValues,
): MapDrawing {
  const drawing: MapDrawing = {
    cells: [],
    runs: { kept: [], carrier: [], merged: [], dropped: [], absent: [] },
    outline: [],
    heat: [],
    newlines: [],
  };
  const scale = values && scaleOf(values);
  const addHeat = ({ id, state, x, y, width, height }: Cell): void => {
    const value = values && state !== 'absent' ? valueOf(values, fates, id) : undefined;
    if (value === undefined || !scale) return;
    const part = scale.at(value);
    drawing.heat.push({ x, y, width, height, color: heatColor(part), opacity: heatOpacity(part) });
  };
  for (const index of plane.tiles) {
    const tile = layout.tiles[index];
    const stateAt = (row: number, column: number): TokenState =>
      row < 0 || column < 0 || row >= tile.rows || column >= tile.columns
        ? 'absent'
        : (fates.get(tile.firstId + row * tile.columns + column)?.state ?? 'absent');
    for (let row = 0; row < tile.rows; row += 1) {
      for (let column = 0; column < tile.columns; column += 1) {
        const id = tile.firstId + row * tile.columns + column;
        const state = stateAt(row, column);
        const cell = { id, state, ...boxOf(patchRect(tile, row, column), transform) };
        drawing.cells.push(cell);
        const run = drawing.runs[state].at(-1);
        if (run && column > 0 && stateAt(row, column - 1) === state && run.y === cell.y)
          run.width = cell.x + cell.width - run.x;
        else drawing.runs[state].push({ x: cell.x, y: cell.y, width: cell.width, height: cell.height });
        if (goesOn(state)) addOutline(drawing.outline, cell, (r, c) => goesOn(stateAt(row + r, column + c)));
        addHeat(cell);
      }
    }
  }
  for (const newline of plane.newlines) {
    const state = fates.get(newline.id)?.state ?? 'absent';
    const cell = { id: newline.id, state, ...boxOf(newlineRect(layout, newline), transform) };
    drawing.newlines.push(cell);
    addHeat(cell);
  }
  return drawing;
}

export function boxOf(rect: Box, { scale, left, top }: Transform): Box {
  const x = Math.round(rect.x * scale + left);
  const y = Math.round(rect.y * scale + top);
  return {
    x,
    y,
    width: Math.round((rect.x + rect.width) * scale + left) - x,
    height: Math.round((rect.y + rect.height) * scale + top) - y,
  };
}

/** A newline's bar: a little lower than its row, so that rows can be told apart. */
export function slimmer({ x, y, width, height }: Box): Box {
  const margin = height > 6 ? Math.max(1, Math.round(height * 0.12)) : 0;
  return { x, y: y + margin, width, height: height - 2 * margin };
}

export function goesOn(state: TokenState): boolean {
  return state === 'kept' || state === 'carrier';
}

function addOutline(outline: Segment[], cell: Box, inside: (row: number, column: number) => boolean): void {
  const [left, top, right, bottom] = [cell.x, cell.y, cell.x + cell.width, cell.y + cell.height];
  if (!inside(-1, 0)) outline.push({ x1: left, y1: top, x2: right, y2: top });
  if (!inside(1, 0)) outline.push({ x1: left, y1: bottom, x2: right, y2: bottom });
  if (!inside(0, -1)) outline.push({ x1: left, y1: top, x2: left, y2: bottom });
  if (!inside(0, 1)) outline.push({ x1: right, y1: top, x2: right, y2: bottom });
}
