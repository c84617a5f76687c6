import { describe, expect, it } from 'vitest';

import { parseConfig } from '../checkpoint/parseConfig';
import { type Duration, type MachineSpeed, measureSpeed, predictTime } from './speed';

const question = {
  cost: { tower: 4e9, projector: 1e9, decoder: 7e9, head: 1e6 },
  pixelValues: 0,
  rows: 600,
  layers: 10,
  headBytes: 0,
};
const both = (wall: number): Duration => ({ wall, cpu: 2 * wall });
const speed: MachineSpeed = {
  pixelValue: { wall: 1e-6, cpu: 1e-6 },
  towerMac: both(20e-9),
  layers: [
    { rows: 100, ...both(2) },
    { rows: 600, ...both(15) },
  ],
  weightByte: both(1e-7),
};

describe('the time until the first token', () => {
  it('is what its parts take', () => {
    // 5e9 multiply-accumulates of tower and projector, 10 layers of a prompt that was measured.
    expect(predictTime(question, speed)).toEqual({ wall: 100 + 150, cpu: 200 + 300 });
    const { wall, cpu } = predictTime({ ...question, pixelValues: 1e6, headBytes: 1e8 }, speed);
    // One core prepares the pixels.
    expect(wall).toBeCloseTo(250 + 1 + 10);
    expect(cpu).toBeCloseTo(500 + 1 + 20);
  });

  it('lies on a line between prompts that were measured', () => {
    expect(predictTime({ ...question, rows: 350 }, speed).wall).toBeCloseTo(100 + 10 * 8.5);
    expect(predictTime({ ...question, rows: 50 }, speed).wall).toBeCloseTo(100 + 10);
    expect(predictTime({ ...question, rows: 1200 }, speed).wall).toBeCloseTo(100 + 300);
  });
});

describe('what is measured', () => {
  it.each([
    ['llava', 'fp32', [40, 90], [40, 90]],
    ['llava_next', 'q4', [2000, 40], [40, 2000]],
  ] as const)(
    'are layers of the shapes of a %s model in %s',
    async (model_type, precision, rows, lengths) => {
      const config = parseConfig({
        model_type,
        ...(model_type === 'llava_next'
          ? {
              image_grid_pinpoints: [
                [28, 56],
                [56, 28],
              ],
            }
          : {}),
        text_config: { model_type: 'llama', hidden_size: 64, intermediate_size: 128, num_attention_heads: 4 },
        vision_config: {
          model_type: 'clip_vision_model',
          ...{
            hidden_size: 32,
            intermediate_size: 64,
            num_attention_heads: 2,
            image_size: 28,
            patch_size: 14,
          },
        },
      });
      const preprocessor = {
        size: 28,
        rescaleFactor: 1 / 255,
        mean: [0.5, 0.5, 0.5],
        std: [0.5, 0.5, 0.5],
        resample: 3,
        shortestEdge: undefined,
        padsToSquare: false,
        background: [127, 127, 127],
      } as const;
      const measured = await measureSpeed({ config, preprocessor }, precision, rows);
      expect(measured.layers.map(({ rows: length }) => length)).toEqual(lengths);
      for (const { wall, cpu } of [
        measured.pixelValue,
        measured.towerMac,
        measured.weightByte,
        ...measured.layers,
      ]) {
        expect(wall).toBeGreaterThan(0);
        expect(cpu).toBeGreaterThan(0);
      }
    },
  );
});
