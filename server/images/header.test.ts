import sharp, { type Sharp } from 'sharp';
import { describe, expect, it } from 'vitest';
import { readHeader } from './header';

const picture = (width: number, height: number): Sharp =>
  sharp({ create: { width, height, channels: 3, background: { r: 10, g: 120, b: 200 } } });

async function animation(frames: number, width: number, height: number): Promise<Sharp> {
  const raw = Buffer.alloc(width * height * 3 * frames);
  raw.forEach((_, i) => (raw[i] = (i * 7 + Math.floor(i / (width * height * 3)) * 90) % 256));
  return sharp(raw, { raw: { width, height: height * frames, channels: 3, pageHeight: height } });
}

describe('readHeader agrees with sharp about', () => {
  it.each([
    [1, 1],
    [17, 4],
    [640, 480],
    [3, 1023],
  ])('%d x %d in every format', async (width, height) => {
    const files: [string, Buffer][] = [
      ['png', await picture(width, height).png().toBuffer()],
      ['jpeg', await picture(width, height).jpeg().toBuffer()],
      ['jpeg', await picture(width, height).jpeg({ progressive: true }).withMetadata().toBuffer()],
      ['gif', await picture(width, height).gif().toBuffer()],
      ['webp', await picture(width, height).webp().toBuffer()],
      ['webp', await picture(width, height).webp({ lossless: true }).toBuffer()],
      ['webp', await picture(width, height).ensureAlpha(0.5).webp().withMetadata().toBuffer()],
      ['tiff', await picture(width, height).tiff().toBuffer()],
      ['avif', await picture(width, height).avif().toBuffer()],
    ];
    for (const [format, bytes] of files) {
      const metadata = await sharp(bytes).metadata();
      expect(readHeader(bytes), format).toMatchObject({
        format,
        width: metadata.width,
        height: metadata.height,
      });
    }
  });

  it.each([1, 2, 3, 4, 5, 6, 7, 8])('EXIF orientation %d', async (orientation) => {
    const bytes = await picture(12, 5).jpeg().withMetadata({ orientation }).toBuffer();
    expect(readHeader(bytes)?.orientation).toBe(orientation === 1 ? undefined : orientation);
  });

  it('animations', async () => {
    expect(readHeader(await (await animation(3, 9, 7)).gif().toBuffer())).toMatchObject({
      width: 9,
      height: 7,
      animated: true,
    });
    expect(readHeader(await (await animation(3, 9, 7)).webp().toBuffer())).toMatchObject({
      width: 9,
      height: 7,
      animated: true,
    });
    expect(readHeader(await picture(9, 7).gif().toBuffer())?.animated).toBeUndefined();
  });
});

describe('readHeader', () => {
  it('reads BMP in both of its header forms, also from top to bottom', () => {
    const bmp = Buffer.alloc(54);
    bmp.write('BM');
    bmp.writeUInt32LE(40, 14);
    bmp.writeInt32LE(31, 18);
    bmp.writeInt32LE(-20, 22);
    expect(readHeader(bmp)).toMatchObject({ format: 'bmp', width: 31, height: 20 });
    const old = Buffer.alloc(26);
    old.write('BM');
    old.writeUInt32LE(12, 14);
    old.writeUInt16LE(31, 18);
    old.writeUInt16LE(20, 20);
    expect(readHeader(old)).toMatchObject({ format: 'bmp', width: 31, height: 20 });
  });

  it('reads the largest picture of an icon', () => {
    const ico = Buffer.from([
      0, 0, 1, 0, 2, 0, 16, 16, 0, 0, 1, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 32, 0, 0, 0, 0,
      0, 0, 0, 0, 0,
    ]);
    expect(readHeader(ico)).toMatchObject({ format: 'ico', width: 256, height: 256 });
  });

  it.each([
    ['<svg width="20" height="10.4"/>', 20, 10],
    ['<?xml version="1.0"?><!-- <svg width="1" height="1"> --><svg viewBox="0 0 300 150">', 300, 150],
    ['<!DOCTYPE svg [ <!ENTITY x "<svg width=\'1\'>"> ]>\n<svg width="1in" height="2cm" >', 96, 76],
    ['<svg:svg xmlns:svg="x" width="40" viewBox="0 0 4 2">', 40, 20],
    ['\ufeff  <svg height=\'30\' viewBox="0,0,10,20">', 15, 30],
    ['<svg width="100%" height="100%">', undefined, undefined],
    ['<svg width="-5" height="1e999" viewBox="0 0 x 4">', undefined, undefined],
  ])('reads the size of the SVG %j', (text, width, height) => {
    const header = readHeader(Buffer.from(text));
    expect(header?.format).toBe('svg');
    expect([header?.width, header?.height]).toEqual([width, height]);
  });

  it('knows no image in other files', () => {
    for (const text of [
      '',
      'hello',
      '<html><svg width="1">',
      'RIFFxxxxWAVE',
      '\x1f\x8b\x08 svgz',
      'BM',
      '%PDF-1.7',
    ]) {
      expect(readHeader(Buffer.from(text, 'latin1')), text).toBeUndefined();
    }
  });

  it('never throws: files cut at every byte, and bytes changed at random', async () => {
    const files = [
      await picture(20, 10).png().toBuffer(),
      await picture(20, 10).jpeg().withMetadata({ orientation: 6 }).toBuffer(),
      await (await animation(3, 9, 7)).gif().toBuffer(),
      await picture(20, 10).webp().toBuffer(),
      await picture(20, 10).tiff().toBuffer(),
      await picture(20, 10).avif().toBuffer(),
      Buffer.from('<?xml version="1.0"?><svg width="20" height="10">'),
    ];
    let state = 99;
    const random = (n: number): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return (state >>> 8) % n;
    };
    let cut = 0;
    for (const file of files) {
      for (let length = 0; length < Math.min(file.length, 600); length++) {
        if (readHeader(file.subarray(0, length))?.width === undefined) cut++;
      }
      for (let round = 0; round < 500; round++) {
        const bytes = Buffer.from(file);
        for (let i = 0; i < 3; i++) bytes[random(Math.min(bytes.length, 200))] = random(256);
        const header = readHeader(bytes);
        if (header?.width !== undefined) expect(header.width).toBeGreaterThanOrEqual(0);
      }
    }
    expect(cut).toBeGreaterThan(100);
  });
});
