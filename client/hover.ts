/** What the extension host does to the language server's hovers: trust exactly our own commands, in our own part. */
import * as vscode from 'vscode';
import { HOVER_COMMAND_PART, HoverCommand } from '../server/protocol';

const enabledCommands: readonly string[] = Object.values(HoverCommand);

/**
 * Marks the last part as trusted for our commands when it consists of nothing but such links; everything else in a
 * hover comes from files and models, and is never trusted.
 */
export function trustCommandPart(hover: vscode.Hover): vscode.Hover {
  hover.contents.forEach((content, index) => {
    if (!(content instanceof vscode.MarkdownString)) return;
    content.supportHtml = false;
    const isCommandPart = index === hover.contents.length - 1 && HOVER_COMMAND_PART.test(content.value);
    content.isTrusted = isCommandPart ? { enabledCommands } : false;
  });
  return hover;
}
