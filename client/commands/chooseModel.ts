import * as vscode from 'vscode';
import { InspectModelRequest, ListModelsRequest, ModelCatalogueRequest } from '../../server/protocol';
import { FoveaRequestError, type FoveaLanguageClient } from '../languageClient';
import { downloadModel } from '../models/downloadModel';
import { modelItems, type ModelChoice, type ModelItem } from '../models/modelItems';
import { typedHubId } from '../models/modelText';
import type { CommandContext } from './context';

/** A row's meaning, with what was typed put in. */
type MadeChoice = Exclude<ModelChoice, { kind: 'typed' }>;

/** "Choose Model...": what is on this machine, the catalogue, any hub id, any folder. What is chosen is looked into before it is set. */
export async function chooseModel({ client }: CommandContext): Promise<void> {
  const choice = await pickModel(client);
  const setting = choice && (await settingFor(choice, client));
  if (setting === undefined) return;
  const { name } =
    setting === ''
      ? { name: undefined }
      : await client.request(InspectModelRequest.type, { directory: setting });
  await vscode.workspace
    .getConfiguration('fovea')
    .update('model', setting, vscode.ConfigurationTarget.Global);
  const message = name
    ? vscode.l10n.t('Fovea answers with {0} from now on.', name)
    : vscode.l10n.t('Fovea answers with its own small model from now on.');
  vscode.window.setStatusBarMessage(message, 5000);
}

/** The lists are read while the picker is open already: both are local, but a cache folder may be large. */
function pickModel(client: FoveaLanguageClient): Promise<MadeChoice | undefined> {
  const picker = vscode.window.createQuickPick<ModelItem>();
  picker.title = vscode.l10n.t('Choose Model');
  picker.placeholder = vscode.l10n.t('Pick a model, or type a Hugging Face id: organisation/name');
  picker.matchOnDescription = true;
  picker.matchOnDetail = true;
  picker.ignoreFocusOut = true;
  picker.busy = true;
  return new Promise((resolve, reject) => {
    Promise.all([
      client.request(ListModelsRequest.type, {}),
      client.request(ModelCatalogueRequest.type, {}),
    ]).then(
      ([models, catalogue]) => {
        const refresh = () => (picker.items = modelItems(models, catalogue, picker.value));
        picker.onDidChangeValue(refresh);
        picker.busy = false;
        refresh();
      },
      (error: unknown) => {
        picker.hide();
        reject(error);
      },
    );
    picker.onDidAccept(() => {
      const choice = accepted(picker.activeItems[0], picker.value);
      if (!choice) return;
      resolve(choice);
      picker.hide();
    });
    picker.onDidHide(() => {
      resolve(undefined);
      picker.dispose();
    });
    picker.show();
  });
}

function accepted(item: ModelItem | undefined, typed: string): MadeChoice | undefined {
  if (item?.choice?.kind !== 'typed') return item?.choice;
  const model = typedHubId(typed);
  return model === undefined ? undefined : { kind: 'download', model };
}

async function settingFor(choice: MadeChoice, client: FoveaLanguageClient): Promise<string | undefined> {
  switch (choice.kind) {
    case 'setting':
      if (choice.error) throw new FoveaRequestError(choice.error);
      return choice.setting;
    case 'download':
      return downloadModel(choice.model, choice.entry, client);
    case 'folder':
      return browsedFolder();
  }
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
