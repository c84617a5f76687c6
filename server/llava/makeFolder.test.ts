import { existsSync, writeFileSync } from 'node:fs';
import type * as nodeFileSystem from 'node:fs/promises';
import path from 'node:path';

import { expect, it } from 'vitest';

import { makeFolder } from './makeFolder';
import { temporaryDirectory } from './testing/temporaryDirectory';

const parent = temporaryDirectory();

/** Behaves as Node 20 does on a read-only file system: plain calls tell the truth, recursive ones say ENOENT where something is missing. */
const readOnly: Pick<typeof nodeFileSystem, 'mkdir'> = {
  mkdir: ((folder: string, options?: { recursive?: boolean }) => {
    if (options?.recursive && existsSync(folder)) return Promise.resolve(undefined);
    const code = options?.recursive ? 'ENOENT' : 'EROFS';
    return Promise.reject(Object.assign(new Error(`${code}: mkdir '${folder}'`), { code }));
  }) as typeof nodeFileSystem.mkdir,
};

it('makes a folder with those above it, also when it is there already', async () => {
  const folder = path.join(parent, 'a', 'b', 'c');
  await makeFolder(folder);
  await makeFolder(folder);
  expect(existsSync(folder)).toBe(true);
});

it('says that the file system is read-only, not that the folder is missing', async () => {
  const missing = path.join(parent, 'x', 'y', 'z');
  await expect(makeFolder(missing, readOnly)).rejects.toMatchObject({ code: 'EROFS' });
  await expect(makeFolder(parent, readOnly)).resolves.toBeUndefined();
});

it('leaves every other reason as it is', async () => {
  const file = path.join(parent, 'file');
  writeFileSync(file, '');
  await expect(makeFolder(path.join(file, 'below'))).rejects.toMatchObject({ code: 'ENOTDIR' });
});
