import { totalmem } from 'node:os';

import type { AnswerResult, AttentionAnalysis, ModelSummary } from '../protocol';
import { analyzeQuestion, type AnalysisOptions, type AnalysisQuestion } from './analysis/analyzeQuestion';
import { defaultCacheDirectory } from './cacheDirectory';
import type { Checkpoint } from './checkpoint/checkpoint';
import { openCheckpoint } from './checkpoint/open';
import {
  type ChosenPrecision,
  choosePrecision,
  computesInHalf,
  hasByteTower,
  type PrecisionChoice,
} from './checkpoint/precision';
import { prepareWeights } from './checkpoint/sidecar';
import { DeviceError, throwIfCancelled } from './errors';
import { FeatureCache } from './featureCache';
import { generate, type AskOptions } from './generate';
import type { Progress, Question } from './question';
import { type ComingQuestion, readAhead, type ReadAheadOptions } from './readAhead';
import { PrefixCache } from './prefixCache';
import { byteProductsAreRight } from './runtime/byteProducts';
import { CPU_PLAN, type Device, type DevicePlan } from './runtime/device';
import { GraphSessions } from './runtime/graphSessions';
import { requireOffered } from './runtime/session';
import { Tokenizer } from './text/tokenizer';

export interface LoadOptions {
  /** Where it runs; the CPU by default. Another device should have passed the self-test first (runtime/selfTest.ts). */
  readonly plan?: DevicePlan;
  /** How the decoder's weights are held. @default 'auto' */
  readonly precision?: PrecisionChoice;
  /** Where converted weights are kept; the user's cache folder by default. */
  readonly cacheDirectory?: string;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
}

/** Memory for features of earlier pictures: 2.4 MB for ViT-L at 336 pixels, 54 MB for the 16 tiles of a screenshot in OneVision. */
const REMEMBERED_BYTES = 128e6;

/** A checkpoint, opened on a device, ready for questions. Questions are answered one at a time. */
export class LlavaModel {
  readonly features = new FeatureCache(REMEMBERED_BYTES);
  readonly prefixes: PrefixCache;
  private queue: Promise<unknown> = Promise.resolve();
  private loadMilliseconds: number;

  private constructor(
    readonly checkpoint: Checkpoint,
    readonly tokenizer: Tokenizer,
    readonly sessions: GraphSessions,
    readonly precision: ChosenPrecision,
    loadMilliseconds: number,
  ) {
    this.loadMilliseconds = loadMilliseconds;
    this.prefixes = sessions.keepsDataOnDevice ? PrefixCache.forDevice() : new PrefixCache();
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
    const plan = options.plan ?? CPU_PLAN;
    requireOffered(plan.device);
    const precision = choosePrecision(
      options.precision ?? 'auto',
      checkpoint.config,
      plan.device,
      totalmem(),
    );
    if (hasByteTower(precision.precision)) await requireByteProducts(plan.device);
    const cacheDirectory = options.cacheDirectory ?? defaultCacheDirectory();
    const tensors = await prepareWeights(checkpoint, precision.precision, {
      cacheDirectory,
      signal,
      onProgress: (fraction) => onProgress?.({ stage: 'converting', fraction }),
    });
    throwIfCancelled(signal);
    const tokenizer = new Tokenizer(checkpoint.tokenizer);
    const float = computesInHalf(precision.precision) ? 'float16' : 'float32';
    // Files are named by their content, so what is made again is what the tensors name.
    const restore = (): Promise<unknown> =>
      prepareWeights(checkpoint, precision.precision, { cacheDirectory });
    const sessions = new GraphSessions(checkpoint.config, tensors, { ...plan, float }, restore);
    return new LlavaModel(checkpoint, tokenizer, sessions, precision, performance.now() - start);
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
    const generation = await this.takeTurn(() => generate(this, question, options));
    // The load is part of the first question's time and of no other's.
    generation.costs.timings.load += this.loadMilliseconds;
    this.loadMilliseconds = 0;
    const { precision } = this.precision;
    return { ...generation, model: this.summary, device: this.device, precision };
  }

  /** Measures where the model looks while it answers, and what the image tokens are worth; waits for its turn like a question. */
  async analyze(question: AnalysisQuestion, options: AnalysisOptions = {}): Promise<AttentionAnalysis> {
    const analysis = await this.takeTurn(() => analyzeQuestion(this, question, options));
    return { ...analysis, model: this.summary, device: this.device };
  }

  /** Computes what a question about these images will need, whatever it asks; waits for its turn like a question. */
  readAhead(coming: ComingQuestion, options: ReadAheadOptions = {}): Promise<void> {
    return this.takeTurn(() => readAhead(this, coming, options));
  }

  private takeTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const turn = this.queue.then(work);
    this.queue = turn.catch(() => undefined);
    return turn;
  }

  async dispose(): Promise<void> {
    await this.queue;
    this.prefixes.clear();
    await this.sessions.dispose();
  }
}

/** @throws DeviceError `device.no-byte-products` */
async function requireByteProducts(device: Device): Promise<void> {
  if (device === 'cpu' && (await byteProductsAreRight())) return;
  throw new DeviceError({
    code: 'device.no-byte-products',
    message: `The precision q4q8 cannot be computed on ${device}.`,
    why:
      device === 'cpu'
        ? 'This processor has no instructions for products in 8 bits (such as VNNI), and those it has overflow.'
        : 'Products of a vision tower in 8 bits are for the CPU.',
    nextStep: 'Choose the precision q4, or q4f16 on WebGPU.',
  });
}
