import * as nodeFileSystem from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Makes a folder and those above it.
 *
 * @throws the system's real reason. Node's own recursive `mkdir` says of a read-only file system that the folder does not exist (ENOENT).
 */
export async function makeFolder(
  folder: string,
  files: Pick<typeof nodeFileSystem, 'mkdir'> = nodeFileSystem,
): Promise<void> {
  try {
    await files.mkdir(folder, { recursive: true });
  } catch (error) {
    const above = dirname(folder);
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || above === folder) throw error;
    await makeFolder(above, files);
    await files.mkdir(folder).catch((fault: NodeJS.ErrnoException) => {
      // Another process was faster.
      if (fault.code !== 'EEXIST') throw fault;
    });
  }
}
