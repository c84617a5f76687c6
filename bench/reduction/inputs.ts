import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';

import { hashQuestions, REAL_SCREENS, ROOT, SETS } from '../evaluationSet';
import type { Entry } from './specs';

/** SHA-256 over all weights of a checkpoint folder: retrained weights of the same shapes are another model. */
export async function weightsHash(folder: string): Promise<string> {
  const hash = createHash('sha256');
  for (const file of (await readdir(folder, { recursive: true })).sort()) {
    if (!file.endsWith('.safetensors')) continue;
    for await (const part of createReadStream(path.join(folder, file))) hash.update(part as Buffer);
  }
  return hash.digest('hex');
}

/** SHA-256 over the engine's source: tells which engine measured. Not compared by any test, since most changes change no answer. */
export async function codeHash(): Promise<string> {
  const folder = path.join(ROOT, 'server', 'llava');
  const hash = createHash('sha256');
  for (const file of (await readdir(folder, { recursive: true })).sort()) {
    if (!file.endsWith('.ts') || file.endsWith('.test.ts') || file.includes('testing')) continue;
    hash.update(`${file}\n`).update(await readFile(path.join(folder, file)));
  }
  return hash.digest('hex');
}

/** SHA-256 over the questions and images of both sets. */
export function questionsHash(): string {
  return hashQuestions([SETS.words, REAL_SCREENS]);
}

/** SHA-256 over what was run. */
export function specsHash(entries: readonly Entry[]): string {
  return createHash('sha256')
    .update(entries.map(({ spec }) => spec).join('\n'))
    .digest('hex');
}
