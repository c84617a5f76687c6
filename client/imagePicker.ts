/** Quick picks of images, with the images themselves as thumbnails. */
import * as vscode from 'vscode';
import type { ImageReference } from '../server/protocol';
import { IMAGE_EXTENSIONS, isImage } from './imageFiles';
import type { Memory } from './memory';

/** More would make the list slow and of no use; the user types to filter, or browses. */
const MAX_IMAGES = 2000;

/** Folders of tools: their images are not what people ask about. */
const EXCLUDED = '**/{node_modules,bower_components,.git,.hg,.svn,.venv,__pycache__}/**';

export interface ImageChoice {
  uri: vscode.Uri;
  /** Chosen in the file dialog, wherever it lies. */
  browsed: boolean;
}

interface ImageItem extends vscode.QuickPickItem {
  uri?: vscode.Uri;
  browse?: true;
}

/**
 * Lets the user pick an image of the workspace (those asked about last come first, then the open ones), or any file.
 * @returns undefined when the user picked none
 */
export async function pickImage(memory: Memory): Promise<ImageChoice | undefined> {
  const cancellation = new vscode.CancellationTokenSource();
  try {
    const picked = await vscode.window.showQuickPick(imageItems(memory, cancellation.token), {
      title: vscode.l10n.t('Ask About Image'),
      placeHolder: vscode.l10n.t('Pick an image of the workspace'),
      matchOnDescription: true,
      // It opens as the palette closes, which gives the focus back to an editor or a view a moment later.
      ignoreFocusOut: true,
    });
    if (!picked) return undefined;
    return picked.uri ? { uri: picked.uri, browsed: false } : await browse();
  } finally {
    cancellation.cancel();
    cancellation.dispose();
  }
}

/** Lets the user pick one of the images that a document mentions. */
export async function pickReference(
  document: vscode.TextDocument,
  references: readonly ImageReference[],
): Promise<ImageReference | undefined> {
  const items = references.map((reference) => {
    const { target, range } = reference;
    const label = document.getText(
      new vscode.Range(range.start.line, range.start.character, range.end.line, range.end.character),
    );
    const shown = label.length > 80 ? `${label.slice(0, 79)}…` : label;
    const iconPath = target.kind === 'file' ? vscode.Uri.parse(target.uri) : undefined;
    return {
      label: shown,
      description: vscode.l10n.t('line {0}', range.start.line + 1),
      iconPath,
      reference,
    };
  });
  const picked = await vscode.window.showQuickPick(items, {
    title: vscode.l10n.t('Ask About Image'),
    placeHolder: vscode.l10n.t('Pick an image of this document'),
    matchOnDescription: true,
    ignoreFocusOut: true,
  });
  return picked?.reference;
}

async function imageItems(memory: Memory, token: vscode.CancellationToken): Promise<ImageItem[]> {
  const pattern = `**/*.{${IMAGE_EXTENSIONS.flatMap((extension) => [extension, extension.toUpperCase()]).join(',')}}`;
  const found = await vscode.workspace.findFiles(pattern, EXCLUDED, MAX_IMAGES, token);
  const byUri = new Map(found.map((uri) => [uri.toString(), uri]));

  const recent = take(byUri, memory.images());
  const open = take(byUri, openImageTabs());
  const rest = [...byUri.values()].sort((a, b) => a.path.localeCompare(b.path, undefined, { numeric: true }));
  const browse: ImageItem = {
    label: vscode.l10n.t('Browse...'),
    description: found.length === 0 ? vscode.l10n.t('no images in this workspace') : undefined,
    iconPath: new vscode.ThemeIcon('folder-opened'),
    alwaysShow: true,
    browse: true,
  };
  return [
    ...section(vscode.l10n.t('recently asked about'), recent),
    ...section(vscode.l10n.t('open'), open),
    ...section(vscode.l10n.t('workspace'), rest),
    { label: '', kind: vscode.QuickPickItemKind.Separator },
    browse,
  ];
}

/** Moves the images with these URIs out of the map, in the order of the URIs. */
function take(images: Map<string, vscode.Uri>, uris: readonly string[]): vscode.Uri[] {
  return uris.flatMap((key) => {
    const uri = images.get(key);
    images.delete(key);
    return uri ? [uri] : [];
  });
}

function openImageTabs(): string[] {
  const inputs = vscode.window.tabGroups.all.flatMap((group) => group.tabs.map((tab) => tab.input));
  return inputs.flatMap((input) => {
    const isFile = input instanceof vscode.TabInputCustom || input instanceof vscode.TabInputText;
    return isFile && isImage(input.uri) ? [input.uri.toString()] : [];
  });
}

function section(title: string, uris: readonly vscode.Uri[]): ImageItem[] {
  if (uris.length === 0) return [];
  return [{ label: title, kind: vscode.QuickPickItemKind.Separator }, ...uris.map(imageItem)];
}

function imageItem(uri: vscode.Uri): ImageItem {
  const path = vscode.workspace.asRelativePath(uri);
  const slash = path.lastIndexOf('/');
  return {
    label: path.slice(slash + 1),
    description: slash < 0 ? '' : path.slice(0, slash),
    iconPath: uri,
    uri,
  };
}

async function browse(): Promise<ImageChoice | undefined> {
  const picked = await vscode.window.showOpenDialog({
    title: vscode.l10n.t('Ask About Image'),
    openLabel: vscode.l10n.t('Ask'),
    filters: { [vscode.l10n.t('Images')]: [...IMAGE_EXTENSIONS] },
  });
  return picked?.[0] && { uri: picked[0], browsed: true };
}
