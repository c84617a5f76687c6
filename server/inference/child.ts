import { fork, type ChildProcess } from 'node:child_process';
import { CancelledError } from '../llava/errors';
import { fromErrorData, InferenceCrashedError, type ProcessExit } from './errors';
import { MEMORY_OPTIONS } from './memoryOptions';
import type { CallName, Calls, FromProcess, Progress, ToProcess } from './messages';

/** How much of the end of stderr is kept, in characters: it often names the cause of a crash. */
const STDERR_TAIL = 4000;
/** Colours of a terminal, which onnxruntime writes whether there is one or not. */
// eslint-disable-next-line no-control-regex
const COLOURS = /\u001b\[[\d;]*m/g;

export interface CallOptions {
  onToken?: (piece: string, index: number) => void;
  onProgress?: (progress: Progress) => void;
}

interface PendingCall extends CallOptions {
  resolve: (result: never) => void;
  reject: (error: Error) => void;
}

/**
 * One inference process, seen from its parent: calls with their answers, and its end. It knows nothing of queues,
 * budgets or models.
 */
export class InferenceChild implements Disposable {
  /** Resolves when the process has ended; never rejects. */
  readonly ended: Promise<ProcessExit>;
  /** Resident memory after its last answer, in bytes. */
  memoryBytes: number | undefined;

  readonly #process: ChildProcess;
  readonly #calls = new Map<number, PendingCall>();
  #nextId = 1;
  #stderr = '';
  #end: { exit: ProcessExit; wanted: boolean } | undefined;
  #wantedEnd = false;

  /**
   * @param program path of the inference program.
   * @param log receives what the process writes to its output.
   */
  constructor(program: string, log: (line: string) => void) {
    this.#process = fork(program, [], {
      // Not the parent's: a debugger port, for one, cannot be shared.
      execArgv: [...MEMORY_OPTIONS.execArgv],
      env: { ...process.env, ...MEMORY_OPTIONS.env },
      serialization: 'advanced',
      // Never the parent's stdout, which carries LSP under --stdio.
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    const note = (text: string): void => {
      const line = text.replace(COLOURS, '').trim();
      if (line !== '') log(line);
    };
    this.#process.stdout?.setEncoding('utf8').on('data', note);
    this.#process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-STDERR_TAIL);
      note(text);
    });
    this.#process.on('message', (message: FromProcess) => this.#receive(message));
    this.ended = new Promise((resolve) => {
      const end = (code: number | null, signal: NodeJS.Signals | null): void => {
        if (this.#end) return;
        const exit: ProcessExit = { code, signal, stderr: this.#stderr };
        this.#end = { exit, wanted: this.#wantedEnd };
        for (const call of this.#calls.values()) call.reject(this.#endError());
        this.#calls.clear();
        resolve(exit);
      };
      // `close` comes after the last of stderr; `error` (could not be started) comes alone.
      this.#process.on('close', end);
      this.#process.on('error', (error) => {
        this.#stderr += error.message;
        if (this.#process.pid === undefined) end(null, null);
      });
    });
  }

  get processId(): number | undefined {
    return this.#process.pid;
  }

  /** It lives, and nobody has asked for its end. */
  get isUsable(): boolean {
    return this.#end === undefined && !this.#wantedEnd;
  }

  /** True when the end came from {@link dispose}, not from a crash. */
  get endWasWanted(): boolean {
    return this.#wantedEnd;
  }

  /** Starts a call. The promise rejects with the engine's error, or with {@link InferenceCrashedError}. */
  call<N extends CallName>(
    name: N,
    params: Calls[N]['params'],
    options: CallOptions = {},
  ): { id: number; result: Promise<Calls[N]['result']> } {
    const id = this.#nextId++;
    const result = new Promise<Calls[N]['result']>((resolve, reject) => {
      if (this.#end) return reject(this.#endError());
      this.#calls.set(id, { ...options, resolve: resolve as (result: never) => void, reject });
      this.#send({ kind: 'call', id, name, params } as ToProcess);
    });
    return { id, result };
  }

  /** Asks the process to end a call at its next opportunity. */
  cancel(id: number): void {
    this.#send({ kind: 'cancel', id });
  }

  /** Ends the process at once. Its files are safe: whatever it writes, it writes beside and renames. */
  dispose(): void {
    this.#wantedEnd = true;
    if (!this.#end) this.#process.kill('SIGKILL');
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #send(message: ToProcess): void {
    // A failed send means that the process is ending; its `close` event rejects the calls.
    if (this.#process.connected) this.#process.send(message, () => undefined);
  }

  #endError(): Error {
    const { exit, wanted } = this.#end!;
    return wanted ? new CancelledError('the inference process was ended') : new InferenceCrashedError(exit);
  }

  #receive(message: FromProcess): void {
    if (message.kind === 'ready') return;
    const call = this.#calls.get(message.id);
    if (!call) return;
    switch (message.kind) {
      case 'progress':
        call.onProgress?.({ stage: message.stage, fraction: message.fraction });
        break;
      case 'token':
        call.onToken?.(message.piece, message.index);
        break;
      case 'done':
        this.memoryBytes = message.memoryBytes;
        this.#calls.delete(message.id);
        call.resolve(message.result as never);
        break;
      case 'failed':
        this.memoryBytes = message.memoryBytes;
        this.#calls.delete(message.id);
        call.reject(fromErrorData(message.error));
        break;
    }
  }
}
