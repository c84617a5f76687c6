import { readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';

import { contentHash, type ContentHash } from './contentHash';
import {
  CONFIG_FILE,
  DEFAULT_REVISION,
  isCommit,
  isDescription,
  isRepositoryId,
  isWeightsName,
  TOKENIZER_FILE,
  WEIGHTS_FILE,
  WEIGHTS_INDEX_FILE,
  type ModelId,
} from './fileNames';
import type { HubFile } from './hub';

/**
 * A folder of models in the layout of huggingface_hub's cache:
 *
 *   models--<organisation>--<name>/
 *     blobs/<sha256 or git blob id>        the contents; `.incomplete` while they arrive
 *     snapshots/<commit>/<file>            links into blobs
 *     refs/<revision>                      the commit that a revision was
 *     fovea/<commit>.json                  what a download consists of (Fovea's own folder only)
 *
 * Fovea reads the user's Hugging Face cache and never writes to it: what others rely on is not ours to change or to remove.
 * Downloads go to a folder of its own in the same layout, so that Python reads them too, with HF_HUB_CACHE set to it.
 */
export class ModelStore {
  constructor(
    readonly root: string,
    readonly origin: 'fovea' | 'hugging-face-cache',
  ) {}

  folder(repository: string): string {
    return path.join(this.root, `models--${repository.replace('/', '--')}`);
  }

  blob(repository: string, hash: ContentHash): string {
    return path.join(this.folder(repository), 'blobs', hash.hex);
  }

  snapshot(repository: string, commit: string): string {
    return path.join(this.folder(repository), 'snapshots', commit);
  }

  reference({ repository, revision }: ModelId): string {
    return path.join(this.folder(repository), 'refs', ...revision.split('/'));
  }

  /** Whoever writes into the folder of a model holds this. */
  lock(repository: string): string {
    return path.join(this.folder(repository), 'fovea', 'lock');
  }

  manifest(repository: string, commit: string): string {
    return path.join(this.folder(repository), 'fovea', `${commit}.json`);
  }

  /** Whether the content of a file is here, by its size; its hash was checked before it got its name. */
  async hasBlob(repository: string, file: HubFile): Promise<boolean> {
    return (await sizeOf(this.blob(repository, file.hash))) === file.size;
  }

  /** The complete snapshot of a model, or undefined. Makes no request. */
  async find(id: ModelId): Promise<{ directory: string; commit: string } | undefined> {
    for (const commit of await this.#candidates(id)) {
      const directory = this.snapshot(id.repository, commit);
      if ((await missingFiles(directory)).length === 0) return { directory, commit };
    }
    return undefined;
  }

  async #candidates({ repository, revision }: ModelId): Promise<string[]> {
    if (isCommit(revision)) return [revision];
    const text = await readFile(this.reference({ repository, revision }), 'utf8').catch(() => '');
    const commit = text.trim();
    if (isCommit(commit)) return [commit];
    // Somebody fetched a commit without a branch's name: as good as the default one.
    return revision === DEFAULT_REVISION ? this.commits(repository) : [];
  }

  /** Commits with a snapshot, the newest first. */
  async commits(repository: string): Promise<string[]> {
    const parent = path.join(this.folder(repository), 'snapshots');
    const found = (await names(parent)).filter(isCommit);
    const times = await Promise.all(
      found.map(async (commit) => ({
        commit,
        time: (await status(path.join(parent, commit)))?.mtimeMs ?? 0,
      })),
    );
    return times.sort((a, b) => b.time - a.time).map(({ commit }) => commit);
  }

  /** Ids of the model repositories that have a folder here. */
  async repositories(): Promise<string[]> {
    const ids = (await names(this.root)).flatMap((name) => {
      const [, organisation, model] = /^models--([^-].*?)--(.+)$/.exec(name) ?? [];
      return model === undefined ? [] : [`${organisation}/${model}`];
    });
    return ids.filter(isRepositoryId).sort();
  }

  /** Folders of all snapshots that have a config.json, of models of any kind. */
  async snapshots(): Promise<string[]> {
    const found: string[] = [];
    for (const repository of await this.repositories()) {
      for (const commit of await this.commits(repository)) {
        const directory = this.snapshot(repository, commit);
        if ((await sizeOf(path.join(directory, CONFIG_FILE))) !== undefined) found.push(directory);
      }
    }
    return found;
  }

  async readManifest(repository: string, commit: string): Promise<Manifest | undefined> {
    const text = await readFile(this.manifest(repository, commit), 'utf8').catch(() => undefined);
    return text === undefined ? undefined : parseManifest(text);
  }

  /** Downloads that were begun, finished or not. */
  async manifests(repository: string): Promise<Manifest[]> {
    const found: Manifest[] = [];
    for (const name of await names(path.join(this.folder(repository), 'fovea'))) {
      const manifest = await this.readManifest(repository, name.replace(/\.json$/, ''));
      if (manifest !== undefined) found.push(manifest);
    }
    return found;
  }
}

/** What a download consists of; written before its first byte. */
export interface Manifest {
  readonly version: 1;
  readonly repository: string;
  readonly revision: string;
  readonly commit: string;
  readonly host: string;
  readonly licence?: string;
  readonly files: readonly HubFile[];
}

/** Our own file, but a disk is no place to trust: what does not fit is as if it were not there. */
function parseManifest(text: string): Manifest | undefined {
  try {
    const manifest = JSON.parse(text) as Manifest;
    const fits =
      manifest.version === 1 &&
      isRepositoryId(manifest.repository) &&
      isCommit(manifest.commit) &&
      typeof manifest.revision === 'string' &&
      manifest.files.every(
        ({ path: name, size, hash }) =>
          (isDescription(name) || isWeightsName(name) || name === WEIGHTS_INDEX_FILE) &&
          Number.isSafeInteger(size) &&
          contentHash(hash.hex)?.algorithm === hash.algorithm,
      );
    return fits ? manifest : undefined;
  } catch {
    return undefined;
  }
}

/** What a checkpoint folder lacks to be opened; empty for a complete one. Looks at names, not at contents. */
export async function missingFiles(directory: string): Promise<string[]> {
  const lacks = async (name: string): Promise<boolean> => !((await sizeOf(path.join(directory, name))) ?? 0);
  const missing: string[] = [];
  for (const name of [CONFIG_FILE, TOKENIZER_FILE]) if (await lacks(name)) missing.push(name);
  if (!(await lacks(WEIGHTS_FILE))) return missing;
  const index = await readFile(path.join(directory, WEIGHTS_INDEX_FILE)).catch(() => undefined);
  const shards = index === undefined ? undefined : shardsOf(index);
  for (const name of shards ?? [WEIGHTS_FILE]) if (await lacks(name)) missing.push(name);
  return missing;
}

/** The weights files that an index names, sorted; undefined where it is no index or names what is no weights file. */
export function shardsOf(index: Uint8Array): string[] | undefined {
  try {
    const { weight_map: map } = JSON.parse(Buffer.from(index).toString('utf8')) as { weight_map: object };
    const shards = [...new Set(Object.values(map) as unknown[])];
    const fits = shards.length > 0 && shards.every((name) => typeof name === 'string' && isWeightsName(name));
    return fits ? (shards as string[]).sort() : undefined;
  } catch {
    return undefined;
  }
}

/** Bytes of a file, links followed; undefined where there is none. */
export async function sizeOf(file: string): Promise<number | undefined> {
  const found = await status(file);
  return found?.isFile() ? found.size : undefined;
}

async function status(file: string) {
  return stat(file).catch(() => undefined);
}

async function names(directory: string): Promise<string[]> {
  return readdir(directory).catch(() => []);
}
