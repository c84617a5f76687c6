import { createHash, type Hash } from 'node:crypto';
import { open } from 'node:fs/promises';

import { throwIfStopped } from './errors';

/**
 * What a file's content must be. The hub names large (LFS) files by the SHA-256 of their content and small ones by their
 * git blob id; huggingface_hub names the files of its cache by the same.
 */
export interface ContentHash {
  readonly algorithm: 'sha256' | 'git-sha1';
  readonly hex: string;
}

/** @returns undefined for what is neither. */
export function contentHash(hex: string): ContentHash | undefined {
  if (/^[0-9a-f]{64}$/.test(hex)) return { algorithm: 'sha256', hex };
  if (/^[0-9a-f]{40}$/.test(hex)) return { algorithm: 'git-sha1', hex };
  return undefined;
}

/** @param size of the whole content in bytes; a git blob id begins with it. */
export function startHash({ algorithm }: ContentHash, size: number): Hash {
  return algorithm === 'sha256' ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`);
}

export function matches(expected: ContentHash, hash: Hash): boolean {
  return hash.digest('hex') === expected.hex;
}

const CHUNK_BYTES = 1024 * 1024;

/** Feeds the first bytes of a file to a hash. @returns the number of bytes read; fewer where the file is shorter. */
export async function hashFile(
  file: string,
  hash: Hash,
  limit: number,
  options: { signal?: AbortSignal; onBytes?: (bytes: number) => void } = {},
): Promise<number> {
  const handle = await open(file, 'r');
  try {
    const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
    let done = 0;
    while (done < limit) {
      throwIfStopped(options.signal);
      const { bytesRead } = await handle.read(buffer, 0, Math.min(CHUNK_BYTES, limit - done), done);
      if (bytesRead === 0) break;
      hash.update(buffer.subarray(0, bytesRead));
      done += bytesRead;
      options.onBytes?.(bytesRead);
    }
    return done;
  } finally {
    await handle.close();
  }
}
