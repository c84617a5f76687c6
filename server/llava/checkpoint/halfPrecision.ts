/**
 * Half-precision numbers to float32 and back, by bit patterns. Widening is exact: every float16 and bfloat16 is a float32,
 * infinities, subnormals and NaN (with its payload) included. Typed arrays are little endian wherever Node.js runs.
 */

/** The largest float16; what rounds to more becomes infinite. */
export const LARGEST_FLOAT16 = 65504;

/** @param source bfloat16 bits   @param target float32 bits, as long as the source */
export function widenBfloat16(source: Uint16Array, target: Uint32Array): void {
  // bfloat16 is the upper half of a float32.
  for (let i = 0; i < source.length; i++) target[i] = source[i] << 16;
}

/** @param source float16 bits   @param target float32 bits, as long as the source */
export function widenFloat16(source: Uint16Array, target: Uint32Array): void {
  table ??= makeTable();
  for (let i = 0; i < source.length; i++) target[i] = table[source[i]];
}

/**
 * Rounds to the nearest float16, to the even one of two that are as near.
 *
 * @param source float32 bits   @param target float16 bits, as long as the source
 */
export function narrowFloat16(source: Uint32Array, target: Uint16Array): void {
  for (let i = 0; i < source.length; i++) target[i] = float16Bits(source[i]);
}

/** float16 bits of float32 bits. */
export function float16Bits(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= SMALLEST_NORMAL) {
    // Half of the last place that is left, less where the even neighbour lies below; a carry makes the exponent one larger.
    const rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1);
    return sign | Math.min(INFINITE, (rounded - EXPONENT_SHIFT) >>> 13);
  }
  // Adding 0.5 leaves multiples of 2^-24, the smallest float16, in the last bits of a float32, rounded as it should be.
  scratch[0] = magnitude;
  scratchFloat[0] += 0.5;
  return sign | (scratch[0] - HALF_BITS);
}

export function float32Bits(value: number): number {
  return new Uint32Array(Float32Array.of(value).buffer)[0];
}

/** float32 bits of 2^-14, the smallest normal float16. */
const SMALLEST_NORMAL = 0x38800000;
/** From the bias of float32 exponents to that of float16. */
const EXPONENT_SHIFT = (127 - 15) << 23;
/** float16 bits. */
const INFINITE = 0x7c00;
/** float32 bits of 0.5. */
const HALF_BITS = 0x3f000000;
const scratch = new Uint32Array(1);
const scratchFloat = new Float32Array(scratch.buffer);

/** float32 bits of all 65536 float16 numbers: 256 KB, made on first use, faster than case distinctions. */
let table: Uint32Array | undefined;

function makeTable(): Uint32Array {
  const bits = new Uint32Array(65536);
  for (let half = 0; half < bits.length; half++) {
    const sign = (half & 0x8000) << 16;
    const exponent = (half >> 10) & 0x1f;
    const mantissa = half & 0x3ff;
    if (exponent === 0x1f) bits[half] = sign | 0x7f800000 | (mantissa << 13);
    else if (exponent > 0) bits[half] = sign | ((exponent + 127 - 15) << 23) | (mantissa << 13);
    else bits[half] = sign | subnormalBits(mantissa);
  }
  return bits;
}

/** A float16 subnormal is mantissa * 2^-24, which a float32 holds as a normal number (or zero). */
function subnormalBits(mantissa: number): number {
  return float32Bits(mantissa * 2 ** -24);
}
