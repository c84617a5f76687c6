import { isMainThread, Worker, workerData } from 'node:worker_threads';

/** How often a blocked process looks whether its parent still lives. */
const INTERVAL_MS = 1000;

/**
 * Ends this process soon after its parent died, even while a run of onnxruntime blocks the main thread (the
 * `disconnect` event would wait for the run's end, which may be minutes). A second thread of the same program watches.
 *
 * @param program the file that this process runs; its main thread goes on, its watching thread never returns.
 * @returns true in the main thread: go on. False in the watching thread: do nothing else.
 */
export function watchParent(program: string): boolean {
  if (isMainThread) {
    const watcher = new Worker(program, { workerData: { parent: process.ppid }, execArgv: [] });
    watcher.unref();
    return true;
  }
  const { parent } = workerData as { parent: number };
  setInterval(() => {
    // On Windows a process keeps the id of a dead parent, elsewhere it gets a new one.
    if (process.ppid !== parent || !isAlive(parent)) process.kill(process.pid, 'SIGKILL');
  }, INTERVAL_MS);
  return false;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it lives, but belongs to somebody else.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
