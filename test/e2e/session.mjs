// What the tests and the pictures share: the packaged extension, and a browser.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

/** The repository. */
export const project = fileURLToPath(new URL('../..', import.meta.url));

/** A fresh profile, and nothing that a browser does for itself. */
const CHROMIUM_FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** @returns {Promise<import('playwright-core').Browser>} */
export function launchBrowser() {
  return chromium.launch({ executablePath: findChromium(), headless: true, args: CHROMIUM_FLAGS });
}

/** Packages for this platform. @returns the path of the VSIX */
export function packageExtension(folder) {
  const vsix = join(folder, 'fovea.vsix');
  const script = join(project, 'scripts', 'package.mjs');
  console.log(execFileSync(process.execPath, [script, '--out', vsix], { encoding: 'utf8' }).trim());
  return vsix;
}

/** Debian's, or whatever CHROMIUM names. */
function findChromium() {
  const candidates = [
    process.env.CHROMIUM,
    '/usr/bin/chromium',
    '/usr/bin/chromium-browser',
    '/usr/bin/google-chrome',
  ];
  const found = candidates.find((path) => path && existsSync(path));
  if (!found)
    throw new Error('Chromium is needed: install the package "chromium", or name the program in CHROMIUM.');
  return found;
}
