/** The language status item: state, model, device and memory, and a click for the actions that fit the state. */
import * as vscode from 'vscode';
import type { StatusNotification } from '../server/protocol';
import { deviceName, formatBytes, stageWords } from '../server/traceView/wording';
import { errorText } from './errors';
import type { FoveaLanguageClient } from './languageClient';
import { LANGUAGES } from './languages';
import { actionsIn, firstSentence, type StatusAction } from './statusActions';

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
    return `${stageWords(status.stage ?? '')}${percent}`;
  }
  const device = status.device && deviceName(status.device);
  // One line, beside which the editor puts the link to the actions: what is too long pushes that out of sight.
  const parts = [shortName(status.model?.name), device];
  if (status.state !== 'working')
    parts.push(
      precisionBits(status),
      status.memoryBytes === undefined ? undefined : formatBytes(status.memoryBytes),
    );
  return parts.filter(Boolean).join(' · ');
}

/** A model of the hub without its organisation. */
function shortName(name: string | undefined): string | undefined {
  const short = name?.split('/').at(-1);
  return short !== undefined && short.length > LONGEST_NAME ? `${short.slice(0, LONGEST_NAME - 1)}…` : short;
}

const LONGEST_NAME = 28;

function precisionBits({ precision }: Status): string | undefined {
  const bits = { q4: 4, q4f16: 4, q4q8: 4, fp16: 16, fp32: 32 }[precision ?? ''];
  return bits === undefined ? precision : vscode.l10n.t('{0} bit', bits);
}

interface ActionItem extends vscode.QuickPickItem {
  command: string;
  values?: readonly unknown[];
}

async function showActions(status: Status | undefined): Promise<void> {
  const error = status?.error && errorText(status.error);
  const items = itemsFor(status);
  const picked = await vscode.window.showQuickPick(
    actionsIn(status?.state).map((action) => items[action]),
    { title: stateText(status), placeHolder: error ?? detailText(status) },
  );
  if (picked) await vscode.commands.executeCommand(picked.command, ...(picked.values ?? []));
}

function itemsFor(status: Status | undefined): Readonly<Record<StatusAction, ActionItem>> {
  return {
    ask: { label: vscode.l10n.t('$(eye) Ask About Image...'), command: 'fovea.ask' },
    view: { label: vscode.l10n.t('$(table) Show Token View'), command: 'fovea.showTokenView' },
    model: {
      label: vscode.l10n.t('$(symbol-misc) Choose Model...'),
      description: status?.model?.name,
      command: 'fovea.chooseModel',
    },
    device: {
      label: vscode.l10n.t('$(circuit-board) Choose Device...'),
      description: status?.device && deviceName(status.device),
      detail: firstSentence(status?.deviceNote),
      command: 'workbench.action.openSettings',
      values: ['fovea.device'],
    },
    precision: {
      label: vscode.l10n.t('$(settings) Choose Precision...'),
      description: precisionText(status),
      detail: firstSentence(status?.precisionNote),
      command: 'workbench.action.openSettings',
      values: ['fovea.precision'],
    },
    restart: {
      label: vscode.l10n.t('$(debug-restart) Restart Inference'),
      command: 'fovea.restartInference',
    },
    log: { label: vscode.l10n.t('$(output) Show Log'), command: 'fovea.showLog' },
    clear: { label: vscode.l10n.t('$(clear-all) Clear Answer Cache'), command: 'fovea.clearCache' },
  };
}

function precisionText(status: Status | undefined): string | undefined {
  switch (status?.precision) {
    case 'q4':
      return vscode.l10n.t('4-bit weights');
    case 'q4q8':
      return vscode.l10n.t('4-bit weights, vision tower in 8 bits');
    case 'q4f16':
      return vscode.l10n.t('4-bit weights, computed in 16 bits');
    case 'fp16':
      return vscode.l10n.t('16-bit weights');
    case 'fp32':
      return vscode.l10n.t('32-bit weights');
    default:
      return status?.precision;
  }
}
