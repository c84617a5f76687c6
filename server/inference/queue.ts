import { CancelledError } from '../llava/errors';
import { InferenceRestartedError, QueueFullError } from './errors';
import type { Progress } from './messages';

/** A user's question goes before what a hover wants. */
export type Priority = 'user' | 'hover';

/** What one asker hears while a request runs. */
export interface Listener {
  /** New pieces of the answer; `index` is that of the first among the answer's tokens. */
  onPieces?: (pieces: string[], index: number) => void;
  onProgress?: (progress: Progress) => void;
}

export interface Submission<P> {
  /** Requests with the same key have the same answer and share one run. */
  key: string;
  priority: Priority;
  params: P;
  listener?: Listener;
  signal?: AbortSignal;
}

export interface RunContext {
  signal: AbortSignal;
  onToken: (piece: string, index: number) => void;
  onProgress: (progress: Progress) => void;
}

/** Most questions of the user that wait; more would be a client gone wild. */
const USER_LIMIT = 32;
/** Most hover requests that wait; the oldest, which nobody looks at any more, makes place. */
const HOVER_LIMIT = 2;

interface Subscriber<R> {
  priority: Priority;
  listener: Listener;
  resolve: (result: R) => void;
  reject: (error: unknown) => void;
}

interface Entry<P, R> {
  key: string;
  params: P;
  subscribers: Set<Subscriber<R>>;
  pieces: string[];
  progress: Progress | undefined;
  abort: AbortController;
  /** A hover that made way for a user's question: it starts again afterwards. */
  preempted: boolean;
}

/**
 * Runs one request at a time, the user's first. Identical requests share a run; a request whose every asker cancelled
 * stops. Askers hear about their cancellation at once, the run's end may come a little later.
 */
export class RequestQueue<P, R> {
  readonly #run: (params: P, context: RunContext) => Promise<R>;
  readonly #onChange: () => void;
  #waiting: Entry<P, R>[] = [];
  #running: Entry<P, R> | undefined;

  constructor(run: (params: P, context: RunContext) => Promise<R>, onChange: () => void = () => undefined) {
    this.#run = run;
    this.#onChange = onChange;
  }

  /** Requests that wait, without the running one. */
  get waiting(): number {
    return this.#waiting.length;
  }

  get busy(): boolean {
    return this.#running !== undefined;
  }

  submit({ key, priority, params, listener = {}, signal }: Submission<P>): Promise<R> {
    if (signal?.aborted) return Promise.reject(new CancelledError(signal.reason));
    return new Promise<R>((resolve, reject) => {
      const entry = this.#find(key) ?? this.#enqueue(key, params, priority, reject);
      if (!entry) return;
      const subscriber: Subscriber<R> = { priority, listener, resolve, reject };
      entry.subscribers.add(subscriber);
      if (entry.progress) listener.onProgress?.(entry.progress);
      if (entry.pieces.length > 0) listener.onPieces?.([...entry.pieces], 0);
      signal?.addEventListener('abort', () => this.#leave(entry, subscriber, signal.reason), { once: true });
      if (priority === 'user') this.#makeWay(entry);
      this.#onChange();
      this.#next();
    });
  }

  /** Fails the running request as restarted; the caller stops its run. */
  failRunning(): void {
    const entry = this.#running;
    if (!entry) return;
    for (const subscriber of entry.subscribers) subscriber.reject(new InferenceRestartedError());
    entry.subscribers.clear();
    entry.abort.abort();
  }

  /** Fails everything that waits. */
  failWaiting(error: Error): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const entry of waiting) for (const subscriber of entry.subscribers) subscriber.reject(error);
    this.#onChange();
  }

  /** A running entry can still be joined unless it is being stopped. */
  #find(key: string): Entry<P, R> | undefined {
    const running = this.#running;
    if (running?.key === key && (!running.abort.signal.aborted || running.preempted)) return running;
    return this.#waiting.find((entry) => entry.key === key);
  }

  #enqueue(
    key: string,
    params: P,
    priority: Priority,
    reject: (error: unknown) => void,
  ): Entry<P, R> | undefined {
    if (priority === 'user' && this.#waiting.filter(isUsers).length >= USER_LIMIT) {
      reject(new QueueFullError(USER_LIMIT));
      return undefined;
    }
    if (priority === 'hover') {
      const hovers = this.#waiting.filter((entry) => !isUsers(entry));
      for (const oldest of hovers.slice(0, hovers.length - HOVER_LIMIT + 1)) this.#drop(oldest);
    }
    const entry: Entry<P, R> = {
      key,
      params,
      subscribers: new Set(),
      pieces: [],
      progress: undefined,
      abort: new AbortController(),
      preempted: false,
    };
    this.#waiting.push(entry);
    return entry;
  }

  #drop(entry: Entry<P, R>): void {
    this.#waiting = this.#waiting.filter((other) => other !== entry);
    for (const subscriber of entry.subscribers) subscriber.reject(new CancelledError('newer hovers came'));
  }

  #leave(entry: Entry<P, R>, subscriber: Subscriber<R>, reason: unknown): void {
    if (!entry.subscribers.delete(subscriber)) return;
    subscriber.reject(new CancelledError(reason));
    if (entry.subscribers.size === 0) {
      if (entry === this.#running) entry.abort.abort(reason);
      else this.#waiting = this.#waiting.filter((other) => other !== entry);
    }
    this.#onChange();
  }

  /** Stops a running hover when the user wants something else. */
  #makeWay(wanted: Entry<P, R>): void {
    const running = this.#running;
    if (!running || running === wanted || isUsers(running) || running.abort.signal.aborted) return;
    running.preempted = true;
    running.pieces = [];
    running.abort.abort('a question of the user goes first');
  }

  #next(): void {
    if (this.#running) return;
    const index = Math.max(0, this.#waiting.findIndex(isUsers));
    const entry = this.#waiting.splice(index, 1)[0];
    if (!entry) return;
    this.#running = entry;
    this.#onChange();
    void this.#perform(entry);
  }

  async #perform(entry: Entry<P, R>): Promise<void> {
    const context: RunContext = {
      signal: entry.abort.signal,
      onToken: (piece, index) => {
        if (entry.abort.signal.aborted) return;
        entry.pieces.push(piece);
        for (const { listener } of entry.subscribers) listener.onPieces?.([piece], index);
      },
      onProgress: (progress) => {
        entry.progress = progress;
        for (const { listener } of entry.subscribers) listener.onProgress?.(progress);
      },
    };
    try {
      const result = await this.#run(entry.params, context);
      for (const subscriber of entry.subscribers) subscriber.resolve(result);
    } catch (error) {
      if (entry.preempted && entry.subscribers.size > 0) {
        Object.assign(entry, { preempted: false, progress: undefined, abort: new AbortController() });
        this.#waiting.unshift(entry);
      } else {
        for (const subscriber of entry.subscribers) subscriber.reject(error);
      }
    }
    this.#running = undefined;
    this.#onChange();
    this.#next();
  }
}

function isUsers<P, R>(entry: Entry<P, R>): boolean {
  for (const subscriber of entry.subscribers) if (subscriber.priority === 'user') return true;
  return false;
}
