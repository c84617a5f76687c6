import * as vscode from 'vscode';
import type { CommandContext } from './commands';

/**
 * "Ask About Image in Clipboard". Extensions cannot read pictures from the clipboard, and running a program of the
 * system for it would read it without a gesture of the user: so the token view comes to the front, where pasting works.
 */
export function askClipboard({ tokenView }: CommandContext): void {
  tokenView.show();
  const keys = process.platform === 'darwin' ? '⌘V' : 'Ctrl+V';
  void vscode.window.showInformationMessage(
    vscode.l10n.t('Press {0} in the token view to paste the image.', keys),
  );
}
