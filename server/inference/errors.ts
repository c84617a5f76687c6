import { DeviceError, FoveaError, InputError } from '../llava/errors';
import type { ErrorData } from '../protocol';

/** An error that crossed a process border, as an error again. */
export function fromErrorData(data: ErrorData): FoveaError {
  return new FoveaError(data.kind, data);
}

/** How a process ended, with the end of what it wrote to stderr. */
export interface ProcessExit {
  code: number | null;
  signal: NodeJS.Signals | null;
  stderr: string;
}

/** The inference process ended by itself while something was asked of it. */
export class InferenceCrashedError extends DeviceError {
  constructor(readonly exit: ProcessExit) {
    super({
      code: 'inference.crashed',
      message: 'The inference process ended unexpectedly.',
      why: describeExit(exit),
      nextStep:
        'Ask again: it starts by itself. If it happens again, set fovea.device to cpu or choose a smaller model.',
    });
  }
}

/** The inference process crashed so often that it is not started any more. */
export class InferenceStoppedError extends DeviceError {
  constructor(crashes: number, minutes: number, last: ProcessExit) {
    super({
      code: 'inference.stopped',
      message: `Inference is stopped: its process ended unexpectedly ${crashes} times in ${minutes} minutes.`,
      why: describeExit(last),
      nextStep:
        'Set fovea.device to cpu or choose a smaller model, or run "Fovea: Restart Inference" to try again as it is.',
    });
  }
}

/** The user restarted the inference process under a running question. */
export class InferenceRestartedError extends DeviceError {
  constructor() {
    super({
      code: 'inference.restarted',
      message: 'The inference process was restarted before it had answered.',
      nextStep: 'Ask again.',
    });
  }
}

/** More questions wait than the queue holds. */
export class QueueFullError extends InputError {
  constructor(limit: number) {
    super({
      code: 'inference.busy',
      message: `${limit} questions are waiting already.`,
      why: 'One question is answered at a time.',
      nextStep: 'Wait for an answer, or cancel one of the questions.',
    });
  }
}

/** The end of a process in words, for the user. */
export function describeExit({ code, signal, stderr }: ProcessExit): string {
  const last = stderr.trim().split('\n').at(-1)?.trim() ?? '';
  const said = last === '' ? '' : ` It last said: ${last.slice(0, 300)}`;
  if (/bad_alloc|out of memory|Failed to allocate/i.test(stderr)) return `It ran out of memory.${said}`;
  switch (signal) {
    case 'SIGKILL':
      return `The system killed it, most often because memory ran out.${said}`;
    case 'SIGBUS':
      return `A file of the model became shorter while it was in use, or its disk failed.${said}`;
    case 'SIGSEGV':
    case 'SIGABRT':
    case 'SIGILL':
      return `A native library or a device driver failed (${signal}).${said}`;
    case null:
      return `It ended with exit code ${code ?? 'unknown'}.${said}`;
    default:
      return `It was ended by ${signal}.${said}`;
  }
}
