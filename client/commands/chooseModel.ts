import * as vscode from 'vscode';
import { InspectModelRequest, ListModelsRequest } from '../../server/protocol';
import type { CommandContext } from './commands';

interface ModelItem extends vscode.QuickPickItem {
  /** The new value of `fovea.model`; absent: a folder is to be chosen. */
  setting?: string;
}

const ORIGINS: Readonly<Record<ListModelsRequest.Model['origin'], string>> = {
  embedded: vscode.l10n.t('part of Fovea'),
  settings: vscode.l10n.t('from your settings'),
  downloads: vscode.l10n.t('downloaded by Fovea'),
  'hugging-face-cache': vscode.l10n.t('in the Hugging Face cache'),
};

/** "Choose Model...": the checkpoints on this machine, or any folder; a folder is looked into before it is set. */
export async function chooseModel({ client }: CommandContext): Promise<void> {
  const models = client
    .request(ListModelsRequest.type, {})
    .then((found) => [...found.map(modelItem), ...browseItems()]);
  const picked = await vscode.window.showQuickPick(models, {
    title: vscode.l10n.t('Choose Model'),
    placeHolder: vscode.l10n.t('LLaVA checkpoints on this machine'),
    matchOnDetail: true,
  });
  if (!picked) return;
  const setting = picked.setting ?? (await browsedFolder());
  if (setting === undefined) return;
  if (setting !== '') await client.request(InspectModelRequest.type, { directory: setting });
  await vscode.workspace
    .getConfiguration('fovea')
    .update('model', setting, vscode.ConfigurationTarget.Global);
}

function modelItem({ name, origin, setting, chosen, summary, error }: ListModelsRequest.Model): ModelItem {
  const size =
    summary && vscode.l10n.t('{0}, {1} parameters', summary.family, parameterCount(summary.parameters));
  return {
    label: `${chosen ? '$(check) ' : ''}${name}`,
    description: ORIGINS[origin],
    detail: error ? `$(warning) ${error.message}` : size,
    setting,
  };
}

function browseItems(): ModelItem[] {
  const label = vscode.l10n.t('$(folder-opened) Browse for a Folder...');
  return [
    { label: '', kind: vscode.QuickPickItemKind.Separator },
    {
      label,
      detail: vscode.l10n.t('A checkpoint in the Hugging Face format: config.json, *.safetensors, tokenizer'),
    },
  ];
}

async function browsedFolder(): Promise<string | undefined> {
  const picked = await vscode.window.showOpenDialog({
    title: vscode.l10n.t('Choose Model'),
    openLabel: vscode.l10n.t('Use This Folder'),
    canSelectFiles: false,
    canSelectFolders: true,
  });
  return picked?.[0]?.fsPath;
}

/** 3150000 as `3.2 M`, 7063427072 as `7.1 B`. */
export function parameterCount(parameters: number): string {
  return parameters < 1e9 ? `${(parameters / 1e6).toFixed(1)} M` : `${(parameters / 1e9).toFixed(1)} B`;
}
