import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import { afterAll } from 'vitest';

const made: string[] = [];

// Registered when the test file is read: a hook that is added while a test runs is never called.
afterAll(() => {
  for (const directory of made.splice(0)) rmSync(directory, { recursive: true, force: true });
});

/** A fresh folder that is removed when the test file ends. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'fovea-test-'));
  made.push(directory);
  return directory;
}
