import sharp, { type Sharp } from 'sharp';
import { describe, expect, it } from 'vitest';
import { CancelledError, InputError } from '../errors';
import { decodeImage, imageFacts, toPng, type DecodedImage } from './decode';

/** Red left of the middle, blue right of it. */
function redBlue(width: number, height: number): Sharp {
  const rgb = Buffer.alloc(width * height * 3);
  for (let i = 0; i < width * height; i++) rgb[i * 3 + (i % width < width / 2 ? 0 : 2)] = 255;
  return sharp(rgb, { raw: { width, height, channels: 3 } });
}

function pixel(image: DecodedImage, x: number, y: number): number[] {
  return [...image.rgb.subarray((y * image.width + x) * 3, (y * image.width + x) * 3 + 3)];
}

function expectColour(actual: number[], expected: number[], tolerance: number): void {
  expect(actual).toHaveLength(3);
  actual.forEach((value, c) => expect(Math.abs(value - expected[c])).toBeLessThanOrEqual(tolerance));
}

function expectWhole(image: DecodedImage): void {
  expect(image.rgb.length).toBe(image.width * image.height * 3);
}

const FORMATS = ['png', 'jpeg', 'webp', 'gif', 'avif', 'tiff'] as const;

describe('decodeImage', () => {
  it.each(FORMATS)('decodes %s to sRGB pixels', async (format) => {
    const bytes = await redBlue(64, 32)
      .toFormat(format, format === 'jpeg' ? { chromaSubsampling: '4:4:4' } : {})
      .toBuffer();
    const image = await decodeImage(bytes);
    // sharp writes every GIF with a transparent palette entry.
    const hasAlpha = format === 'gif';
    expect(image).toMatchObject({ width: 64, height: 32, format, hasAlpha, frames: 1 });
    expectWhole(image);
    expectColour(pixel(image, 8, 16), [255, 0, 0], 8);
    expectColour(pixel(image, 56, 16), [0, 0, 255], 8);
    expect(await imageFacts(bytes)).toEqual({
      width: 64,
      height: 32,
      format,
      bytes: bytes.length,
      hasAlpha,
      frames: 1,
    });
  });

  it('decodes 1x1', async () => {
    const image = await decodeImage(await redBlue(1, 1).png().toBuffer());
    expect([image.width, image.height, ...image.rgb]).toEqual([1, 1, 255, 0, 0]);
  });

  it('decodes 20000x1', async () => {
    const image = await decodeImage(await redBlue(20_000, 1).png().toBuffer());
    expect([image.width, image.height]).toEqual([20_000, 1]);
    expect(pixel(image, 0, 0)).toEqual([255, 0, 0]);
    expect(pixel(image, 19_999, 0)).toEqual([0, 0, 255]);
  });

  it('takes the first frame of an animation', async () => {
    const frames = Buffer.concat([Buffer.alloc(300, 10), Buffer.alloc(300, 90), Buffer.alloc(300, 200)]);
    const strip = sharp(frames, { raw: { width: 10, height: 30, channels: 3, pageHeight: 10 } });
    for (const bytes of [
      await strip.clone().gif().toBuffer(),
      await strip.clone().webp({ lossless: true }).toBuffer(),
    ]) {
      const image = await decodeImage(bytes);
      expect(image).toMatchObject({ width: 10, height: 10, frames: 3 });
      expectWhole(image);
      expectColour(pixel(image, 5, 5), [10, 10, 10], 2);
    }
  });

  it('converts CMYK', async () => {
    const bytes = await redBlue(32, 32).toColourspace('cmyk').jpeg({ quality: 100 }).toBuffer();
    expect((await sharp(bytes).metadata()).space).toBe('cmyk');
    const image = await decodeImage(bytes);
    expectWhole(image);
    const [red, green, blue] = pixel(image, 4, 16);
    // The gamut of CMYK is smaller; what matters is that it is red and not inverted.
    expect(red).toBeGreaterThan(180);
    expect(Math.max(green, blue)).toBeLessThan(90);
  });

  it('reduces 16 bits to 8', async () => {
    const samples = Uint16Array.from({ length: 4 * 3 }, (_, i) => [0, 257 * 100, 65535][i % 3]);
    const bytes = await sharp(samples, { raw: { width: 4, height: 1, channels: 3 } })
      .toColourspace('rgb16')
      .png()
      .toBuffer();
    expect((await sharp(bytes).metadata()).depth).toBe('ushort');
    const image = await decodeImage(bytes);
    expectWhole(image);
    expectColour(pixel(image, 2, 0), [0, 100, 255], 1);
  });

  it.each(['b-w', 'grey16'])('gives a grey image (%s) three channels', async (space) => {
    const bytes = await sharp({ create: { width: 5, height: 4, channels: 3, background: '#777777' } })
      .toColourspace(space)
      .png()
      .toBuffer();
    expect((await sharp(bytes).metadata()).channels).toBe(1);
    const image = await decodeImage(bytes);
    expectWhole(image);
    expectColour(pixel(image, 4, 3), [0x77, 0x77, 0x77], 1);
  });

  it('puts transparency on white', async () => {
    const rgba = Buffer.from([0, 0, 0, 0, 255, 0, 0, 128, 0, 0, 255, 255]);
    const bytes = await sharp(rgba, { raw: { width: 3, height: 1, channels: 4 } })
      .png()
      .toBuffer();
    const image = await decodeImage(bytes);
    expect(image.hasAlpha).toBe(true);
    expectWhole(image);
    // The colour under full transparency is black, and must not show.
    expect(pixel(image, 0, 0)).toEqual([255, 255, 255]);
    expectColour(pixel(image, 1, 0), [255, 127, 127], 1);
    expect(pixel(image, 2, 0)).toEqual([0, 0, 255]);
  });

  it('puts transparency of a grey image on white', async () => {
    const bytes = await sharp(Buffer.from([0, 0, 0, 255]), { raw: { width: 2, height: 1, channels: 2 } })
      .png()
      .toBuffer();
    const image = await decodeImage(bytes);
    expect([...image.rgb]).toEqual([255, 255, 255, 0, 0, 0]);
  });

  it.each([
    // EXIF orientation and where the red half of the upright picture lies.
    [1, 40, 20, 'left'],
    [2, 40, 20, 'right'],
    [3, 40, 20, 'right'],
    [6, 20, 40, 'top'],
    [8, 20, 40, 'bottom'],
  ] as const)('applies EXIF orientation %i', async (orientation, width, height, red) => {
    const bytes = await redBlue(40, 20)
      .withMetadata({ orientation })
      .jpeg({ chromaSubsampling: '4:4:4' })
      .toBuffer();
    const facts = await imageFacts(bytes);
    const image = await decodeImage(bytes);
    expect([facts.width, facts.height]).toEqual([width, height]);
    expect([image.width, image.height]).toEqual([width, height]);
    const places = {
      left: [2, height / 2],
      right: [width - 3, height / 2],
      top: [width / 2, 2],
      bottom: [width / 2, height - 3],
    };
    expectColour(pixel(image, places[red][0], places[red][1]), [255, 0, 0], 8);
  });
});

describe('what cannot be decoded', () => {
  async function failure(bytes: Uint8Array, limits = {}): Promise<InputError> {
    const errors = await Promise.all(
      [decodeImage(bytes, limits), toPng(bytes, 100, limits)].map((work) =>
        work.then(
          () => undefined,
          (error) => error,
        ),
      ),
    );
    for (const error of errors) expect(error).toBeInstanceOf(InputError);
    expect((errors[1] as InputError).code).toBe((errors[0] as InputError).code);
    return errors[0] as InputError;
  }

  it('an empty file', async () => {
    expect((await failure(new Uint8Array(0))).code).toBe('image.empty');
  });

  it.each([
    ['text', Buffer.from('Hello, this is a letter and not a picture.\n'.repeat(20))],
    ['zeros', Buffer.alloc(5000)],
    ['one byte', Buffer.from([0x42])],
    ['a PDF', Buffer.from('%PDF-1.7\n%âãÏÓ\n1 0 obj << /Type /Catalog >> endobj')],
    ['HTML', Buffer.from('<!doctype html><html><body><img src="x.png"></body></html>')],
    ['XML that is no picture', Buffer.from('<?xml version="1.0"?><project><svgs/></project>')],
  ])('%s', async (_, bytes) => {
    const error = await failure(bytes);
    expect(error.code).toBe('image.unknown-format');
    expect(error.nextStep).not.toBe('');
  });

  it.each(FORMATS)('a %s that was cut off anywhere', async (format) => {
    const noise = Buffer.from(Array.from({ length: 64 * 64 * 3 }, (_, i) => (i * 2654435761) >>> 24));
    const bytes = await sharp(noise, { raw: { width: 64, height: 64, channels: 3 } })
      .toFormat(format)
      .toBuffer();
    const whole = await decodeImage(bytes);
    let refused = 0;
    const cuts = Array.from({ length: 40 }, (_, i) => Math.floor((bytes.length * (i + 1)) / 42));
    for (const cut of cuts) {
      try {
        // A decoder may find that all pixels are there already; then they must be the right ones.
        const image = await decodeImage(bytes.subarray(0, cut));
        expect(Buffer.compare(image.rgb, whole.rgb)).toBe(0);
      } catch (error) {
        expect(error).toBeInstanceOf(InputError);
        expect(['image.truncated', 'image.unknown-format']).toContain((error as InputError).code);
        refused++;
      }
    }
    expect(refused).toBeGreaterThanOrEqual(cuts.length - 1);
    expect((await failure(bytes.subarray(0, bytes.length >> 1))).code).toBe('image.truncated');
  });

  it('too many pixels, by the header alone', async () => {
    const bytes = await redBlue(200, 100).png().toBuffer();
    expect((await failure(bytes, { maxPixels: 19_999 })).code).toBe('image.too-large');
    expect(await decodeImage(bytes, { maxPixels: 20_000 })).toMatchObject({ width: 200 });
  });

  it('a decompression bomb: a small file that claims a huge picture', async () => {
    const bytes = await redBlue(8, 8).png().toBuffer();
    // Width and height of a PNG's header, with its checksum left wrong or right: the size is judged before.
    const bomb = Buffer.from(bytes);
    bomb.writeUInt32BE(60_000, 16);
    bomb.writeUInt32BE(60_000, 20);
    bomb.writeUInt32BE(crc32(bomb.subarray(12, 29)), 29);
    expect((await failure(bomb)).code).toBe('image.too-large');
  });

  it('a side that is too long', async () => {
    const bytes = await redBlue(300, 1).png().toBuffer();
    expect((await failure(bytes, { maxSide: 299 })).code).toBe('image.too-large');
  });

  it('too many frames', async () => {
    const strip = Buffer.concat([Buffer.alloc(300, 10), Buffer.alloc(300, 90)]);
    const bytes = await sharp(strip, { raw: { width: 10, height: 20, channels: 3, pageHeight: 10 } })
      .gif()
      .toBuffer();
    expect((await failure(bytes, { maxFrames: 1 })).code).toBe('image.too-large');
  });

  it('too many bytes', async () => {
    const bytes = await redBlue(10, 10).png().toBuffer();
    expect((await failure(bytes, { maxBytes: bytes.length - 1 })).code).toBe('image.too-large');
  });
});

describe('cancelling', () => {
  it('before the start decodes nothing', async () => {
    const bytes = await redBlue(10, 10).png().toBuffer();
    await expect(decodeImage(bytes, {}, AbortSignal.abort())).rejects.toThrow(CancelledError);
  });

  it('in the middle rejects at once', async () => {
    const bytes = await redBlue(3000, 3000).png().toBuffer();
    const controller = new AbortController();
    const decoding = decodeImage(bytes, {}, controller.signal);
    setTimeout(() => controller.abort(), 1);
    await expect(decoding).rejects.toThrow(CancelledError);
  });
});

describe('toPng', () => {
  it('fits the upright picture into a square, and never enlarges', async () => {
    const bytes = await redBlue(400, 100).withMetadata({ orientation: 6 }).jpeg().toBuffer();
    const small = await imageFacts(await toPng(bytes, 200));
    expect(small).toMatchObject({ width: 50, height: 200, format: 'png', hasAlpha: false });
    const same = await imageFacts(await toPng(bytes, 2000));
    expect(same).toMatchObject({ width: 100, height: 400 });
  });

  it('cuts a part out of the upright picture before it is scaled', async () => {
    // Upright, the red half is the upper one (orientation 6 turns the left side up).
    const bytes = await redBlue(400, 100).withMetadata({ orientation: 6 }).png().toBuffer();
    const whole = await decodeImage(bytes);
    const rect = { x: 10.6, y: 190, width: 30, height: 25.5 };
    const part = await decodeImage(await toPng(bytes, 2000, {}, rect));
    expect(part).toMatchObject({ width: 31, height: 26 });
    for (let row = 0; row < part.height; row++) {
      const from = 3 * ((190 + row) * whole.width + 10);
      const expected = whole.rgb.subarray(from, from + 3 * part.width);
      expect(part.rgb.subarray(3 * row * part.width, 3 * (row + 1) * part.width)).toEqual(expected);
    }
    const small = await imageFacts(await toPng(bytes, 13, {}, rect));
    expect(small).toMatchObject({ width: 13 });
  });

  it('cuts away what of a part lies outside, and refuses one that lies outside altogether', async () => {
    const bytes = await redBlue(40, 10).png().toBuffer();
    const corner = await toPng(bytes, 100, {}, { x: -5, y: 8, width: 12, height: 90 });
    expect(await imageFacts(corner)).toMatchObject({ width: 7, height: 2 });
    for (const rect of [
      { x: 40, y: 0, width: 5, height: 5 },
      { x: 0, y: -3, width: 5, height: 3 },
      { x: NaN, y: 0, width: 5, height: 5 },
    ])
      await expect(toPng(bytes, 100, {}, rect)).rejects.toMatchObject({ code: 'image.empty-part' });
  });
});

/** CRC-32 as PNG uses it. */
function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}
