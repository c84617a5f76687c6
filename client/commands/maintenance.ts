import * as vscode from 'vscode';
import { ClearAnswerCacheRequest, RestartInferenceRequest } from '../../server/protocol';
import { dataSize } from '../models/modelText';
import type { CommandContext } from './context';

/** "Restart Inference": ends the process that holds the model; the next question starts a new one. */
export async function restartInference({ client }: CommandContext): Promise<void> {
  await client.request(RestartInferenceRequest.type, {});
  const message = vscode.l10n.t('Fovea: inference was stopped. It starts again with the next question.');
  vscode.window.setStatusBarMessage(message, 5000);
}

/** "Clear Answer Cache": no question back, because every answer can be had again. */
export async function clearCache({ client }: CommandContext): Promise<void> {
  const { answers, bytes } = await client.request(ClearAnswerCacheRequest.type, {});
  void vscode.window.showInformationMessage(clearedText(answers, bytes));
}

function clearedText(answers: number, bytes: number): string {
  if (answers === 0) return vscode.l10n.t('The answer cache was empty.');
  const size = dataSize(bytes);
  return answers === 1
    ? vscode.l10n.t('The answer cache was cleared: one answer, {0}.', size)
    : vscode.l10n.t('The answer cache was cleared: {0} answers, {1}.', answers, size);
}
