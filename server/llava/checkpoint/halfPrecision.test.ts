import { describe, expect, it } from 'vitest';
import { float16Bits, float32Bits, widenBfloat16, widenFloat16 } from './halfPrecision';

const ALL = Uint16Array.from({ length: 65536 }, (_, bits) => bits);

/** The number that a pattern of 1 sign bit, `exponentBits` and `mantissaBits` means, by the definition of IEEE 754. */
function meaning(bits: number, exponentBits: number, mantissaBits: number): number {
  const mantissa = bits % 2 ** mantissaBits;
  const exponent = Math.floor(bits / 2 ** mantissaBits) % 2 ** exponentBits;
  const sign = bits >= 32768 ? -1 : 1;
  const bias = 2 ** (exponentBits - 1) - 1;
  if (exponent === 2 ** exponentBits - 1) return mantissa === 0 ? sign * Infinity : NaN;
  if (exponent === 0) return sign * (mantissa / 2 ** mantissaBits) * 2 ** (1 - bias);
  return sign * (1 + mantissa / 2 ** mantissaBits) * 2 ** (exponent - bias);
}

describe.each([
  ['float16', widenFloat16, 5, 10],
  ['bfloat16', widenBfloat16, 8, 7],
] as const)('%s', (_, widen, exponentBits, mantissaBits) => {
  it('is widened exactly, all 65536 patterns', () => {
    const target = new Uint32Array(65536);
    widen(ALL, target);
    const numbers = new Float32Array(target.buffer);
    for (let bits = 0; bits < 65536; bits++) {
      const expected = meaning(bits, exponentBits, mantissaBits);
      // Object.is: -0 is not 0, NaN is NaN.
      if (!Object.is(numbers[bits], expected))
        expect.fail(`${bits.toString(16)} became ${numbers[bits]}, not ${expected}`);
    }
    expect(numbers[0x3c00 >> (exponentBits === 5 ? 0 : 16)]).toBe(exponentBits === 5 ? 1 : 0);
  });
});

describe('rounding to float16', () => {
  /** Every finite float16, ascending. */
  const bits = new Uint32Array(65536);
  widenFloat16(ALL, bits);
  const halves = new Float32Array(bits.buffer).filter(Number.isFinite).sort();

  it('gives every float16 back', () => {
    for (let half = 0; half < 65536; half++) {
      const isNaN = (half & 0x7c00) === 0x7c00 && (half & 0x3ff) !== 0;
      if (!isNaN && float16Bits(bits[half]) !== half) expect.fail(`${half.toString(16)} is changed`);
    }
    expect(float16Bits(float32Bits(NaN)) & 0x7fff).toBeGreaterThan(0x7c00);
  });

  it('takes the nearest of two neighbours, and the even one of two that are as near', () => {
    const rounded = (value: number): number => {
      const wide = new Uint32Array(1);
      widenFloat16(Uint16Array.of(float16Bits(float32Bits(value))), wide);
      return new Float32Array(wide.buffer)[0];
    };
    for (let index = 1; index < halves.length; index++) {
      const [below, above] = [halves[index - 1], halves[index]];
      const between = (share: number): number => Math.fround(below + share * (above - below));
      if (rounded(between(0.4)) !== below || rounded(between(0.6)) !== above)
        expect.fail(`${below} to ${above}`);
      const even = (float16Bits(float32Bits(below)) & 1) === 0 ? below : above;
      if (rounded(between(0.5)) !== even) expect.fail(`the middle of ${below} and ${above}`);
    }
    expect(rounded(65519)).toBe(65504);
    expect(rounded(65520)).toBe(Infinity);
    expect(rounded(-1e30)).toBe(-Infinity);
  });
});
