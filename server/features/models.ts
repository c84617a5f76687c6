import { readdir, stat } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { cachedRepository, openCheckpoint } from '../llava/checkpoint/open';
import { ModelError, toErrorData } from '../llava/errors';
import { modelStores } from '../models/plan';
import { modelPlaces } from '../models/settings';
import type { ListModelsRequest, ModelSummary } from '../protocol';

/**
 * What checkpoint folders are, by their headers. Summaries are remembered as long as the folder's files do not change,
 * because every hover needs the model's hash.
 */
export class Models {
  readonly #embedded: string;
  readonly #known = new Map<string, { fingerprint: string; summary: Promise<ModelSummary> }>();

  /** @param embedded folder of the checkpoint that comes with the extension. */
  constructor(embedded: string) {
    this.#embedded = embedded;
  }

  get embedded(): string {
    return this.#embedded;
  }

  /** The folder that a value of `fovea.model` means; what is no absolute path stays as it is, and {@link summary} refuses it. */
  directory(setting: string): string {
    const text = setting.trim();
    if (text === '') return this.#embedded;
    const expanded = /^~[\\/]/.test(text) ? path.join(os.homedir(), text.slice(2)) : text;
    return path.isAbsolute(expanded) ? path.resolve(expanded) : text;
  }

  /** @throws ModelError */
  async summary(directory: string): Promise<ModelSummary> {
    if (!path.isAbsolute(directory)) throw notAFolder(directory);
    const fingerprint = await fingerprintOf(directory);
    const known = this.#known.get(directory);
    if (known?.fingerprint === fingerprint) return known.summary;
    const summary = summarise(directory);
    this.#known.set(directory, { fingerprint, summary });
    summary.catch(() => this.#known.delete(directory));
    return summary;
  }

  /** Everything that can be chosen on this machine, the embedded model first. */
  async list(setting: string): Promise<ListModelsRequest.Result> {
    const chosen = this.directory(setting);
    const found: Pick<ListModelsRequest.Model, 'directory' | 'origin' | 'setting'>[] = [
      { directory: this.#embedded, origin: 'embedded', setting: '' },
    ];
    for (const store of modelStores(modelPlaces())) {
      const origin = store.origin === 'fovea' ? 'downloads' : store.origin;
      for (const directory of await store.snapshots()) {
        if (found.some((model) => model.directory === directory)) continue;
        found.push({ directory, origin, setting: directory });
      }
    }
    // A folder of the user's own, that no store knows.
    if (found.every(({ directory }) => directory !== chosen))
      found.splice(1, 0, { directory: chosen, origin: 'settings', setting });
    const models: ListModelsRequest.Model[] = [];
    for (const model of found) {
      const common = { ...model, chosen: model.directory === chosen };
      try {
        const summary = await this.summary(model.directory);
        models.push({ ...common, name: summary.name, summary });
      } catch (error) {
        const data = toErrorData(error);
        // The cache holds models of all kinds; those of another kind are no faults.
        const isOther = model.origin === 'hugging-face-cache' && OTHER_KIND.test(data.code);
        const name = cachedRepository(model.directory) ?? path.basename(model.directory);
        if (!isOther) models.push({ ...common, name, error: data });
      }
    }
    return models;
  }
}

/** Somebody wrote a model's name into the settings, or a path from a folder that nobody knows. */
function notAFolder(setting: string): ModelError {
  return new ModelError({
    code: 'model.setting-not-a-folder',
    message: `The setting fovea.model is no folder: "${setting}".`,
    why: 'It takes the absolute path of a checkpoint.',
    nextStep: '"Fovea: Choose Model..." finds models by name, gets them and sets it.',
  });
}

/** Faults by which a folder of the Hugging Face cache shows that it is no LLaVA checkpoint at all. */
const OTHER_KIND = /^model\.(?:no-config$|config-invalid$|unsupported)/;

async function summarise(directory: string): Promise<ModelSummary> {
  const checkpoint = await openCheckpoint(directory);
  const { name, config, parameters, hash } = checkpoint;
  return { name, directory: checkpoint.directory, family: config.modelType, parameters, hash };
}

/** Names, sizes and times of a folder's files; empty where there is no folder. */
async function fingerprintOf(directory: string): Promise<string> {
  const names = await readdir(directory).catch(() => []);
  const parts = await Promise.all(
    names.sort().map(async (name) => {
      const status = await stat(path.join(directory, name)).catch(() => undefined);
      return `${name}:${status?.size}:${status?.mtimeMs}`;
    }),
  );
  return parts.join('\n');
}
