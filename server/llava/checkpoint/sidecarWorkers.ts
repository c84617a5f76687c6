import { existsSync } from 'node:fs';
import * as nodeFileSystem from 'node:fs/promises';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { ErrorData } from '../../protocol';
import { CancelledError, ModelError } from '../errors';
import { writeSidecarFile, type WriteOptions } from './sidecarFile';
import type { SidecarFile } from './sidecarPlan';

export type ToWorker =
  { readonly kind: 'make'; readonly path: string; readonly file: SidecarFile } | { readonly kind: 'cancel' };

export type FromWorker =
  | { readonly kind: 'bytes'; readonly bytes: number }
  | { readonly kind: 'done' }
  | { readonly kind: 'cancelled' }
  | { readonly kind: 'failed'; readonly data: ErrorData }
  | {
      readonly kind: 'broken';
      readonly code: string | undefined;
      readonly message: string;
      readonly stack: string | undefined;
    };

/** Makes one file after the other; several of them work at the same time. */
export interface FileMaker {
  make(path: string, file: SidecarFile, options: Omit<WriteOptions, 'files'>): Promise<void>;
  dispose(): Promise<void>;
}

/** The bundled program of a conversion thread lies beside every program that bundles the engine. */
export const WORKER_PROGRAM = join(__dirname, 'convert.js');

/** Starting a thread takes about as long as converting this much. */
const WORTH_A_THREAD = 16 * 1024 * 1024;
/** Bounds memory (about 40 MB per thread); beyond this the disk is the limit. */
const MAX_WORKERS = 16;

/** As many makers as are of use for these files; in this thread where threads are of no use, or the program is not there. */
export function startMakers(
  files: readonly SidecarFile[],
  cores: number,
  program = WORKER_PROGRAM,
): FileMaker[] {
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  const useful = Math.min(cores, files.length, MAX_WORKERS, Math.ceil(bytes / WORTH_A_THREAD));
  if (useful < 2 || !existsSync(program)) return [inThisThread(nodeFileSystem)];
  return Array.from({ length: useful }, () => new WorkerMaker(program));
}

export function inThisThread(files: WriteOptions['files']): FileMaker {
  return {
    make: (path, file, options) => writeSidecarFile(path, file, { ...options, files }),
    dispose: async () => undefined,
  };
}

class WorkerMaker implements FileMaker {
  private readonly worker: Worker;

  constructor(program: string) {
    this.worker = new Worker(program, { execArgv: [] });
  }

  make(path: string, file: SidecarFile, { signal, onBytes }: Omit<WriteOptions, 'files'>): Promise<void> {
    const { worker } = this;
    const send = (message: ToWorker): void => worker.postMessage(message);
    return new Promise<void>((resolve, reject) => {
      const cancel = (): void => send({ kind: 'cancel' });
      const finish = (settle: () => void): void => {
        worker.off('message', receive).off('error', fail).off('exit', exit);
        signal?.removeEventListener('abort', cancel);
        settle();
      };
      const fail = (error: Error): void => finish(() => reject(error));
      const exit = (code: number): void => fail(new Error(`the conversion thread ended with code ${code}`));
      const receive = (message: FromWorker): void => {
        switch (message.kind) {
          case 'bytes':
            onBytes?.(message.bytes);
            break;
          case 'done':
            finish(resolve);
            break;
          case 'cancelled':
            fail(new CancelledError());
            break;
          case 'failed':
            fail(new ModelError(message.data));
            break;
          case 'broken':
            fail(Object.assign(new Error(message.message), { code: message.code, stack: message.stack }));
        }
      };
      worker.on('message', receive).on('error', fail).on('exit', exit);
      signal?.addEventListener('abort', cancel);
      send({ kind: 'make', path, file });
      if (signal?.aborted) cancel();
    });
  }

  async dispose(): Promise<void> {
    await this.worker.terminate();
  }
}
