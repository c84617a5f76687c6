// Makes the VSIX of one platform: the bundles, the embedded model, and the native files of that platform only.
// `npm run package [-- --target linux-x64] [--out file.vsix]`
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { stageNatives, TARGETS } from './natives.mjs';
import { writeNotices } from './notices.mjs';

const run = promisify(execFile);
const root = fileURLToPath(new URL('..', import.meta.url));

/** Programs of dist/ that the installed extension runs. The command line and the demo stay in the repository. */
const PROGRAMS = ['client.js', 'server.js', 'inference.js', 'convert.js', 'webview.js'];

/** Copied as they are. */
const FOLDERS = ['media', 'model'];
const DOCUMENTS = ['CHANGELOG.md', 'LICENSE', 'package.nls.json'];
/**
 * What the editor shows on the page of the extension; the README of the repository is for those who build it. It has no pictures: the editor
 * takes them from https addresses only, and there is none yet.
 */
const PAGE = join(root, 'docs', 'extension.md');

const { values } = parseArgs({
  options: { target: { type: 'string' }, out: { type: 'string' }, keep: { type: 'boolean', default: false } },
});
const target = values.target ?? `${process.platform}-${process.arch}`;
if (!TARGETS.includes(target)) {
  console.error(`Unknown target "${target}". Fovea can be packaged for ${TARGETS.join(', ')}.`);
  process.exit(2);
}

const manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
const out = values.out ?? join(root, `${manifest.name}-${target}-${manifest.version}.vsix`);
const staging = await mkdtemp(join(tmpdir(), 'fovea-package-'));

try {
  await stageBundles();
  for (const folder of FOLDERS) await cp(join(root, folder), join(staging, folder), { recursive: true });
  for (const document of DOCUMENTS.filter((name) => existsSync(join(root, name)))) {
    await cp(join(root, document), join(staging, document));
  }
  await cp(PAGE, join(staging, 'README.md'));
  await rm(join(staging, 'media', 'icon.svg')); // vsce refuses SVG files that could be taken for icons; the PNG is in.
  await writeFile(join(staging, 'package.json'), JSON.stringify(stagedManifest(), null, 2));
  const natives = await stageNatives(target, join(staging, 'dist', 'node_modules'));
  await writeNotices(join(staging, 'THIRD-PARTY-NOTICES.txt'), await bundledPackages(), natives);
  await rm(join(staging, 'inputs.json'));

  const vsce = join(root, 'node_modules', '@vscode', 'vsce', 'vsce');
  const flags = ['--no-dependencies', '--allow-missing-repository', '--no-rewrite-relative-links'];
  await run(process.execPath, [vsce, 'package', ...flags, '--target', target, '--out', out], {
    cwd: staging,
  });
  await report();
} finally {
  if (values.keep) console.log(`Staged files: ${staging}`);
  else await rm(staging, { recursive: true, force: true });
}

/** Bundles straight into the staging folder: a development build in dist/ is neither used nor disturbed. */
async function stageBundles() {
  await mkdir(join(staging, 'dist'));
  const flags = [
    '--production',
    `--outdir=${join(staging, 'dist')}`,
    `--metafile=${join(staging, 'inputs.json')}`,
  ];
  await run(process.execPath, [join(root, 'esbuild.mjs'), ...flags], { cwd: root });
  const built = await readdir(join(staging, 'dist'));
  const missing = PROGRAMS.filter((program) => !built.includes(program));
  if (missing.length > 0) throw new Error(`The build did not make ${missing.join(', ')}.`);
  for (const file of built) if (!PROGRAMS.includes(file)) await rm(join(staging, 'dist', file));
}

/** The manifest without what only the repository needs. */
function stagedManifest() {
  const repositoryOnly = ['scripts', 'dependencies', 'devDependencies', 'bin', 'private'];
  return Object.fromEntries(Object.entries(manifest).filter(([key]) => !repositoryOnly.includes(key)));
}

/** Names of the npm packages whose code is inside the bundles. */
async function bundledPackages() {
  const inputs = JSON.parse(await readFile(join(staging, 'inputs.json'), 'utf8'));
  const names = inputs.flatMap(
    (input) => /node_modules\/((?:@[^/]+\/)?[^/]+)\/(?!.*node_modules\/)/.exec(input)?.[1] ?? [],
  );
  return [...new Set(names)].sort();
}

async function report() {
  const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
  const parts = ['dist', 'model', 'media'];
  const sizes = await Promise.all(
    parts.map(async (part) => `${part} ${megabytes(await folderSize(join(staging, part)))}`),
  );
  console.log(`${out}: ${megabytes((await stat(out)).size)} (unpacked: ${sizes.join(', ')})`);
}

async function folderSize(folder) {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  const sizes = await Promise.all(
    files.map(async (file) => (await stat(join(file.parentPath, file.name))).size),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}
