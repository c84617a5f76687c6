/** Pictures as the token view takes them: in a data URI, in a format that a browser shows. */
import { readFile } from 'node:fs/promises';
import * as vscode from 'vscode';
import {
  ImageFactsRequest,
  PictureRequest,
  type ImageFacts,
  type PixelRect,
  type TokenViewPicture,
} from '../../server/protocol';
import type { NamedImage } from '../images';
import type { FoveaLanguageClient } from '../languageClient';
import { within } from './partRect';

/** Formats that every browser decodes. The inference process makes a picture of any other. */
const SHOWN = new Map<string, string>([
  ['png', 'image/png'],
  ['jpeg', 'image/jpeg'],
  ['webp', 'image/webp'],
  ['gif', 'image/gif'],
]);

/** Larger files, in bytes, and larger pictures, in pixels, are scaled down before they go into a view. */
const MAX_BYTES = 4e6;
const MAX_PIXELS = 8e6;

/** An image for the view. Its header is checked by the server first, limits included. */
export async function pictureOf(
  image: NamedImage,
  client: FoveaLanguageClient,
  token?: vscode.CancellationToken,
): Promise<TokenViewPicture> {
  const facts = await client.request(ImageFactsRequest.type, { image: image.source }, token);
  const swapped = facts.orientation !== undefined && facts.orientation >= 5;
  const [width, height] = swapped ? [facts.height, facts.width] : [facts.width, facts.height];
  return {
    name: image.name,
    dataUrl: await dataUrl(image, facts, client, token),
    width,
    height,
    ...(image.part ? { isPart: true } : {}),
  };
}

/**
 * A rectangle of an image as an image of its own, so that the model sees it as large as it can. A part of a part is cut out of the
 * whole image.
 * @param rect in pixels of the picture
 * @param picture the image as the view shows it: a large part was scaled down
 */
export async function partOf(
  image: NamedImage,
  rect: PixelRect,
  picture: Pick<TokenViewPicture, 'width' | 'height'>,
  client: FoveaLanguageClient,
  token: vscode.CancellationToken,
): Promise<NamedImage> {
  const whole = image.part?.of ?? image;
  const part = image.part ? within(image.part.rect, rect, picture) : rect;
  const { base64 } = await client.request(PictureRequest.type, { image: whole.source, part }, token);
  const name = vscode.l10n.t(
    '{0} ({1} × {2} at {3}, {4})',
    whole.name,
    part.width,
    part.height,
    part.x,
    part.y,
  );
  return { name, source: { base64, name }, part: { of: whole, rect: part } };
}

async function dataUrl(
  { source }: NamedImage,
  facts: ImageFacts,
  client: FoveaLanguageClient,
  token: vscode.CancellationToken | undefined,
): Promise<string> {
  const mimeType = SHOWN.get(facts.format);
  const isSmall = facts.bytes <= MAX_BYTES && (facts.width ?? 0) * (facts.height ?? 0) <= MAX_PIXELS;
  if (mimeType && isSmall) {
    if ('base64' in source) return `data:${mimeType};base64,${source.base64}`;
    if ('uri' in source && source.uri.startsWith('file:')) {
      const bytes = await readFile(vscode.Uri.parse(source.uri).fsPath);
      return `data:${mimeType};base64,${bytes.toString('base64')}`;
    }
  }
  const { base64 } = await client.request(PictureRequest.type, { image: source }, token);
  return `data:image/png;base64,${base64}`;
}
