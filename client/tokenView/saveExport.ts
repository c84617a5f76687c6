/** Saves what the token view exports, where the user says. */
import * as vscode from 'vscode';
import { ExportTraceRequest, type FromTokenView, type ImageSource } from '../../server/protocol';
import type { FoveaLanguageClient } from '../languageClient';

type ExportMessage = FromTokenView & { type: 'export' };

const FORMAT_NAMES = { png: 'PNG', json: 'JSON', html: 'HTML' } as const;

/**
 * @param images the shown images, for a picture that the view itself could not show
 * @param beside a file whose folder is offered
 */
export async function saveExport(
  message: ExportMessage,
  images: readonly ImageSource[],
  beside: vscode.Uri | undefined,
  client: FoveaLanguageClient,
): Promise<void> {
  const { format } = message;
  const folder = beside ? vscode.Uri.joinPath(beside, '..') : vscode.workspace.workspaceFolders?.[0]?.uri;
  const target = await vscode.window.showSaveDialog({
    defaultUri: folder && vscode.Uri.joinPath(folder, safeName(message.name)),
    filters: { [FORMAT_NAMES[format]]: [format] },
    title: vscode.l10n.t('Export as {0}', FORMAT_NAMES[format]),
  });
  if (!target) return;
  await vscode.workspace.fs.writeFile(target, await contents(message, images, client));
  const open = vscode.l10n.t('Open');
  const saved = vscode.l10n.t('Saved {0}.', vscode.workspace.asRelativePath(target));
  const chosen = await vscode.window.showInformationMessage(saved, open);
  if (chosen === open) await openExport(target, format);
}

async function contents(
  message: ExportMessage,
  images: readonly ImageSource[],
  client: FoveaLanguageClient,
): Promise<Buffer> {
  if ('text' in message) return Buffer.from(message.text);
  const base64 = 'dataUrl' in message ? payload(message.dataUrl) : await exported(message, images, client);
  return Buffer.from(base64, 'base64');
}

async function exported(
  { format, answer, earlier }: Extract<ExportMessage, { answer: unknown }>,
  images: readonly ImageSource[],
  client: FoveaLanguageClient,
): Promise<string> {
  const sources = answer.pictures.map(({ name, dataUrl }, index) => {
    return dataUrl === '' && images[index] ? images[index] : { name, base64: payload(dataUrl) };
  });
  const file = await client.request(ExportTraceRequest.type, {
    format,
    result: answer.result,
    earlier,
    images: sources,
  });
  return file.base64;
}

/** A page opens in the browser, where it is meant to be looked at; the rest opens here. */
async function openExport(target: vscode.Uri, format: ExportMessage['format']): Promise<void> {
  if (format === 'html') await vscode.env.openExternal(target);
  else await vscode.commands.executeCommand('vscode.open', target);
}

/** A file name from a page that is not trusted: no folders, nothing that a file system refuses. */
export function safeName(name: string): string {
  const cleaned = name.replace(/[\p{Cc}\\/:*?"<>|]+/gu, '-').replace(/^[.\s]+|[.\s]+$/g, '');
  return cleaned === '' ? 'fovea' : cleaned.slice(0, 120);
}

function payload(dataUrl: string): string {
  return dataUrl.slice(dataUrl.indexOf(',') + 1);
}
