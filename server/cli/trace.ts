import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';

import {
  type ExportedImage,
  traceToHtml,
  traceToJson,
  traceToPng,
} from '../features/traceExport/traceExport';
import { InputError } from '../llava/errors';
import { REDUCTIONS } from '../llava/reduction/registry';
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

/** Writes one page that shows several runs on the same images side by side. Returns the absolute path. */
export async function writeRuns(
  file: string,
  results: readonly AnswerResult[],
  images: readonly Uint8Array[],
): Promise<string> {
  return writeOutput(file, await renderPage(results, images));
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
  if (ending === '.png') return traceToPng(result, await exportedPictures(images));
  return renderPage([result], images);
}

/** The token view as a page of its own; the last run is the one shown first. */
async function renderPage(results: readonly AnswerResult[], images: readonly Uint8Array[]): Promise<string> {
  const view = await readFile(path.join(__dirname, 'webview.js'), 'utf8');
  const methods = REDUCTIONS.map(({ description }) => description);
  const [last, ...before] = results.toReversed();
  return traceToHtml(last, await exportedPictures(images), view, { earlier: before.toReversed(), methods });
}

/** The images as an export carries them. */
export function exportedPictures(images: readonly Uint8Array[]): Promise<ExportedImage[]> {
  return Promise.all(images.map(async (image) => ({ png: await toPng(image, MAX_PICTURE_SIDE) })));
}
