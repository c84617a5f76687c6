/** The rows of the model chooser. */
import * as vscode from 'vscode';
import type { ListModelsRequest, ModelCatalogueRequest } from '../../server/protocol';
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

export interface ModelItem extends vscode.QuickPickItem {
  choice?: ModelChoice;
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
export function modelItems(
  models: readonly ListModelsRequest.Model[],
  catalogue: readonly ModelCatalogueRequest.Entry[],
  typed: string,
): ModelItem[] {
  const offered = catalogue.filter(
    ({ supported, state }) => supported && (state === 'absent' || state === 'partial'),
  );
  const id = typedHubId(typed);
  const known = catalogue.find(({ name, repository }) => id !== undefined && [name, repository].includes(id));
  return [
    id !== undefined && !known ? typedItem(id) : separator(''),
    separator(vscode.l10n.t('on this machine')),
    ...models.map(modelItem),
    ...(offered.length > 0 ? [separator(vscode.l10n.t('to download'))] : []),
    ...offered.map(catalogueItem),
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

function modelItem({ name, origin, setting, chosen, summary, error }: ListModelsRequest.Model): ModelItem {
  const size =
    summary && vscode.l10n.t('{0}, {1} parameters', summary.family, formatParameters(summary.parameters));
  return {
    label: `$(${chosen ? 'check' : 'blank'}) ${name}`,
    description: chosen ? vscode.l10n.t('{0} · in use', ORIGINS[origin]) : ORIGINS[origin],
    detail: error ? `$(warning) ${error.message}` : size,
    choice: { kind: 'setting', setting, error },
  };
}

function catalogueItem(entry: ModelCatalogueRequest.Entry): ModelItem {
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

function separator(label: string): ModelItem {
  return { label, kind: vscode.QuickPickItemKind.Separator };
}
