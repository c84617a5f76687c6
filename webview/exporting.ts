import { figureOf } from '../server/traceView/figure';
import type { RunModel } from './runModel';
import type { Look } from './state';

/** What is on the map as a picture with its legend: the same drawing that the command line's PNG export makes. */
export async function figureCanvas(
  model: RunModel,
  look: Look,
  picture: HTMLImageElement | undefined,
): Promise<HTMLCanvasElement> {
  const figure = figureOf(model.result, {
    image: look.image,
    plane: model.planeIndex(look),
    point: model.pointIndex(look),
    values: model.valuesFor(look),
  });
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [figure.width, figure.height];
  const context = canvas.getContext('2d');
  if (!context) throw new Error('no canvas');
  context.fillStyle = figure.background;
  context.fillRect(0, 0, figure.width, figure.height);
  const { x, y, width, height } = figure.picture;
  context.imageSmoothingQuality = 'high';
  if (picture) context.drawImage(picture, x, y, width, height);
  const overlay = new Image();
  overlay.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(figure.svg)}`;
  await overlay.decode();
  context.drawImage(overlay, 0, 0);
  return canvas;
}

/** A page of its own saves by itself; inside the editor the extension host asks where. */
export function download(name: string, url: string): void {
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
}

/** A file name for an export, without what file systems do not like. */
export function exportName(pictureName: string, extension: string, what = 'tokens'): string {
  const base = pictureName.split(/[\\/]/).at(-1) ?? '';
  const plain = base
    .replace(/\.[A-Za-z0-9]+$/, '')
    .replace(/[^\p{L}\p{N}_-]+/gu, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 60);
  return `${plain === '' ? 'image' : plain}-${what}.${extension}`;
}
