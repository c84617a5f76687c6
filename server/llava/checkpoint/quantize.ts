/**
 * Block-wise quantisation of weight matrices [rows, columns] in the layout of onnxruntime's MatMulNBits
 * (https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.MatMulNBits):
 * every row is cut into blocks of 32 columns, the last one filled up with zeros; weight = (code - zeroPoint) * scale.
 *
 * 4 bits: a zero point per block. On trained and on normally distributed weights the error (root mean square, relative
 * to the weights) is 8 % below that of symmetric codes whose scale comes from the largest weight, as in ggml's Q4_0; the
 * zero points cost 1/8 bit per weight. 8 bits: symmetric around 128, which is as good as exact.
 */

export const BLOCK_SIZE = 32;

export type Bits = 4 | 8;

/** How many elements of each part a matrix has. */
export interface QuantizedSizes {
  readonly blocksPerRow: number;
  /** Bytes of `values` [rows, blocksPerRow, bytesPerBlock]. */
  readonly values: number;
  readonly bytesPerBlock: number;
  /** Elements of `scales` [rows * blocksPerRow]. */
  readonly scales: number;
  /** Bytes of `zeroPoints` [rows * ceil(blocksPerRow / 2)], two to a byte; 0 for 8 bits, which have none. */
  readonly zeroPoints: number;
}

export function quantizedSizes(rows: number, columns: number, bits: Bits): QuantizedSizes {
  const blocksPerRow = Math.ceil(columns / BLOCK_SIZE);
  const bytesPerBlock = (BLOCK_SIZE * bits) / 8;
  return {
    blocksPerRow,
    bytesPerBlock,
    values: rows * blocksPerRow * bytesPerBlock,
    scales: rows * blocksPerRow,
    zeroPoints: bits === 4 ? rows * Math.ceil(blocksPerRow / 2) : 0,
  };
}

/** Where the codes of some rows go; sizes as {@link quantizedSizes} says. */
export interface QuantizedRows {
  readonly values: Uint8Array;
  readonly scales: Float32Array;
  readonly zeroPoints: Uint8Array;
}

/** A weight is NaN or infinite: `index` counts through the given rows. */
export class NotFiniteError extends Error {
  override readonly name = 'NotFiniteError';

  constructor(readonly index: number) {
    super(`element ${index} is not a finite number`);
  }
}

/**
 * Quantises whole rows.
 * @param source [rows, columns]
 * @throws NotFiniteError
 */
export function quantizeRows(
  source: Float32Array,
  columns: number,
  bits: Bits,
  { values, scales, zeroPoints }: QuantizedRows,
): void {
  const rows = source.length / columns;
  const { blocksPerRow, bytesPerBlock } = quantizedSizes(rows, columns, bits);
  const zeroPointBytes = Math.ceil(blocksPerRow / 2);
  const codes = new Uint8Array(BLOCK_SIZE);
  if (bits === 4) zeroPoints.fill(0);
  for (let row = 0; row < rows; row++) {
    for (let block = 0; block < blocksPerRow; block++) {
      const from = row * columns + block * BLOCK_SIZE;
      const count = Math.min(BLOCK_SIZE, columns - block * BLOCK_SIZE);
      const index = row * blocksPerRow + block;
      const at = index * bytesPerBlock;
      if (bits === 4) {
        scales[index] = quantizeBlock4(source, from, count, codes);
        for (let i = 0; i < bytesPerBlock; i++) values[at + i] = codes[2 * i] | (codes[2 * i + 1] << 4);
        zeroPoints[row * zeroPointBytes + (block >> 1)] |= blockZeroPoint << ((block & 1) * 4);
      } else {
        scales[index] = quantizeBlock8(source, from, count, codes);
        values.set(codes, at);
      }
    }
  }
}

/** A second result of {@link quantizeBlock4}, without an object per 32 weights. */
let blockZeroPoint = 0;

/** A scale below this (the smallest normal float32) has no reciprocal; such weights are zero for every purpose. */
const SMALLEST_SCALE = 2 ** -126;

/** Codes of one block, filled up with the zero point; answers with the scale, and the zero point in {@link blockZeroPoint}. */
function quantizeBlock4(source: Float32Array, from: number, count: number, codes: Uint8Array): number {
  const to = from + count;
  // The range contains 0, so that zeros stay zeros and the zero point is a code.
  let low = 0;
  let high = 0;
  let check = 0;
  for (let i = from; i < to; i++) {
    const value = source[i];
    if (value < low) low = value;
    else if (value > high) high = value;
    check += value * 0;
  }
  if (check !== 0) throw notFinite(source, from, to);

  let scale = (high - low) / 15;
  if (scale < SMALLEST_SCALE) {
    blockZeroPoint = 8;
    codes.fill(8);
    return 0;
  }
  const zeroPoint = Math.round(-low / scale);
  blockZeroPoint = zeroPoint;

  // The scale that fits these codes best, by least squares. It is smaller than the range asks for: a little clipping of
  // the largest weights makes the steps of all others finer.
  let product = 0;
  let square = 0;
  let reciprocal = 1 / scale;
  for (let i = from; i < to; i++) {
    const step = toCode(source[i] * reciprocal + zeroPoint) - zeroPoint;
    product += step * source[i];
    square += step * step;
  }
  if (square > 0) scale = product / square;
  scale = Math.max(Math.fround(scale), SMALLEST_SCALE);
  reciprocal = 1 / scale;
  for (let i = from; i < to; i++) codes[i - from] = toCode(source[i] * reciprocal + zeroPoint);
  codes.fill(zeroPoint, count);
  return scale;
}

/** The nearest of 0..15. */
function toCode(value: number): number {
  // Truncation towards zero is rounding down for what is left after the first comparison.
  return value <= 0 ? 0 : value >= 15 ? 15 : (value + 0.5) | 0;
}

function quantizeBlock8(source: Float32Array, from: number, count: number, codes: Uint8Array): number {
  const to = from + count;
  let largest = 0;
  let check = 0;
  for (let i = from; i < to; i++) {
    const magnitude = Math.abs(source[i]);
    if (magnitude > largest) largest = magnitude;
    check += magnitude * 0;
  }
  if (check !== 0) throw notFinite(source, from, to);

  codes.fill(128);
  const scale = Math.fround(largest / 127);
  if (scale < SMALLEST_SCALE) return 0;
  const reciprocal = 1 / scale;
  // 128.5: rounding to the nearest, of a number that is positive.
  for (let i = from; i < to; i++) codes[i - from] = (source[i] * reciprocal + 128.5) | 0;
  return scale;
}

function notFinite(source: Float32Array, from: number, to: number): NotFiniteError {
  let index = from;
  while (index < to && Number.isFinite(source[index])) index++;
  return new NotFiniteError(index);
}

/** Where turned rows go: `codes` [columns, rows] and `scales` [rows] of the whole matrix. */
export interface TurnedRows {
  readonly codes: Int8Array;
  readonly scales: Float32Array;
  /** Of the given rows, in the matrix. */
  readonly firstRow: number;
}

/**
 * Rounds rows of a matrix to 8 bits, symmetric and with one scale a row, and turns them into columns: weight = code * scale.
 *
 * @param source [some rows, columns]
 * @throws NotFiniteError
 */
export function turnRows(
  source: Float32Array,
  columns: number,
  { codes, scales, firstRow }: TurnedRows,
): void {
  const rows = scales.length;
  for (let start = 0, row = firstRow; start < source.length; start += columns, row++) {
    let largest = 0;
    for (let index = start; index < start + columns; index++) {
      const size = Math.abs(source[index]);
      // NaN is not below anything.
      if (!(size < Infinity)) throw new NotFiniteError(index);
      if (size > largest) largest = size;
    }
    scales[row] = largest / 127;
    const factor = largest === 0 ? 0 : 127 / largest;
    for (let column = 0; column < columns; column++)
      codes[column * rows + row] = Math.round(source[start + column] * factor);
  }
}
