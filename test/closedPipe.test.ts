import { spawn } from 'node:child_process';
import path from 'node:path';
import { expect, it } from 'vitest';

const DIST = path.join(__dirname, '..', 'dist');

it.each([
  ['npm start', [path.join(DIST, 'demo.js')]],
  ['fovea', [path.join(DIST, 'cli.js'), '--help']],
])('%s ends quietly when its reader has read enough', { timeout: 120_000 }, async (_, args) => {
  const child = spawn(process.execPath, args);
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
  child.stdout.once('data', () => child.stdout.destroy());
  const code = await new Promise((resolve) => child.once('close', resolve));
  expect(errors).toBe('');
  expect(code).toBe(0);
});
