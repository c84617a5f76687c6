import { expect, it } from 'vitest';
import { within } from './partRect';

it('a part of a part is where it is in the whole image', () => {
  const outer = { x: 300, y: 200, width: 800, height: 600 };
  expect(within(outer, { x: 10, y: 20, width: 100, height: 50 }, { width: 800, height: 600 })).toEqual({
    x: 310,
    y: 220,
    width: 100,
    height: 50,
  });
});

it('also where the part was shown smaller than it is: none of its pixels is lost, and none outside is added', () => {
  // 6000 x 4500 pixels as a picture of 4096 x 3072.
  const outer = { x: 1000, y: 500, width: 6000, height: 4500 };
  const shown = { width: 4096, height: 3072 };
  const scale = 6000 / 4096;
  const part = within(outer, { x: 2048, y: 1024, width: 1001, height: 777 }, shown);
  expect(part).toMatchObject({ x: 1000 + 3000, y: 500 + 1500 });
  expect(part.width).toBe(Math.ceil((2048 + 1001) * scale) - 3000);
  expect(part.height).toBe(Math.ceil((1024 + 777) * scale) - 1500);
  expect(within(outer, { x: 0, y: 0, width: 4096, height: 3072 }, shown)).toEqual(outer);
  expect(within(outer, { x: 4000, y: 3000, width: 500, height: 500 }, shown)).toEqual({
    x: 1000 + Math.floor(4000 * scale),
    y: 500 + Math.floor(3000 * scale),
    width: 6000 - Math.floor(4000 * scale),
    height: 4500 - Math.floor(3000 * scale),
  });
});

it('a picture of unknown size counts as not scaled', () => {
  const outer = { x: 5, y: 6, width: 70, height: 80 };
  expect(within(outer, { x: 1, y: 2, width: 3, height: 4 }, {})).toEqual({ x: 6, y: 8, width: 3, height: 4 });
});
