import sharp, { type Metadata, type Sharp } from 'sharp';
import type { PixelRect } from '../../protocol';
import { formatBytes } from '../../traceView/wording';
import { CancelledError, FoveaError, InputError, throwIfCancelled } from '../errors';
import { checkSvg, isXml, svgDensity } from './svg';

/** Bounds on what one image may cost; all are checked on the header, before any pixel is decoded. */
export interface DecodeLimits {
  /** Width times height; a decoded pixel takes 3 bytes. */
  maxPixels: number;
  /** The longer side; JPEG's own limit. Thin images beyond it are no pictures, and cost much to scale. */
  maxSide: number;
  /** Frames of an animation or pages of a document, of which only the first is decoded. */
  maxFrames: number;
  /** Size of the encoded file. */
  maxBytes: number;
  timeoutSeconds: number;
}

export const DEFAULT_LIMITS: Readonly<DecodeLimits> = {
  maxPixels: 50e6,
  maxSide: 65_535,
  maxFrames: 10_000,
  maxBytes: 256 * 1024 * 1024,
  timeoutSeconds: 20,
};

/** What the header of an image says. Sizes are in pixels after EXIF rotation. */
export interface ImageFacts {
  width: number;
  height: number;
  /** `jpeg`, `png`, `webp`, `gif`, `avif`, `tiff` or `svg`. */
  format: string;
  /** Size of the file. */
  bytes: number;
  hasAlpha: boolean;
  frames: number;
}

export interface DecodedImage extends Omit<ImageFacts, 'bytes'> {
  /** sRGB [height, width, 3], 8 bits. */
  rgb: Uint8Array;
}

/** The formats of libvips' prebuilt library that are pictures a user would ask about. */
const FORMATS = ['jpeg', 'png', 'webp', 'gif', 'avif', 'tiff', 'svg'];

/**
 * What the header says, without decoding pixels.
 * @throws InputError `image.empty`, `image.unknown-format`, `image.unsupported-format`, `image.truncated`,
 *   `image.too-large`, `image.unsafe-svg`
 */
export async function imageFacts(bytes: Uint8Array, limits: Partial<DecodeLimits> = {}): Promise<ImageFacts> {
  const { maxBytes, maxFrames, maxPixels, maxSide } = { ...DEFAULT_LIMITS, ...limits };
  if (bytes.length === 0)
    throw new InputError({
      code: 'image.empty',
      message: 'The image file is empty.',
      why: 'It has 0 bytes.',
      nextStep: 'Save or download the image again.',
    });
  if (bytes.length > maxBytes)
    throw tooLarge(
      `The file has ${formatBytes(bytes.length)}; at most ${formatBytes(maxBytes)} are decoded.`,
    );
  // gzip: an .svgz could unpack to anything.
  if (bytes[0] === 0x1f && bytes[1] === 0x8b)
    throw unsupported('a compressed file (gzip, as .svgz is)', 'Unpack the file first.');
  const svg = isXml(bytes);
  if (svg) checkSvg(bytes);

  let metadata: Metadata;
  try {
    metadata = await sharp(bytes, { limitInputPixels: false }).metadata();
  } catch (error) {
    throw svg ? undecodable('The SVG cannot be read', error) : unreadableHeader(bytes, error);
  }
  const format = metadata.format === 'heif' && metadata.compression === 'av1' ? 'avif' : metadata.format;
  if (!FORMATS.includes(format) || (format === 'svg') !== svg)
    throw unsupported(`the format "${format}"`, `Convert it to one of ${FORMATS.join(', ')}.`);
  const { width, height } = metadata.autoOrient;
  if (!(width >= 1 && height >= 1)) throw undecodable(`The image has the size ${width} x ${height}`);
  if (width * height > maxPixels && !svg)
    throw tooLarge(
      `It has ${width} x ${height} pixels; at most ${Number((maxPixels / 1e6).toPrecision(3))} million are decoded.`,
    );
  if (Math.max(width, height) > maxSide && !svg)
    throw tooLarge(`It has ${width} x ${height} pixels; at most ${maxSide} on a side are decoded.`);
  const frames = metadata.pages ?? 1;
  if (frames > maxFrames) throw tooLarge(`It has ${frames} frames; at most ${maxFrames} are accepted.`);
  return { width, height, format, bytes: bytes.length, hasAlpha: metadata.hasAlpha, frames };
}

/**
 * Decodes an image to 8-bit sRGB: EXIF rotation applied, any colour model (CMYK, grey, 16 bits, embedded profile)
 * converted, the first frame of an animation. An SVG is drawn at a size between {@link svgDensity}'s bounds.
 *
 * Transparency is put on white. Pictures with transparency are drawn for a page, which is mostly light, and dropping the
 * alpha channel instead (as transformers does) shows whatever colour hides there: often black under black text.
 *
 * @throws InputError as {@link imageFacts}, and `image.truncated`, `image.timeout`
 * @throws CancelledError when the signal fires; the decoder's thread ends by itself, within the timeout
 */
export async function decodeImage(
  bytes: Uint8Array,
  limits: Partial<DecodeLimits> = {},
  signal?: AbortSignal,
): Promise<DecodedImage> {
  return decodeWith(bytes, limits, signal, async (picture, facts) => {
    const { data, info } = await picture
      .toColourspace('srgb')
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
    const { format, hasAlpha, frames } = facts;
    const rgb = toThreeChannels(data, info.width * info.height, info.channels);
    return { width: info.width, height: info.height, format, hasAlpha, frames, rgb };
  });
}

/**
 * The image as {@link decodeImage} sees it, as a PNG whose longer side has at most `maxSide` pixels. Same errors.
 *
 * @param part only this rectangle of the upright image; what of it lies outside is cut away.
 */
export async function toPng(
  bytes: Uint8Array,
  maxSide: number,
  limits: Partial<DecodeLimits> = {},
  part?: PixelRect,
): Promise<Uint8Array> {
  return decodeWith(bytes, limits, undefined, async (picture) => {
    const wanted = part ? await partOf(picture, part) : picture;
    return wanted
      .resize({ width: maxSide, height: maxSide, fit: 'inside', withoutEnlargement: true })
      .toColourspace('srgb')
      .png()
      .toBuffer();
  });
}

/** A rectangle of what is decoded: how large that is (an SVG is drawn at a size of our choice) is known only then. */
async function partOf(picture: Sharp, { x, y, width, height }: PixelRect): Promise<Sharp> {
  const { data, info } = await picture.toColourspace('srgb').raw().toBuffer({ resolveWithObject: true });
  const [left, top] = [Math.max(0, Math.floor(x)), Math.max(0, Math.floor(y))];
  const [right, bottom] = [
    Math.min(info.width, Math.ceil(x + width)),
    Math.min(info.height, Math.ceil(y + height)),
  ];
  if (!(right > left && bottom > top)) {
    throw new InputError({
      code: 'image.empty-part',
      message: 'There is nothing of the image in that part.',
      why: `The image has ${info.width} x ${info.height} pixels; ${width} x ${height} at ${x}, ${y} were wanted.`,
      nextStep: 'Choose a part inside the image.',
    });
  }
  return sharp(data, { raw: { width: info.width, height: info.height, channels: info.channels } }).extract({
    left,
    top,
    width: right - left,
    height: bottom - top,
  });
}

/** Checks the header against the limits, then lets `finish` have the upright, opaque picture. */
async function decodeWith<T>(
  bytes: Uint8Array,
  limits: Partial<DecodeLimits>,
  signal: AbortSignal | undefined,
  finish: (picture: Sharp, facts: ImageFacts) => Promise<T>,
): Promise<T> {
  throwIfCancelled(signal);
  const { maxPixels, timeoutSeconds } = { ...DEFAULT_LIMITS, ...limits };
  const facts = await imageFacts(bytes, limits);
  throwIfCancelled(signal);
  const density = facts.format === 'svg' ? svgDensity(facts, maxPixels) : undefined;
  const picture = sharp(bytes, { failOn: 'error', limitInputPixels: maxPixels, density })
    .timeout({ seconds: timeoutSeconds })
    .autoOrient()
    .flatten({ background: '#ffffff' });
  try {
    return await untilCancelled(finish(picture, facts), signal);
  } catch (error) {
    if (error instanceof FoveaError) throw error;
    const { message } = error as Error;
    if (/timeout/i.test(message))
      throw new InputError({
        code: 'image.timeout',
        message: 'Decoding the image took too long.',
        why: `It was stopped after ${timeoutSeconds} seconds.`,
        nextStep: 'Save the image in a simpler form, for example as PNG.',
        cause: error,
      });
    if (/pixel limit/i.test(message)) throw tooLarge(`At most ${maxPixels} pixels are decoded.`);
    throw undecodable('The image is truncated or damaged', error);
  }
}

function untilCancelled<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    const cancel = (): void => reject(new CancelledError(signal.reason));
    signal.addEventListener('abort', cancel, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', cancel));
  });
}

/** libvips leaves grey images grey. */
function toThreeChannels(data: Uint8Array, pixels: number, channels: number): Uint8Array {
  if (channels === 3) return data;
  const rgb = new Uint8Array(pixels * 3);
  for (let i = 0; i < pixels; i++)
    for (let c = 0; c < 3; c++) rgb[i * 3 + c] = data[i * channels + (channels >= 3 ? c : 0)];
  return rgb;
}

/** First bytes of the formats that are decoded; a file with one of them was meant to be an image. */
const SIGNATURES: readonly (readonly number[])[] = [
  [0xff, 0xd8, 0xff], // JPEG
  [0x89, 0x50, 0x4e, 0x47], // PNG
  [0x47, 0x49, 0x46, 0x38], // GIF
  [0x52, 0x49, 0x46, 0x46], // RIFF: WebP
  [0x49, 0x49, 0x2a, 0x00], // TIFF, little endian
  [0x4d, 0x4d, 0x00, 0x2a], // TIFF, big endian
];

function unreadableHeader(bytes: Uint8Array, error: unknown): InputError {
  if (SIGNATURES.some((signature) => signature.every((byte, i) => bytes[i] === byte)))
    return undecodable('The image is truncated or damaged', error);
  return new InputError({
    code: 'image.unknown-format',
    message: 'The file is not an image that Fovea can read.',
    why: `It is none of ${FORMATS.join(', ')}.`,
    nextStep: 'Choose an image file, or convert it to PNG.',
    cause: error,
  });
}

function undecodable(message: string, cause?: unknown): InputError {
  return new InputError({
    code: 'image.truncated',
    message: `${message}.`,
    why: cause instanceof Error ? `The decoder says: ${cause.message.trim().split('\n')[0]}` : undefined,
    nextStep: 'Save or download the image again.',
    cause,
  });
}

function tooLarge(why: string): InputError {
  return new InputError({
    code: 'image.too-large',
    message: 'The image is too large.',
    why,
    nextStep: 'Cut out the part that the question is about, or scale the image down.',
  });
}

function unsupported(what: string, nextStep: string): InputError {
  return new InputError({
    code: 'image.unsupported-format',
    message: `The image is ${what}, which is not decoded.`,
    nextStep,
  });
}
