import { describe, expect, it } from 'vitest';

import { mulberry32 } from './mulberry32';
import { readableHeight, smallTextWarning, textHeight } from './textHeight';
import type { RgbImage } from './vision/resample';

type Colour = readonly [number, number, number];

/** A picture in one colour, to be drawn on. */
class Drawing implements RgbImage {
  readonly rgb: Uint8Array;
  constructor(
    readonly width: number,
    readonly height: number,
    ground: Colour,
  ) {
    this.rgb = Buffer.alloc(width * height * 3, Buffer.from(ground));
  }

  fill(left: number, top: number, width: number, height: number, colour: Colour): this {
    const right = Math.min(this.width, left + width);
    const row = Buffer.alloc(Math.max(0, right - left) * 3, Buffer.from(colour));
    for (let y = top; y < Math.min(this.height, top + height); y++)
      this.rgb.set(row, (y * this.width + left) * 3);
    return this;
  }

  /** Letters as strokes down and across, as wide as half their height. */
  write(left: number, top: number, letters: number, height: number, colour: Colour): this {
    const stroke = Math.max(1, Math.round(height / 8));
    for (let letter = 0; letter < letters; letter++) {
      const x = left + Math.round(letter * height * 0.75);
      const width = Math.round(height / 2);
      this.fill(x, top, stroke, height, colour);
      this.fill(x + width - stroke, top, stroke, height, colour);
      const bar = [0, Math.floor(height / 2), height - stroke][letter % 3];
      this.fill(x, top + bar, width, stroke, colour);
    }
    return this;
  }
}

const WHITE = [255, 255, 255] as const;
const BLACK = [20, 20, 20] as const;

/** Lines of text at the usual distance. */
function page(
  width: number,
  height: number,
  letter: number,
  colours: { ink: Colour; paper: Colour },
): Drawing {
  const drawing = new Drawing(width, height, colours.paper);
  for (let top = letter; top + letter < height; top += Math.round(letter * 1.8))
    drawing.write(20, top, Math.floor((width - 40) / letter), letter, colours.ink);
  return drawing;
}

describe('the height of text', () => {
  it.each([
    [300, 200, 8],
    [640, 480, 10],
    [1920, 1080, 14],
    [1280, 800, 30],
    [3840, 2160, 24],
  ])('in a picture of %i x %i, of letters %i px high', (width, height, letter) => {
    expect(textHeight(page(width, height, letter, { ink: BLACK, paper: WHITE }))).toBe(letter);
  });

  it.each([
    ['light on dark', { ink: [212, 212, 212], paper: [30, 30, 30] }],
    ['grey on white', { ink: [150, 150, 150], paper: WHITE }],
    ['red on blue', { ink: [255, 90, 90], paper: [0, 30, 160] }],
  ] as const)('is found %s', (_, colours) => {
    expect(textHeight(page(600, 400, 11, colours))).toBe(11);
  });

  it('is that of the smaller text where there are headings, and borders and icons beside it', () => {
    const screen = page(800, 600, 10, { ink: BLACK, paper: WHITE }).fill(0, 0, 800, 80, WHITE);
    screen.write(20, 30, 12, 32, BLACK);
    for (const x of [2, 300, 301, 797]) screen.fill(x, 0, 1, 600, BLACK);
    expect(textHeight(screen)).toBe(10);
  });

  it('is not claimed where there is no text', () => {
    const empty = new Drawing(800, 600, WHITE).fill(100, 80, 600, 400, [200, 220, 255]);
    expect(textHeight(empty)).toBeUndefined();
    for (let y = 90; y < 470; y += 40) empty.fill(110, y, 580, 30, BLACK);
    expect(textHeight(empty)).toBeUndefined();
    const gradient = new Drawing(800, 600, WHITE);
    gradient.rgb.forEach((_, index) => (gradient.rgb[index] = (index / 3) % 256));
    expect(textHeight(gradient)).toBeUndefined();
    expect(textHeight(new Drawing(3, 2, WHITE))).toBeUndefined();
  });

  it('is not claimed in noise', () => {
    const noise = new Drawing(640, 480, WHITE);
    const random = mulberry32(5);
    noise.rgb.forEach((_, index) => (noise.rgb[index] = Math.floor(random() * 256)));
    expect(textHeight(noise)).toBeUndefined();
  });

  it('needs more than a label or two', () => {
    const label = new Drawing(90, 60, WHITE).write(10, 10, 8, 9, BLACK);
    expect(textHeight(label)).toBeUndefined();
  });
});

describe('the warning about small text', () => {
  const nano = { imageSize: 192, patchSize: 8 };
  const clip = { imageSize: 336, patchSize: 14 };

  it('depends on the height at the model, and on its patches', () => {
    for (const vision of [nano, clip]) {
      const readable = readableHeight(vision.patchSize);
      expect(smallTextWarning({ source: 12, seen: readable }, vision)).toBeUndefined();
      expect(smallTextWarning({ source: 12, seen: readable - 0.1 }, vision)).toBeDefined();
    }
    expect(readableHeight(clip.patchSize)).toBeGreaterThan(readableHeight(nano.patchSize));
  });

  it('says how small the text is, how large it should be, and what that means', () => {
    const warning = smallTextWarning({ source: 12, seen: 1.2 }, nano);
    expect(warning).toMatchObject({ code: 'image.small-text' });
    expect(warning?.askAgain).toBeUndefined();
    expect(warning?.message).toMatch(/about 1 px high at the model's 192 px.* \(6 px are needed\).*invented/);
    expect(smallTextWarning({ source: 12, seen: 0.4 }, nano)?.message).toMatch(/about 0\.4 px/);
  });
});
