import os from 'node:os';
import path from 'node:path';

import type { AnswerResult, ModelSummary } from '../protocol';
import type { Checkpoint } from './checkpoint/checkpoint';
import { openCheckpoint } from './checkpoint/open';
import { ensureFloat32 } from './checkpoint/sidecar';
import { throwIfCancelled } from './errors';
import { generate, type AskOptions, type Progress, type Question } from './generate';
import { chooseDevice, type DeviceChoice } from './runtime/device';
import { GraphSessions } from './runtime/graphSessions';
import { Tokenizer } from './text/tokenizer';

export interface LoadOptions {
  readonly device?: DeviceChoice;
  /** Where converted weights are kept; the user's cache folder by default. */
  readonly cacheDirectory?: string;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
}

/** A checkpoint, opened on a device, ready for questions. Questions are answered one at a time. */
export class LlavaModel {
  private queue: Promise<unknown> = Promise.resolve();
  private loadMilliseconds: number;

  private constructor(
    readonly checkpoint: Checkpoint,
    readonly tokenizer: Tokenizer,
    readonly sessions: GraphSessions,
    loadMilliseconds: number,
  ) {
    this.loadMilliseconds = loadMilliseconds;
  }

  /**
   * Opens a HuggingFace checkpoint folder. Half-precision weights are converted once into the cache directory.
   *
   * @throws ModelError for a checkpoint that is incomplete, damaged or of an unsupported kind; DeviceError.
   */
  static async open(directory: string, options: LoadOptions = {}): Promise<LlavaModel> {
    const start = performance.now();
    const { signal, onProgress } = options;
    onProgress?.({ stage: 'checkpoint' });
    const checkpoint = await openCheckpoint(directory, { signal });
    const tensors = await ensureFloat32(checkpoint, {
      cacheDirectory: options.cacheDirectory ?? defaultCacheDirectory(),
      signal,
      onProgress: (fraction) => onProgress?.({ stage: 'weights', fraction }),
    });
    throwIfCancelled(signal);
    onProgress?.({ stage: 'device' });
    const device = await chooseDevice(options.device ?? 'auto');
    const tokenizer = new Tokenizer(checkpoint.tokenizer);
    const sessions = new GraphSessions(checkpoint.config, tensors, device);
    return new LlavaModel(checkpoint, tokenizer, sessions, performance.now() - start);
  }

  get summary(): ModelSummary {
    const { name, directory, config, parameters, hash } = this.checkpoint;
    return { name, directory, family: config.modelType, parameters, hash };
  }

  get device(): string {
    return this.sessions.device;
  }

  /** Answers one question; further ones wait for their turn. */
  async ask(question: Question, options: AskOptions = {}): Promise<AnswerResult> {
    const turn = this.queue.then(() => generate(this, question, options));
    this.queue = turn.catch(() => undefined);
    const generation = await turn;
    // The load is part of the first question's time and of no other's.
    const load = this.loadMilliseconds;
    this.loadMilliseconds = 0;
    return {
      ...generation,
      costs: { ...generation.costs, timings: { load, ...generation.costs.timings } },
      model: this.summary,
      device: this.device,
    };
  }

  async dispose(): Promise<void> {
    await this.queue;
    await this.sessions.dispose();
  }
}

/** `$XDG_CACHE_HOME/fovea`, `~/Library/Caches/fovea` or `%LOCALAPPDATA%\fovea`. */
export function defaultCacheDirectory(): string {
  const home = os.homedir();
  if (process.platform === 'darwin') return path.join(home, 'Library', 'Caches', 'fovea');
  if (process.platform === 'win32') {
    return path.join(process.env.LOCALAPPDATA ?? path.join(home, 'AppData', 'Local'), 'fovea');
  }
  return path.join(process.env.XDG_CACHE_HOME ?? path.join(home, '.cache'), 'fovea');
}
