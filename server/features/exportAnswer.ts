import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { toPng } from '../llava/vision/decode';
import type { ExportedFile, ExportOrder } from '../inference/messages';
import { REDUCTIONS } from '../llava/reduction/registry';
import { answersToJson, traceToHtml, traceToPng } from './traceExport/traceExport';

/** Longer side of a picture in an export, in pixels: sharp on a page, and no photo archive. */
const MAX_SIDE = 1600;

/**
 * Draws one answer as a file. Loads sharp: for the inference process.
 * @param webviewScript path of the built token view, which a self-contained page carries.
 */
export async function exportAnswer(order: ExportOrder, webviewScript: string): Promise<ExportedFile> {
  const { format, result, earlier = [], images } = order;
  const name = `${fileStem(images[0]?.name)}.${result.reduction === 'none' ? 'answer' : 'tokens'}.${format}`;
  if (format === 'json')
    return { name, mimeType: 'application/json', data: Buffer.from(answersToJson([...earlier, result])) };
  const pictures = await Promise.all(
    images.map(async (image) => ({
      name: image.name,
      png: await toPng(image.bytes, MAX_SIDE, order.limits),
    })),
  );
  if (format === 'png') return { name, mimeType: 'image/png', data: await traceToPng(result, pictures) };
  const script = await readFile(webviewScript, 'utf8');
  const methods = REDUCTIONS.map(({ description }) => description);
  const page = traceToHtml(result, pictures, script, { methods, earlier });
  return { name, mimeType: 'text/html', data: Buffer.from(page) };
}

/** The image's name as a part of a file name that every system takes. */
function fileStem(name = 'answer'): string {
  const stem = path
    .parse(name)
    .name.replace(/[^A-Za-z0-9._-]+/g, '-')
    .replace(/^[-.]+|[-.]+$/g, '');
  return stem.slice(0, 60) || 'answer';
}
