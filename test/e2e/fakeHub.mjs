// The hub of the download tests (test/models/fakeHub.ts) with one small checkpoint, for the real editor.
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { project } from './session.mjs';

/** @param {string} root a folder for temporary files */
export async function startFakeHub(root) {
  const folder = await mkdtemp(join(root, 'hub-'));
  const outfile = join(folder, 'fakeHub.mjs');
  await build({
    entryPoints: [join(project, 'test', 'models', 'fakeHub.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    logLevel: 'warning',
  });
  const { FakeHub, filesOf } = await import(pathToFileURL(outfile).href);
  await rm(folder, { recursive: true });
  return FakeHub.start(filesOf(join(project, 'test', 'fixtures', 'checkpoints', 'clip-llama')));
}
