import * as vscode from 'vscode';
import { ClearAnswerCacheRequest, RestartInferenceRequest } from '../../server/protocol';
import type { CommandContext } from './commands';

/** "Restart Inference": ends the process that holds the model; the next question starts a new one. */
export async function restartInference({ client }: CommandContext): Promise<void> {
  await client.request(RestartInferenceRequest.type, {});
  const message = vscode.l10n.t('Fovea: inference was stopped. It starts again with the next question.');
  vscode.window.setStatusBarMessage(message, 5000);
}

/** "Clear Answer Cache": no question back, because every answer can be had again. */
export async function clearCache({ client }: CommandContext): Promise<void> {
  const { answers, bytes } = await client.request(ClearAnswerCacheRequest.type, {});
  const megabytes = (bytes / 1e6).toFixed(1);
  void vscode.window.showInformationMessage(
    answers === 0
      ? vscode.l10n.t('The answer cache was empty.')
      : vscode.l10n.t('The answer cache was cleared: {0} answers, {1} MB.', answers, megabytes),
  );
}
