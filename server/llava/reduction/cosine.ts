import type { Matrix } from '../matrix';
import { requireNumber } from './topK';

/** Cosine similarities of one row with all. */
export type CosineRow = Float32Array | Float64Array;

/** All cosine similarities among rows, [count, count]. */
export interface CosineMatrix {
  readonly data: CosineRow;
  readonly count: number;
}

/**
 * Answers with rows of the cosine matrix one at a time: O(rows * columns) each, so that a method that picks K tokens
 * pays for K rows only.
 * @param rows the tokens; `count` of them from the first are meant.
 * @param known the whole matrix, where the engine has computed it.
 */
export function cosineRows(rows: Matrix, count: number, known?: Matrix): (index: number) => CosineRow {
  if (known) {
    requireNumbers(known);
    return (index) => known.data.subarray(index * count, (index + 1) * count);
  }
  const unit = normalised(rows, count);
  const row = new Float64Array(count);
  return (index) => {
    dotRow(unit, rows.columns, index, row);
    return row;
  };
}

/** The whole cosine matrix: O(count^2 * columns). */
export function cosineMatrix(rows: Matrix, count: number, known?: Matrix): CosineMatrix {
  if (known) {
    requireNumbers(known);
    return { data: known.data, count };
  }
  const unit = normalised(rows, count);
  const data = new Float64Array(count * count);
  // Tiles of 4 x 4 keep 16 sums in registers: about twice the speed of row after row.
  for (let i = 0; i < count; i += TILE) {
    for (let j = i; j < count; j += TILE) dotTile(unit, rows.columns, count, i, j, data);
  }
  for (let i = 0; i < count; i++) {
    for (let j = 0; j < i; j++) data[i * count + j] = data[j * count + i];
  }
  return { data, count };
}

const TILE = 4;

/** A row that holds something else shows it in the product with itself. */
function requireNumbers({ data, rows }: Matrix): void {
  for (let row = 0; row < rows; row++) requireNumber(data[row * rows + row]);
}

/** Rows scaled to length 1; a row of zeros stays, and is similar to nothing. In double precision, so that ties are ties. */
function normalised({ data, columns }: Matrix, count: number): Float64Array {
  const unit = new Float64Array(count * columns);
  for (let row = 0; row < count; row++) {
    const start = row * columns;
    let square = 0;
    for (let k = start; k < start + columns; k++) square += data[k] * data[k];
    requireNumber(square);
    const scale = square > 0 ? 1 / Math.sqrt(square) : 0;
    for (let k = start; k < start + columns; k++) unit[k] = data[k] * scale;
  }
  return unit;
}

/** Every sum runs over the columns in order, here and in {@link dotTile}: equal rows give equal cosines, to the bit. */
function dotRow(unit: Float64Array, columns: number, index: number, row: Float64Array): void {
  const a = index * columns;
  const last = row.length - 1;
  for (let j = 0; j < row.length; j += TILE) {
    // Past the end the last row is computed again; the store is harmless.
    const [j1, j2, j3] = [Math.min(j + 1, last), Math.min(j + 2, last), Math.min(j + 3, last)];
    const [b0, b1, b2, b3] = [j * columns, j1 * columns, j2 * columns, j3 * columns];
    let s0 = 0;
    let s1 = 0;
    let s2 = 0;
    let s3 = 0;
    for (let k = 0; k < columns; k++) {
      const value = unit[a + k];
      s0 += value * unit[b0 + k];
      s1 += value * unit[b1 + k];
      s2 += value * unit[b2 + k];
      s3 += value * unit[b3 + k];
    }
    row[j] = s0;
    row[j1] = s1;
    row[j2] = s2;
    row[j3] = s3;
  }
}

function dotTile(
  unit: Float64Array,
  columns: number,
  count: number,
  i: number,
  j: number,
  out: Float64Array,
): void {
  const last = count - 1;
  const [i1, i2, i3] = [Math.min(i + 1, last), Math.min(i + 2, last), Math.min(i + 3, last)];
  const [j1, j2, j3] = [Math.min(j + 1, last), Math.min(j + 2, last), Math.min(j + 3, last)];
  const [a0, a1, a2, a3] = [i * columns, i1 * columns, i2 * columns, i3 * columns];
  const [b0, b1, b2, b3] = [j * columns, j1 * columns, j2 * columns, j3 * columns];
  let s00 = 0;
  let s01 = 0;
  let s02 = 0;
  let s03 = 0;
  let s10 = 0;
  let s11 = 0;
  let s12 = 0;
  let s13 = 0;
  let s20 = 0;
  let s21 = 0;
  let s22 = 0;
  let s23 = 0;
  let s30 = 0;
  let s31 = 0;
  let s32 = 0;
  let s33 = 0;
  for (let k = 0; k < columns; k++) {
    const x0 = unit[a0 + k];
    const x1 = unit[a1 + k];
    const x2 = unit[a2 + k];
    const x3 = unit[a3 + k];
    const y0 = unit[b0 + k];
    const y1 = unit[b1 + k];
    const y2 = unit[b2 + k];
    const y3 = unit[b3 + k];
    s00 += x0 * y0;
    s01 += x0 * y1;
    s02 += x0 * y2;
    s03 += x0 * y3;
    s10 += x1 * y0;
    s11 += x1 * y1;
    s12 += x1 * y2;
    s13 += x1 * y3;
    s20 += x2 * y0;
    s21 += x2 * y1;
    s22 += x2 * y2;
    s23 += x2 * y3;
    s30 += x3 * y0;
    s31 += x3 * y1;
    s32 += x3 * y2;
    s33 += x3 * y3;
  }
  out[i * count + j] = s00;
  out[i * count + j1] = s01;
  out[i * count + j2] = s02;
  out[i * count + j3] = s03;
  out[i1 * count + j] = s10;
  out[i1 * count + j1] = s11;
  out[i1 * count + j2] = s12;
  out[i1 * count + j3] = s13;
  out[i2 * count + j] = s20;
  out[i2 * count + j1] = s21;
  out[i2 * count + j2] = s22;
  out[i2 * count + j3] = s23;
  out[i3 * count + j] = s30;
  out[i3 * count + j1] = s31;
  out[i3 * count + j2] = s32;
  out[i3 * count + j3] = s33;
}
