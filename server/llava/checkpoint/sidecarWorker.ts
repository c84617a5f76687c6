import * as nodeFileSystem from 'node:fs/promises';
import { parentPort } from 'node:worker_threads';
import { CancelledError, FoveaError } from '../errors';
import { writeSidecarFile } from './sidecarFile';
import type { FromWorker, ToWorker } from './sidecarWorkers';

/*
 * The program of a conversion thread: makes the files that it is told to, one at a time. Pure JavaScript; it loads no
 * native library, so it may run beside onnxruntime and be ended at any time.
 */

const port = parentPort!;
const send = (message: FromWorker): void => port.postMessage(message);
let controller = new AbortController();

port.on('message', (message: ToWorker) => {
  if (message.kind === 'cancel') controller.abort();
  else void make(message);
});

async function make({ path, file }: ToWorker & { kind: 'make' }): Promise<void> {
  controller = new AbortController();
  try {
    const onBytes = (bytes: number): void => send({ kind: 'bytes', bytes });
    await writeSidecarFile(path, file, { files: nodeFileSystem, signal: controller.signal, onBytes });
    send({ kind: 'done' });
  } catch (error) {
    if (error instanceof CancelledError) send({ kind: 'cancelled' });
    else if (error instanceof FoveaError) send({ kind: 'failed', data: error.toData() });
    else {
      const { code, message, stack } = error as NodeJS.ErrnoException;
      send({ kind: 'broken', code, message, stack });
    }
  }
}
