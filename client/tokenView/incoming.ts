/** Images that come out of the token view: pasted or dropped there. What a page sends is untrusted. */
import * as vscode from 'vscode';
import type { FromTokenView } from '../../server/protocol';
import { isImage } from '../imageFiles';
import { nameOf, type NamedImage } from '../images';

/** A pasted picture, with the base64 of its data URI as it is; the server checks and decodes it. */
export function imageFromView({ name, dataUrl }: FromTokenView & { type: 'image' }): NamedImage {
  const base64 = dataUrl.slice(dataUrl.indexOf(',') + 1);
  return { name, source: { base64, name } };
}

/**
 * The first image among dropped files. One outside the workspace is read only when the user says so.
 * @returns undefined when there is none, or the user declined
 */
export async function droppedImage(uris: readonly string[]): Promise<NamedImage | undefined> {
  const uri = uris.map(localFile).find((candidate) => candidate && isImage(candidate));
  if (!uri) {
    void vscode.window.showWarningMessage(
      vscode.l10n.t('What was dropped is not an image file of this workspace.'),
    );
    return undefined;
  }
  if (vscode.workspace.getWorkspaceFolder(uri))
    return { name: nameOf({ uri: uri.toString() }), source: { uri: uri.toString() } };
  const read = vscode.l10n.t('Read It');
  const answer = await vscode.window.showWarningMessage(
    vscode.l10n.t('{0} lies outside this workspace. Let Fovea read it?', uri.fsPath),
    { modal: true },
    read,
  );
  if (answer !== read) return undefined;
  return { name: nameOf({ uri: uri.toString() }), source: { uri: uri.toString(), outsideWorkspace: true } };
}

/** A dropped URI as a file of the machine that the extension runs on; remote windows name theirs `vscode-remote:`. */
function localFile(text: string): vscode.Uri | undefined {
  try {
    const uri = vscode.Uri.parse(text, true);
    if (uri.scheme === 'file') return uri.authority === '' ? uri : undefined;
    return uri.scheme === 'vscode-remote' ? vscode.Uri.file(uri.path) : undefined;
  } catch {
    return undefined;
  }
}
