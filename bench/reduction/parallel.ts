import { fork } from 'node:child_process';

import { LlavaModel } from '../../server/llava/model';
import { OutcomeLog } from './outcomes';
import { askAll, type Subject } from './run';
import type { Entry } from './specs';

/** Much of a question to a small model is done by one thread, so several processes use the cores better than one. */
export interface Asking {
  /** Folder of the checkpoint. */
  readonly model: string;
  /** File of the outcomes. All processes append to it, each whole lines of its own pictures. */
  readonly log: string;
  readonly subjects: readonly Subject[];
  readonly entries: readonly Entry[];
  /** No further picture is begun after this time (Date.now); absent: never. */
  readonly until?: number;
}

/** What a process that asks is started with; see {@link serveAsking}. */
export const ASKING_PROCESS = '--asking-process';

/**
 * {@link askAll} in several processes, each with every n-th picture.
 *
 * @param program a script that calls {@link serveAsking} where it is started with {@link ASKING_PROCESS}.
 */
export async function askInProcesses(
  program: string,
  processes: number,
  { subjects, ...asking }: Asking,
  onProgress: (done: number, of: number) => void,
): Promise<void> {
  let done = 0;
  await Promise.all(
    Array.from({ length: processes }, (_, index) => {
      const own = subjects.filter((_, at) => at % processes === index);
      return runProcess(program, { ...asking, subjects: own }, () => onProgress(++done, subjects.length));
    }),
  );
}

function runProcess(program: string, asking: Asking, onPicture: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = fork(program, [ASKING_PROCESS]);
    child.send(asking);
    child.on('message', onPicture);
    child.on('error', reject);
    child.on('exit', (code, signal) =>
      code === 0 ? resolve() : reject(new Error(`A process that asked ended with ${code ?? signal}.`)),
    );
  });
}

/** Waits for what to ask, asks it, and lets the process end. */
export function serveAsking(): void {
  process.once('message', (asking: Asking) => void serve(asking));
}

async function serve({ model: folder, log, subjects, entries, until }: Asking): Promise<void> {
  const model = await LlavaModel.open(folder);
  let told = 0;
  await askAll(model, subjects, entries, new OutcomeLog(log), {
    until,
    onProgress: (done) => {
      if (done > told) process.send?.({ done: (told = done) });
    },
  });
  await model.dispose();
  process.disconnect();
}
