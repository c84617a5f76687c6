// What the tests and the pictures share: the packaged extension.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository. */
export const project = fileURLToPath(new URL('../..', import.meta.url));

/** Packages for this platform. @returns the path of the VSIX */
export function packageExtension(folder) {
  const vsix = join(folder, 'fovea.vsix');
  const script = join(project, 'scripts', 'package.mjs');
  console.log(execFileSync(process.execPath, [script, '--out', vsix], { encoding: 'utf8' }).trim());
  return vsix;
}
