import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import { afterAll } from 'vitest';

/** A fresh folder that is removed when the test file ends. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'fovea-test-'));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}
