import { lstat, readdir, readFile, readlink, rm, stat } from 'node:fs/promises';
import path from 'node:path';

import { openCheckpoint } from '../llava/checkpoint/open';
import { type SidecarCheck, verifySidecar } from '../llava/checkpoint/sidecar';
import { FoveaError, InputError, ModelError, throwIfCancelled } from '../llava/errors';
import { nearest } from '../llava/reduction/nearest';
import type { ErrorData } from '../protocol';
import { formatBytes } from '../traceView/wording';
import { CATALOGUE, catalogueEntry, EMBEDDED_MODEL, unsupported } from './catalogue';
import { contentHash, hashFile, matches, startHash, type ContentHash } from './contentHash';
import { CheckCancelledError } from './errors';
import {
  CONFIG_FILE,
  isDescription,
  isRepositoryId,
  isWeightsName,
  parseModelId,
  WEIGHTS_INDEX_FILE,
  type ModelId,
} from './fileNames';
import { withLock } from './lock';
import { incompleteBytes, modelStores } from './plan';
import type { ModelPlaces } from './settings';
import { missingFiles, sizeOf, type Manifest, type ModelStore } from './store';

/** A model of this machine's user, whole or in part. */
export interface InstalledModel {
  readonly repository: string;
  readonly commit: string;
  /** The snapshot folder; of a partial download it is where the model will be. */
  readonly directory: string;
  readonly origin: ModelStore['origin'];
  readonly state: 'complete' | 'partial';
  /** On the disk. */
  readonly bytes: number;
  /** When it is complete, where that is known. */
  readonly totalBytes: number | undefined;
  /** Why this version of Fovea cannot use it. */
  readonly unsupported: ErrorData | undefined;
}

/** Every LLaVA model in the Hugging Face cache and in Fovea's folder. Makes no request. */
export async function listInstalled(places: ModelPlaces): Promise<InstalledModel[]> {
  const found: InstalledModel[] = [];
  for (const store of modelStores(places)) {
    for (const repository of await store.repositories()) {
      const manifests = await store.manifests(repository);
      for (const commit of await store.commits(repository)) {
        const model = await describeSnapshot(store, repository, commit);
        if (model !== undefined && !(model.state === 'partial' && manifests.some((m) => m.commit === commit)))
          found.push(model);
      }
      for (const manifest of manifests) {
        if (!found.some((model) => model.repository === repository && model.commit === manifest.commit))
          found.push(await describePartial(store, manifest));
      }
    }
  }
  return found;
}

/** @returns undefined for a model of another kind: the Hugging Face cache holds all of them. */
async function describeSnapshot(
  store: ModelStore,
  repository: string,
  commit: string,
): Promise<InstalledModel | undefined> {
  const directory = store.snapshot(repository, commit);
  const config = await readConfig(directory);
  if (!/^llava/.test(String(config?.model_type))) return undefined;
  const complete = (await missingFiles(directory)).length === 0;
  const bytes = await folderBytes(directory);
  return {
    ...{ repository, commit, directory, origin: store.origin, bytes },
    state: complete ? 'complete' : 'partial',
    totalBytes: complete ? bytes : undefined,
    unsupported: unsupported(config),
  };
}

async function describePartial(store: ModelStore, manifest: Manifest): Promise<InstalledModel> {
  const { repository, commit, files } = manifest;
  let bytes = 0;
  for (const file of files)
    bytes += (await store.hasBlob(repository, file))
      ? file.size
      : await incompleteBytes(store, repository, file);
  return {
    ...{ repository, commit, bytes },
    directory: store.snapshot(repository, commit),
    origin: store.origin,
    state: 'partial',
    totalBytes: files.reduce((sum, { size }) => sum + size, 0),
    unsupported: undefined,
  };
}

async function readConfig(directory: string): Promise<Record<string, unknown> | undefined> {
  try {
    const json: unknown = JSON.parse(await readFile(path.join(directory, CONFIG_FILE), 'utf8'));
    return typeof json === 'object' && json !== null ? (json as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

async function folderBytes(directory: string): Promise<number> {
  const names = await readdir(directory).catch(() => []);
  const sizes = await Promise.all(names.map((name) => sizeOf(path.join(directory, name))));
  return sizes.reduce<number>((sum, size) => sum + (size ?? 0), 0);
}

// ---------------------------------------------------------------------------------------------- names

/**
 * The folder that a name means: a folder as it is, a name of the catalogue, or a hub id whose model is on this machine.
 * Makes no request and never downloads.
 *
 * @throws ModelError `model.not-downloaded`, with the command that gets it
 */
export async function resolveModel(
  text: string,
  { embedded, places }: { embedded: string; places: ModelPlaces },
): Promise<string> {
  if (await isFolder(text)) return text;
  if (text === EMBEDDED_MODEL) return embedded;
  const repository = catalogueEntry(text)?.repository ?? text;
  if (isBareWord(text) && catalogueEntry(text) === undefined) throw noSuchModel(text);
  // Not the form of a hub id: a path, whose fault opening it will tell.
  if (!isRepositoryId(repository.split('@')[0])) return text;
  const id = parseModelId(repository);
  const found = await findInstalled(id, places);
  if (found !== undefined) return found.directory;
  const begun = await findBegun(id, places);
  if (begun !== undefined) throw incomplete(text, begun);
  throw notDownloaded(
    text,
    'It is neither a folder nor in the Hugging Face cache nor among the downloads of Fovea.',
  );
}

/** Neither a path nor a hub id: somebody meant a name of the catalogue. */
function isBareWord(text: string): boolean {
  return !/[\\/]|^[.~]/.test(text);
}

function noSuchModel(text: string): InputError {
  const meant = nearest(
    text,
    CATALOGUE.map(({ name }) => name),
  );
  return new InputError({
    code: 'model.unknown',
    message: `There is no folder and no model "${text}".`,
    nextStep: `${meant === undefined ? '' : `Did you mean "${meant}"? `}fovea model list shows the names.`,
  });
}

function incomplete(name: string, { bytes, totalBytes }: InstalledModel): ModelError {
  const of = totalBytes === undefined ? '' : ` of ${formatBytes(totalBytes)}`;
  return new ModelError({
    code: 'model.incomplete',
    message: `Only a part of the model ${name} is on this machine (${formatBytes(bytes)}${of}).`,
    nextStep: `Get the rest with: fovea model add ${name}`,
  });
}

/** The complete snapshot of a model, from the Hugging Face cache or from Fovea's folder. */
export async function findInstalled(
  id: ModelId,
  places: ModelPlaces,
): Promise<{ directory: string; commit: string; store: ModelStore } | undefined> {
  for (const store of modelStores(places)) {
    const found = await store.find(id);
    if (found !== undefined) return { ...found, store };
  }
  return undefined;
}

/** A model of which something is missing. */
async function findBegun({ repository }: ModelId, places: ModelPlaces): Promise<InstalledModel | undefined> {
  const installed = await listInstalled(places);
  return installed.find((model) => model.repository === repository && model.state === 'partial');
}

async function isFolder(text: string): Promise<boolean> {
  return stat(text).then(
    (facts) => facts.isDirectory(),
    () => false,
  );
}

function notDownloaded(name: string, why?: string): ModelError {
  return new ModelError({
    code: 'model.not-downloaded',
    message: `The model ${name} is not on this machine.`,
    why,
    nextStep: `Get it with: fovea model add ${name}`,
  });
}

// ---------------------------------------------------------------------------------------------- verify

export interface Verification {
  readonly directory: string;
  readonly origin: ModelStore['origin'];
  /** Files whose content is what the hub said. */
  readonly right: readonly string[];
  /** Files whose content is something else. */
  readonly damaged: readonly string[];
  /** Files of which nobody wrote down what they must be: they are in the cache as they are, without a link. */
  readonly unknown: readonly string[];
  /** Weights that the engine converted; undefined where the model cannot be opened, and so was never converted as it is. */
  readonly converted: SidecarCheck | undefined;
}

export interface VerifyOptions {
  readonly signal?: AbortSignal;
  readonly onBytes?: (bytes: number, file: string) => void;
  /**
   * Removes damaged contents, so that the next download fetches them (and nothing else) again: of the model's files only in Fovea's
   * own folder. Damaged converted weights are made again by the next question.
   */
  readonly removeDamaged?: boolean;
}

/**
 * Reads every file of a model again and compares it with its hash, and the weights that were converted from it with their checksums.
 *
 * @param engineCacheDirectory where the engine keeps converted weights.
 */
export function verifyInstalled(
  id: ModelId,
  places: ModelPlaces,
  engineCacheDirectory: string,
  options: VerifyOptions = {},
): Promise<Verification> {
  return asCheck(checkInstalled(id, places, engineCacheDirectory, options));
}

/** A check that was stopped says so: what it is made of speaks of downloads and questions. */
async function asCheck<T>(work: Promise<T>): Promise<T> {
  return work.catch((error: unknown) => {
    throw error instanceof FoveaError && error.kind === 'cancelled' ? new CheckCancelledError(error) : error;
  });
}

async function checkInstalled(
  id: ModelId,
  places: ModelPlaces,
  engineCacheDirectory: string,
  options: VerifyOptions,
): Promise<Verification> {
  const found = await findInstalled(id, places);
  if (found === undefined) {
    const begun = await findBegun(id, places);
    throw begun === undefined ? notDownloaded(id.repository) : incomplete(id.repository, begun);
  }
  const { directory, commit, store } = found;
  const expected = await expectedContents(store, id.repository, commit, directory);
  const right: string[] = [];
  const damaged: string[] = [];
  for (const { name, hash, size } of expected.known) {
    const file = path.join(directory, name);
    const digest = startHash(hash, size);
    const length = await hashFile(file, digest, Infinity, {
      signal: options.signal,
      onBytes: (bytes) => options.onBytes?.(bytes, name),
    });
    (length === size && matches(hash, digest) ? right : damaged).push(name);
  }
  const converted = await checkConverted(directory, engineCacheDirectory, options);
  if (options.removeDamaged && damaged.length > 0)
    await removeDamaged(store, id.repository, directory, expected, damaged);
  return { directory, origin: store.origin, right, damaged, unknown: expected.unknown, converted };
}

/** Checks what was converted from the checkpoint in a folder, which may be anywhere. */
export function verifyConverted(
  directory: string,
  engineCacheDirectory: string,
  options: VerifyOptions,
): Promise<SidecarCheck | undefined> {
  return asCheck(checkConverted(directory, engineCacheDirectory, options));
}

async function checkConverted(
  directory: string,
  engineCacheDirectory: string,
  { signal, onBytes, removeDamaged: remove }: VerifyOptions,
): Promise<SidecarCheck | undefined> {
  const checkpoint = await openCheckpoint(directory, { signal }).catch((error: unknown) => {
    throwIfCancelled(signal);
    if (error instanceof ModelError) return undefined;
    throw error;
  });
  return (
    checkpoint &&
    verifySidecar(checkpoint, engineCacheDirectory, {
      signal,
      onFile: (name, bytes) => onBytes?.(bytes, name),
      removeDamaged: remove,
    })
  );
}

interface ExpectedContents {
  readonly known: readonly { name: string; hash: ContentHash; size: number }[];
  readonly unknown: readonly string[];
}

/** From our manifest; in the Hugging Face cache from the names of the contents, which are their hashes. */
async function expectedContents(
  store: ModelStore,
  repository: string,
  commit: string,
  directory: string,
): Promise<ExpectedContents> {
  const manifest = await store.readManifest(repository, commit);
  if (manifest !== undefined)
    return { known: manifest.files.map(({ path: name, hash, size }) => ({ name, hash, size })), unknown: [] };
  const known: ExpectedContents['known'][number][] = [];
  const unknown: string[] = [];
  for (const name of (await readdir(directory)).sort()) {
    if (!isDescription(name) && !isWeightsName(name) && name !== WEIGHTS_INDEX_FILE) continue;
    const file = path.join(directory, name);
    const link = await readlink(file).catch(() => undefined);
    const hash = link === undefined ? undefined : contentHash(path.basename(link));
    if (hash === undefined) unknown.push(name);
    else known.push({ name, hash, size: (await sizeOf(file)) ?? 0 });
  }
  return { known, unknown };
}

async function removeDamaged(
  store: ModelStore,
  repository: string,
  directory: string,
  { known }: ExpectedContents,
  damaged: readonly string[],
): Promise<void> {
  if (store.origin !== 'fovea') throw notOurs(repository, directory);
  for (const { name, hash } of known) {
    if (!damaged.includes(name)) continue;
    await rm(path.join(directory, name), { force: true });
    await rm(store.blob(repository, hash), { force: true });
  }
}

// ---------------------------------------------------------------------------------------------- remove

export interface Removal {
  readonly directory: string;
  /** Bytes that the disk got back. */
  readonly bytes: number;
}

/** What {@link removeInstalled} would remove, for the user to agree to. */
export async function planRemoval(id: ModelId, places: ModelPlaces): Promise<Removal> {
  const [huggingFace, own] = modelStores(places);
  const directory = own.folder(id.repository);
  const facts = await lstat(directory).catch(() => undefined);
  if (facts?.isDirectory()) return { directory, bytes: await treeBytes(directory) };
  const elsewhere = await huggingFace.find(id);
  if (elsewhere !== undefined) throw notOurs(id.repository, elsewhere.directory);
  throw new InputError({
    code: 'model.not-downloaded',
    message: `The model ${id.repository} is not among the downloads of Fovea.`,
    nextStep: 'fovea model list shows what is here.',
  });
}

/**
 * Removes a model with all its revisions from Fovea's own folder, and its converted weights.
 * The Hugging Face cache is never touched.
 *
 * @param engineCacheDirectory where the engine keeps converted weights.
 * @throws ModelError `model.not-ours`, `model.in-use`
 */
export async function removeInstalled(
  id: ModelId,
  places: ModelPlaces,
  engineCacheDirectory: string,
): Promise<Removal> {
  const { directory } = await planRemoval(id, places);
  const [, own] = modelStores(places);
  return withLock(own.lock(id.repository), id.repository, async () => {
    const folders = [directory, ...(await convertedWeights(own, id.repository, engineCacheDirectory))];
    let bytes = 0;
    for (const folder of folders) {
      bytes += await treeBytes(folder);
      await rm(folder, { recursive: true, force: true, maxRetries: 3 }).catch((error: unknown) => {
        throw new ModelError({
          code: 'model.not-removed',
          message: `${folder} cannot be removed.`,
          why: (error as Error).message,
          nextStep: 'If the model is loaded somewhere, close that first; then remove it again.',
          cause: error,
        });
      });
    }
    return { directory, bytes };
  });
}

/** The engine's converted copies of a repository's snapshots: named by the hash of the checkpoint. */
async function convertedWeights(
  own: ModelStore,
  repository: string,
  cacheDirectory: string,
): Promise<string[]> {
  const folders: string[] = [];
  for (const commit of await own.commits(repository)) {
    // A checkpoint that cannot be opened was never converted.
    const checkpoint = await openCheckpoint(own.snapshot(repository, commit)).catch(() => undefined);
    if (checkpoint !== undefined) folders.push(path.join(cacheDirectory, checkpoint.hash));
  }
  return folders;
}

/** Bytes of the files in a folder and below; links are not followed. */
async function treeBytes(directory: string): Promise<number> {
  const entries = await readdir(directory, { withFileTypes: true, recursive: true }).catch(() => []);
  const files = entries.filter((entry) => entry.isFile());
  const sizes = await Promise.all(files.map((entry) => sizeOf(path.join(entry.parentPath, entry.name))));
  return sizes.reduce<number>((sum, size) => sum + (size ?? 0), 0);
}

function notOurs(repository: string, directory: string): ModelError {
  return new ModelError({
    code: 'model.not-ours',
    message: `${repository} is in the Hugging Face cache, which Fovea does not change.`,
    why: `Other programs may rely on ${directory}.`,
    nextStep: `Remove it with the tool that made it: hf cache delete (huggingface-cli delete-cache).`,
  });
}
