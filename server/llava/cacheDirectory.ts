import os from 'node:os';
import path from 'node:path';

/** What to do where that folder cannot be written. */
export const MAKE_WRITABLE =
  process.platform === 'darwin' || process.platform === 'win32'
    ? 'Make the folder writable'
    : 'Make the folder writable, or set XDG_CACHE_HOME to one that is';

/** The user's cache folder for Fovea: `$XDG_CACHE_HOME/fovea`, `~/Library/Caches/fovea` or `%LOCALAPPDATA%\fovea`. */
export function defaultCacheDirectory(): string {
  const home = os.homedir();
  if (process.platform === 'darwin') return path.join(home, 'Library', 'Caches', 'fovea');
  if (process.platform === 'win32') {
    return path.join(process.env.LOCALAPPDATA ?? path.join(home, 'AppData', 'Local'), 'fovea');
  }
  return path.join(process.env.XDG_CACHE_HOME ?? path.join(home, '.cache'), 'fovea');
}
