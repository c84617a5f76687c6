// The browser of the tests. On Linux x64 it is a Chromium at an exact version, with the libraries that it needs, from the npm registry;
// elsewhere, and where the registry cannot be reached, it is one that is there already.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { brotliDecompress } from 'node:zlib';
import { chromium } from 'playwright-core';
import { firstLine, installed, npm, ToolMissing } from './installed.mjs';

/** Chromium 153 (its headless shell), built for machines that have a C library and nothing else. */
const CHROMIUM = '@sparticuz/chromium@153.0.0';
const FOLDER = 'chromium-153.0.0';

/** Where systems put theirs. */
const SYSTEM = ['/usr/bin/chromium', '/usr/bin/google-chrome', '/usr/bin/chromium-browser'];

/** A fresh profile, and nothing that a browser does for itself. */
const FLAGS = [
  '--no-sandbox',
  '--disable-dev-shm-usage',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Milliseconds that it may take to start, on a machine with much else to do. */
const START_LIMIT = 180_000;

/**
 * The variable CHROMIUM names another program.
 * @returns {Promise<import('playwright-core').Browser>}
 * @throws {ToolMissing} where no browser can be had
 */
export async function launchChromium() {
  const { executablePath, env } = process.env.CHROMIUM
    ? { executablePath: process.env.CHROMIUM, env: {} }
    : await findChromium();
  return chromium
    .launch({
      executablePath,
      headless: true,
      args: FLAGS,
      env: { ...process.env, ...env },
      timeout: START_LIMIT,
    })
    .catch((error) => {
      throw new ToolMissing(`${executablePath} does not start: ${firstLine(error)}`, { cause: error });
    });
}

async function findChromium() {
  const present = SYSTEM.find((path) => existsSync(path));
  if (process.platform === 'linux' && process.arch === 'x64') {
    try {
      return await installedChromium();
    } catch (error) {
      if (!present) throw error;
      console.log(`${error.message}. The tests use ${present}.`);
    }
  }
  if (present) return { executablePath: present, env: {} };
  throw new ToolMissing('no Chromium: install one, or name it in the variable CHROMIUM');
}

/** The program, and the variables that let it find its libraries and, on a system without any, its fonts. */
async function installedChromium() {
  const folder = await installed(FOLDER, unpack);
  const env = { LD_LIBRARY_PATH: join(folder, 'libraries', 'lib') };
  if (!existsSync('/etc/fonts/fonts.conf')) env.FONTCONFIG_FILE = join(folder, 'fonts.conf');
  return { executablePath: join(folder, 'chromium'), env };
}

async function unpack(folder) {
  await npm(folder, ['install', '--no-save', '--omit=optional', CHROMIUM]);
  const packed = join(folder, 'node_modules', '@sparticuz', 'chromium', 'bin');
  await expand(join(packed, 'chromium.br'), join(folder, 'chromium'));
  await chmod(join(folder, 'chromium'), 0o755);
  for (const [archive, part] of [
    ['al2023', 'libraries'],
    ['fonts', 'fonts'],
  ]) {
    const file = join(folder, `${part}.tar`);
    await mkdir(join(folder, part));
    await expand(join(packed, `${archive}.tar.br`), file);
    await promisify(execFile)('tar', ['-xf', file, '-C', join(folder, part)]);
    await rm(file);
  }
  await writeFile(
    join(folder, 'fonts.conf'),
    `<?xml version="1.0"?>\n<fontconfig><dir prefix="relative">fonts</dir><cachedir prefix="relative">fonts-cache</cachedir></fontconfig>\n`,
  );
  await rm(join(folder, 'node_modules'), { recursive: true });
}

async function expand(file, target) {
  await writeFile(target, await promisify(brotliDecompress)(await readFile(file)));
}
