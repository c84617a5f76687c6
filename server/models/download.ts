import type { Hash } from 'node:crypto';
import * as nodeFileSystem from 'node:fs/promises';
import path from 'node:path';

import { MAKE_WRITABLE } from '../llava/cacheDirectory';
import { FoveaError, ModelError } from '../llava/errors';
import { makeFolder } from '../llava/makeFolder';
import { formatBytes } from '../traceView/wording';
import { hashFile, matches, startHash } from './contentHash';
import { TemporaryFault, throwIfStopped, untrustworthy } from './errors';
import type { Hub, HubFile } from './hub';
import { withLock } from './lock';
import { incompleteBytes, incompleteFile, modelStores, offline, type DownloadPlan } from './plan';
import { ProgressMeter, type DownloadProgress } from './progress';
import { withRetries } from './retry';
import type { HubSettings } from './settings';
import { sizeOf, type Manifest, type ModelStore } from './store';

/** The file system calls that write; tests put faults in. */
export type DownloadFileSystem = Pick<
  typeof nodeFileSystem,
  'copyFile' | 'link' | 'mkdir' | 'open' | 'rename' | 'rm' | 'statfs' | 'symlink' | 'writeFile'
>;

export interface DownloadOptions {
  readonly settings: HubSettings;
  readonly hub: Hub;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: DownloadProgress) => void;
  readonly fileSystem?: DownloadFileSystem;
  readonly now?: () => number;
  /** An attempt that brought this much was worth it: the count of failures begins anew. */
  readonly worthwhileBytes?: number;
}

/** Left free on the disk: a full one breaks more than a download. */
const SPARE_BYTES = 64 * 1024 * 1024;
const WORTHWHILE_BYTES = 1024 * 1024;

/**
 * Fetches what a plan says and publishes the model's folder when all of it is here and right. The caller has the user's
 * consent to the plan.
 *
 * What has arrived survives a break, a cancel, a kill and a full disk: the next call goes on from there. Each content is
 * hashed as it arrives and gets its name only when the hash is right; the folder appears only when it is complete.
 *
 * @returns the folder
 * @throws ModelError, DownloadCancelledError
 */
export async function executePlan(plan: DownloadPlan, options: DownloadOptions): Promise<string> {
  const { settings } = options;
  if (settings.offline) throw offline(plan.repository);
  const [huggingFace, own] = modelStores(settings);
  try {
    return await withLock(own.lock(plan.repository), plan.repository, () =>
      new Download(plan, options, huggingFace, own).run(),
    );
  } catch (error) {
    throw explain(error, settings.modelsDirectory);
  }
}

class Download {
  readonly #files: DownloadFileSystem;
  #meter: ProgressMeter;

  constructor(
    private readonly plan: DownloadPlan,
    private readonly options: DownloadOptions,
    private readonly huggingFace: ModelStore,
    private readonly own: ModelStore,
  ) {
    this.#files = options.fileSystem ?? nodeFileSystem;
    this.#meter = this.#newMeter(0);
  }

  async run(): Promise<string> {
    const { plan, own } = this;
    const { repository, files } = plan;
    const missing: { file: HubFile; arrived: number }[] = [];
    for (const file of files) {
      if (!(await own.hasBlob(repository, file)))
        missing.push({ file, arrived: await incompleteBytes(own, repository, file) });
    }
    const left = missing.reduce((sum, { file, arrived }) => sum + file.size - arrived, 0);
    this.#meter = this.#newMeter(plan.totalBytes - left);
    await makeFolder(path.join(own.folder(repository), 'blobs'), this.#files);
    await this.#requireSpace(left);
    await this.#writeManifest();
    for (const { file } of missing) {
      throwIfStopped(this.options.signal);
      if (!(await this.#takeFromHuggingFaceCache(file))) await this.#fetch(file);
    }
    await this.#publish();
    this.#meter.finish();
    return plan.directory;
  }

  #newMeter(present: number): ProgressMeter {
    const { onProgress, now } = this.options;
    return new ProgressMeter(this.plan.totalBytes, present, onProgress, now ?? (() => performance.now()));
  }

  // -------------------------------------------------------------------------------------------- one file

  /** A content that Python fetched earlier: the same bytes under a second name where the disk allows it, else a copy. */
  async #takeFromHuggingFaceCache(file: HubFile): Promise<boolean> {
    const { repository } = this.plan;
    if (!(await this.huggingFace.hasBlob(repository, file))) return false;
    this.#meter.startFile(file.path, 'checking the copy in the Hugging Face cache');
    const source = await nodeFileSystem.realpath(this.huggingFace.blob(repository, file.hash));
    const hash = startHash(file.hash, file.size);
    await hashFile(source, hash, file.size, { signal: this.options.signal });
    if (!matches(file.hash, hash)) return false;
    const target = incompleteFile(this.own, repository, file);
    this.#meter.adjust(-(await incompleteBytes(this.own, repository, file)));
    await this.#files.rm(target, { force: true });
    await this.#linkOrCopy(source, target);
    this.#meter.adjust(file.size);
    await this.#files.rename(target, this.own.blob(repository, file.hash));
    return true;
  }

  async #fetch(file: HubFile): Promise<void> {
    const { hub, signal } = this.options;
    const target = incompleteFile(this.own, this.plan.repository, file);
    const arrival = await this.#resume(file, target);
    this.#meter.startFile(file.path);
    const onRetry = (waitMs: number, why: string): void =>
      this.#meter.note(`${why} Next attempt in ${Math.ceil(waitMs / 1000)} s.`);
    await withRetries({ policy: hub.retries, signal, onRetry }, async ({ advanced }) => {
      if (arrival.done < file.size || file.size === 0) await this.#receive(file, target, arrival, advanced);
      await this.#accept(file, target, arrival);
    });
  }

  /** What an earlier try left of a file, hashed. */
  async #resume(file: HubFile, target: string): Promise<Arrival> {
    const arrival: Arrival = { done: 0, hash: startHash(file.hash, file.size), resumed: false };
    const before = (await sizeOf(target)) ?? 0;
    if (before > file.size) {
      await this.#files.rm(target);
      this.#meter.adjust(-file.size);
    } else if (before > 0) {
      this.#meter.startFile(file.path, 'checking what is here');
      arrival.done = await hashFile(target, arrival.hash, before, { signal: this.options.signal });
      arrival.resumed = true;
    }
    return arrival;
  }

  /** One connection's worth of a file, from where it stopped. */
  async #receive(file: HubFile, target: string, arrival: Arrival, advanced: () => void): Promise<void> {
    const { hub, signal, worthwhileBytes = WORTHWHILE_BYTES } = this.options;
    const { repository, commit } = this.plan;
    const { response, start } = await hub.open({ repository, commit, file, from: arrival.done }, signal);
    try {
      // A server without ranges begins at the beginning.
      if (start < arrival.done) this.#startOver(file, arrival);
      const begin = arrival.done;
      const handle = await this.#files.open(target, begin === 0 ? 'w' : 'r+');
      try {
        for await (const chunk of response.body) {
          if (arrival.done + chunk.length > file.size)
            throw untrustworthy(
              response.host,
              `It sends more of ${file.path} than the ${file.size} bytes it has.`,
            );
          await writeAll(handle, chunk, arrival.done);
          arrival.hash.update(chunk);
          arrival.done += chunk.length;
          this.#meter.received(chunk.length);
          if (arrival.done - begin >= worthwhileBytes) advanced();
        }
        await handle.sync();
      } finally {
        await handle.close();
      }
    } finally {
      response.close();
    }
    if (arrival.done < file.size)
      throw new TemporaryFault(untrustworthy(response.host, `It ended in the middle of ${file.path}.`));
  }

  #startOver(file: HubFile, arrival: Arrival): void {
    this.#meter.adjust(-arrival.done);
    arrival.done = 0;
    arrival.hash = startHash(file.hash, file.size);
    arrival.resumed = false;
  }

  /** Gives a whole file its name, if it is what it should be. */
  async #accept(file: HubFile, target: string, arrival: Arrival): Promise<void> {
    const { repository, host } = this.plan;
    if (matches(file.hash, arrival.hash)) {
      await this.#files.rename(target, this.own.blob(repository, file.hash));
      return;
    }
    await this.#files.rm(target, { force: true });
    const { resumed } = arrival;
    this.#startOver(file, arrival);
    const wrong = new ModelError({
      code: 'hub.wrong-content',
      message: `${file.path} did not arrive as ${host} describes it.`,
      why: `Its ${file.hash.algorithm === 'sha256' ? 'SHA-256' : 'git blob id'} is not ${file.hash.hex}.`,
      nextStep:
        'Start the download again. If it happens again, something on the way changes the file: check the proxy.',
    });
    // The part from an earlier try may have been the bad one: once more, from the beginning.
    throw resumed ? new TemporaryFault(wrong) : wrong;
  }

  // -------------------------------------------------------------------------------------------- the folder

  /** Better to say it now than after an hour. A file system that cannot tell is tried. */
  async #requireSpace(needed: number): Promise<void> {
    const { modelsDirectory } = this.options.settings;
    const space = await this.#files.statfs(modelsDirectory).catch(() => undefined);
    if (needed > 0 && space !== undefined && space.bavail * space.bsize < needed + SPARE_BYTES)
      throw diskFull(
        modelsDirectory,
        `${formatBytes(needed)} are needed, ${formatBytes(space.bavail * space.bsize)} are free.`,
      );
  }

  async #writeManifest(): Promise<void> {
    const { repository, revision, commit, host, licence, files } = this.plan;
    const manifest: Manifest = { version: 1, repository, revision, commit, host, licence, files };
    await this.#writeWhole(
      this.own.manifest(repository, commit),
      `${JSON.stringify(manifest, undefined, 1)}\n`,
    );
  }

  /** Makes the folder appear, whole, then the name of the revision. */
  async #publish(): Promise<void> {
    const { repository, revision, commit, files, directory } = this.plan;
    const partial = `${directory}.partial`;
    await this.#files.rm(partial, { recursive: true, force: true });
    await makeFolder(partial, this.#files);
    for (const file of files) await this.#place(file, path.join(partial, file.path));
    // An older folder of the same commit lacks something, else there was nothing to download.
    await this.#files.rm(directory, { recursive: true, force: true });
    await this.#files.rename(partial, directory);
    if (revision !== commit) await this.#writeWhole(this.own.reference({ repository, revision }), commit);
  }

  /** A link from the snapshot to the content: symbolic, as huggingface_hub makes it, where the system allows that. */
  async #place(file: HubFile, target: string): Promise<void> {
    const blob = this.own.blob(this.plan.repository, file.hash);
    try {
      // Relative to the final folder, which is as deep as the partial one.
      await this.#files.symlink(path.relative(path.dirname(target), blob), target, 'file');
    } catch {
      // Windows wants a special right for symbolic links.
      await this.#linkOrCopy(blob, target);
    }
  }

  async #linkOrCopy(source: string, target: string): Promise<void> {
    try {
      await this.#files.link(source, target);
    } catch {
      await this.#files.copyFile(source, target);
    }
  }

  async #writeWhole(file: string, text: string): Promise<void> {
    await makeFolder(path.dirname(file), this.#files);
    await this.#files.writeFile(`${file}.partial`, text);
    await this.#files.rename(`${file}.partial`, file);
  }
}

/** A file on its way. */
interface Arrival {
  /** Bytes that are on the disk and in the hash. */
  done: number;
  hash: Hash;
  /** The first of them are from an earlier run. */
  resumed: boolean;
}

async function writeAll(
  handle: nodeFileSystem.FileHandle,
  bytes: Uint8Array,
  position: number,
): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}

function explain(error: unknown, folder: string): unknown {
  if (error instanceof FoveaError) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT') return diskFull(folder, message, error);
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS' || code === 'ENOTDIR' || code === 'EIO')
    return new ModelError({
      code: 'model.folder-unwritable',
      message: `The model cannot be written to ${folder}.`,
      why: message,
      nextStep: `${MAKE_WRITABLE}.`,
      cause: error,
    });
  return error;
}

function diskFull(folder: string, why: string, cause?: unknown): ModelError {
  return new ModelError({
    code: 'model.disk-full',
    message: `The disk is too full for the model (${folder}).`,
    why,
    nextStep: 'Free disk space, then start the download again: it goes on where it stopped.',
    cause,
  });
}
