// The product's own processes, as the operating system shows them.
import { readdir, readFile } from 'node:fs/promises';

/**
 * Processes of one program of one installed extension.
 * @param {string} extension its folder
 * @param {'server.js' | 'inference.js'} program
 * @returns {Promise<number[]>} process ids
 */
export async function processesOf(extension, program) {
  const names = await readdir('/proc');
  const found = await Promise.all(
    names
      .filter((name) => /^\d+$/.test(name))
      .map(async (id) => {
        const command = await readFile(`/proc/${id}/cmdline`, 'utf8').catch(() => ''); // it has ended meanwhile
        return command.split('\0').includes(`${extension}/dist/${program}`) ? [Number(id)] : [];
      }),
  );
  return found.flat();
}
