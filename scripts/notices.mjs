// THIRD-PARTY-NOTICES.txt of a VSIX: name, version, licence and licence text of every package that is inside.
import { readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/**
 * @param {string} file where to write
 * @param {string[]} bundled names of packages inside the bundles
 * @param {{ name: string, directory: string }[]} natives packages copied beside them
 */
export async function writeNotices(file, bundled, natives) {
  const packages = new Map(bundled.map((name) => [name, join(root, 'node_modules', name)]));
  for (const { name, directory } of natives) packages.set(name, directory);
  const entries = await Promise.all([...packages].sort().map(([name, directory]) => notice(name, directory)));
  const intro = 'Fovea contains the following packages. Each is under its own licence.\n';
  await writeFile(file, [intro, ...entries].join(`\n${'-'.repeat(100)}\n`));
}

async function notice(name, directory) {
  const manifest = JSON.parse(await readFile(join(directory, 'package.json'), 'utf8'));
  const source = typeof manifest.repository === 'string' ? manifest.repository : manifest.repository?.url;
  const heading = `${name} ${manifest.version} (${manifest.license ?? 'see below'})${source ? `\n${source}` : ''}\n`;
  const texts = (await readdir(directory)).filter((entry) =>
    /^(licen[cs]e|notice|thirdpartynotices)/i.test(entry),
  );
  const contents = await Promise.all(texts.map((text) => readFile(join(directory, text), 'utf8')));
  return [heading, ...contents].join('\n');
}
