// The run-time closure of the native modules for ONE platform, copied into a node_modules folder.
// Files of another platform come from the npm registry at the pinned version, checked against package-lock.json.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readFile, readdir, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const root = fileURLToPath(new URL('..', import.meta.url));
const lock = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8'));

/** What onnxruntime-node has binaries for. */
export const TARGETS = ['linux-x64', 'linux-arm64', 'win32-x64', 'win32-arm64', 'darwin-arm64'];

/** Plain JavaScript that the native modules load at run time, and the part of each package that is needed. */
const COMMON = [
  { name: 'onnxruntime-common', parts: ['package.json', 'dist/cjs'] },
  { name: 'sharp', parts: ['package.json', 'LICENSE', 'dist'] },
  { name: '@img/colour', parts: ['package.json', 'LICENSE.md', 'index.cjs', 'color.cjs'] },
  { name: 'detect-libc', parts: ['package.json', 'LICENSE', 'lib'] },
  {
    name: 'semver',
    parts: [
      'package.json',
      'LICENSE',
      'index.js',
      'preload.js',
      'classes',
      'functions',
      'internal',
      'ranges',
    ],
  },
];

/** Not needed to run: types, source maps, ES-module twins of CommonJS files, headers. */
const SUPERFLUOUS = /(\.d\.[cm]?ts|\.map|\.mjs|\.h)$/;

/** macOS ships the library twice, as `libonnxruntime.1.dylib` (which the binding loads) and under its full version. */
const DUPLICATE_LIBRARY = /libonnxruntime\.\d+\.\d+\.\d+\.dylib$/;

/**
 * @param {string} target e.g. `linux-x64`
 * @param {string} destination the node_modules folder to fill
 * @returns {Promise<{ name: string, directory: string }[]>} the packages that were copied, for the notices
 */
export async function stageNatives(target, destination) {
  const [os, cpu] = target.split('-');
  const staged = [];
  const stage = async (name, source, parts) => {
    for (const part of parts) await copy(join(source, part), join(destination, name, part));
    staged.push({ name, directory: source });
  };

  const installed = (name) => join(root, 'node_modules', name);
  for (const { name, parts } of COMMON) await stage(name, installed(name), parts);
  await stage('onnxruntime-node', installed('onnxruntime-node'), [
    'package.json',
    'dist',
    `bin/napi-v6/${os}/${cpu}`,
  ]);

  // On Windows libvips is inside the sharp package; elsewhere it is a package of its own.
  const names = [`@img/sharp-${target}`, `@img/sharp-libvips-${target}`].filter(
    (name) => lock.packages[`node_modules/${name}`],
  );
  for (const name of names) {
    const source = existsSync(installed(name)) ? installed(name) : await downloaded(name);
    await stage(name, source, await readdir(source));
  }
  await checkComplete(destination);
  return staged;
}

/** What cannot be missing on any platform: the two bindings, and the library that each of them loads. */
async function checkComplete(destination) {
  const files = await readdir(destination, { recursive: true });
  for (const needed of [
    /onnxruntime_binding\.node$/,
    /onnxruntime[.\d]*\.(so\.\d+|dll|dylib)$/,
    /sharp-[\w.-]+\.node$/,
    /libvips[\w.-]*\.(so[\d.]*|dll|dylib)$/,
  ]) {
    if (!files.some((file) => needed.test(file))) throw new Error(`No native file matches ${needed}.`);
  }
}

async function copy(source, destination) {
  await cp(source, destination, {
    recursive: true,
    filter: (file) => !SUPERFLUOUS.test(file) && !DUPLICATE_LIBRARY.test(file),
  });
}

/** A package of another platform: from the cache folder, or by `npm pack` from the registry. */
async function downloaded(name) {
  const { version, integrity } = lock.packages[`node_modules/${name}`];
  const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'fovea', 'natives');
  const unpacked = join(cache, `${name.replace('/', '+')}-${version}`);
  if (existsSync(unpacked)) return unpacked;

  await mkdir(cache, { recursive: true });
  const work = await mkdtemp(join(cache, 'download-'));
  try {
    const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
    const packed = await run(npm, ['pack', `${name}@${version}`, '--silent', '--pack-destination', work], {
      shell: process.platform === 'win32',
    });
    const archive = join(work, packed.stdout.trim().split('\n').at(-1));
    const [algorithm, expected] = splitIntegrity(integrity);
    const actual = createHash(algorithm)
      .update(await readFile(archive))
      .digest('base64');
    if (actual !== expected)
      throw new Error(`${name}@${version} from the registry is not the one in package-lock.json.`);
    await run('tar', ['-xzf', archive, '-C', work]);
    await rename(join(work, 'package'), unpacked);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return unpacked;
}

/** `sha512-BASE64` in two. Base64 may itself contain no hyphen, so the first one divides. */
function splitIntegrity(integrity) {
  const hyphen = integrity.indexOf('-');
  return [integrity.slice(0, hyphen), integrity.slice(hyphen + 1)];
}
