import * as vscode from 'vscode';
import {
  InspectModelRequest,
  ListDownloadsRequest,
  ListModelsRequest,
  ModelCatalogueRequest,
} from '../../server/protocol';
import { FoveaRequestError, type FoveaLanguageClient } from '../languageClient';
import type { ModelItem, ModelLists } from '../models/modelItems';
import { pickModel, type Picked } from '../models/modelPicker';
import { removeModel } from '../models/removeModel';
import { verifyModel } from '../models/verifyModel';
import type { CommandContext } from './context';

/**
 * "Choose Model...": what is on this machine, the catalogue, any hub id, any folder. What is chosen is looked into before it is set. Downloads can
 * be checked and removed here too.
 */
export async function chooseModel(context: CommandContext): Promise<void> {
  const picked = await pickModel(modelPicker(), modelLists(context.client));
  if (!picked) return;
  switch (picked.kind) {
    case 'remove':
      await removeModel(picked.own, context.client);
      return chooseModel(context);
    case 'verify': {
      const again = await verifyModel(picked.own, context.client);
      return again ? use(context, { kind: 'download', model: picked.own.repository }) : undefined;
    }
    default:
      return use(context, picked);
  }
}

/** A download that ended with its window goes on where the user wants that. */
export async function goOnDownloading(context: CommandContext): Promise<void> {
  const model = await context.downloads.interrupted();
  if (model !== undefined) await use(context, { kind: 'download', model });
}

function modelPicker(): vscode.QuickPick<ModelItem> {
  const picker = vscode.window.createQuickPick<ModelItem>();
  picker.title = vscode.l10n.t('Choose Model');
  picker.placeholder = vscode.l10n.t('Pick a model, or type a Hugging Face id: organisation/name');
  picker.matchOnDescription = true;
  picker.matchOnDetail = true;
  picker.ignoreFocusOut = true;
  return picker;
}

async function modelLists(client: FoveaLanguageClient): Promise<ModelLists> {
  const [models, catalogue, downloads] = await Promise.all([
    client.request(ListModelsRequest.type, {}),
    client.request(ModelCatalogueRequest.type, {}),
    client.request(ListDownloadsRequest.type, {}),
  ]);
  return { models, catalogue, downloads };
}

type Usable = Exclude<Picked, { kind: 'remove' | 'verify' }>;

async function use({ client, downloads }: CommandContext, choice: Usable): Promise<void> {
  switch (choice.kind) {
    case 'setting':
      if (choice.error) throw new FoveaRequestError(choice.error);
      return answerWith(choice.setting, client);
    case 'folder': {
      const folder = await browsedFolder();
      return folder === undefined ? undefined : answerWith(folder, client);
    }
    case 'download': {
      const before = chosenModel();
      const got = await downloads.get(choice.model, choice.entry);
      if (got === undefined) return;
      // Who chose another model during a long download wants to be asked.
      const uses = !got.downloaded || chosenModel() === before || (await wantsItNow(choice.model));
      if (!uses) return;
      await answerWith(got.directory, client, !got.downloaded);
      if (got.downloaded) void offerQuestion(choice.model);
    }
  }
}

function chosenModel(): string {
  return vscode.workspace.getConfiguration('fovea').get('model', '');
}

async function answerWith(setting: string, client: FoveaLanguageClient, tell = true): Promise<void> {
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
  if (tell) vscode.window.setStatusBarMessage(message, 5000);
}

async function wantsItNow(model: string): Promise<boolean> {
  const yes = vscode.l10n.t('Use It');
  const message = vscode.l10n.t('{0} is here.', model);
  return (await vscode.window.showInformationMessage(message, yes)) === yes;
}

/** The end of a download is no thing to be missed: nobody looks at the status bar for an hour. */
async function offerQuestion(model: string): Promise<void> {
  const ask = vscode.l10n.t('Ask About Image...');
  const message = vscode.l10n.t(
    '{0} is here, complete and checked. Fovea answers with it from now on.',
    model,
  );
  if ((await vscode.window.showInformationMessage(message, ask)) === ask)
    await vscode.commands.executeCommand('fovea.ask');
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
