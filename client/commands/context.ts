import type * as vscode from 'vscode';
import type { FoveaLanguageClient } from '../languageClient';
import type { Memory } from '../memory';
import type { TokenView } from '../tokenView/tokenView';

/** What commands work with. */
export interface CommandContext {
  extensionUri: vscode.Uri;
  client: FoveaLanguageClient;
  memory: Memory;
  tokenView: TokenView;
  log: vscode.LogOutputChannel;
}
