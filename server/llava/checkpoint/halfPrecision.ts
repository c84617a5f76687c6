/**
 * Exact widening of half-precision numbers to float32, by bit patterns: every float16 and bfloat16 is a float32,
 * infinities, subnormals and NaN (with its payload) included. Typed arrays are little endian wherever Node.js runs.
 */

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
  return new Uint32Array(Float32Array.of(mantissa * 2 ** -24).buffer)[0];
}
