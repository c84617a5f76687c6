// Programs that tests need and that are no dependencies of the project: from the npm registry into the user's cache folder, once.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Nothing of a package runs while it is installed: what their scripts build (Kerberos, keyrings) is not needed here. */
const NPM_FLAGS = [
  '--ignore-scripts',
  '--no-audit',
  '--no-fund',
  '--loglevel=error',
  // Without a registry it is to be said soon: npm's own waits add up to minutes.
  '--fetch-retries=3',
  '--fetch-retry-mintimeout=1000',
  '--fetch-retry-maxtimeout=10000',
];

/** The tools cannot be had here: no fault of what is tested. */
export class ToolMissing extends Error {}

/**
 * The folder of an installed tool.
 * @param {string} name of the folder, with the exact version
 * @param {(folder: string) => Promise<void>} install fills an empty folder, which has a package.json
 * @throws {ToolMissing} where it cannot be installed
 */
export async function installed(name, install) {
  const folder = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'fovea', name);
  if (existsSync(join(folder, '.complete'))) return folder;
  const work = `${folder}.${process.pid}`;
  const start = Date.now();
  console.log(`Installing ${name} into ${folder} ...`);
  try {
    await mkdir(work, { recursive: true });
    await writeFile(join(work, 'package.json'), '{"private":true}');
    await install(work);
    await writeFile(join(work, '.complete'), '');
    await rename(work, folder);
  } catch (error) {
    await rm(work, { recursive: true, force: true });
    if (existsSync(join(folder, '.complete'))) return folder; // another run was faster
    throw new ToolMissing(`${name} could not be installed: ${firstLine(error)}`, { cause: error });
  }
  console.log(`Installed ${name} in ${((Date.now() - start) / 1000).toFixed(0)} s.`);
  return folder;
}

/** Runs npm in a folder of the cache. */
export function npm(cwd, parameters, env = process.env) {
  return run('npm', [...parameters, ...NPM_FLAGS], { cwd, env, maxBuffer: 1e8 });
}

/** What an error says, without its details. */
export function firstLine(error) {
  const text = String(error.stderr?.trim() || error.message);
  return text.split('\n').find((line) => /\S/.test(line) && !line.startsWith('npm warn')) ?? text;
}
