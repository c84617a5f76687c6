import { CancelledError } from '../llava/errors';
import { InferenceRestartedError, QueueFullError } from './errors';
import type { Progress } from './messages';

/** A user's question goes before what a hover wants, and both before what is only read ahead of a question. */
export type Priority = 'user' | 'hover' | 'ahead';
const PRIORITIES: readonly Priority[] = ['user', 'hover', 'ahead'];

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
  /** The key of what is read ahead of this request: it waits for that to end, since it would have to do the same work. */
  follows?: string;
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
  follows: string | undefined;
  subscribers: Set<Subscriber<R>>;
  pieces: string[];
  progress: Progress | undefined;
  abort: AbortController;
  /** It made way for something more urgent: a hover starts again afterwards. */
  preempted: boolean;
}

/**
 * Runs one request at a time, the most urgent first. Identical requests share a run; a request whose every asker cancelled
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

  /** Requests that somebody waits for, without the running one. */
  get waiting(): number {
    return this.#waiting.filter((entry) => priorityOf(entry) !== 'ahead').length;
  }

  get busy(): boolean {
    return this.#running !== undefined;
  }

  submit({ key, priority, params, follows, listener = {}, signal }: Submission<P>): Promise<R> {
    if (signal?.aborted) return Promise.reject(new CancelledError(signal.reason));
    return new Promise<R>((resolve, reject) => {
      const entry = this.#find(key) ?? this.#enqueue({ key, params, priority, follows }, reject);
      if (!entry) return;
      const subscriber: Subscriber<R> = { priority, listener, resolve, reject };
      entry.subscribers.add(subscriber);
      const progress = isAheadOf(this.#running, entry) ? this.#running?.progress : entry.progress;
      if (progress) listener.onProgress?.(progress);
      if (entry.pieces.length > 0) listener.onPieces?.([...entry.pieces], 0);
      signal?.addEventListener('abort', () => this.#leave(entry, subscriber, signal.reason), { once: true });
      this.#makeWay(entry);
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
    { key, params, priority, follows }: Pick<Submission<P>, 'key' | 'params' | 'priority' | 'follows'>,
    reject: (error: unknown) => void,
  ): Entry<P, R> | undefined {
    const alike = this.#waiting.filter((entry) => priorityOf(entry) === priority);
    if (priority === 'user' && alike.length >= USER_LIMIT) {
      reject(new QueueFullError(USER_LIMIT));
      return undefined;
    }
    const limit = { user: USER_LIMIT, hover: HOVER_LIMIT, ahead: 1 }[priority];
    for (const oldest of alike.slice(0, Math.max(0, alike.length - limit + 1))) this.#drop(oldest);
    const entry: Entry<P, R> = {
      key,
      params,
      follows,
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
    for (const subscriber of entry.subscribers) subscriber.reject(new CancelledError('newer ones came'));
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

  /** Stops what runs when something more urgent is wanted, or when something else is to be read ahead. */
  #makeWay(wanted: Entry<P, R>): void {
    const running = this.#running;
    if (!running || running === wanted || running.abort.signal.aborted || isAheadOf(running, wanted)) return;
    const [present, next] = [running, wanted].map((entry) => PRIORITIES.indexOf(priorityOf(entry)));
    if (next > present || (next === present && priorityOf(running) !== 'ahead')) return;
    running.preempted = true;
    running.pieces = [];
    running.abort.abort('something more urgent goes first');
  }

  #next(): void {
    if (this.#running) return;
    const [entry] = PRIORITIES.flatMap((priority) =>
      this.#waiting.filter((waiting) => priorityOf(waiting) === priority),
    );
    if (!entry) return;
    this.#waiting = this.#waiting.filter((other) => other !== entry);
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
        const followers = this.#waiting.filter((waiting) => isAheadOf(entry, waiting));
        for (const { subscribers } of [entry, ...followers])
          for (const { listener } of subscribers) listener.onProgress?.(progress);
      },
    };
    try {
      const result = await this.#run(entry.params, context);
      for (const subscriber of entry.subscribers) subscriber.resolve(result);
    } catch (error) {
      if (entry.preempted && entry.subscribers.size > 0 && priorityOf(entry) !== 'ahead') {
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

/** That of its most urgent asker. */
function priorityOf<P, R>({ subscribers }: Entry<P, R>): Priority {
  const present = new Set(Array.from(subscribers, ({ priority }) => priority));
  return PRIORITIES.find((priority) => present.has(priority)) ?? 'ahead';
}

function isAheadOf<P, R>(running: Entry<P, R> | undefined, follower: Entry<P, R>): boolean {
  return running !== undefined && running.key === follower.follows;
}
