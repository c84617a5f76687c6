/** The language status item: state, model, device and memory, and a click for the actions that fit the state. */
import * as vscode from 'vscode';
import type { StatusNotification } from '../server/protocol';
import type { FoveaLanguageClient } from './languageClient';
import { LANGUAGES } from './languages';

type Status = StatusNotification.Params;

/** Not in the palette: what the item's click runs. */
const SHOW_ACTIONS = 'fovea.showStatusActions';

export function registerStatus(client: FoveaLanguageClient): vscode.Disposable {
  const item = vscode.languages.createLanguageStatusItem('fovea.status', [...LANGUAGES]);
  item.name = 'Fovea';
  const show = (status: Status | undefined) => {
    item.text = stateText(status);
    item.detail = detailText(status);
    item.busy = status?.state === 'loading' || status?.state === 'working';
    item.severity =
      status?.state === 'failed' || status?.state === 'stopped'
        ? vscode.LanguageStatusSeverity.Error
        : vscode.LanguageStatusSeverity.Information;
    item.command = { command: SHOW_ACTIONS, title: vscode.l10n.t('Actions') };
    item.accessibilityInformation = { label: `Fovea: ${item.text}, ${item.detail}` };
  };
  show(client.status);
  return vscode.Disposable.from(
    item,
    client.onStatus(show),
    vscode.commands.registerCommand(SHOW_ACTIONS, () => showActions(client.status)),
  );
}

export function stateText(status: Status | undefined): string {
  switch (status?.state) {
    case undefined:
    case 'idle':
      return vscode.l10n.t('Fovea: no model in memory');
    case 'loading':
      return vscode.l10n.t('Fovea: loading the model');
    case 'ready':
      return vscode.l10n.t('Fovea: ready');
    case 'working':
      return status.waiting > 0
        ? vscode.l10n.t('Fovea: answering, {0} waiting', status.waiting)
        : vscode.l10n.t('Fovea: answering');
    case 'failed':
      return vscode.l10n.t('Fovea: the model did not load');
    case 'stopped':
      return vscode.l10n.t('Fovea: stopped');
  }
}

export function detailText(status: Status | undefined): string {
  if (!status) return '';
  if (status.error && (status.state === 'failed' || status.state === 'stopped')) return status.error.message;
  if (status.state === 'loading') {
    const percent = status.fraction === undefined ? '' : ` ${Math.round(status.fraction * 100)} %`;
    return `${status.stage ?? ''}${percent}`;
  }
  const memory = status.memoryBytes === undefined ? undefined : `${Math.round(status.memoryBytes / 1e6)} MB`;
  const precision = status.precision === 'q4' ? vscode.l10n.t('4-bit weights') : status.precision;
  return [status.model?.name, status.device, precision, memory].filter(Boolean).join(' · ');
}

interface ActionItem extends vscode.QuickPickItem {
  command: string;
  values?: readonly unknown[];
}

async function showActions(status: Status | undefined): Promise<void> {
  const error =
    status?.error &&
    [status.error.message, status.error.why, status.error.nextStep].filter(Boolean).join(' ');
  const picked = await vscode.window.showQuickPick(actionsFor(status), {
    title: stateText(status),
    placeHolder: error ?? detailText(status),
  });
  if (picked) await vscode.commands.executeCommand(picked.command, ...(picked.values ?? []));
}

/** First what mends or uses the present state, then what is always of use. */
function actionsFor(status: Status | undefined): ActionItem[] {
  const ask = { label: vscode.l10n.t('$(eye) Ask About Image...'), command: 'fovea.ask' };
  const view = { label: vscode.l10n.t('$(table) Show Token View'), command: 'fovea.showTokenView' };
  const model = { label: vscode.l10n.t('$(symbol-misc) Choose Model...'), command: 'fovea.chooseModel' };
  const device = {
    label: vscode.l10n.t('$(circuit-board) Choose Device...'),
    description: status?.device,
    detail: status?.deviceNote,
    command: 'workbench.action.openSettings',
    values: ['fovea.device'],
  };
  const precision = {
    label: vscode.l10n.t('$(settings) Choose Precision...'),
    detail: status?.precisionNote,
    command: 'workbench.action.openSettings',
    values: ['fovea.precision'],
  };
  const restart = {
    label: vscode.l10n.t('$(debug-restart) Restart Inference'),
    command: 'fovea.restartInference',
  };
  const log = { label: vscode.l10n.t('$(output) Show Log'), command: 'fovea.showLog' };
  const clear = { label: vscode.l10n.t('$(clear-all) Clear Answer Cache'), command: 'fovea.clearCache' };
  switch (status?.state) {
    case 'failed':
      return [model, device, precision, restart, log];
    case 'stopped':
      return [restart, log, device, model];
    case 'loading':
    case 'working':
      return [view, restart, log];
    case undefined:
    case 'idle':
    case 'ready':
      return [ask, view, model, device, precision, clear, restart, log];
  }
}
