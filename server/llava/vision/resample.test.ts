import { describe, expect, it } from 'vitest';
import { mulberry32 } from '../mulberry32';
import { resample, type Filter, type RgbImage } from './resample';

const random = mulberry32(23);
const integer = (low: number, high: number): number => low + Math.floor(random() * (high - low + 1));

function randomImage(width: number, height: number): RgbImage {
  return { width, height, rgb: Uint8Array.from({ length: width * height * 3 }, () => integer(0, 255)) };
}

function whole(width: number, height: number) {
  return { x: 0, y: 0, width, height };
}

/** The image on its canvas, as pixels. */
function paint(
  image: RgbImage,
  canvas: { x: number; y: number; width: number; height: number },
  fill: number[],
): RgbImage {
  const rgb = new Uint8Array(canvas.width * canvas.height * 3);
  for (let y = 0; y < canvas.height; y++)
    for (let x = 0; x < canvas.width; x++)
      for (let c = 0; c < 3; c++) {
        const [sx, sy] = [x + canvas.x, y + canvas.y];
        const inside = sx >= 0 && sy >= 0 && sx < image.width && sy < image.height;
        rgb[(y * canvas.width + x) * 3 + c] = inside ? image.rgb[(sy * image.width + sx) * 3 + c] : fill[c];
      }
  return { width: canvas.width, height: canvas.height, rgb };
}

// Equality with Pillow itself is in preprocess.test.ts; here are the properties that need no reference.
describe('resample', () => {
  it('changes nothing at the same size', () => {
    for (const filter of [2, 3] as Filter[]) {
      const image = randomImage(13, 9);
      const result = resample(image, {
        canvas: whole(13, 9),
        fill: [0, 0, 0],
        scaled: { width: 13, height: 9 },
        window: whole(13, 9),
        filter,
      });
      expect(result).toEqual(image.rgb);
    }
  });

  it('keeps one colour one colour, at any size', () => {
    for (let round = 0; round < 40; round++) {
      const [width, height, w, h] = [integer(1, 60), integer(1, 60), integer(1, 60), integer(1, 60)];
      const colour = [integer(0, 255), integer(0, 255), integer(0, 255)];
      const rgb = Uint8Array.from({ length: width * height * 3 }, (_, i) => colour[i % 3]);
      const result = resample(
        { width, height, rgb },
        {
          canvas: whole(width, height),
          fill: [0, 0, 0],
          scaled: { width: w, height: h },
          window: whole(w, h),
          filter: 3,
        },
      );
      expect(result).toEqual(Uint8Array.from({ length: w * h * 3 }, (_, i) => colour[i % 3]));
    }
  });

  it('computes in a window what is there in the whole', () => {
    for (let round = 0; round < 40; round++) {
      const image = randomImage(integer(1, 50), integer(1, 50));
      const scaled = { width: integer(4, 60), height: integer(4, 60) };
      const window = {
        x: integer(0, 2),
        y: integer(0, 2),
        width: scaled.width - 3,
        height: scaled.height - 3,
      };
      const common = {
        canvas: whole(image.width, image.height),
        fill: [9, 9, 9] as const,
        scaled,
        filter: 3 as Filter,
      };
      const all = {
        ...scaled,
        rgb: resample(image, { ...common, window: whole(scaled.width, scaled.height) }),
      };
      expect(resample(image, { ...common, window })).toEqual(paint(all, window, [0, 0, 0]).rgb);
    }
  });

  it('makes of a canvas around the image what it makes of the painted canvas', () => {
    for (let round = 0; round < 60; round++) {
      const image = randomImage(integer(1, 40), integer(1, 40));
      const canvas = { x: -integer(0, 30), y: -integer(0, 30), width: 0, height: 0 };
      canvas.width = image.width - canvas.x + integer(0, 30);
      canvas.height = image.height - canvas.y + integer(0, 30);
      const fill = [integer(0, 255), integer(0, 255), integer(0, 255)] as const;
      const scaled = { width: integer(1, 50), height: integer(1, 50) };
      const common = {
        scaled,
        window: whole(scaled.width, scaled.height),
        filter: integer(2, 3) as Filter,
        fill,
      };
      const painted = paint(image, canvas, [...fill]);
      expect(resample(image, { ...common, canvas })).toEqual(
        resample(painted, { ...common, canvas: whole(canvas.width, canvas.height) }),
      );
    }
  });

  it('handles rows that repeat like any others', () => {
    const row = randomImage(31, 1).rgb;
    const other = randomImage(31, 1).rgb;
    const rows = [row, row, row, other, row, row];
    const repeated: RgbImage = { width: 31, height: 6, rgb: Uint8Array.from(rows.flatMap((r) => [...r])) };
    const upright = {
      canvas: whole(31, 6),
      fill: [0, 0, 0] as const,
      scaled: { width: 12, height: 6 },
      window: whole(12, 6),
      filter: 3 as Filter,
    };
    // Row by row: with the height unchanged, the vertical pass is the identity.
    const single = (rgb: Uint8Array): number[] => [
      ...resample(
        { width: 31, height: 1, rgb },
        { ...upright, canvas: whole(31, 1), scaled: { width: 12, height: 1 }, window: whole(12, 1) },
      ),
    ];
    expect([...resample(repeated, upright)]).toEqual(rows.flatMap(single));
  });

  it.each([
    [2, 1],
    [3, 2],
  ] as const)('mixes rows by the weights of filter %i, whether they repeat or not', (filter, radius) => {
    const shape = (x: number): number => {
      const t = Math.abs(x);
      if (filter === 2) return Math.max(0, 1 - t);
      if (t < 1) return 1.5 * t ** 3 - 2.5 * t ** 2 + 1;
      return t < 2 ? -0.5 * t ** 3 + 2.5 * t ** 2 - 4 * t + 2 : 0;
    };
    for (const repeats of [1, 2, 3, 7, 25]) {
      // Each row is of one colour, so that the horizontal pass changes nothing.
      const [width, height, wanted] = [60, 97, 23];
      const values = Array.from({ length: height }, () => integer(0, 255));
      values.forEach((_, row) => (values[row] = values[row - (row % repeats)]));
      const rgb = Uint8Array.from(values.flatMap((value) => new Array<number>(width * 3).fill(value)));
      const result = resample(
        { width, height, rgb },
        {
          canvas: whole(width, height),
          fill: [0, 0, 0],
          scaled: { width: 4, height: wanted },
          window: whole(4, wanted),
          filter,
        },
      );
      const scale = height / wanted;
      for (let y = 0; y < wanted; y++) {
        const center = (y + 0.5) * scale;
        const low = Math.max(0, Math.trunc(center - radius * scale + 0.5));
        const high = Math.min(height, Math.trunc(center + radius * scale + 0.5));
        const rows = values.slice(low, high);
        const weights = rows.map((_, index) => shape((low + index - center + 0.5) / scale));
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        // The sum of whole numbers is exact: below 2^31 in size.
        const mixed = rows.reduce(
          (sum, value, index) => sum + value * Math.round((weights[index] / total) * 2 ** 22),
          2 ** 21,
        );
        const expected = Math.min(255, Math.max(0, Math.floor(mixed / 2 ** 22)));
        expect([...result.subarray(y * 12, (y + 1) * 12)]).toEqual(new Array(12).fill(expected));
      }
    }
  });

  it('averages: a bilinear halving of a checkerboard is grey', () => {
    const rgb = Uint8Array.from({ length: 16 * 16 * 3 }, (_, i) => {
      const pixel = Math.floor(i / 3);
      return (pixel + Math.floor(pixel / 16)) % 2 === 0 ? 0 : 255;
    });
    const result = resample(
      { width: 16, height: 16, rgb },
      {
        canvas: whole(16, 16),
        fill: [0, 0, 0],
        scaled: { width: 2, height: 2 },
        window: whole(2, 2),
        filter: 2,
      },
    );
    for (const value of result) expect(Math.abs(value - 127.5)).toBeLessThan(3);
  });
});
