import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { crc32, inflateRawSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const ROOT = path.resolve(__dirname, '..');

/** This platform, or those that PACKAGE_TARGETS names: their native files come from the npm registry. */
const TARGETS = process.env.PACKAGE_TARGETS?.split(',') ?? [`${process.platform}-${process.arch}`];

/** One file of a ZIP archive. */
interface Entry {
  name: string;
  size: number;
  crc: number;
  read: () => Buffer;
}

/** The central directory of an archive without a comment and below 4 GB (PKWARE's APPNOTE, 4.3.12 and 4.3.16). */
function entriesOf(archive: Buffer): Entry[] {
  const end = archive.lastIndexOf('PK\u0005\u0006', undefined, 'latin1');
  const count = archive.readUInt16LE(end + 10);
  let at = archive.readUInt32LE(end + 16);
  return Array.from({ length: count }, () => {
    const [method, crc, packed, size] = [
      archive.readUInt16LE(at + 10),
      archive.readUInt32LE(at + 16),
      archive.readUInt32LE(at + 20),
      archive.readUInt32LE(at + 24),
    ];
    const [nameLength, extra, comment] = [28, 30, 32].map((offset) => archive.readUInt16LE(at + offset));
    const local = archive.readUInt32LE(at + 42);
    const name = archive.toString('utf8', at + 46, at + 46 + nameLength);
    at += 46 + nameLength + extra + comment;
    const read = (): Buffer => {
      const start = local + 30 + archive.readUInt16LE(local + 26) + archive.readUInt16LE(local + 28);
      const content = archive.subarray(start, start + packed);
      return method === 0 ? content : inflateRawSync(content);
    };
    return { name, size, crc, read };
  });
}

interface Manifest {
  main: string;
  icon: string;
  contributes: { walkthroughs: { steps: { media: { image: string } }[] }[] };
}

describe.each(TARGETS)('the package for %s', (target) => {
  const [os, cpu] = target.split('-');
  let folder: string;
  let entries: Entry[];
  let names: string[];
  const text = (name: string): string =>
    entries
      .find((entry) => entry.name === name)!
      .read()
      .toString('utf8');

  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'fovea-vsix-'));
    const file = path.join(folder, 'fovea.vsix');
    const parameters = [path.join(ROOT, 'scripts/package.mjs'), '--target', target, '--out', file];
    execFileSync(process.execPath, parameters, { stdio: 'pipe' });
    entries = entriesOf(readFileSync(file)).filter(({ name }) => !name.endsWith('/'));
    names = entries.map(({ name }) => name);
  }, 300_000);
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('is marked for it', () => {
    expect(text('extension.vsixmanifest')).toContain(`TargetPlatform="${target}"`);
  });

  it('has the embedded model, byte for byte', () => {
    const files = readdirSync(path.join(ROOT, 'model'), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => path.relative(path.join(ROOT, 'model'), path.join(entry.parentPath, entry.name)))
      .map((file) => file.replaceAll(path.sep, '/'));
    expect(files).toContain('model.safetensors');
    expect(files).toContain('heads/llamavid.safetensors');
    for (const file of files) {
      const entry = entries.find(({ name }) => name === `extension/model/${file}`);
      expect(entry?.crc, file).toBe(crc32(readFileSync(path.join(ROOT, 'model', file))));
    }
  });

  it('has the native files of that platform and of no other', () => {
    const native = names.filter((name) => /\.(?:node|dll|dylib|so(?:\.[\d.]+)?)$/.test(name));
    const own = [
      `extension/dist/node_modules/onnxruntime-node/bin/napi-v6/${os}/${cpu}/`,
      `extension/dist/node_modules/@img/sharp-${target}/`,
      `extension/dist/node_modules/@img/sharp-libvips-${target}/`,
    ];
    expect(native.filter((name) => own.every((place) => !name.startsWith(place)))).toEqual([]);
    expect(native.some((name) => name.endsWith('onnxruntime_binding.node'))).toBe(true);
    expect(native.some((name) => /sharp-[\w.-]+\.node$/.test(name))).toBe(true);
  });

  it('has everything that its manifest names', () => {
    const manifest = JSON.parse(text('extension/package.json')) as Manifest;
    const pictures = manifest.contributes.walkthroughs.flatMap(({ steps }) =>
      steps.map(({ media }) => media.image),
    );
    for (const file of [manifest.main, manifest.icon, ...pictures, 'package.nls.json'])
      expect(names).toContain(`extension/${file.replace(/^\.\//, '')}`);
    for (const program of ['client', 'server', 'inference', 'webview'])
      expect(names).toContain(`extension/dist/${program}.js`);
  });

  it('has a page for users, without what the editor cannot show: paths of the repository', () => {
    const page = text('extension/readme.md');
    expect(page).toContain('Choose Model...');
    expect(page).not.toMatch(/\bnpm\b/);
    const targets = [...page.matchAll(/\]\(([^)]+)\)/g)].map(([, target]) => target);
    expect(targets.filter((target) => !target.startsWith('https:'))).toEqual([]);
  });

  it('has nothing that only developers need', () => {
    const superfluous = names.filter((name) =>
      /\.(?:ts|map|mjs|py)$|\.test\.|\/(?:test|bench|training|scripts|docs|server|client|webview)\/|\.(?:git|ci|npmrc|env)|lock\.json$|tsconfig|eslint|vitest/.test(
        name.replace('extension/dist/node_modules/', ''),
      ),
    );
    expect(superfluous).toEqual([]);
    const top = new Set(names.map((name) => /^extension\/([^/]+)/.exec(name)?.[1]).filter(Boolean));
    expect([...top].map((name) => name!.toLowerCase()).sort()).toEqual([
      'changelog.md',
      'dist',
      'license.txt',
      'media',
      'model',
      'package.json',
      'package.nls.json',
      'readme.md',
      'third-party-notices.txt',
    ]);
    const manifest = JSON.parse(text('extension/package.json')) as Record<string, unknown>;
    for (const key of ['scripts', 'devDependencies', 'dependencies', 'bin'])
      expect(manifest).not.toHaveProperty(key);
  });
});
