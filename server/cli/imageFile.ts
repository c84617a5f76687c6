import { readFile, stat } from 'node:fs/promises';

import { InputError } from '../llava/errors';
import { toPng } from '../llava/vision/decode';
import type { PixelRect } from '../protocol';

/** Files larger than this are not images that anyone asks about; they would only fill the memory. */
const MAX_IMAGE_BYTES = 256 * 1024 * 1024;
/** A part is never scaled: no image has a longer side. */
const MAX_PART_SIDE = 65_535;

/** The image of a command, or the part of it that is asked about. */
export async function readImage({
  image,
  part,
}: {
  image: string;
  part: PixelRect | undefined;
}): Promise<Uint8Array> {
  const bytes = await readImageFile(image);
  return part ? toPng(bytes, MAX_PART_SIDE, {}, part) : bytes;
}

export async function readImageFile(file: string): Promise<Uint8Array> {
  let size: number;
  try {
    const facts = await stat(file);
    if (!facts.isFile()) throw new Error('It is not a file.');
    size = facts.size;
  } catch (error) {
    throw new InputError({
      code: 'image.unreadable',
      message: `The image ${file} cannot be read.`,
      why:
        (error as NodeJS.ErrnoException).code === 'ENOENT'
          ? 'There is no such file.'
          : (error as Error).message,
      nextStep: 'Check the path.',
      cause: error,
    });
  }
  if (size > MAX_IMAGE_BYTES) {
    throw new InputError({
      code: 'image.too-large',
      message: `The image ${file} has ${Math.round(size / 1024 / 1024)} MB; at most ${MAX_IMAGE_BYTES / 1024 / 1024} MB are read.`,
      nextStep: 'Save a smaller copy and ask about that.',
    });
  }
  return readFile(file);
}
