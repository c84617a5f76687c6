import { isDeepStrictEqual } from 'node:util';
import { computesInHalf } from '../llava/checkpoint/precision';
import { CancelledError, throwIfCancelled, toErrorData } from '../llava/errors';
import { CPU_PLAN, type Device } from '../llava/runtime/device';
import type { AnswerResult, AttentionAnalysis, DeviceChoice, StatusNotification } from '../protocol';
import { formatParameters } from '../traceView/wording';
import { InferenceChild } from './child';
import { Devices } from './devices';
import { tryDevice } from './deviceTrial';
import { VerdictFile } from './deviceVerdicts';
import { describeExit, InferenceCrashedError, InferenceStoppedError, type ProcessExit } from './errors';
import type {
  CallName,
  Calls,
  EngineAnalysis,
  EngineAsk,
  EngineReadAhead,
  ExportedFile,
  ExportOrder,
  LoadedModel,
  ModelPlan,
  PictureOrder,
} from './messages';
import { RequestQueue, type RunContext, type Submission } from './queue';

/** A cancelled step that has not ended after this time never will soon enough: its process is killed. */
const CANCEL_GRACE_MS = 2000;
/** This many unexpected ends within {@link CRASH_WINDOW_MINUTES} stop inference for good. */
const CRASH_BUDGET = 3;
const CRASH_WINDOW_MINUTES = 5;
/** So many exports and pictures are made at a time, each in a process of about 100 MB; others wait. */
const ASIDE_LIMIT = 2;
/** Drawing an export takes a second or two; this is a defect. */
const EXPORT_TIMEOUT_MS = 120_000;

/** Which model, on which device: what the settings say. */
export interface ModelChoice extends Omit<ModelPlan, 'plan'> {
  device: DeviceChoice;
}

/** A question together with the model that shall answer it. */
export interface Task {
  choice: ModelChoice;
  question: EngineAsk;
}

/** An analysis together with the model that it is about. */
export interface AnalysisTask {
  choice: ModelChoice;
  question: EngineAnalysis;
}

/** Images together with the model that will be asked about them. */
export interface ReadAheadTask {
  choice: ModelChoice;
  question: EngineReadAhead;
}

/** What waits in the queue: a call that needs a loaded model. */
type Work =
  ({ name: 'ask' } & Task) | ({ name: 'analyze' } & AnalysisTask) | ({ name: 'readAhead' } & ReadAheadTask);

/** What the supervisor knows for the status item; the rest is added by its owner. */
export type InferenceStatus = Omit<StatusNotification.Params, 'modelDirectory'>;

export interface SupervisorOptions {
  /** Path of the inference program. */
  program: string;
  /** Where verdicts on devices are kept. */
  cacheDirectory: string;
  log: (line: string) => void;
  onStatus: (status: InferenceStatus) => void;
}

/** What a device with too little memory, or a bad driver, ends in. */
const FAILURES_OF_DEVICES: ReadonlySet<string> = new Set([
  'device.session-failed',
  'device.run-failed',
  'inference.crashed',
]);

/** Fields that belong to one step and go with it. */
const cleared = { stage: undefined, fraction: undefined, error: undefined };

interface OpenModel {
  child: InferenceChild;
  choice: ModelChoice;
  model: LoadedModel;
  deviceNote: string | undefined;
}

/**
 * Keeps one inference process alive as long as it is useful: starts it with the first question, replaces it when the
 * model or device changes, kills it when a cancelled step does not end, ends it after an idle time, and starts it again
 * after a crash as long as there are few of them.
 */
export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #queue: RequestQueue<Work, AnswerResult | AttentionAnalysis | null>;
  /** Every process that may be alive, for the end. */
  readonly #children = new Set<InferenceChild>();
  readonly #devices: Devices;
  #open: OpenModel | undefined;
  /** What the last model was opened on. */
  #chosen: Device | undefined;
  /** Why `auto` leaves the device alone, by model and precision. */
  readonly #unfit = new Map<string, string>();
  #crashTimes: number[] = [];
  readonly #counted = new WeakSet<ProcessExit>();
  #stopped: InferenceStoppedError | undefined;
  #status: InferenceStatus = { state: 'idle', waiting: 0 };
  #idleMinutes = 0;
  /** Exports and pictures at work, and what waits for them. */
  #asides = 0;
  readonly #asideWaiting: (() => void)[] = [];
  #idleTimer: NodeJS.Timeout | undefined;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#devices = new Devices({
      test: (test, trial) => tryDevice(() => this.#start(), test, trial),
      verdicts: VerdictFile.in(options.cacheDirectory),
      log: options.log,
    });
    this.#queue = new RequestQueue(
      (work, context) => this.#perform(work, context),
      () => this.#setStatus({ waiting: this.#queue.waiting }),
    );
  }

  get status(): InferenceStatus {
    return this.#status;
  }

  /** Set when inference does not start any more, with the reason. */
  get stopped(): InferenceStoppedError | undefined {
    return this.#stopped;
  }

  /** Queues a question. Rejects with the engine's errors, {@link InferenceCrashedError}, {@link InferenceStoppedError}, ... */
  ask(submission: Submission<Task>): Promise<AnswerResult> {
    const params: Work = { name: 'ask', ...submission.params };
    return this.#submit({ ...submission, params }) as Promise<AnswerResult>;
  }

  /** Queues an analysis among the questions. Rejects like {@link ask}. */
  analyze(submission: Submission<AnalysisTask>): Promise<AttentionAnalysis> {
    const params: Work = { name: 'analyze', ...submission.params };
    // Keys are of questions: an analysis of the same question is another piece of work.
    const key = `analyze ${submission.key}`;
    return this.#submit({ ...submission, key, params }) as Promise<AttentionAnalysis>;
  }

  /**
   * Computes what a question that {@link Submission.follows} this will need, if nothing else is to be done. Rejects like {@link ask}, and as
   * cancelled where it makes way.
   */
  async readAhead(submission: Omit<Submission<ReadAheadTask>, 'priority'>): Promise<void> {
    const params: Work = { name: 'readAhead', ...submission.params };
    await this.#submit({ ...submission, priority: 'ahead', params });
  }

  #submit(submission: Submission<Work>): Promise<AnswerResult | AttentionAnalysis | null> {
    if (this.#stopped) return Promise.reject(this.#stopped);
    return this.#queue.submit(submission);
  }

  export(order: ExportOrder, signal?: AbortSignal): Promise<ExportedFile> {
    return this.#aside('export', order, signal);
  }

  /** An image as a PNG. */
  picture(order: PictureOrder, signal?: AbortSignal): Promise<Uint8Array> {
    return this.#aside('picture', order, signal);
  }

  /** Draws something in a process of its own, so that it neither waits for a question nor can hurt one. */
  async #aside<N extends 'export' | 'picture'>(
    name: N,
    order: Calls[N]['params'],
    signal: AbortSignal | undefined,
  ): Promise<Calls[N]['result']> {
    await this.#turnAside();
    try {
      throwIfCancelled(signal);
      const child = this.#start();
      const stop = (): void => child.dispose();
      const timer = setTimeout(stop, EXPORT_TIMEOUT_MS);
      signal?.addEventListener('abort', stop, { once: true });
      try {
        return await child.call(name, order).result;
      } finally {
        clearTimeout(timer);
        signal?.removeEventListener('abort', stop);
        child.dispose();
      }
    } finally {
      this.#asides -= 1;
      this.#asideWaiting.shift()?.();
    }
  }

  /** Waits until one of {@link ASIDE_LIMIT} places is free, and takes it. */
  async #turnAside(): Promise<void> {
    while (this.#asides >= ASIDE_LIMIT)
      await new Promise<void>((resolve) => void this.#asideWaiting.push(resolve));
    this.#asides += 1;
  }

  /** @param minutes the model leaves memory after this time without a question; 0 = never. */
  setIdleUnload(minutes: number): void {
    if (this.#idleMinutes === minutes) return;
    this.#idleMinutes = minutes;
    if (!this.#queue.busy) this.#startIdleTimer();
  }

  /** Ends the process and forgets its crashes; the next question starts a new one. */
  async restart(): Promise<void> {
    this.#options.log('Inference is restarted: the next question starts a new process.');
    this.#queue.failRunning();
    this.#forgive();
    await this.#endAll();
    // The user may have mended what failed.
    await this.#devices.forget('failures');
    if (!this.#queue.busy) this.#setIdle();
  }

  /** A changed setting may have mended what crashed: try again. */
  settingsChanged(): void {
    if (!this.#stopped) return;
    this.#forgive();
    this.#setIdle();
  }

  /** Ends everything. Nothing may be asked afterwards. */
  async dispose(): Promise<void> {
    clearTimeout(this.#idleTimer);
    this.#queue.failWaiting(new CancelledError('shutdown'));
    await this.#endAll();
  }

  /** Kills the processes without waiting: the last thing before this process ends. */
  killNow(): void {
    for (const child of this.#children) child.dispose();
  }

  async #endAll(): Promise<void> {
    const children = [...this.#children];
    this.#open = undefined;
    for (const child of children) child.dispose();
    await Promise.all(children.map((child) => child.ended));
  }

  #forgive(): void {
    this.#unfit.clear();
    this.#crashTimes = [];
    this.#stopped = undefined;
  }

  async #perform(work: Work, context: RunContext): Promise<AnswerResult | AttentionAnalysis | null> {
    if (this.#stopped) throw this.#stopped;
    throwIfCancelled(context.signal);
    clearTimeout(this.#idleTimer);
    const report: RunContext = {
      ...context,
      onProgress: (progress) => {
        this.#setStatus({ stage: progress.stage, fraction: progress.fraction });
        context.onProgress(progress);
      },
    };
    let begun = false;
    const onToken: RunContext['onToken'] = (...token) => {
      begun = true;
      context.onToken(...token);
    };
    try {
      try {
        return await this.#answer(work, { ...report, onToken });
      } catch (error) {
        // What has been written cannot be taken back: then only the next question goes elsewhere.
        if (!this.#giveUpDevice(work.choice, error) || begun || this.#stopped) throw error;
        throwIfCancelled(context.signal);
        return await this.#answer(work, report);
      }
    } catch (error) {
      if (error instanceof InferenceCrashedError) this.#noteCrash(error.exit);
      if (!this.#open?.child.isUsable) this.#open = undefined;
      throw this.#stopped ?? error;
    } finally {
      this.#settle();
      this.#startIdleTimer();
    }
  }

  async #answer(work: Work, context: RunContext): Promise<AnswerResult | AttentionAnalysis | null> {
    const { child, model, deviceNote } = await this.#ensureOpen(work.choice, context);
    throwIfCancelled(context.signal);
    this.#setStatus({
      state: 'working',
      model: model.summary,
      device: model.device,
      deviceNote,
      precision: model.precision.precision,
      precisionNote: model.precision.reason,
      ...cleared,
    });
    const result = await this.#call(child, work, context);
    this.#setStatus({ memoryBytes: child.memoryBytes });
    return result;
  }

  /**
   * A device that passed its test may still fail with a model, most often because its memory is too small, of which nobody can ask WebGPU. Where `auto`
   * chose it, the CPU takes over, until inference is restarted.
   *
   * @returns whether the CPU shall try.
   */
  #giveUpDevice(choice: ModelChoice, error: unknown): boolean {
    const device = this.#chosen;
    const { code, message, why } = toErrorData(error);
    if (choice.device !== 'auto' || device === undefined || device === 'cpu') return false;
    if (!FAILURES_OF_DEVICES.has(code) || computesInHalf(choice.precision ?? 'auto')) return false;
    if (error instanceof InferenceCrashedError) this.#noteCrash(error.exit);
    const note = `The CPU, because ${device} failed with this model: ${[message, why].filter(Boolean).join(' ')}`;
    this.#options.log(note);
    this.#unfit.set(unfitKey(choice), note);
    this.#open?.child.dispose();
    this.#open = undefined;
    return true;
  }

  #call(
    child: InferenceChild,
    work: Work,
    context: RunContext,
  ): Promise<AnswerResult | AttentionAnalysis | null> {
    switch (work.name) {
      case 'ask':
        return this.#cancellable(child, 'ask', work.question, context);
      case 'analyze':
        return this.#cancellable(child, 'analyze', work.question, context);
      case 'readAhead':
        // Nobody has asked yet: the model that is loaded is worth more than the end of a step within seconds.
        return this.#cancellable(child, 'readAhead', work.question, context, { killAfterGrace: false });
    }
  }

  /** The state after a question, however it ended. */
  #settle(): void {
    if (this.#stopped || this.#status.state === 'failed') return;
    if (this.#open)
      this.#setStatus({
        state: 'ready',
        stage: undefined,
        fraction: undefined,
        memoryBytes: this.#open.child.memoryBytes,
      });
    else this.#setIdle();
  }

  #setIdle(): void {
    this.#setStatus({
      state: 'idle',
      model: undefined,
      device: undefined,
      deviceNote: undefined,
      precision: undefined,
      precisionNote: undefined,
      memoryBytes: undefined,
      ...cleared,
    });
  }

  async #ensureOpen(choice: ModelChoice, context: RunContext): Promise<OpenModel> {
    const open = this.#open;
    if (open?.child.isUsable && isDeepStrictEqual(open.choice, choice)) return open;
    this.#open = undefined;
    if (open) {
      open.child.dispose();
      // Two models at once may be more than the memory holds.
      await open.child.ended;
    }
    this.#setStatus({
      state: 'loading',
      model: undefined,
      device: undefined,
      deviceNote: undefined,
      precision: undefined,
      precisionNote: undefined,
      memoryBytes: undefined,
      ...cleared,
    });
    try {
      const { device, ...model } = choice;
      const unfit = device === 'auto' ? this.#unfit.get(unfitKey(choice)) : undefined;
      const { plan, note } =
        unfit === undefined
          ? await this.#devices.choose(device, { ...context, precision: choice.precision })
          : { plan: CPU_PLAN, note: unfit };
      this.#chosen = plan.device;
      if (note !== undefined) this.#options.log(`Device ${plan.device}: ${note}`);
      const child = this.#start();
      const start = performance.now();
      void child.ended.then((exit) => this.#onEnd(child, exit));
      try {
        // The load is not lost on the next in the queue when this asker leaves.
        const loaded = await this.#cancellable(child, 'open', { ...model, plan }, context, {
          goesOn: () => this.#queue.waiting > 0,
        });
        this.#options.log(loadedLine(loaded, (performance.now() - start) / 1000));
        this.#open = { child, choice, model: loaded, deviceNote: note };
        return this.#open;
      } catch (error) {
        child.dispose();
        throw error;
      }
    } catch (error) {
      const data = toErrorData(error);
      if (data.kind !== 'cancelled' && !(error instanceof InferenceCrashedError)) {
        this.#setStatus({ state: 'failed', error: data, stage: undefined, fraction: undefined });
      }
      throw error;
    }
  }

  /**
   * A call that ends soon after the signal: by itself, or with its process.
   *
   * @param options.goesOn while it says true, the call goes on in spite of the signal.
   * @param options.killAfterGrace false: with its process it never ends.
   */
  async #cancellable<N extends CallName>(
    child: InferenceChild,
    name: N,
    params: Calls[N]['params'],
    { signal, onToken, onProgress }: RunContext,
    {
      goesOn = () => false,
      killAfterGrace = true,
    }: { goesOn?: () => boolean; killAfterGrace?: boolean } = {},
  ): Promise<Calls[N]['result']> {
    const { id, result } = child.call(name, params, { onToken, onProgress });
    let grace: NodeJS.Timeout | undefined;
    const onAbort = (): void => {
      if (goesOn()) return;
      child.cancel(id);
      if (!killAfterGrace) return;
      grace = setTimeout(() => {
        this.#options.log(`A cancelled step did not end within ${CANCEL_GRACE_MS} ms; its process is ended.`);
        child.dispose();
      }, CANCEL_GRACE_MS);
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
    try {
      return await result;
    } finally {
      clearTimeout(grace);
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** A process that ended while nothing was asked of it; otherwise the question's end has counted it already. */
  #onEnd(child: InferenceChild, exit: ProcessExit): void {
    if (this.#open?.child === child) this.#open = undefined;
    if (!child.endWasWanted) this.#noteCrash(exit);
    if (!this.#queue.busy && !this.#stopped) this.#setIdle();
  }

  #noteCrash(exit: ProcessExit): void {
    if (this.#counted.has(exit)) return;
    this.#counted.add(exit);
    this.#options.log(`The inference process ended unexpectedly. ${describeExit(exit)}`);
    const windowStart = Date.now() - CRASH_WINDOW_MINUTES * 60_000;
    this.#crashTimes = [...this.#crashTimes.filter((time) => time > windowStart), Date.now()];
    if (this.#crashTimes.length < CRASH_BUDGET) return;
    this.#stopped = new InferenceStoppedError(CRASH_BUDGET, CRASH_WINDOW_MINUTES, exit);
    this.#options.log(this.#stopped.message);
    this.#setIdle();
    this.#setStatus({ state: 'stopped', error: this.#stopped.toData() });
    this.#queue.failWaiting(this.#stopped);
  }

  #startIdleTimer(): void {
    clearTimeout(this.#idleTimer);
    if (this.#idleMinutes === 0 || !this.#open) return;
    this.#idleTimer = setTimeout(() => {
      if (this.#queue.busy || !this.#open) return;
      this.#options.log(`The model was not used for ${this.#idleMinutes} minutes and leaves memory.`);
      this.#open.child.dispose();
      this.#open = undefined;
      this.#setIdle();
    }, this.#idleMinutes * 60_000);
  }

  #setStatus(change: Partial<InferenceStatus>): void {
    const status = { ...this.#status, ...change };
    if (isDeepStrictEqual(status, this.#status)) return;
    this.#status = status;
    this.#options.onStatus(status);
  }

  #start(): InferenceChild {
    const child = new InferenceChild(this.#options.program, this.#options.log);
    this.#children.add(child);
    void child.ended.then(() => this.#children.delete(child));
    return child;
  }
}

function unfitKey({ directory, precision }: ModelChoice): string {
  return JSON.stringify([directory, precision]);
}

/** What was loaded, and where, for the log. */
function loadedLine({ summary, device, precision }: LoadedModel, seconds: number): string {
  const model = `${summary.name} (${summary.family}, ${formatParameters(summary.parameters)} parameters)`;
  return `Model ${model} is ready on ${device} after ${seconds.toFixed(1)} s. Weights in ${precision.precision}: ${precision.reason}.`;
}
