import { describe, expect, it } from 'vitest';

import { rotaryTable } from './rotary';

describe('rotaryTable', () => {
  it('is cos and sin of position * theta^(-2i/d), also for gapped positions', () => {
    const positions = [0, 1, 7, 600];
    const { cos, sin } = rotaryTable({ type: 'default', theta: 10_000 }, 8, positions);
    positions.forEach((position, row) => {
      for (let i = 0; i < 4; i++) {
        const angle = position * 10_000 ** ((-2 * i) / 8);
        expect(cos[row * 4 + i]).toBeCloseTo(Math.cos(angle), 4);
        expect(sin[row * 4 + i]).toBeCloseTo(Math.sin(angle), 4);
      }
    });
  });

  it('linear scaling divides the positions', () => {
    const scaled = rotaryTable({ type: 'linear', theta: 10_000, factor: 4 }, 16, [8, 400]);
    const plain = rotaryTable({ type: 'default', theta: 10_000 }, 16, [2, 100]);
    scaled.cos.forEach((value, index) => expect(value).toBeCloseTo(plain.cos[index], 5));
  });

  it('dynamic scaling leaves short prompts alone and stretches long ones', () => {
    const rope = { type: 'dynamic', theta: 10_000, factor: 2, originalMaxPositions: 64 } as const;
    const plain = { type: 'default', theta: 10_000 } as const;
    expect(rotaryTable(rope, 8, [5, 63])).toEqual(rotaryTable(plain, 8, [5, 63]));
    const stretched = { type: 'default', theta: 10_000 * ((2 * 128) / 64 - 1) ** (8 / 6) } as const;
    const long = rotaryTable(rope, 8, [5, 127]);
    rotaryTable(stretched, 8, [5, 127]).sin.forEach((value, index) =>
      expect(long.sin[index]).toBeCloseTo(value, 4),
    );
  });

  it('llama3 scaling keeps short wavelengths and divides long ones', () => {
    const rope = {
      type: 'llama3',
      theta: 500_000,
      factor: 8,
      lowFrequencyFactor: 1,
      highFrequencyFactor: 4,
      originalMaxPositions: 8192,
    } as const;
    const plain = rotaryTable({ type: 'default', theta: 500_000 }, 64, [16]);
    const divided = rotaryTable({ type: 'default', theta: 500_000 }, 64, [2]);
    const scaled = rotaryTable(rope, 64, [16]);
    expect(scaled.cos[0]).toBeCloseTo(plain.cos[0], 6);
    expect(scaled.sin[31]).toBeCloseTo(divided.sin[31], 6);
  });
});
