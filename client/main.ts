/** The extension host's program: everything that touches the `vscode` API, put together. */
import * as vscode from 'vscode';
import { goOnDownloading } from './commands/chooseModel';
import { registerCommands } from './commands/commands';
import { keepEditorContext } from './editorContext';
import { errorLine, showError } from './errors';
import { FoveaLanguageClient } from './languageClient';
import { Memory } from './memory';
import { Downloads } from './models/downloads';
import { ReadingAhead } from './readingAhead';
import { registerStatus } from './status';
import { LastShown } from './tokenView/lastShown';
import { TokenView } from './tokenView/tokenView';

let client: FoveaLanguageClient | undefined;

/** Returns at once: the language server starts beside it, and whatever needs it waits. */
export function activate(context: vscode.ExtensionContext): void {
  const { extensionUri, subscriptions, workspaceState, globalState, storageUri, globalStorageUri } = context;
  const log = vscode.window.createOutputChannel('Fovea', { log: true });
  client = new FoveaLanguageClient(context, log);
  const memory = new Memory(workspaceState);
  const lastShown = new LastShown(storageUri ?? globalStorageUri, log);
  const downloads = new Downloads(client, globalState, log);
  const readingAhead = new ReadingAhead(client, log);
  const tokenView = new TokenView(extensionUri, client, memory, lastShown, readingAhead, log);
  const commands = { extensionUri, client, memory, downloads, readingAhead, tokenView, log };
  subscriptions.push(
    log,
    readingAhead,
    tokenView,
    registerStatus(client),
    keepEditorContext(client),
    registerCommands(commands),
  );
  client.start().catch((error: unknown) => log.error('The language server did not start.', error));
  goOnDownloading(commands).catch((error: unknown) => {
    log.warn(`An interrupted download did not go on: ${errorLine(error)}`);
    void showError(error);
  });
}

/** The server ends with the window; awaited, so that no process is left behind. */
export async function deactivate(): Promise<void> {
  await client?.stop();
  client = undefined;
}
