import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';

import {
  type ExportedImage,
  traceToHtml,
  traceToJson,
  traceToPng,
} from '../features/traceExport/traceExport';
import { InputError } from '../llava/errors';
import { toPng } from '../llava/vision/decode';
import type { AnswerResult } from '../protocol';

/** The picture inside an export is for looking at; a larger one would only make the file heavy. */
const MAX_PICTURE_SIDE = 2048;

/** Writes a trace as .html, .json or .png, by the ending of the file. Returns the absolute path. */
export async function writeTrace(
  file: string,
  result: AnswerResult,
  images: readonly Uint8Array[],
): Promise<string> {
  return writeOutput(file, await render(path.extname(file).toLowerCase(), result, images));
}

/** Writes what the user asked for into a file. Returns the absolute path. @throws InputError where that is not possible. */
export async function writeOutput(file: string, content: string | Uint8Array): Promise<string> {
  const target = path.resolve(file);
  try {
    await writeFile(target, content);
  } catch (error) {
    throw new InputError({
      code: 'output.unwritable',
      message: `The file ${target} cannot be written.`,
      why: (error as Error).message,
      nextStep: 'Give a file in a folder that exists and that you may write to.',
      cause: error,
    });
  }
  return target;
}

async function render(
  ending: string,
  result: AnswerResult,
  images: readonly Uint8Array[],
): Promise<string | Uint8Array> {
  if (ending === '.json') return traceToJson(result);
  const pictures = await exportedPictures(images);
  if (ending === '.png') return traceToPng(result, pictures);
  const view = await readFile(path.join(__dirname, 'webview.js'), 'utf8');
  return traceToHtml(result, pictures, view);
}

/** The images as an export carries them. */
export function exportedPictures(images: readonly Uint8Array[]): Promise<ExportedImage[]> {
  return Promise.all(images.map(async (image) => ({ png: await toPng(image, MAX_PICTURE_SIDE) })));
}
