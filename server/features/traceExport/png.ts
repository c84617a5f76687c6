import sharp, { type OverlayOptions } from 'sharp';
import type { AnswerResult } from '../../protocol';
import { figureOf, type FigureOptions } from '../../traceView/figure';

/**
 * The token maps of all images of a question, one below the other, with a legend that names question, answer, method,
 * tokens and model. Loads sharp: for the inference process and the command line only.
 * @param images the source images in the order of the prompt, encoded in any format that sharp reads
 */
export async function traceToPng(
  result: AnswerResult,
  images: readonly { png: Uint8Array }[],
  options: Omit<FigureOptions, 'image' | 'legend'> = {},
): Promise<Buffer> {
  const last = result.trace.images.length - 1;
  const figures = result.trace.images.map((_, image) =>
    figureOf(result, { ...options, image, legend: image === last }),
  );
  const layers: OverlayOptions[] = [];
  let top = 0;
  for (const [index, { picture, svg, height }] of figures.entries()) {
    const input = await sharp(images[index].png)
      .autoOrient()
      .resize(picture.width, picture.height, { fit: 'fill' })
      .png()
      .toBuffer();
    layers.push({ input, left: picture.x, top: top + picture.y });
    layers.push({ input: Buffer.from(svg), left: 0, top });
    top += height;
  }
  const { width, background } = figures[0];
  return sharp({ create: { width, height: top, channels: 3, background } })
    .composite(layers)
    .png()
    .toBuffer();
}
