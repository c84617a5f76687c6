import * as vscode from 'vscode';
import { ReadAheadRequest } from '../server/protocol';
import { errorLine, toErrorData } from './errors';
import type { NamedImage } from './images';
import type { FoveaLanguageClient } from './languageClient';

/**
 * Has the server begin with images while the user looks for words. Nothing of it is shown: a failure will be the question's own, and a
 * question that comes goes its way whatever became of this.
 */
export class ReadingAhead implements vscode.Disposable {
  private current: vscode.CancellationTokenSource | undefined;

  constructor(
    private readonly client: FoveaLanguageClient,
    private readonly log: vscode.LogOutputChannel,
  ) {}

  /** Begins with these images, and gives up what was begun before. */
  begin(images: readonly NamedImage[]): void {
    this.giveUp();
    if (images.length === 0) return;
    const source = new vscode.CancellationTokenSource();
    this.current = source;
    this.client
      .request(ReadAheadRequest.type, { images: images.map((image) => image.source) }, source.token)
      .catch((error: unknown) => {
        if (toErrorData(error).kind !== 'cancelled') this.log.info(`Not read ahead: ${errorLine(error)}`);
      })
      .finally(() => source.dispose());
  }

  /** There will be no question. */
  giveUp(): void {
    this.current?.cancel();
    this.current = undefined;
  }

  dispose(): void {
    this.giveUp();
  }
}
