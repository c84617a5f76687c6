/** Removes a model from Fovea's own folder, after consent. */
import * as vscode from 'vscode';
import { RemoveModelRequest } from '../../server/protocol';
import type { FoveaLanguageClient } from '../languageClient';
import type { OwnModel } from './modelItems';
import { dataSize } from './modelText';

/** @throws {FoveaRequestError} where another Fovea is at work on it, or the disk refuses */
export async function removeModel(
  { repository, bytes, complete, chosen }: OwnModel,
  client: FoveaLanguageClient,
): Promise<void> {
  const lines = [
    complete
      ? vscode.l10n.t('{0} of files, and the weights that were converted from them.', dataSize(bytes))
      : vscode.l10n.t('{0} of an unfinished download.', dataSize(bytes)),
    ...(chosen
      ? [vscode.l10n.t('It answers your questions now. The small model that is part of Fovea takes over.')]
      : []),
    vscode.l10n.t('You can download it again at any time.'),
  ];
  const yes = vscode.l10n.t('Remove');
  const answer = await vscode.window.showWarningMessage(
    vscode.l10n.t('Remove {0} from this machine?', repository),
    { modal: true, detail: lines.join('\n') },
    yes,
  );
  if (answer !== yes) return;
  if (chosen)
    await vscode.workspace
      .getConfiguration('fovea')
      .update('model', undefined, vscode.ConfigurationTarget.Global);
  const title = vscode.l10n.t('Fovea: removing {0}', repository);
  const removed = await vscode.window.withProgress(
    { location: vscode.ProgressLocation.Notification, title },
    () => client.request(RemoveModelRequest.type, { model: repository }),
  );
  const message = vscode.l10n.t('{0} is removed: {1} are free again.', repository, dataSize(removed.bytes));
  vscode.window.setStatusBarMessage(message, 5000);
}
