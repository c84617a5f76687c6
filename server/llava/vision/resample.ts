import type { PixelRect } from '../../protocol';

/**
 * Resizing exactly as Pillow does it (the processors of transformers are built on it): separable, antialiased, with
 * weights in 22-bit fixed point and a rounding to 8 bits between the horizontal and the vertical pass. Other libraries'
 * "bicubic" differs by several grey levels. Reference: Pillow, src/libImaging/Resample.c.
 */

/** Pillow's filter codes. */
export type Filter = 2 | 3;
const BILINEAR = 2;

export interface RgbImage {
  readonly width: number;
  readonly height: number;
  /** [height, width, 3] */
  readonly rgb: Uint8Array;
}

export interface Resampling {
  /** What is scaled, in source pixels; where it reaches beyond the image it has the colour `fill`. */
  readonly canvas: PixelRect;
  readonly fill: readonly [number, number, number];
  /** Size of the scaled canvas. */
  readonly scaled: { readonly width: number; readonly height: number };
  /** The part of the scaled canvas that is wanted; nothing else is computed. */
  readonly window: PixelRect;
  readonly filter: Filter;
}

/** @returns [window.height, window.width, 3] */
export function resample(image: RgbImage, resampling: Resampling): Uint8Array {
  const { canvas, scaled, window } = resampling;
  // The order of the passes shows in the result, since the first one rounds and clips. Pillow 13 begins with the
  // vertical pass where the height shrinks by more than twice as many pixels as the width; before, it never did.
  const shrinks = canvas.height - scaled.height;
  const verticalFirst = shrinks > 0 && shrinks > (canvas.width - scaled.width) * 2;
  if (!verticalFirst) return horizontalThenVertical(image, resampling);
  const transposed = horizontalThenVertical(transpose(image), {
    ...resampling,
    canvas: swapAxes(canvas),
    scaled: { width: scaled.height, height: scaled.width },
    window: swapAxes(window),
  });
  return transpose({ width: window.height, height: window.width, rgb: transposed }).rgb;
}

function swapAxes({ x, y, width, height }: PixelRect): PixelRect {
  return { x: y, y: x, width: height, height: width };
}

function transpose({ width, height, rgb }: RgbImage): RgbImage {
  const turned = new Uint8Array(rgb.length);
  let source = 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const target = (x * height + y) * 3;
      turned[target] = rgb[source];
      turned[target + 1] = rgb[source + 1];
      turned[target + 2] = rgb[source + 2];
      source += 3;
    }
  }
  return { width: height, height: width, rgb: turned };
}

function horizontalThenVertical(image: RgbImage, resampling: Resampling): Uint8Array {
  const { canvas, scaled, window, fill, filter } = resampling;
  const columns = makeTaps(canvas.width, scaled.width, window.x, window.width, canvas.x, image.width, filter);
  const rows = makeTaps(
    canvas.height,
    scaled.height,
    window.y,
    window.height,
    canvas.y,
    image.height,
    filter,
  );

  // What the horizontal pass makes of a row that is fill only, as all rows outside the image are.
  const fillRow = new Uint8Array(window.width * 3);
  for (let x = 0; x < window.width; x++)
    for (let c = 0; c < 3; c++) fillRow[x * 3 + c] = toByte(HALF + fill[c] * columns.total[x]);
  const output = new Uint8Array(window.height * fillRow.length);
  fillRows(output, fillRow, rows.total);
  if (rows.from === rows.to || columns.from === columns.to) return output;

  const offset = columns.from * 3;
  const reached = scaleRows(image, rows.begin[rows.from], rows.end[rows.to - 1], columns, fill);
  const fillPart = fillRow.subarray(offset, columns.to * 3);
  const sums = new Int32Array(fillPart.length);
  for (let y = rows.from; y < rows.to; y++) {
    sums.fill(HALF);
    if (rows.outside[y] !== 0) addRow(sums, fillPart, 0, rows.outside[y]);
    verticalPass(sums, reached, rows, y);
    writeBytes(output, y * fillRow.length + offset, sums);
  }
  return output;
}

/**
 * The result where the image does not reach, in all rows: for a thin image in a wide square that is nearly everywhere.
 *
 * @param output [totals.length, fillRow.length]   @param totals the sum of each row's weights, of which there are few different ones
 */
function fillRows(output: Uint8Array, fillRow: Uint8Array, totals: Int32Array): void {
  const width = fillRow.length;
  const known = new Map<number, number>();
  const sums = new Int32Array(width);
  for (let y = 0; y < totals.length; y++) {
    const same = known.get(totals[y]);
    if (same !== undefined) {
      output.copyWithin(y * width, same, same + width);
      continue;
    }
    sums.fill(HALF);
    addRow(sums, fillRow, 0, totals[y]);
    writeBytes(output, y * width, sums);
    known.set(totals[y], y * width);
  }
}

/** Image rows behind the horizontal pass. Equal neighbours are there once: screenshots are full of them. */
interface ScaledRows {
  /** [different rows, width]: the columns that the image reaches. */
  readonly bytes: Uint8Array;
  readonly width: number;
  /** Where in `bytes` image row `first + i` begins. */
  readonly at: Int32Array;
  readonly first: number;
}

/** The horizontal pass over image rows from .. to - 1. */
function scaleRows(
  image: RgbImage,
  from: number,
  to: number,
  columns: Taps,
  fill: readonly [number, number, number],
): ScaledRows {
  const width = (columns.to - columns.from) * 3;
  const at = new Int32Array(to - from);
  let different = 1;
  for (let row = from + 1; row < to; row++) {
    // Comparing is much cheaper than the pass.
    if (!equalsRowAbove(image, row)) different++;
    at[row - from] = (different - 1) * width;
  }
  const bytes = new Uint8Array(different * width);
  for (let row = from; row < to; row++)
    if (row === from || at[row - from] !== at[row - from - 1])
      horizontalPass(image, row, columns, fill, bytes, at[row - from]);
  return { bytes, width, at, first: from };
}

function equalsRowAbove({ width, rgb }: RgbImage, row: number): boolean {
  const bytes = width * 3;
  const start = row * bytes;
  return Buffer.compare(rgb.subarray(start - bytes, start), rgb.subarray(start, start + bytes)) === 0;
}

/** Adds the image rows that output row `y` is made of, four at a time; of equal ones the sum of their weights. */
function verticalPass(sums: Int32Array, { bytes, at, first }: ScaledRows, rows: Taps, y: number): void {
  const { values, begin, end } = rows;
  const last = end[y] - first;
  const origin = rows.at[y] + first;
  const places = [0, 0, 0, 0];
  const weights = [0, 0, 0, 0];
  let count = 0;
  for (let row = begin[y] - first; row < last;) {
    const place = at[row];
    let weight = 0;
    for (; row < last && at[row] === place; row++) weight += values[origin + row];
    places[count] = place;
    weights[count] = weight;
    if (++count < 4 && row < last) continue;
    if (count === 1) addRow(sums, bytes, place, weight);
    else {
      weights.fill(0, count);
      addFourRows(sums, bytes, places, weights);
    }
    count = 0;
  }
}

function addRow(sums: Int32Array, bytes: Uint8Array, start: number, weight: number): void {
  for (let i = 0; i < sums.length; i++) sums[i] = (sums[i] + Math.imul(bytes[start + i], weight)) | 0;
}

function addFourRows(
  sums: Int32Array,
  bytes: Uint8Array,
  [a, b, c, d]: readonly number[],
  [weightA, weightB, weightC, weightD]: readonly number[],
): void {
  for (let i = 0; i < sums.length; i++) {
    const left = (Math.imul(bytes[a + i], weightA) + Math.imul(bytes[b + i], weightB)) | 0;
    const right = (Math.imul(bytes[c + i], weightC) + Math.imul(bytes[d + i], weightD)) | 0;
    sums[i] = (sums[i] + left + right) | 0;
  }
}

function writeBytes(output: Uint8Array, start: number, sums: Int32Array): void {
  for (let i = 0; i < sums.length; i++) {
    const value = sums[i] >> PRECISION_BITS;
    output[start + i] = value < 0 ? 0 : value > 255 ? 255 : value;
  }
}

/** One image row, scaled: the columns that the image reaches, into `output` from `start` on. */
function horizontalPass(
  image: RgbImage,
  sourceRow: number,
  columns: Taps,
  fill: readonly [number, number, number],
  output: Uint8Array,
  start: number,
): void {
  const { rgb } = image;
  const { values, begin, end, at, outside } = columns;
  const base = sourceRow * image.width * 3;
  let target = start;
  for (let x = columns.from; x < columns.to; x++) {
    let red = HALF + fill[0] * outside[x];
    let green = HALF + fill[1] * outside[x];
    let blue = HALF + fill[2] * outside[x];
    let pixel = base + begin[x] * 3;
    const last = at[x] + end[x];
    for (let tap = at[x] + begin[x]; tap < last; tap++) {
      const weight = values[tap];
      red = (red + Math.imul(rgb[pixel], weight)) | 0;
      green = (green + Math.imul(rgb[pixel + 1], weight)) | 0;
      blue = (blue + Math.imul(rgb[pixel + 2], weight)) | 0;
      pixel += 3;
    }
    output[target] = toByte(red);
    output[target + 1] = toByte(green);
    output[target + 2] = toByte(blue);
    target += 3;
  }
}

// ---------------------------------------------------------------------------------------------- weights

/** 32 bits minus 8 for the sample and 2 for the filters' overshoot. */
const PRECISION_BITS = 22;
const HALF = 1 << (PRECISION_BITS - 1);

function toByte(sum: number): number {
  const value = sum >> PRECISION_BITS;
  return value < 0 ? 0 : value > 255 ? 255 : value;
}

/** The weighted source samples of every output sample along one axis. Positions are in the image, not in the canvas. */
interface Taps {
  /** The weight of source sample s for output o is `values[at[o] + s]`. */
  readonly values: Int32Array;
  readonly at: Int32Array;
  /** The source samples inside the image: begin[o] to end[o] - 1. Both ascend with o. */
  readonly begin: Int32Array;
  readonly end: Int32Array;
  /** Sum of all weights of o, and of those whose samples lie outside the image. */
  readonly total: Int32Array;
  readonly outside: Int32Array;
  /** Only the outputs from .. to - 1 have samples inside the image. */
  readonly from: number;
  readonly to: number;
}

/**
 * @param size samples of the canvas   @param scaled samples of the scaled canvas
 * @param start first wanted output    @param count how many outputs
 * @param origin where the canvas begins in the image (0, or negative where it is padded)
 * @param imageSize samples of the image
 */
function makeTaps(
  size: number,
  scaled: number,
  start: number,
  count: number,
  origin: number,
  imageSize: number,
  filter: Filter,
): Taps {
  const scale = size / scaled;
  const filterScale = Math.max(scale, 1);
  const [shape, radius] = filter === BILINEAR ? [triangle, 1] : [cubic, 2];
  const support = radius * filterScale;
  const stride = Math.ceil(support) * 2 + 1;
  const taps = {
    values: new Int32Array(count * stride),
    at: new Int32Array(count),
    begin: new Int32Array(count),
    end: new Int32Array(count),
    total: new Int32Array(count),
    outside: new Int32Array(count),
  };
  const exact = new Float64Array(stride);
  let from = count;
  let to = 0;
  for (let o = 0; o < count; o++) {
    const center = (start + o + 0.5) * scale;
    const low = Math.max(0, Math.trunc(center - support + 0.5));
    const high = Math.min(size, Math.trunc(center + support + 0.5));
    let sum = 0;
    for (let i = 0; i < high - low; i++) {
      exact[i] = shape((i + low - center + 0.5) / filterScale);
      sum += exact[i];
    }
    taps.at[o] = o * stride - (low + origin);
    taps.begin[o] = clamp(low + origin, imageSize);
    taps.end[o] = clamp(high + origin, imageSize);
    for (let i = 0; i < high - low; i++) {
      const normalized = (sum === 0 ? exact[i] : exact[i] / sum) * (1 << PRECISION_BITS);
      // Away from zero at the half, as Pillow rounds.
      const weight = normalized < 0 ? Math.trunc(normalized - 0.5) : Math.trunc(normalized + 0.5);
      taps.values[o * stride + i] = weight;
      taps.total[o] += weight;
      const position = i + low + origin;
      if (position < 0 || position >= imageSize) taps.outside[o] += weight;
    }
    if (taps.begin[o] < taps.end[o]) {
      from = Math.min(from, o);
      to = o + 1;
    }
  }
  return { ...taps, from: Math.min(from, to), to };
}

function clamp(position: number, size: number): number {
  return Math.min(Math.max(position, 0), size);
}

function triangle(x: number): number {
  return Math.max(0, 1 - Math.abs(x));
}

/** Keys' cubic with a = -0.5. */
function cubic(x: number): number {
  const a = -0.5;
  const t = Math.abs(x);
  if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
  if (t < 2) return (((t - 5) * t + 8) * t - 4) * a;
  return 0;
}
