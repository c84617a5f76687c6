import { readFile } from 'node:fs/promises';
import * as vscode from 'vscode';
import type { CommandContext } from './context';

/** "Try the Sample Screenshot": the first minute, without an image of one's own. */
export async function trySample({ extensionUri, tokenView }: CommandContext): Promise<void> {
  const samples = vscode.Uri.joinPath(extensionUri, 'media', 'samples');
  const { image, questions } = JSON.parse(
    await readFile(vscode.Uri.joinPath(samples, 'demo.json').fsPath, 'utf8'),
  ) as { image: string; questions: string[] };
  const uri = vscode.Uri.joinPath(samples, image).toString();
  const sample = { name: vscode.l10n.t('Sample screenshot'), source: { uri, outsideWorkspace: true } };
  await tokenView.ask({ images: [sample], question: questions[0] });
}
