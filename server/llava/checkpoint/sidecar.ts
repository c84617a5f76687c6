import { setMaxListeners } from 'node:events';
import { createHash, randomBytes } from 'node:crypto';
import * as nodeFileSystem from 'node:fs/promises';
import { availableParallelism, hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { formatBytes } from '../../traceView/wording';
import { MAKE_WRITABLE } from '../cacheDirectory';
import { ModelError, throwIfCancelled } from '../errors';
import { makeFolder } from '../makeFolder';
import type { Checkpoint, TensorMap } from './checkpoint';
import { type Precision, STORED_PRECISIONS } from './precision';
import { readSafetensorsHeader } from './safetensors';
import type { SidecarFileSystem } from './sidecarFile';
import { NO_CHECKSUM, planSidecar, type SidecarFile, type SourceStamps, withSidecar } from './sidecarPlan';
import { type FileMaker, inThisThread, startMakers } from './sidecarWorkers';

/**
 * What the engine needs in another form than the checkpoint has it (sidecarPlan.ts) is converted once, into files that are
 * memory-mapped like the checkpoint's own:
 *
 *   <cacheDirectory>/<checkpoint.hash>/
 *     weights-<hash>.safetensors ...      complete files only: written elsewhere, synced, renamed
 *     .partial-<host>-<pid>-<random>/     the files that a run is writing
 *
 * A file's name is a hash of all that its content depends on, so the files that are there say what is done already: a run
 * that was killed is continued by the next one. The folder may be deleted at any time.
 */

export interface SidecarOptions {
  /** The user's cache folder for converted weights; made when absent. */
  readonly cacheDirectory: string;
  readonly signal?: AbortSignal;
  /** Called with the converted share, 0..1, while a conversion runs. */
  readonly onProgress?: (fraction: number) => void;
  /** In place of the real one; the conversion then runs in this thread. */
  readonly fileSystem?: SidecarFileSystem;
  /** Bound on the size of one file in bytes; a conversion is never split. */
  readonly maxFileBytes?: number;
  /** Threads at most. @default the processor's cores */
  readonly cores?: number;
  /** The bundled program of a conversion thread. */
  readonly workerProgram?: string;
}

/** A partial folder of another machine (a shared home) that nobody has written to for this long is left over. */
const ABANDONED_MS = 24 * 3600 * 1000;
/**
 * Files that this version has no use for go when nobody has opened them for so long: another version of Fovea that shares the folder, in
 * another window or of another editor, opens its files whenever it needs a further session.
 */
const UNUSED_MS = 7 * 24 * 3600 * 1000;
const OWN_FILE = /^(weights-[0-9a-f]{24}\.safetensors|weights-f32-\d{5}\.safetensors|manifest\.json)$/;

/**
 * The tensors of a checkpoint as the engine reads them in this precision; the checkpoint's own where nothing has to be
 * converted.
 *
 * Memory use is constant, and so is the result for any number of processes that call this at the same time. Whatever a run
 * has finished when it fails, is cancelled or is killed, the next one keeps.
 *
 * @throws ModelError `model.disk-full`, `model.cache-unwritable`, `model.weights-not-finite`; CancelledError
 */
export async function prepareWeights(
  checkpoint: Checkpoint,
  precision: Precision,
  options: SidecarOptions,
): Promise<TensorMap> {
  throwIfCancelled(options.signal);
  const files = options.fileSystem ?? nodeFileSystem;
  const stamps = await sourceStamps(checkpoint, files);
  const plan = planSidecar(checkpoint, precision, stamps, options.maxFileBytes);
  if (plan.length === 0) return checkpoint.tensors;
  const folder = sidecarFolder(checkpoint, options.cacheDirectory);

  let missing = await without(plan, (file) => isComplete(folder, file));
  if (missing.length > 0) {
    try {
      await makeFolder(folder, files);
      await removeAbandoned(folder, files);
      // What an interrupted run left is read once, before it is built upon.
      missing = await without(plan, (file) => isIntact(folder, file, files, options.signal));
      for (const { name } of missing) await files.rm(join(folder, name), { force: true });
      await convert(folder, plan, missing, files, options);
      await removeOutdated(folder, checkpoint, stamps, files, options.maxFileBytes);
    } catch (error) {
      // Only an empty folder is removed: another run may be at work in it.
      await files.rmdir(folder).catch(() => undefined);
      throw explain(error, totalBytes(missing), options.cacheDirectory);
    }
  }
  const now = new Date();
  // Where the folder is only read, nobody else cleans it up either.
  for (const { name } of plan) await files.utimes(join(folder, name), now, now).catch(() => undefined);
  return withSidecar(checkpoint.tensors, plan, (name) => join(folder, name));
}

/** Where the converted weights of a checkpoint lie. */
export function sidecarFolder(checkpoint: Checkpoint, cacheDirectory: string): string {
  return join(cacheDirectory, checkpoint.hash);
}

/** Bytes of the files that a precision needs, and those of them that are not there yet. */
export async function sidecarBytes(
  checkpoint: Checkpoint,
  precision: Precision,
  cacheDirectory: string,
): Promise<{ total: number; missing: number }> {
  const plan = planSidecar(checkpoint, precision, await sourceStamps(checkpoint, nodeFileSystem));
  const folder = sidecarFolder(checkpoint, cacheDirectory);
  const missing = await without(plan, (file) => isComplete(folder, file));
  return { total: totalBytes(plan), missing: totalBytes(missing) };
}

/** What {@link verifySidecar} found among the converted weights of a checkpoint. */
export interface SidecarCheck {
  readonly folder: string;
  /** Names of files whose content is what was written. */
  readonly right: readonly string[];
  /** Names of files whose content is something else. */
  readonly damaged: readonly string[];
}

/**
 * Reads the converted weights that are there, of every precision, and compares them with the checksums that were written with them. Files that
 * are missing are no damage: they are made when they are needed.
 *
 * @param options.removeDamaged removes damaged files, so that they are made again. Safe while they are mapped, except on Windows, which
 *   refuses.
 */
export async function verifySidecar(
  checkpoint: Checkpoint,
  cacheDirectory: string,
  options: {
    signal?: AbortSignal;
    onFile?: (name: string, bytes: number) => void;
    removeDamaged?: boolean;
  } = {},
): Promise<SidecarCheck> {
  const folder = sidecarFolder(checkpoint, cacheDirectory);
  const stamps = await sourceStamps(checkpoint, nodeFileSystem);
  const plans = STORED_PRECISIONS.flatMap((precision) => planSidecar(checkpoint, precision, stamps));
  // Tower and projector are in both.
  const byName = new Map(plans.map((file) => [file.name, file]));
  const right: string[] = [];
  const damaged: string[] = [];
  for (const name of (await nodeFileSystem.readdir(folder).catch(() => [])).sort()) {
    const file = byName.get(name);
    if (!file) continue;
    const intact = await isIntact(folder, file, nodeFileSystem, options.signal);
    (intact ? right : damaged).push(name);
    options.onFile?.(name, file.bytes);
  }
  if (options.removeDamaged)
    for (const name of damaged) await nodeFileSystem.rm(join(folder, name), { force: true });
  return { folder, right, damaged };
}

async function sourceStamps(
  { tensors }: Checkpoint,
  files: Pick<SidecarFileSystem, 'stat'>,
): Promise<SourceStamps> {
  const stamps = new Map<string, string>();
  for (const file of new Set(Array.from(tensors.values(), (tensor) => tensor.file))) {
    const { size, mtimeMs } = await files.stat(file);
    stamps.set(file, `${size} ${mtimeMs}`);
  }
  return stamps;
}

// ---------------------------------------------------------------------------------------------- validity

async function without(
  plan: readonly SidecarFile[],
  isDone: (file: SidecarFile) => Promise<boolean>,
): Promise<SidecarFile[]> {
  const missing: SidecarFile[] = [];
  for (const file of plan) if (!(await isDone(file))) missing.push(file);
  return missing;
}

/** Whether the file is there, with the header that the plan says, and long enough to be memory-mapped. */
async function isComplete(folder: string, file: SidecarFile): Promise<boolean> {
  return (await checksumOf(folder, file)) !== undefined;
}

/** The checksum that a complete file says its data has. */
async function checksumOf(folder: string, file: SidecarFile): Promise<string | undefined> {
  try {
    // Checks the layout against the file's real size, so that a truncated file is never mapped.
    const header = await readSafetensorsHeader(join(folder, file.name));
    if (header.fileSize !== file.bytes) return undefined;
    const { sha256 } = header.metadata;
    const found = Buffer.from(header.headerBytes).toString('utf8').replace(sha256, NO_CHECKSUM);
    return found === Buffer.from(file.header.subarray(8)).toString('utf8') ? sha256 : undefined;
  } catch {
    // Absent, unreadable or damaged: all are mended by making the file again, which reports what is really wrong.
    return undefined;
  }
}

/** Whether the file is complete and its data has the checksum that was written with it. Reads the whole file. */
async function isIntact(
  folder: string,
  file: SidecarFile,
  files: Pick<SidecarFileSystem, 'open'>,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const expected = await checksumOf(folder, file);
  if (expected === undefined) return false;
  const hash = createHash('sha256');
  const buffer = Buffer.alloc(4 * 1024 * 1024);
  const handle = await files.open(join(folder, file.name), 'r');
  try {
    for (let position = file.header.length; position < file.bytes;) {
      throwIfCancelled(signal);
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, position);
      if (bytesRead === 0) return false;
      hash.update(buffer.subarray(0, bytesRead));
      position += bytesRead;
    }
  } finally {
    await handle.close();
  }
  return hash.digest('hex') === expected;
}

// ---------------------------------------------------------------------------------------------- conversion

async function convert(
  folder: string,
  plan: readonly SidecarFile[],
  missing: readonly SidecarFile[],
  files: SidecarFileSystem,
  options: SidecarOptions,
): Promise<void> {
  await requireSpace(folder, totalBytes(missing), files);
  const partial = join(folder, `.partial-${thisHost()}-${process.pid}-${randomBytes(4).toString('hex')}`);
  const makers = options.fileSystem
    ? [inThisThread(files)]
    : startMakers(missing, options.cores ?? availableParallelism(), options.workerProgram);
  // The first failure stops the other makers.
  const stop = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, stop.signal]) : stop.signal;
  // Each maker listens to it while it is at work, and Node takes more than ten for a leak.
  setMaxListeners(makers.length + 1, signal);
  const all = totalBytes(plan);
  let written = all - totalBytes(missing);
  const onBytes = (bytes: number): void => {
    written += bytes;
    options.onProgress?.(Math.min(1, written / all));
  };
  const queue = [...missing];
  const work = async (maker: FileMaker): Promise<void> => {
    for (let file = queue.shift(); file; file = queue.shift()) {
      throwIfCancelled(signal);
      const complete = file;
      const finished = (): Promise<boolean> => isComplete(folder, complete);
      // Another run may have been faster.
      if (await finished()) {
        onBytes(file.bytes);
        continue;
      }
      const target = join(partial, file.name);
      await maker.make(target, file, { signal, onBytes });
      throwIfCancelled(signal);
      await publish(target, join(folder, file.name), files, finished);
    }
  };
  // Recursive: a run that failed at this moment may have removed the folder, which was still empty.
  await makeFolder(partial, files);
  try {
    const outcomes = await Promise.allSettled(
      makers.map((maker) =>
        work(maker).catch((error: unknown) => {
          stop.abort(error);
          throw error;
        }),
      ),
    );
    throwIfCancelled(options.signal);
    // The reason of the stop is the first failure; the others were only cancelled by it.
    if (outcomes.some(({ status }) => status === 'rejected')) throw stop.signal.reason;
    await syncFolder(folder, files);
  } finally {
    await Promise.all(makers.map((maker) => maker.dispose()));
    await files.rm(partial, { recursive: true, force: true });
  }
}

/**
 * Puts a finished file in its place. Over an existing one this is safe while it is mapped, except on Windows, which
 * refuses; then all is well if another run has finished meanwhile, since it has written the same bytes.
 */
async function publish(
  from: string,
  to: string,
  files: SidecarFileSystem,
  finished: () => Promise<boolean>,
): Promise<void> {
  try {
    await files.rename(from, to);
  } catch (error) {
    if (!(await finished())) throw error;
  }
}

/** Makes the renames durable, where the system can (Windows cannot open a folder). */
async function syncFolder(folder: string, files: SidecarFileSystem): Promise<void> {
  try {
    const handle = await files.open(folder, 'r');
    await handle.sync().finally(() => handle.close());
  } catch {
    // Without it a power failure may cost a second conversion, nothing else.
  }
}

// ---------------------------------------------------------------------------------------------- leftovers

/** The machine in a file name: process numbers mean nothing on another one. */
export function thisHost(): string {
  return createHash('sha256').update(hostname()).digest('hex').slice(0, 8);
}

async function removeAbandoned(folder: string, files: SidecarFileSystem): Promise<void> {
  for (const name of await files.readdir(folder).catch(() => [])) {
    const [, host, pid] = /^\.partial-([0-9a-f]{8})-(\d+)-[0-9a-f]{8}$/.exec(name) ?? [];
    if (host === undefined) continue;
    const partial = join(folder, name);
    const abandoned =
      host === thisHost() ? !isRunning(Number(pid)) : await isOld(partial, files).catch(() => false);
    if (abandoned) await files.rm(partial, { recursive: true, force: true });
  }
}

/** Files of the checkpoint as it was before, or of another version of Fovea, that nobody uses. Those of other precisions stay. */
async function removeOutdated(
  folder: string,
  checkpoint: Checkpoint,
  stamps: SourceStamps,
  files: SidecarFileSystem,
  maxFileBytes: number | undefined,
): Promise<void> {
  const current = new Set(
    STORED_PRECISIONS.flatMap((precision) => planSidecar(checkpoint, precision, stamps, maxFileBytes)).map(
      ({ name }) => name,
    ),
  );
  for (const name of await files.readdir(folder)) {
    if (!OWN_FILE.test(name) || current.has(name)) continue;
    const used = await files.stat(join(folder, name)).catch(() => undefined);
    if (used === undefined || Date.now() - used.mtimeMs < UNUSED_MS) continue;
    // Windows keeps what is mapped; the next conversion tries again.
    await files.rm(join(folder, name), { force: true }).catch(() => undefined);
  }
}

/** Whether a process of this machine is there. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it runs, as another user.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

async function isOld(partial: string, files: SidecarFileSystem): Promise<boolean> {
  const ages = [partial, ...(await files.readdir(partial)).map((name) => join(partial, name))];
  const times = await Promise.all(ages.map(async (path) => (await files.stat(path)).mtimeMs));
  return Date.now() - Math.max(...times) > ABANDONED_MS;
}

// ---------------------------------------------------------------------------------------------- errors

function totalBytes(plan: readonly SidecarFile[]): number {
  return plan.reduce((sum, { bytes }) => sum + bytes, 0);
}

/** Better to say it now than after minutes of writing. A file system that cannot tell is tried. */
async function requireSpace(folder: string, needed: number, files: SidecarFileSystem): Promise<void> {
  const space = await files.statfs(folder).catch(() => undefined);
  if (space !== undefined && space.bavail * space.bsize < needed)
    throw diskFull(needed, dirname(folder), `Only ${formatBytes(space.bavail * space.bsize)} are free.`);
}

function explain(error: unknown, needed: number, cacheDirectory: string): unknown {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT') return diskFull(needed, cacheDirectory, message, error);
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS' || code === 'ENOTDIR' || code === 'EIO')
    return new ModelError({
      code: 'model.cache-unwritable',
      message: `The converted weights cannot be written to ${cacheDirectory}.`,
      why: message,
      nextStep: `${MAKE_WRITABLE}.`,
      cause: error,
    });
  return error;
}

function diskFull(needed: number, cacheDirectory: string, why: string, cause?: unknown): ModelError {
  return new ModelError({
    code: 'model.disk-full',
    message: `The disk is too full for the converted weights: ${formatBytes(needed)} are needed in ${cacheDirectory}.`,
    why: `The checkpoint's weights have to be converted once. ${why}`,
    nextStep: 'Free disk space, then ask again: what is converted already is kept.',
    cause,
  });
}
