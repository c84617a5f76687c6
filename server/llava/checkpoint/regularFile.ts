import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';

/** A pipe would be waited for until somebody writes to it, which may be never. (Windows has no such flag and no such files.) */
const WITHOUT_WAITING = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);

/**
 * Opens a file for reading if it is one, and not a folder, a pipe or a device.
 * @throws Error as node's `open`, or with the code `EINVAL`
 */
export async function openRegularFile(file: string): Promise<FileHandle> {
  const handle = await open(file, WITHOUT_WAITING);
  try {
    if ((await handle.stat()).isFile()) return handle;
    throw Object.assign(new Error('It is not a regular file.'), { code: 'EINVAL' });
  } catch (error) {
    await handle.close();
    throw error;
  }
}
