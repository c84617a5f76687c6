/** Which image a command means: its argument, the editor in front, or one that the user picks. */
import * as vscode from 'vscode';
import {
  ImageReferenceAtRequest,
  ImageReferencesRequest,
  type HoverCommandArgument,
  type ImageReference,
  type ImageSource,
  type PixelRect,
} from '../server/protocol';
import { FoveaRequestError, type FoveaLanguageClient } from './languageClient';
import { isImage } from './imageFiles';
import { pickImage, pickReference } from './imagePicker';
import type { Memory } from './memory';

/** An image to ask about, and what to call it. */
export interface NamedImage {
  source: ImageSource;
  name: string;
  /** Where the image was cut out of another one. */
  part?: { of: NamedImage; rect: PixelRect };
}

/**
 * The image that a command is about. Menus pass a file, hovers a {@link HoverCommandArgument}, a keybinding nothing.
 * @returns undefined when the user chose none
 */
export async function imageForCommand(
  argument: unknown,
  client: FoveaLanguageClient,
  memory: Memory,
): Promise<NamedImage | undefined> {
  if (argument instanceof vscode.Uri && isImage(argument)) return namedFile(argument, true);
  if (isHoverArgument(argument)) return { source: argument.image, name: nameOf(argument.image) };

  const open = openImage();
  if (open) return namedFile(open, true);

  const editor = vscode.window.activeTextEditor;
  if (editor) {
    const mentioned = await mentionedImage(editor, argument !== undefined, client);
    if (mentioned === 'cancelled') return undefined;
    if (mentioned) return mentioned;
  }
  return pickedImage(memory);
}

/** Lets the user pick an image, whatever is open. */
export async function pickedImage(memory: Memory): Promise<NamedImage | undefined> {
  const choice = await pickImage(memory);
  return choice && namedFile(choice.uri, choice.browsed);
}

/** The image of the tab in front: VS Code's image preview, or any other editor of an image file. */
export function openImage(): vscode.Uri | undefined {
  const input = vscode.window.tabGroups.activeTabGroup.activeTab?.input;
  const isFileTab = input instanceof vscode.TabInputCustom || input instanceof vscode.TabInputText;
  return isFileTab && isImage(input.uri) ? input.uri : undefined;
}

/** What people call an image. */
export function nameOf(source: ImageSource): string {
  if ('name' in source) return source.name;
  if ('mention' in source || source.uri.startsWith('data:')) return vscode.l10n.t('embedded image');
  return baseName(vscode.Uri.parse(source.uri));
}

/**
 * The image at the cursor; otherwise, where the command came from the editor's own menu, one of those that the
 * document mentions.
 */
async function mentionedImage(
  editor: vscode.TextEditor,
  fromEditorMenu: boolean,
  client: FoveaLanguageClient,
): Promise<NamedImage | 'cancelled' | undefined> {
  const textDocument = { uri: editor.document.uri.toString() };
  try {
    const position = { line: editor.selection.active.line, character: editor.selection.active.character };
    const reference = await client.request(ImageReferenceAtRequest.type, { textDocument, position });
    const image = reference && namedReference(reference);
    if (image || !fromEditorMenu) return image ?? undefined;
    const references = await client.request(ImageReferencesRequest.type, { textDocument });
    const readable = references.filter((candidate) => namedReference(candidate));
    if (readable.length === 0) return undefined;
    const picked = readable.length === 1 ? readable[0] : await pickReference(editor.document, readable);
    return picked ? namedReference(picked) : 'cancelled';
  } catch (error) {
    // A document that the server does not know (an output panel, another language) mentions no images.
    if (error instanceof FoveaRequestError) return undefined;
    throw error;
  }
}

function namedReference({ target }: ImageReference): NamedImage | undefined {
  if (target.kind !== 'file' && target.kind !== 'data') return undefined;
  return { source: { uri: target.uri }, name: nameOf({ uri: target.uri }) };
}

/** @param pointedAt the user named this very file, so that it may lie outside the workspace */
function namedFile(uri: vscode.Uri, pointedAt: boolean): NamedImage {
  const source: ImageSource = pointedAt
    ? { uri: uri.toString(), outsideWorkspace: true }
    : { uri: uri.toString() };
  return { source, name: baseName(uri) };
}

function baseName(uri: vscode.Uri): string {
  return uri.path.slice(uri.path.lastIndexOf('/') + 1);
}

function isHoverArgument(value: unknown): value is HoverCommandArgument {
  if (typeof value !== 'object' || value === null || !('image' in value)) return false;
  const { image } = value;
  if (typeof image !== 'object' || image === null) return false;
  if ('uri' in image) return typeof image.uri === 'string';
  if ('mention' in image) return typeof image.mention === 'object' && image.mention !== null;
  return (
    'base64' in image && 'name' in image && typeof image.base64 === 'string' && typeof image.name === 'string'
  );
}
