import { createHash, randomBytes } from 'node:crypto';
import * as nodeFileSystem from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { ModelError, throwIfCancelled } from '../errors';
import type { Checkpoint, TensorMap, TensorSource } from './checkpoint';
import { widenBfloat16, widenFloat16 } from './halfPrecision';
import { readSafetensorsHeader } from './safetensors';

/**
 * The CPU has no half-precision kernels: a half-precision checkpoint is converted once to float32 files, the "sidecar",
 * which is then memory-mapped like any checkpoint.
 *
 *   <cacheDirectory>/<checkpoint.hash>/
 *     weights-f32-00001.safetensors ...   complete files only: written elsewhere, synced, renamed
 *     manifest.json                       written last; without it, or when it does not fit, the files are made again
 *     .partial-<host>-<pid>-<random>/     files that a run is writing
 */

/** The file system calls that the sidecar makes; tests put faults in. */
export type SidecarFileSystem = Pick<
  typeof nodeFileSystem,
  'mkdir' | 'open' | 'readdir' | 'readFile' | 'rename' | 'rm' | 'rmdir' | 'stat' | 'statfs'
>;

export interface SidecarOptions {
  /** The user's cache folder for converted weights; made when absent. */
  readonly cacheDirectory: string;
  readonly signal?: AbortSignal;
  /** Called with the converted share, 0..1, while a conversion runs. */
  readonly onProgress?: (fraction: number) => void;
  readonly fileSystem?: SidecarFileSystem;
  /** Bound on the size of one file in bytes; a tensor is never split. */
  readonly maxShardBytes?: number;
}

/** Files of this size are quick to rename, and stay below what any file system refuses. */
const MAX_SHARD_BYTES = 2_000_000_000;
/** Read buffer; the float32 buffer is twice as large. More is not faster. */
const CHUNK_BYTES = 4 * 1024 * 1024;
/** Where the data of a file begins is a multiple of this: a cache line, and the widest vector load. */
const ALIGNMENT = 64;
/** A partial folder of another machine (a shared home) that nobody has written to for this long is left over. */
const ABANDONED_MS = 24 * 3600 * 1000;

/**
 * The tensors of a checkpoint with every float16 and bfloat16 tensor replaced by its float32 copy in the cache; the
 * checkpoint's own tensors where all are float32 already.
 *
 * Memory use is constant. Any number of processes may call this for the same checkpoint at the same time. A run that
 * fails or is cancelled leaves nothing behind; what a killed run left is removed by the next one.
 *
 * @throws ModelError `model.disk-full` or `model.cache-unwritable`, CancelledError
 */
export async function ensureFloat32(checkpoint: Checkpoint, options: SidecarOptions): Promise<TensorMap> {
  throwIfCancelled(options.signal);
  const halves = [...checkpoint.tensors.values()].filter(({ dtype }) => dtype !== 'F32');
  if (halves.length === 0) return checkpoint.tensors;
  const files = options.fileSystem ?? nodeFileSystem;
  const folder = join(options.cacheDirectory, checkpoint.hash);
  const plan = planShards(halves, options.maxShardBytes ?? MAX_SHARD_BYTES);
  const manifest = await describe(plan, halves, files);

  if (!(await isComplete(folder, manifest, files))) {
    try {
      await files.mkdir(folder, { recursive: true });
      await removeAbandoned(folder, files);
      await convert(folder, plan, manifest, files, options);
    } catch (error) {
      // Only an empty folder is removed: another run may be at work in it.
      await files.rmdir(folder).catch(() => undefined);
      throw explain(error, plan, options.cacheDirectory);
    }
  }
  return withSidecar(checkpoint.tensors, folder, plan);
}

// ---------------------------------------------------------------------------------------------- the plan

interface Shard {
  readonly file: string;
  /** 8 bytes length and the JSON, padded to the alignment. */
  readonly header: Uint8Array;
  readonly tensors: readonly TensorSource[];
  /** Of the whole file. */
  readonly bytes: number;
}

/** What the sidecar will look like; the same for the same checkpoint. */
function planShards(halves: readonly TensorSource[], maxShardBytes: number): Shard[] {
  const groups: TensorSource[][] = [];
  let room = 0;
  for (const tensor of halves) {
    const bytes = tensor.byteLength * 2;
    if (groups.length === 0 || bytes > room) {
      groups.push([]);
      room = maxShardBytes;
    }
    groups.at(-1)!.push(tensor);
    room -= bytes;
  }
  return groups.map((group, index) => {
    // The format allows no gaps: tensors of odd sizes go last, so that all before them are aligned.
    const odd = (tensor: TensorSource): number => ((tensor.byteLength * 2) % ALIGNMENT === 0 ? 0 : 1);
    const tensors = group.toSorted((a, b) => odd(a) - odd(b));
    const header = makeHeader(tensors);
    const bytes = tensors.reduce((sum, { byteLength }) => sum + byteLength * 2, header.length);
    return { file: `weights-f32-${String(index + 1).padStart(5, '0')}.safetensors`, header, tensors, bytes };
  });
}

function makeHeader(tensors: readonly TensorSource[]): Uint8Array {
  const entries: [string, object][] = [['__metadata__', { format: 'pt' }]];
  let position = 0;
  for (const { name, shape, byteLength } of tensors) {
    const end = position + byteLength * 2;
    entries.push([name, { dtype: 'F32', shape, data_offsets: [position, end] }]);
    position = end;
  }
  const json = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  const total = Math.ceil((8 + json.length) / ALIGNMENT) * ALIGNMENT;
  const header = Buffer.alloc(total, ' ');
  header.writeBigUInt64LE(BigInt(total - 8), 0);
  json.copy(header, 8);
  return header;
}

function withSidecar(tensors: TensorMap, folder: string, plan: readonly Shard[]): TensorMap {
  const converted = new Map(tensors);
  for (const shard of plan) {
    let offset = shard.header.length;
    for (const { name, shape, byteLength } of shard.tensors) {
      const file = join(folder, shard.file);
      converted.set(name, { name, dtype: 'F32', shape, file, offset, byteLength: byteLength * 2 });
      offset += byteLength * 2;
    }
  }
  return converted;
}

// ---------------------------------------------------------------------------------------------- validity

/** Names everything that the files depend on. Compared as text. */
interface Manifest {
  version: 1;
  sources: { file: string; bytes: number; modifiedMs: number }[];
  files: { file: string; bytes: number; headerSha256: string }[];
}

async function describe(
  plan: readonly Shard[],
  halves: readonly TensorSource[],
  files: SidecarFileSystem,
): Promise<Manifest> {
  const sources: Manifest['sources'] = [];
  for (const file of new Set(halves.map((tensor) => tensor.file))) {
    const { size, mtimeMs } = await files.stat(file);
    sources.push({ file: basename(file), bytes: size, modifiedMs: mtimeMs });
  }
  return {
    version: 1,
    sources,
    files: plan.map(({ file, bytes, header }) => ({
      file,
      bytes,
      headerSha256: createHash('sha256').update(header).digest('hex'),
    })),
  };
}

const MANIFEST = 'manifest.json';

/** Whether the folder holds exactly what the manifest says, in files that can be memory-mapped. */
async function isComplete(folder: string, manifest: Manifest, files: SidecarFileSystem): Promise<boolean> {
  try {
    if ((await files.readFile(join(folder, MANIFEST), 'utf8')) !== JSON.stringify(manifest)) return false;
    for (const { file, bytes, headerSha256 } of manifest.files) {
      // Checks the layout against the file's real size, so that a truncated file is never mapped.
      const header = await readSafetensorsHeader(join(folder, file));
      const length = new Uint8Array(8);
      new DataView(length.buffer).setBigUint64(0, BigInt(header.headerBytes.length), true);
      const found = createHash('sha256').update(length).update(header.headerBytes).digest('hex');
      if (header.fileSize !== bytes || found !== headerSha256) return false;
    }
    return true;
  } catch {
    // Absent, unreadable or damaged: all are mended by making the files again, which reports what is really wrong.
    return false;
  }
}

// ---------------------------------------------------------------------------------------------- conversion

async function convert(
  folder: string,
  plan: readonly Shard[],
  manifest: Manifest,
  files: SidecarFileSystem,
  options: SidecarOptions,
): Promise<void> {
  const needed = totalBytes(plan);
  await requireSpace(folder, needed, files);
  const partial = join(folder, `.partial-${thisHost()}-${process.pid}-${randomBytes(4).toString('hex')}`);
  // Recursive: a run that failed at this moment may have removed the folder, which was still empty.
  await files.mkdir(partial, { recursive: true });
  try {
    let written = 0;
    const report = (bytes: number): void => {
      written += bytes;
      options.onProgress?.(Math.min(1, written / needed));
    };
    for (const shard of plan)
      await writeShard(join(partial, shard.file), shard, files, report, options.signal);
    await writeDurably(join(partial, MANIFEST), JSON.stringify(manifest), files);
    throwIfCancelled(options.signal);
    const finished = (): Promise<boolean> => isComplete(folder, manifest, files);
    if (await finished()) return; // Another run was faster.
    // From here on there is no way back, and nothing left to do but renaming. The old manifest goes first and the new one
    // comes last, so that a manifest never stands beside files that it does not describe.
    await files.rm(join(folder, MANIFEST), { force: true });
    for (const name of [...plan.map(({ file }) => file), MANIFEST])
      await publish(join(partial, name), join(folder, name), files, finished);
    await removeOutdated(folder, plan, files);
    await syncFolder(folder, files);
  } finally {
    await files.rm(partial, { recursive: true, force: true });
  }
}

async function writeShard(
  file: string,
  shard: Shard,
  files: SidecarFileSystem,
  report: (bytes: number) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  const target = await files.open(file, 'wx');
  try {
    await writeAll(target, shard.header);
    const source = new Uint16Array(CHUNK_BYTES / 2);
    const widened = new Uint32Array(CHUNK_BYTES / 2);
    for (const tensor of shard.tensors) {
      const widen = tensor.dtype === 'BF16' ? widenBfloat16 : widenFloat16;
      const input = await files.open(tensor.file, 'r');
      try {
        for (let done = 0; done < tensor.byteLength;) {
          throwIfCancelled(signal);
          const bytes = Math.min(CHUNK_BYTES, tensor.byteLength - done);
          await readAll(input, new Uint8Array(source.buffer, 0, bytes), tensor.offset + done, tensor.file);
          widen(source.subarray(0, bytes / 2), widened);
          await writeAll(target, new Uint8Array(widened.buffer, 0, bytes * 2));
          done += bytes;
          report(bytes * 2);
        }
      } finally {
        await input.close();
      }
    }
    await target.sync();
  } finally {
    await target.close();
  }
}

type FileHandle = nodeFileSystem.FileHandle;

async function readAll(handle: FileHandle, into: Uint8Array, position: number, file: string): Promise<void> {
  for (let done = 0; done < into.length;) {
    const { bytesRead } = await handle.read(into, done, into.length - done, position + done);
    if (bytesRead === 0)
      throw new ModelError({
        code: 'model.safetensors-truncated',
        message: `The weights file ${basename(file)} cannot be used.`,
        why: 'It became shorter while it was converted.',
        nextStep: 'Delete the file and download it again.',
      });
    done += bytesRead;
  }
}

async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done);
    done += bytesWritten;
  }
}

async function writeDurably(file: string, text: string, files: SidecarFileSystem): Promise<void> {
  const handle = await files.open(file, 'wx');
  try {
    await writeAll(handle, Buffer.from(text));
    await handle.sync();
  } finally {
    await handle.close();
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

/** Files of an earlier version of the checkpoint that had more of them. */
async function removeOutdated(
  folder: string,
  plan: readonly Shard[],
  files: SidecarFileSystem,
): Promise<void> {
  const current = new Set(plan.map(({ file }) => file));
  for (const name of await files.readdir(folder))
    if (/^weights-f32-\d{5}\.safetensors$/.test(name) && !current.has(name))
      await files.rm(join(folder, name), { force: true });
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

function totalBytes(plan: readonly Shard[]): number {
  return plan.reduce((sum, { bytes }) => sum + bytes, 0);
}

/** Better to say it now than after minutes of writing. A file system that cannot tell is tried. */
async function requireSpace(folder: string, needed: number, files: SidecarFileSystem): Promise<void> {
  const space = await files.statfs(folder).catch(() => undefined);
  if (space !== undefined && space.bavail * space.bsize < needed)
    throw diskFull(needed, dirname(folder), `Only ${space.bavail * space.bsize} bytes are free.`);
}

function explain(error: unknown, plan: readonly Shard[], cacheDirectory: string): unknown {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return diskFull(totalBytes(plan), cacheDirectory, message, error);
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS' || code === 'ENOTDIR' || code === 'EIO')
    return new ModelError({
      code: 'model.cache-unwritable',
      message: `The converted weights cannot be written to ${cacheDirectory}.`,
      why: message,
      nextStep: 'Make the folder writable, or choose another cache folder.',
      cause: error,
    });
  return error;
}

function diskFull(needed: number, cacheDirectory: string, why: string, cause?: unknown): ModelError {
  return new ModelError({
    code: 'model.disk-full',
    message: `The disk is too full for the converted weights: ${needed} bytes are needed in ${cacheDirectory}.`,
    why: `The checkpoint is in half precision and has to be converted once. ${why}`,
    nextStep: 'Free disk space, or choose a cache folder on another disk.',
    cause,
  });
}
