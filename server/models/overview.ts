import os from 'node:os';

import type { ModelCatalogueRequest } from '../protocol';
import { CATALOGUE, conversionBytes, memoryNeeded, unsupported, type CatalogueEntry } from './catalogue';
import type { InstalledModel } from './installed';

/**
 * The catalogue with what this machine has of it.
 * @param embedded folder of the model that comes with Fovea.
 */
export function catalogueOverview(
  installed: readonly InstalledModel[],
  embedded: string,
): ModelCatalogueRequest.Entry[] {
  return CATALOGUE.map((entry) => describeEntry(entry, installed, embedded));
}

export function describeEntry(
  entry: CatalogueEntry,
  installed: readonly InstalledModel[],
  embedded: string,
): ModelCatalogueRequest.Entry {
  const { name, repository, summary, licence, parameters, config } = entry;
  const machineMemoryBytes = os.totalmem();
  const here = installed.filter((model) => model.repository === repository);
  return {
    ...{ name, repository, summary, licence, parameters },
    family: String(config.model_type),
    supported: unsupported(config) === undefined,
    downloadBytes: repository === undefined ? 0 : entry.bytes,
    conversionBytes: conversionBytes(entry, machineMemoryBytes),
    memoryBytes: memoryNeeded(entry, machineMemoryBytes),
    machineMemoryBytes,
    state: repository === undefined ? 'embedded' : stateOf(here),
    directories: repository === undefined ? [embedded] : here.map(({ directory }) => directory),
  };
}

function stateOf(here: readonly InstalledModel[]): 'complete' | 'partial' | 'absent' {
  if (here.some(({ state }) => state === 'complete')) return 'complete';
  return here.length > 0 ? 'partial' : 'absent';
}
