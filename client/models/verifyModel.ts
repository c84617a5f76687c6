/** Reads every file of a downloaded model again, and offers to mend what is damaged. */
import * as vscode from 'vscode';
import type { VerifyModelRequest } from '../../server/protocol';
import { stoppable } from '../errors';
import type { FoveaLanguageClient } from '../languageClient';
import type { OwnModel } from './modelItems';
import { dataSize } from './modelText';

/** @returns true where damaged files were removed and the user wants them downloaded again */
export async function verifyModel(
  { repository, bytes }: OwnModel,
  client: FoveaLanguageClient,
): Promise<boolean> {
  const found = await readAll(repository, bytes, false, client);
  if (!found) return false;
  const { right, damaged, damagedConversions } = found;
  if (damaged.length + damagedConversions.length === 0) {
    const message = vscode.l10n.t('All {0} files of {1} are as they must be.', right, repository);
    void vscode.window.showInformationMessage(message);
    return false;
  }
  const repair = damaged.length > 0 ? vscode.l10n.t('Download Again') : vscode.l10n.t('Remove');
  const what =
    damaged.length > 0
      ? vscode.l10n.t('Damaged files of {0}: {1}.', repository, damaged.join(', '))
      : vscode.l10n.t(
          'Weights that were converted from {0} are damaged. Without them the next question converts again.',
          repository,
        );
  if ((await vscode.window.showErrorMessage(what, repair)) !== repair) return false;
  const removed = await readAll(repository, bytes, true, client);
  return (removed?.damaged.length ?? 0) > 0;
}

/** @returns undefined where the user stopped it */
async function readAll(
  repository: string,
  totalBytes: number,
  removeDamaged: boolean,
  client: FoveaLanguageClient,
): Promise<VerifyModelRequest.Result | undefined> {
  const title = vscode.l10n.t('Fovea: checking {0}', repository);
  return vscode.window.withProgress(
    { location: vscode.ProgressLocation.Notification, title, cancellable: true },
    (progress, token) => {
      let shown = 0;
      return stoppable(
        client.verify(
          { model: repository, removeDamaged },
          ({ bytes }) => {
            const percent = Math.min(100, (100 * bytes) / Math.max(1, totalBytes));
            progress.report({ message: dataSize(bytes), increment: percent - shown });
            shown = percent;
          },
          token,
        ),
      );
    },
  );
}
