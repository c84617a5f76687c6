import { describe, expect, it } from 'vitest';

import { parseConfig } from '../checkpoint/parseConfig';
import { measureSpeed, predictTime } from './speed';

const cost = { tower: 4e9, projector: 1e9, decoder: 7e9, head: 1e9 };
const speed = { tower: { wall: 50e6, cpu: 25e6 }, decoder: { wall: 40e6, cpu: 20e6 } };

describe('the time until the first token', () => {
  it('is work over speed, part by part', () => {
    const { wall, cpu } = predictTime({ cost, pixelValues: 0 }, speed);
    // Products alone: 100 ms of tower and projector, 200 ms of decoder and head; the rest of a pass comes on top.
    expect(wall).toBeGreaterThan(300);
    expect(wall).toBeLessThan(450);
    expect(cpu).toBeCloseTo(2 * wall);
    const onlyTower = predictTime({ cost: { ...cost, decoder: 0, head: 0 }, pixelValues: 0 }, speed).wall;
    const onlyDecoder = predictTime(
      { cost: { ...cost, tower: 0, projector: 0 }, pixelValues: 0 },
      speed,
    ).wall;
    expect(onlyTower + onlyDecoder).toBeCloseTo(wall);
    // One core prepares the pixels.
    const withPixels = predictTime({ cost, pixelValues: 1e6 }, speed);
    expect(withPixels.wall - wall).toBeCloseTo(withPixels.cpu - cpu);
    expect(withPixels.wall).toBeGreaterThan(wall);
  });

  it.each(['fp32', 'q4'] as const)(
    'comes from products of the shapes of the model, in %s',
    async (precision) => {
      const text = { model_type: 'llama', hidden_size: 64, intermediate_size: 128, num_attention_heads: 4 };
      const measured = await measureSpeed(parseConfig({ model_type: 'llava', text_config: text }), precision);
      for (const rate of [measured.tower, measured.decoder])
        for (const value of [rate.wall, rate.cpu]) expect(value).toBeGreaterThan(0);
    },
  );
});
