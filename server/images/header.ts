import type { ImageFormat } from '../protocol';

/*
 * What an image file says about itself in its first bytes. The language server must not load a decoder, and must answer
 * while the inference process is busy, so this reads headers and nothing else. Numbers in a header are claims: they are
 * shown and compared with limits, never used to allocate.
 */

export interface ImageHeader {
  format: ImageFormat;
  width?: number;
  height?: number;
  orientation?: number;
  animated?: boolean;
}

/** As many bytes of a file as {@link readHeader} ever looks at. */
export const HEADER_BYTES = 1 << 20;

/**
 * @param bytes the beginning of a file, up to {@link HEADER_BYTES}.
 * @returns undefined for what is no known image; `width` is absent where the header is cut off or says none.
 */
export function readHeader(bytes: Uint8Array): ImageHeader | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const reader = new Reader(bytes, view);
  for (const read of [png, jpeg, gif, webp, bmp, tiff, avif, ico, svg]) {
    try {
      const header = read(reader);
      if (header) return header;
    } catch (error) {
      if (error instanceof CutOff) return error.header;
      throw error;
    }
  }
  return undefined;
}

/** The format was recognised, but the bytes end before its size. */
class CutOff extends Error {
  constructor(readonly header: ImageHeader) {
    super('the header is cut off');
  }
}

class Reader {
  /** Set as soon as the format is known. */
  format: ImageFormat | undefined;

  constructor(
    readonly bytes: Uint8Array,
    private readonly view: DataView,
  ) {}

  get length(): number {
    return this.bytes.length;
  }

  ascii(offset: number, length: number): string {
    return String.fromCharCode(...this.bytes.subarray(offset, offset + length));
  }

  u8(offset: number): number {
    this.need(offset, 1);
    return this.bytes[offset];
  }

  u16(offset: number, little = false): number {
    this.need(offset, 2);
    return this.view.getUint16(offset, little);
  }

  u24(offset: number): number {
    this.need(offset, 3);
    return this.bytes[offset] | (this.bytes[offset + 1] << 8) | (this.bytes[offset + 2] << 16);
  }

  u32(offset: number, little = false): number {
    this.need(offset, 4);
    return this.view.getUint32(offset, little);
  }

  i32(offset: number, little = false): number {
    this.need(offset, 4);
    return this.view.getInt32(offset, little);
  }

  private need(offset: number, count: number): void {
    if (offset >= 0 && offset + count <= this.length) return;
    throw new CutOff({ format: this.format ?? 'png' });
  }
}

/** PNG (Third Edition) 5.2, 11.2.1; APNG's acTL comes before the first IDAT. */
function png(r: Reader): ImageHeader | undefined {
  if (r.length < 8 || r.ascii(0, 8) !== '\x89PNG\r\n\x1a\n') return undefined;
  r.format = 'png';
  const header: ImageHeader = { format: 'png', width: r.u32(16), height: r.u32(20) };
  for (let offset = 8; offset + 8 <= r.length; offset += 12 + r.u32(offset)) {
    const type = r.ascii(offset + 4, 4);
    if (type === 'acTL') return { ...header, animated: true };
    if (type === 'IDAT') break;
  }
  return header;
}

/** JPEG (ITU T.81) B.2.2: the frame header behind any number of other segments, Exif (APP1) among them. */
function jpeg(r: Reader): ImageHeader | undefined {
  if (r.length < 3 || r.bytes[0] !== 0xff || r.bytes[1] !== 0xd8 || r.bytes[2] !== 0xff) return undefined;
  r.format = 'jpeg';
  let orientation: number | undefined;
  let offset = 2;
  while (true) {
    if (r.u8(offset) !== 0xff) return { format: 'jpeg' };
    const marker = r.u8(offset + 1);
    if (marker === 0xff) {
      offset += 1; // fill byte
      continue;
    }
    if (marker === 0xd8 || marker === 0x01 || (marker >= 0xd0 && marker <= 0xd7)) {
      offset += 2;
      continue;
    }
    const length = r.u16(offset + 2);
    const isFrame = marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
    if (isFrame) return { format: 'jpeg', width: r.u16(offset + 7), height: r.u16(offset + 5), orientation };
    if (marker === 0xd9 || marker === 0xda || length < 2) return { format: 'jpeg' };
    if (marker === 0xe1 && r.ascii(offset + 4, 6) === 'Exif\0\0') {
      orientation = exifOrientation(r, offset + 10);
    }
    offset += 2 + length;
  }
}

/** Tag 0x0112 of the first directory of a TIFF structure; undefined where it is 1, absent or nonsense. */
function exifOrientation(r: Reader, start: number): number | undefined {
  const order = r.ascii(start, 2);
  if (order !== 'II' && order !== 'MM') return undefined;
  const value = tiffTags(r, start, order === 'II').get(0x0112);
  return value !== undefined && value >= 2 && value <= 8 ? value : undefined;
}

/** Short and long tags of the first directory with one value. */
function tiffTags(r: Reader, start: number, little: boolean): Map<number, number> {
  const tags = new Map<number, number>();
  const directory = start + r.u32(start + 4, little);
  const count = r.u16(directory, little);
  for (let i = 0; i < count; i++) {
    const entry = directory + 2 + 12 * i;
    const type = r.u16(entry + 2, little);
    if (type === 3) tags.set(r.u16(entry, little), r.u16(entry + 8, little));
    else if (type === 4) tags.set(r.u16(entry, little), r.u32(entry + 8, little));
  }
  return tags;
}

/** GIF89a 18; animated where a second image descriptor follows the first. */
function gif(r: Reader): ImageHeader | undefined {
  if (!/^GIF8[79]a$/.test(r.ascii(0, 6))) return undefined;
  r.format = 'gif';
  const header: ImageHeader = { format: 'gif', width: r.u16(6, true), height: r.u16(8, true) };
  return gifFrames(r) > 1 ? { ...header, animated: true } : header;
}

/** Counts image descriptors up to two, as far as the bytes reach. */
function gifFrames(r: Reader): number {
  const skipBlocks = (offset: number): number => {
    while (offset < r.length && r.bytes[offset] !== 0) offset += 1 + r.bytes[offset];
    return offset + 1;
  };
  const colours = (packed: number): number => (packed & 0x80 ? 3 << ((packed & 7) + 1) : 0);
  let frames = 0;
  let offset = 13 + colours(r.bytes[10] ?? 0);
  while (offset < r.length && frames < 2) {
    if (r.bytes[offset] === 0x2c) {
      frames += 1;
      offset = skipBlocks(offset + 11 + colours(r.bytes[offset + 9] ?? 0));
    } else if (r.bytes[offset] === 0x21) {
      offset = skipBlocks(offset + 2);
    } else {
      break;
    }
  }
  return frames;
}

/** RFC 9649: VP8 (lossy), VP8L (lossless), VP8X (extended). */
function webp(r: Reader): ImageHeader | undefined {
  if (r.ascii(0, 4) !== 'RIFF' || r.ascii(8, 4) !== 'WEBP') return undefined;
  r.format = 'webp';
  switch (r.ascii(12, 4)) {
    case 'VP8 ':
      return { format: 'webp', width: r.u16(26, true) & 0x3fff, height: r.u16(28, true) & 0x3fff };
    case 'VP8L': {
      const bits = r.u32(21, true);
      return { format: 'webp', width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1 };
    }
    case 'VP8X': {
      const header: ImageHeader = { format: 'webp', width: r.u24(24) + 1, height: r.u24(27) + 1 };
      return r.u8(20) & 0x02 ? { ...header, animated: true } : header;
    }
    default:
      return { format: 'webp' };
  }
}

function bmp(r: Reader): ImageHeader | undefined {
  if (r.ascii(0, 2) !== 'BM' || r.length < 18) return undefined;
  const headerSize = r.u32(14, true);
  if (headerSize !== 12 && (headerSize < 40 || headerSize > 124)) return undefined;
  r.format = 'bmp';
  if (headerSize === 12) return { format: 'bmp', width: r.u16(18, true), height: r.u16(20, true) };
  // A negative height means: top row first.
  return { format: 'bmp', width: Math.abs(r.i32(18, true)), height: Math.abs(r.i32(22, true)) };
}

/** TIFF 6.0, section 2; tags 256 and 257. */
function tiff(r: Reader): ImageHeader | undefined {
  const magic = r.ascii(0, 4);
  if (magic !== 'II*\0' && magic !== 'MM\0*') return undefined;
  r.format = 'tiff';
  const tags = tiffTags(r, 0, magic === 'II*\0');
  const orientation = tags.get(274);
  return {
    format: 'tiff',
    width: tags.get(256),
    height: tags.get(257),
    orientation: orientation !== undefined && orientation >= 2 && orientation <= 8 ? orientation : undefined,
  };
}

/** ISO/IEC 23008-12: the first `ispe` property of an AVIF file; it lies in the `meta` box near the beginning. */
function avif(r: Reader): ImageHeader | undefined {
  if (r.ascii(4, 4) !== 'ftyp') return undefined;
  const brands = r.ascii(8, Math.min(r.u32(0), 64) - 8);
  if (!/avi[fs]/.test(brands)) return undefined;
  r.format = 'avif';
  const header: ImageHeader = brands.startsWith('avis')
    ? { format: 'avif', animated: true }
    : { format: 'avif' };
  const at = Buffer.from(r.bytes.buffer, r.bytes.byteOffset, r.length).indexOf('ispe', 0, 'latin1');
  return at < 0 ? header : { ...header, width: r.u32(at + 8), height: r.u32(at + 12) };
}

/** The largest picture of an icon file; a size of 0 means 256. */
function ico(r: Reader): ImageHeader | undefined {
  if (r.length < 22 || r.u32(0, true) !== 0x00010000) return undefined;
  const count = r.u16(4, true);
  if (count === 0 || count > 256 || r.bytes[9] !== 0) return undefined;
  r.format = 'ico';
  let best: ImageHeader = { format: 'ico', width: 0, height: 0 };
  for (let i = 0; i < count && 6 + 16 * (i + 1) <= r.length; i++) {
    const width = r.u8(6 + 16 * i) || 256;
    const height = r.u8(7 + 16 * i) || 256;
    if (width * height > best.width! * best.height!) best = { format: 'ico', width, height };
  }
  return best;
}

/** How far the root element of an SVG may lie behind comments and a document type, in bytes. */
const SVG_PROLOGUE = 64 * 1024;
/** Pixels per unit, CSS Values 3, 6.2. */
const CSS_PIXELS: Readonly<Record<string, number>> = {
  '': 1,
  px: 1,
  pt: 4 / 3,
  pc: 16,
  in: 96,
  cm: 96 / 2.54,
  mm: 9.6 / 2.54,
};

function svg(r: Reader): ImageHeader | undefined {
  const text = Buffer.from(r.bytes.buffer, r.bytes.byteOffset, Math.min(r.length, SVG_PROLOGUE)).toString(
    'utf8',
  );
  const start = svgRoot(text);
  if (start === undefined) return undefined;
  const end = text.indexOf('>', start);
  const tag = text.slice(start, end < 0 ? undefined : end);
  const attribute = (name: string): string | undefined =>
    new RegExp(`\\s${name}\\s*=\\s*(?:"([^"]*)"|'([^']*)')`)
      .exec(tag)
      ?.slice(1)
      .find((value) => value !== undefined);
  const width = cssPixels(attribute('width'));
  const height = cssPixels(attribute('height'));
  if (width && height) return { format: 'svg', width, height };
  const box = attribute('viewBox')
    ?.trim()
    .split(/[\s,]+/)
    .map(Number);
  if (box?.length !== 4 || !(box[2] > 0) || !(box[3] > 0)) return { format: 'svg' };
  // One given side keeps the shape of the view box.
  if (width) return { format: 'svg', width, height: Math.round((width * box[3]) / box[2]) };
  if (height) return { format: 'svg', width: Math.round((height * box[2]) / box[3]), height };
  return { format: 'svg', width: Math.round(box[2]), height: Math.round(box[3]) };
}

/** Offset of the `<svg` that is the root element, behind declaration, comments and document type. */
function svgRoot(text: string): number | undefined {
  let offset = text.charCodeAt(0) === 0xfeff ? 1 : 0;
  while (true) {
    while (/\s/.test(text.charAt(offset))) offset++;
    if (text.startsWith('<!--', offset)) offset = behind(text, '-->', offset);
    else if (text.startsWith('<?', offset)) offset = behind(text, '?>', offset);
    else if (text.startsWith('<!DOCTYPE', offset)) {
      const bracket = text.indexOf('[', offset);
      const close = text.indexOf('>', offset);
      offset =
        bracket >= 0 && bracket < close
          ? behind(text, '>', behind(text, ']', offset))
          : behind(text, '>', offset);
    } else return /^<(?:[\w-]+:)?svg[\s>/]/.test(text.slice(offset, offset + 40)) ? offset : undefined;
  }
}

function behind(text: string, mark: string, from: number): number {
  const at = text.indexOf(mark, from);
  return at < 0 ? text.length : at + mark.length;
}

/** A length as a positive number of pixels; undefined for percentages and nonsense. */
function cssPixels(value: string | undefined): number | undefined {
  const match = /^\s*\+?(\d+(?:\.\d+)?|\.\d+)(?:e\+?(\d{1,2}))?\s*([a-z]*)\s*$/i.exec(value ?? '');
  const unit = match && CSS_PIXELS[match[3].toLowerCase()];
  if (!match || unit === undefined || unit === null) return undefined;
  const pixels = Math.round(Number(match[1]) * 10 ** Number(match[2] ?? 0) * unit);
  return pixels > 0 ? pixels : undefined;
}
