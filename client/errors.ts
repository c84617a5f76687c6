/** Errors as people see them: what happened, why, and one click towards the next step. */
import * as vscode from 'vscode';
import type { ErrorData, TokenViewAction } from '../server/protocol';
import { FoveaRequestError } from './languageClient';

/** Any thrown value as plain data. What nobody foresaw is a defect of ours, and says so. */
export function toErrorData(error: unknown): ErrorData {
  if (error instanceof FoveaRequestError) return error.data;
  if (error instanceof vscode.CancellationError) {
    const message = vscode.l10n.t('The question was cancelled.');
    return {
      code: 'cancelled',
      kind: 'cancelled',
      message,
      nextStep: vscode.l10n.t('Ask again when you are ready.'),
    };
  }
  return {
    code: 'internal',
    kind: 'internal',
    message: error instanceof Error ? error.message : String(error),
    nextStep: vscode.l10n.t('Look into the log, and report it if it happens again.'),
  };
}

/** Undefined for what the user stopped. */
export async function stoppable<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (toErrorData(error).kind === 'cancelled') return undefined;
    throw error;
  }
}

/** An error for the log: what is explained as one line with its cause, what nobody foresaw with its stack. */
export function errorLine(error: unknown): string {
  if (!(error instanceof FoveaRequestError))
    return error instanceof Error ? (error.stack ?? error.message) : String(error);
  const { code, message, why } = error.data;
  return `${code}: ${[message, why].filter(Boolean).join(' ')}`;
}

/** An error as a notification says it. */
export function errorText({ message, why, nextStep }: ErrorData): string {
  // What the operating system says has no full stop.
  return [message, why, nextStep]
    .flatMap((part) => (part ? [part.replace(/[^.!?:]$/, '$&.')] : []))
    .join(' ');
}

/** The button that fits an error, where there is one. */
export function actionFor(error: ErrorData): { title: string; action: TokenViewAction } | undefined {
  switch (error.kind) {
    case 'model':
      return { title: vscode.l10n.t('Choose Model...'), action: 'chooseModel' };
    case 'device':
      return { title: vscode.l10n.t('Restart Inference'), action: 'restartInference' };
    case 'internal':
      return { title: vscode.l10n.t('Show Log'), action: 'showLog' };
    case 'input':
      return error.code === 'image.too-many-pixels'
        ? { title: vscode.l10n.t('Open Settings'), action: 'openSettings' }
        : { title: vscode.l10n.t('Pick Another Image...'), action: 'pickImage' };
    case 'cancelled':
      return undefined;
  }
}

/** The command behind each action. */
export const ACTION_COMMANDS: Readonly<
  Record<TokenViewAction, { command: string; arguments: readonly unknown[] }>
> = {
  chooseModel: { command: 'fovea.chooseModel', arguments: [] },
  restartInference: { command: 'fovea.restartInference', arguments: [] },
  showLog: { command: 'fovea.showLog', arguments: [] },
  openSettings: { command: 'workbench.action.openSettings', arguments: ['fovea.image.maxMegapixels'] },
  pickImage: { command: 'fovea.ask', arguments: [] },
};

export async function runAction(action: TokenViewAction): Promise<void> {
  const { command, arguments: values } = ACTION_COMMANDS[action];
  await vscode.commands.executeCommand(command, ...values);
}

/** An error that has no better place than a notification. */
export async function showError(error: unknown): Promise<void> {
  const data = toErrorData(error);
  if (data.kind === 'cancelled') return;
  const fitting = actionFor(data);
  const chosen = await vscode.window.showErrorMessage(errorText(data), ...(fitting ? [fitting.title] : []));
  if (fitting && chosen === fitting.title) await runAction(fitting.action);
}
