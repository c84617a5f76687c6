/** Keeps the context key that shows our entries in the editor's menu: only where the document mentions images. */
import * as vscode from 'vscode';
import { ImageReferencesRequest } from '../server/protocol';
import type { FoveaLanguageClient } from './languageClient';
import { LANGUAGES } from './languages';

const KEY = 'fovea.editorHasImages';

/** Milliseconds of quiet after an edit before the document is asked about again. */
const QUIET = 500;

export function keepEditorContext(client: FoveaLanguageClient): vscode.Disposable {
  let timer: NodeJS.Timeout | undefined;
  const update = () => {
    const editor = vscode.window.activeTextEditor;
    hasImages(editor?.document, client).then(
      (value) =>
        editor === vscode.window.activeTextEditor && vscode.commands.executeCommand('setContext', KEY, value),
      () => vscode.commands.executeCommand('setContext', KEY, false),
    );
  };
  const schedule = (delay: number) => {
    clearTimeout(timer);
    timer = setTimeout(update, delay);
  };
  schedule(0);
  return vscode.Disposable.from(
    vscode.window.onDidChangeActiveTextEditor(() => schedule(0)),
    vscode.workspace.onDidChangeTextDocument(({ document }) => {
      if (document === vscode.window.activeTextEditor?.document) schedule(QUIET);
    }),
    { dispose: () => clearTimeout(timer) },
  );
}

async function hasImages(
  document: vscode.TextDocument | undefined,
  client: FoveaLanguageClient,
): Promise<boolean> {
  if (!document || vscode.languages.match([...LANGUAGES], document) === 0) return false;
  const references = await client.request(ImageReferencesRequest.type, {
    textDocument: { uri: document.uri.toString() },
  });
  return references.some(({ target }) => target.kind === 'file' || target.kind === 'data');
}
