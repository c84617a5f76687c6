import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';

import { type ExportedImage, traceToHtml, traceToJson, traceToPng } from '../features/traceExport/traceExport';
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
  const content = await render(path.extname(file).toLowerCase(), result, images);
  const target = path.resolve(file);
  try {
    await writeFile(target, content);
  } catch (error) {
    throw new InputError({
      code: 'trace.unwritable',
      message: `The trace ${target} cannot be written.`,
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
  const pictures: ExportedImage[] = await Promise.all(
    images.map(async (image) => ({ png: await toPng(image, MAX_PICTURE_SIDE) })),
  );
  if (ending === '.png') return traceToPng(result, pictures);
  const view = await readFile(path.join(__dirname, 'webview.js'), 'utf8');
  return traceToHtml(result, pictures, view);
}
