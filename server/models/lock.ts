import { open, readFile, rm, stat, utimes } from 'node:fs/promises';
import path from 'node:path';

import { isRunning, thisHost } from '../llava/checkpoint/sidecar';
import { ModelError } from '../llava/errors';
import { makeFolder } from '../llava/makeFolder';

/** The holder touches its lock this often; one that was not touched for {@link STALE_MS} has no holder any more. */
const HEARTBEAT_MS = 15_000;
const STALE_MS = 120_000;

/**
 * Does the work while no other Fovea, on this machine or on another with the same home, works on the same model. What a
 * killed process left behind is taken over: at once on the same machine, after a while on another.
 *
 * @throws ModelError `model.in-use`
 */
export async function withLock<Result>(
  file: string,
  repository: string,
  work: () => Promise<Result>,
): Promise<Result> {
  await acquire(file, repository);
  const heartbeat = setInterval(() => {
    const now = new Date();
    utimes(file, now, now).catch(() => undefined);
  }, HEARTBEAT_MS);
  heartbeat.unref();
  try {
    return await work();
  } finally {
    clearInterval(heartbeat);
    await rm(file, { force: true });
  }
}

/** Whether somebody holds a lock now. */
export async function isHeld(file: string): Promise<boolean> {
  return !(await isAbandoned(file));
}

async function acquire(file: string, repository: string): Promise<void> {
  await makeFolder(path.dirname(file));
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      const handle = await open(file, 'wx');
      await handle.writeFile(`${thisHost()} ${process.pid}\n`).finally(() => handle.close());
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      if (!(await isAbandoned(file))) break;
      await rm(file, { force: true });
    }
  }
  throw new ModelError({
    code: 'model.in-use',
    message: `Another Fovea is working on ${repository}.`,
    why: `It holds ${file}.`,
    nextStep: 'Wait until it is done, or close it.',
  });
}

async function isAbandoned(file: string): Promise<boolean> {
  const facts = await stat(file).catch(() => undefined);
  if (facts === undefined) return true;
  const [host, pid] = (await readFile(file, 'utf8').catch(() => '')).trim().split(' ');
  if (host === thisHost() && /^\d+$/.test(pid ?? '')) return !isRunning(Number(pid));
  return Date.now() - facts.mtimeMs > STALE_MS;
}
