import type * as vscode from 'vscode';
import type { FoveaLanguageClient } from '../languageClient';
import type { Memory } from '../memory';
import type { Downloads } from '../models/downloads';
import type { ReadingAhead } from '../readingAhead';
import type { TokenView } from '../tokenView/tokenView';

/** What commands work with. */
export interface CommandContext {
  extensionUri: vscode.Uri;
  client: FoveaLanguageClient;
  memory: Memory;
  downloads: Downloads;
  readingAhead: ReadingAhead;
  tokenView: TokenView;
  log: vscode.LogOutputChannel;
}
