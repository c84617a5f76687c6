/** The rows of the model chooser. */
import * as vscode from 'vscode';
import type { ListDownloadsRequest, ListModelsRequest, ModelCatalogueRequest } from '../../server/protocol';
import { formatParameters } from '../../server/traceView/wording';
import { dataSize, fitsMemory, typedHubId } from './modelText';

/** What choosing a row means. */
export type ModelChoice =
  /** A value of `fovea.model`. */
  | { kind: 'setting'; setting: string; error?: ListModelsRequest.Model['error'] }
  /** A name of the catalogue, or a hub id. */
  | { kind: 'download'; model: string; entry?: ModelCatalogueRequest.Entry }
  /** The hub id in the input: it is read when it is accepted, because the row may be a key press behind. */
  | { kind: 'typed' }
  | { kind: 'folder' };

/** What else can be done with a model that lies in Fovea's own folder, whole or in part. */
export interface OwnModel {
  repository: string;
  directory: string;
  bytes: number;
  complete: boolean;
  /** It answers now, by the settings. */
  chosen: boolean;
}

/** A button at the end of a row. */
export interface ModelButton extends vscode.QuickInputButton {
  action: 'verify' | 'remove';
}

export interface ModelItem extends vscode.QuickPickItem {
  choice?: ModelChoice;
  own?: OwnModel;
  buttons?: readonly ModelButton[];
}

/** What the rows are made of. All of it is local. */
export interface ModelLists {
  models: readonly ListModelsRequest.Model[];
  catalogue: readonly ModelCatalogueRequest.Entry[];
  downloads: readonly ListDownloadsRequest.Download[];
}

const ORIGINS: Readonly<Record<ListModelsRequest.Model['origin'], string>> = {
  embedded: vscode.l10n.t('part of Fovea'),
  settings: vscode.l10n.t('from your settings'),
  downloads: vscode.l10n.t('downloaded by Fovea'),
  'hugging-face-cache': vscode.l10n.t('in the Hugging Face cache'),
};

/**
 * What is here, what can be had, and the ways to any other: a folder, or the id that was typed. The first row is that id, or nothing; the
 * others keep their places. The editor tells the active row by its place in a list that is changed at every key, so that a place which
 * meant another row a moment ago would choose another model.
 * @param typed the text in the input
 */
export function modelItems({ models, catalogue, downloads }: ModelLists, typed: string): ModelItem[] {
  const offered = catalogue.filter(
    ({ supported, state }) => supported && (state === 'absent' || state === 'partial'),
  );
  const begun = downloads.filter(
    ({ complete, repository }) => !complete && offered.every((entry) => entry.repository !== repository),
  );
  const ownOf = (directory: string): OwnModel | undefined =>
    own(
      downloads.find((download) => download.complete && download.directory === directory),
      models,
    );
  const begunOf = (repository: string | undefined): OwnModel | undefined =>
    own(
      downloads.find((download) => !download.complete && download.repository === repository),
      models,
    );
  const id = typedHubId(typed);
  const known = catalogue.find(({ name, repository }) => id !== undefined && [name, repository].includes(id));
  return [
    id !== undefined && !known ? typedItem(id) : separator(''),
    separator(vscode.l10n.t('on this machine')),
    ...models.map((model) => modelItem(model, catalogue, ownOf(model.directory))),
    ...(offered.length + begun.length > 0 ? [separator(vscode.l10n.t('to download'))] : []),
    ...begun.map((download) => begunItem(download, begunOf(download.repository))),
    ...offered.map((entry) => catalogueItem(entry, begunOf(entry.repository))),
    separator(vscode.l10n.t('any other')),
    {
      label: vscode.l10n.t('$(folder-opened) Use a Folder...'),
      detail: vscode.l10n.t(
        'A LLaVA checkpoint in the Hugging Face format: config.json, *.safetensors, tokenizer.json',
      ),
      choice: { kind: 'folder' },
      alwaysShow: true,
    },
  ];
}

function own(
  download: ListDownloadsRequest.Download | undefined,
  models: readonly ListModelsRequest.Model[],
): OwnModel | undefined {
  if (!download) return undefined;
  const chosen = models.some((model) => model.chosen && model.directory === download.directory);
  return { ...download, chosen };
}

function modelItem(
  { name, origin, setting, chosen, summary, error, directory }: ListModelsRequest.Model,
  catalogue: readonly ModelCatalogueRequest.Entry[],
  ownModel: OwnModel | undefined,
): ModelItem {
  const known = catalogue.find(({ directories }) => directories.includes(directory));
  const facts = summary && [
    vscode.l10n.t('{0}, {1} parameters.', summary.family, formatParameters(summary.parameters)),
    ...(known ? [known.summary] : []),
  ];
  const description = [
    ORIGINS[origin],
    ...(ownModel ? [dataSize(ownModel.bytes)] : []),
    ...(chosen ? [vscode.l10n.t('in use')] : []),
  ];
  return {
    label: `$(${chosen ? 'check' : 'blank'}) ${name}`,
    description: description.join(' · '),
    detail: error ? `$(warning) ${error.message}` : facts?.join(' '),
    choice: { kind: 'setting', setting, error },
    ...(ownModel ? { own: ownModel, buttons: [verifyButton(), removeButton()] } : {}),
  };
}

function catalogueItem(entry: ModelCatalogueRequest.Entry, begun: OwnModel | undefined): ModelItem {
  const { name, repository, summary, licence, parameters, downloadBytes, memoryBytes, state } = entry;
  const size =
    state === 'partial'
      ? vscode.l10n.t('{0}, partly here', dataSize(downloadBytes))
      : dataSize(downloadBytes);
  const memory = fitsMemory(entry)
    ? vscode.l10n.t('needs {0} of memory', dataSize(memoryBytes))
    : vscode.l10n.t(
        '$(warning) needs {0} of memory, {1} here',
        dataSize(memoryBytes),
        dataSize(entry.machineMemoryBytes),
      );
  return {
    label: `$(cloud-download) ${name}`,
    // A row is one line: what decides comes first.
    description: [size, memory, vscode.l10n.t('licence {0}', licence)].join(' · '),
    detail: vscode.l10n.t('{0} parameters. {1}', formatParameters(parameters), summary),
    choice: { kind: 'download', model: repository ?? name, entry },
    ...(begun ? { own: begun, buttons: [removeButton()] } : {}),
  };
}

/** A download of another model that was begun. */
function begunItem(
  { repository, bytes, totalBytes }: ListDownloadsRequest.Download,
  begun: OwnModel | undefined,
): ModelItem {
  return {
    label: `$(cloud-download) ${repository}`,
    description:
      totalBytes === undefined
        ? vscode.l10n.t('partly here')
        : vscode.l10n.t('{0} of {1} here', dataSize(bytes), dataSize(totalBytes)),
    detail: vscode.l10n.t('The download goes on where it stopped.'),
    choice: { kind: 'download', model: repository },
    own: begun,
    buttons: [removeButton()],
  };
}

function typedItem(id: string): ModelItem {
  return {
    label: `$(cloud-download) ${id}`,
    description: vscode.l10n.t('from Hugging Face'),
    detail: vscode.l10n.t('Asks for its size and licence first; nothing is downloaded before you agree.'),
    choice: { kind: 'typed' },
    alwaysShow: true,
  };
}

function verifyButton(): ModelButton {
  return {
    iconPath: new vscode.ThemeIcon('verified'),
    tooltip: vscode.l10n.t('Check All Files'),
    action: 'verify',
  };
}

function removeButton(): ModelButton {
  return {
    iconPath: new vscode.ThemeIcon('trash'),
    tooltip: vscode.l10n.t('Remove From This Machine...'),
    action: 'remove',
  };
}

function separator(label: string): ModelItem {
  return { label, kind: vscode.QuickPickItemKind.Separator };
}
