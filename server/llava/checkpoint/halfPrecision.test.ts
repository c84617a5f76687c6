import { describe, expect, it } from 'vitest';
import { widenBfloat16, widenFloat16 } from './halfPrecision';

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
