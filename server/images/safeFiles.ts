import { constants } from 'node:fs';
import { open, realpath, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { ImageError } from './errors';

/** Names that Windows gives to devices in every folder, with any extension. */
const WINDOWS_DEVICES = /^(?:con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(?:\.|:|$)/i;

/** True when `file` is `folder` or lies in it; both absolute, no links followed. */
export function isInside(folder: string, file: string): boolean {
  // Not startsWith: /ws-evil is not in /ws.
  const way = path.relative(folder, file);
  return way === '' || (way !== '..' && !way.startsWith(`..${path.sep}`) && !path.isAbsolute(way));
}

/**
 * Refuses a path by its text alone, before the file system hears of it: on Windows the mere look at a UNC path tells
 * the user's credentials to another machine.
 * @throws ImageError
 */
export function checkPathText(name: string): void {
  if (name.includes('\0')) throw ImageError.refusedPath(name, 'It contains a NUL character.');
  if (/^[\\/]{2}/.test(name)) throw ImageError.refusedPath(name, 'It names another machine or a device.');
  if (process.platform === 'win32') {
    const parts = name.split(/[\\/]/);
    if (parts.some((part) => WINDOWS_DEVICES.test(part.trim()))) {
      throw ImageError.refusedPath(name, 'It names a device.');
    }
    if (parts.some((part, index) => part.includes(':') && !(index === 0 && /^[a-z]:$/i.test(part)))) {
      throw ImageError.refusedPath(name, 'It names an alternate data stream.');
    }
  }
}

/**
 * The path of a `file:` URI.
 * @throws ImageError for a URI with a host (a network share) or an encoded separator.
 */
export function pathOfFileUri(uri: string): string {
  let file: string;
  try {
    const url = new URL(uri);
    if (url.protocol !== 'file:') throw ImageError.unsupportedScheme(url.protocol.slice(0, -1));
    if (url.host !== '' && url.host !== 'localhost') {
      throw ImageError.refusedPath(uri, 'It names another machine.');
    }
    url.host = '';
    file = fileURLToPath(url);
  } catch (error) {
    if (error instanceof ImageError) throw error;
    throw ImageError.refusedPath(uri, 'It is not a valid file: URI.');
  }
  checkPathText(file);
  return file;
}

/**
 * Where the file really is, if it may be read: an ordinary file inside one of the folders, links followed.
 *
 * @param file absolute path.
 * @param folders absolute folders; `undefined` allows every place (the user chose the file).
 * @returns the real path, or undefined where there is no file.
 * @throws ImageError where it exists but may not be read.
 */
export async function realFileInside(
  file: string,
  folders: readonly string[] | undefined,
): Promise<string | undefined> {
  checkPathText(file);
  // By its text first: what lies outside is not even looked at.
  if (folders && !(await isInsideSome(folders, file))) throw ImageError.outsideWorkspace(file);
  let real: string;
  try {
    real = await realpath(file);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw ImageError.unreadable(file, error);
  }
  checkPathText(real);
  // Then by where it really is: a link in the workspace may lead out of it.
  if (folders && !(await isInsideReal(folders, real))) throw ImageError.outsideWorkspace(file);
  return real;
}

/** By the text of `file`: inside one of the folders, or inside what one of them is a link to. */
async function isInsideSome(folders: readonly string[], file: string): Promise<boolean> {
  return folders.some((folder) => isInside(folder, file)) || isInsideReal(folders, file);
}

/** Inside what one of the folders really is. */
export async function isInsideReal(folders: readonly string[], real: string): Promise<boolean> {
  for (const folder of folders) {
    const realFolder = await realpath(folder).catch(() => undefined);
    if (realFolder !== undefined && isInside(realFolder, real)) return true;
  }
  return false;
}

/**
 * Opens an ordinary file for reading.
 * @param real a path from {@link realFileInside}; its last part is no link, and a link put there since is not followed.
 * @throws ImageError for folders, devices, pipes and what cannot be read.
 */
export async function openFile(real: string): Promise<{ handle: FileHandle; bytes: number }> {
  let handle: FileHandle;
  try {
    // Without O_NONBLOCK the open of a named pipe waits for a writer for ever.
    handle = await open(real, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0));
  } catch (error) {
    if (isMissing(error)) throw ImageError.notFound(real);
    throw ImageError.unreadable(real, error);
  }
  try {
    const status = await handle.stat();
    if (!status.isFile()) throw ImageError.refusedPath(real, 'It is not an ordinary file.');
    return { handle, bytes: status.size };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code === 'ENOENT' || code === 'ENOTDIR' || code === 'ENAMETOOLONG';
}
