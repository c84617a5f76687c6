import { ModelError } from '../llava/errors';
import type { ErrorData } from '../protocol';
import { unsupported } from './catalogue';
import { untrustworthy } from './errors';
import {
  CONFIG_FILE,
  isDescription,
  TOKENIZER_FILE,
  WEIGHTS_FILE,
  WEIGHTS_INDEX_FILE,
  type ModelId,
} from './fileNames';
import type { Hub, HubFile, RepositoryListing } from './hub';
import type { HubSettings, ModelPlaces } from './settings';
import { ModelStore, shardsOf, sizeOf } from './store';

/** The model is here: nothing has to be fetched. */
export interface PresentModel {
  readonly kind: 'present';
  readonly repository: string;
  readonly commit: string;
  readonly directory: string;
  readonly origin: ModelStore['origin'];
}

/** What a download will do; for the user to agree to. Plain data. */
export interface DownloadPlan {
  readonly kind: 'download';
  readonly repository: string;
  readonly revision: string;
  readonly commit: string;
  /** Who is asked for the files. Large ones come from the storage that this host names. */
  readonly host: string;
  readonly licence: string | undefined;
  readonly files: readonly HubFile[];
  readonly totalBytes: number;
  /** Of these, in the Hugging Face cache or left by an earlier try. */
  readonly presentBytes: number;
  /** The folder that the model will be in. */
  readonly directory: string;
  /** Why this version of Fovea could not use it. */
  readonly unsupported: ErrorData | undefined;
}

/** All models of this machine's user, the Hugging Face cache first. */
export function modelStores(places: ModelPlaces): readonly [huggingFace: ModelStore, own: ModelStore] {
  return [
    new ModelStore(places.huggingFaceCache, 'hugging-face-cache'),
    new ModelStore(places.modelsDirectory, 'fovea'),
  ];
}

/** A checkpoint has a few dozen files; far more are not a checkpoint. */
const MAX_FILES = 500;

/**
 * Finds out what has to be fetched for a model. A model that is here costs no request at all. For another one the hub is
 * asked for the list of its files and for the two that say what they are (config.json and the index of the weights);
 * nothing is written.
 *
 * @throws ModelError `hub.*`, DownloadCancelledError
 */
export async function planDownload(
  id: ModelId,
  { settings, hub }: { settings: HubSettings; hub: Hub },
  signal?: AbortSignal,
): Promise<PresentModel | DownloadPlan> {
  const stores = modelStores(settings);
  for (const store of stores) {
    const found = await store.find(id);
    if (found !== undefined)
      return { kind: 'present', repository: id.repository, ...found, origin: store.origin };
  }
  if (settings.offline) throw offline(id.repository);

  const listing = await hub.listing(id, signal);
  const { commit, licence } = listing;
  const read = (file: HubFile): Promise<Buffer> =>
    hub.readSmall({ repository: id.repository, commit, file }, signal);
  const files = await neededFiles(id.repository, listing, hub.host, read);
  const config = files.find(({ path }) => path === CONFIG_FILE)!;
  return {
    kind: 'download',
    repository: id.repository,
    revision: id.revision,
    commit,
    host: hub.host,
    licence,
    files,
    totalBytes: files.reduce((sum, { size }) => sum + size, 0),
    presentBytes: await presentBytes(stores, id.repository, files),
    directory: stores[1].snapshot(id.repository, commit),
    unsupported: unsupported(parseJson(await read(config))),
  };
}

async function neededFiles(
  repository: string,
  { files }: RepositoryListing,
  host: string,
  read: (file: HubFile) => Promise<Buffer>,
): Promise<HubFile[]> {
  const byName = new Map(files.map((file) => [file.path, file]));
  if (!byName.has(CONFIG_FILE)) throw notACheckpoint(repository, `It has no ${CONFIG_FILE}.`);
  if (!byName.has(TOKENIZER_FILE))
    throw notACheckpoint(
      repository,
      `It has no ${TOKENIZER_FILE}; the sentencepiece file alone is not read.`,
    );

  const needed = files.filter(({ path }) => isDescription(path));
  const single = byName.get(WEIGHTS_FILE);
  const index = byName.get(WEIGHTS_INDEX_FILE);
  if (single !== undefined) needed.push(single);
  else if (index !== undefined) {
    const shards = shardsOf(await read(index));
    if (shards === undefined) throw untrustworthy(host, `Its ${WEIGHTS_INDEX_FILE} names no weights files.`);
    needed.push(index);
    for (const name of shards) {
      const shard = byName.get(name);
      if (shard === undefined) throw notACheckpoint(repository, `The weights file ${name} is not in it.`);
      needed.push(shard);
    }
  } else throw notACheckpoint(repository, 'It has no safetensors weights.');

  if (needed.length > MAX_FILES) throw untrustworthy(host, `A checkpoint of ${needed.length} files is none.`);
  // Small ones first: what is wrong with a model shows in them.
  return needed.sort((a, b) => a.size - b.size || (a.path < b.path ? -1 : 1));
}

async function presentBytes(
  [huggingFace, own]: readonly [ModelStore, ModelStore],
  repository: string,
  files: readonly HubFile[],
): Promise<number> {
  let bytes = 0;
  for (const file of files) {
    const here = (await own.hasBlob(repository, file)) || (await huggingFace.hasBlob(repository, file));
    bytes += here ? file.size : await incompleteBytes(own, repository, file);
  }
  return bytes;
}

/** What an earlier try left of a file. */
export async function incompleteBytes(store: ModelStore, repository: string, file: HubFile): Promise<number> {
  return Math.min(file.size, (await sizeOf(incompleteFile(store, repository, file))) ?? 0);
}

export function incompleteFile(store: ModelStore, repository: string, file: HubFile): string {
  return `${store.blob(repository, file.hash)}.incomplete`;
}

function parseJson(content: Buffer): unknown {
  try {
    return JSON.parse(content.toString('utf8'));
  } catch {
    return undefined;
  }
}

export function offline(repository: string): ModelError {
  return new ModelError({
    code: 'hub.offline',
    message: `${repository} is not on this machine.`,
    why: 'HF_HUB_OFFLINE is set, so nothing is downloaded.',
    nextStep: 'Remove HF_HUB_OFFLINE, or copy the model here and choose its folder.',
  });
}

function notACheckpoint(repository: string, why: string): ModelError {
  return new ModelError({
    code: 'hub.not-a-checkpoint',
    message: `${repository} is no checkpoint that Fovea could read.`,
    why,
    nextStep: 'Choose a LLaVA repository in the format of transformers; those of llava-hf are.',
  });
}
