/** Pictures as the token view takes them: the file's own bytes in a data URI, where a browser can show them. */
import { readFile, stat } from 'node:fs/promises';
import {
  ImageFactsRequest,
  ImageReferenceAtRequest,
  type ImageFormat,
  type TokenViewPicture,
} from '../../server/protocol';
import * as vscode from 'vscode';
import type { NamedImage } from '../images';
import type { FoveaLanguageClient } from '../languageClient';

/** What every browser decodes. Of other formats the view learns the size only. */
const SHOWN: Partial<Record<ImageFormat, string>> = {
  png: 'image/png',
  jpeg: 'image/jpeg',
  webp: 'image/webp',
  gif: 'image/gif',
  avif: 'image/avif',
};

/** Bytes of an image file beyond which it is not sent into the webview. */
const MAX_BYTES = 64e6;

/** Reads an image for the view. Its header is checked by the server first, limits included. */
export async function pictureOf(image: NamedImage, client: FoveaLanguageClient): Promise<TokenViewPicture> {
  const facts = await client.request(ImageFactsRequest.type, { image: image.source });
  const swapped = facts.orientation !== undefined && facts.orientation >= 5;
  const [width, height] = swapped ? [facts.height, facts.width] : [facts.width, facts.height];
  return {
    name: image.name,
    dataUrl: (await dataUrl(image, SHOWN[facts.format], client)) ?? '',
    width,
    height,
  };
}

async function dataUrl(
  { source }: NamedImage,
  mimeType: string | undefined,
  client: FoveaLanguageClient,
): Promise<string | undefined> {
  if (!mimeType) return undefined;
  if ('base64' in source) return `data:${mimeType};base64,${source.base64}`;
  if ('mention' in source) {
    const reference = await client.request(ImageReferenceAtRequest.type, source.mention);
    if (!reference || (reference.target.kind !== 'data' && reference.target.kind !== 'file'))
      return undefined;
    return dataUrl({ source: { uri: reference.target.uri }, name: '' }, mimeType, client);
  }
  if (source.uri.startsWith('data:')) return base64DataUri(source.uri, mimeType);
  const file = vscode.Uri.parse(source.uri).fsPath;
  if ((await stat(file)).size > MAX_BYTES) return undefined;
  return `data:${mimeType};base64,${(await readFile(file)).toString('base64')}`;
}

/** The same data URI in the one spelling that the view accepts. Pictures in percent-encoding are as good as unheard of. */
function base64DataUri(uri: string, mimeType: string): string | undefined {
  const comma = uri.indexOf(',');
  if (comma < 0 || !/;\s*base64\s*$/i.test(uri.slice(0, comma))) return undefined;
  const bytes = Buffer.from(
    uri
      .slice(comma + 1)
      .replace(/%2b/gi, '+')
      .replace(/%2f/gi, '/')
      .replace(/%3d/gi, '='),
    'base64',
  );
  return `data:${mimeType};base64,${bytes.toString('base64')}`;
}
