import { createHash } from 'node:crypto';
import path from 'node:path';
import type { ImageFacts, ImageSource } from '../protocol';
import { decodeBase64, decodeDataUri } from './dataUri';
import { ImageError } from './errors';
import { HEADER_BYTES, readHeader } from './header';
import { openFile, pathOfFileUri, realFileInside } from './safeFiles';

/** Largest image file that is read, in bytes: larger than any screenshot, small enough for a queue of them. */
export const MAX_FILE_BYTES = 64e6;

/** An {@link ImageSource} that needs no document to be understood. */
export type DirectSource = Exclude<ImageSource, { mention: unknown }>;

export interface LoadedImage {
  /** The encoded file. */
  bytes: Uint8Array;
  facts: ImageFacts;
  /** Of the encoded file, in hex: the image's name in the answer cache. */
  sha256: string;
}

/**
 * Facts from the header: reads at most {@link HEADER_BYTES}.
 * @param folders the workspace: files outside it are refused unless the source says that the user chose them.
 * @throws ImageError
 */
export async function imageFacts(source: DirectSource, folders: readonly string[]): Promise<ImageFacts> {
  const { name, start, bytes } = await readSource(source, folders, HEADER_BYTES);
  return factsOf(name, start, bytes);
}

/**
 * The whole encoded image, checked against the limits by what its header claims. Pixels are decoded elsewhere (the
 * inference process), with limits of their own.
 *
 * @param maxMegapixels in 10^6 pixels.
 * @throws ImageError
 */
export async function loadImage(
  source: DirectSource,
  folders: readonly string[],
  maxMegapixels: number,
): Promise<LoadedImage> {
  const { name, start: data, bytes } = await readSource(source, folders, MAX_FILE_BYTES);
  const facts = factsOf(name, data.subarray(0, HEADER_BYTES), bytes);
  // The claimed size of a vector image is no cost: it is drawn at the size that the model needs.
  const megapixels = facts.format === 'svg' ? 0 : ((facts.width ?? 0) * (facts.height ?? 0)) / 1e6;
  if (megapixels > maxMegapixels) throw ImageError.tooManyPixels(name, megapixels, maxMegapixels);
  return { bytes: data, facts, sha256: createHash('sha256').update(data).digest('hex') };
}

function factsOf(name: string, start: Uint8Array, bytes: number): ImageFacts {
  if (bytes === 0) throw ImageError.empty(name);
  const header = readHeader(start);
  if (!header) throw ImageError.notAnImage(name);
  if (header.format !== 'svg' && !(header.width && header.height)) {
    throw ImageError.damaged(
      name,
      `It ends or makes no sense before the size of the ${header.format.toUpperCase()} picture.`,
    );
  }
  return { name, bytes, ...header };
}

interface SourceBytes {
  name: string;
  /** The first bytes, as many as were wanted. */
  start: Uint8Array;
  /** Size of the whole. */
  bytes: number;
}

async function readSource(
  source: DirectSource,
  folders: readonly string[],
  wanted: number,
): Promise<SourceBytes> {
  if ('base64' in source) {
    if (source.base64.length > MAX_FILE_BYTES * 1.4) {
      throw ImageError.tooLarge(source.name, source.base64.length * 0.75, MAX_FILE_BYTES);
    }
    const data = decodeBase64(source.base64);
    return { name: source.name, start: data.subarray(0, wanted), bytes: data.length };
  }
  if (/^data:/i.test(source.uri)) {
    const data = decodeDataUri(source.uri, MAX_FILE_BYTES);
    return { name: 'data: URI', start: data.subarray(0, wanted), bytes: data.length };
  }
  const file = pathOfFileUri(source.uri);
  const real = await realFileInside(file, source.outsideWorkspace === true ? undefined : folders);
  if (real === undefined) throw ImageError.notFound(file);
  const { handle, bytes } = await openFile(real);
  try {
    const name = path.basename(real);
    if (bytes > MAX_FILE_BYTES) throw ImageError.tooLarge(name, bytes, MAX_FILE_BYTES);
    const buffer = Buffer.alloc(Math.min(bytes, wanted));
    let length = 0;
    while (length < buffer.length) {
      const { bytesRead } = await handle.read(buffer, length, buffer.length - length, length);
      if (bytesRead === 0) break; // it became shorter since
      length += bytesRead;
    }
    return { name, start: buffer.subarray(0, length), bytes };
  } finally {
    await handle.close();
  }
}
