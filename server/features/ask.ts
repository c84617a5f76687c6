import { InputError } from '../llava/errors';
import { formatReduction, parseReduction } from '../llava/reduction/parse';
import type { LoadedImage } from '../images/source';
import type { Listener, Priority } from '../inference/queue';
import type { Supervisor, Task } from '../inference/supervisor';
import {
  EXPLAIN_QUESTION,
  type AnalyzeRequest,
  type AnswerResult,
  type AskRequest,
  type AttentionAnalysis,
  type ImageSource,
  type ReadAheadRequest,
  type Settings,
} from '../protocol';
import type { AnswerCache, AnswerKey } from './answerCache';
import { answerKeyText } from './answerCache';
import type { Models } from './models';

/** Most images of one question: more do not fit any model's context. */
const MAX_IMAGES = 16;
/** Longest question, in UTF-16 code units: far above every model's context. */
const MAX_QUESTION = 100_000;

export interface AskingDependencies {
  /** @throws ImageError */
  loadImage: (source: ImageSource, settings: Settings) => Promise<LoadedImage>;
  /** Settings for an image. */
  settings: (source: ImageSource | undefined) => Promise<Settings>;
  models: Models;
  cache: AnswerCache;
  supervisor: Supervisor;
  engineCacheDirectory: string | undefined;
}

export interface AskOptions {
  priority: Priority;
  /** The images, where the caller has read them already. */
  loaded?: readonly LoadedImage[];
  listener?: Listener;
  signal?: AbortSignal;
}

interface Prepared {
  key: AnswerKey;
  task: Task;
  images: readonly LoadedImage[];
}

/** Questions about images: from the cache where the answer is known, otherwise through the inference process. */
export class Asking {
  readonly #dependencies: AskingDependencies;

  constructor(dependencies: AskingDependencies) {
    this.#dependencies = dependencies;
  }

  /** @throws InputError (images among them), ModelError, DeviceError, CancelledError */
  async ask(
    params: AskRequest.Params,
    { priority, loaded, listener, signal }: AskOptions,
  ): Promise<AskRequest.Result> {
    const { cache, supervisor } = this.#dependencies;
    const { key, task, images } = await this.#prepare(params, loaded);
    const facts = images.map((image) => image.facts);
    const known = params.fresh ? undefined : await cache.get(key);
    if (known) {
      listener?.onPieces?.([known.answer], 0);
      return { result: known, cached: true, images: facts };
    }
    const result = await supervisor.ask({
      key: answerKeyText(key),
      priority,
      params: task,
      follows: params.reuse === false || params.rawPrompt !== undefined ? undefined : aheadKey(key),
      listener,
      signal,
    });
    // The answer does not wait for the disk.
    void cache.put(key, result);
    return { result, cached: false, images: facts };
  }

  /**
   * Begins with images that somebody is about to ask about: what it computes serves every question about them. Ends as cancelled where
   * something else is wanted.
   *
   * @throws as {@link ask}
   */
  async readAhead({ images: sources, system }: ReadAheadRequest.Params, signal?: AbortSignal): Promise<void> {
    const { settings, supervisor } = this.#dependencies;
    if (!(await settings(sources[0])).readAhead) return;
    const { key, task } = await this.#prepare({ images: sources, system });
    const { images, reduction, fit, limits } = task.question;
    await supervisor.readAhead({
      key: aheadKey(key),
      params: { choice: task.choice, question: { images, system, reduction, fit, limits } },
      signal,
    });
  }

  /** The answer that {@link ask} would give without the model. @param loaded the images, where the caller has read them already */
  async cached(
    params: AskRequest.Params,
    loaded?: readonly LoadedImage[],
  ): Promise<AnswerResult | undefined> {
    const { key } = await this.#prepare(params, loaded);
    return this.#dependencies.cache.get(key);
  }

  /** @throws as {@link ask} */
  async analyze(
    { images, question, system, fit, maxTokens }: AnalyzeRequest.Params,
    { priority, listener, signal }: AskOptions,
  ): Promise<AttentionAnalysis> {
    const sampling = { maxTokens, temperature: 0 };
    // Prepared like the question whose answer it explains.
    const prepared = await this.#prepare({ images, question, system, fit, reduction: 'none', sampling });
    const asked = prepared.task.question;
    return this.#dependencies.supervisor.analyze({
      key: answerKeyText(prepared.key),
      priority,
      params: {
        choice: prepared.task.choice,
        question: {
          images: asked.images,
          question: asked.question,
          system: asked.system,
          fit: asked.fit,
          maxTokens: asked.sampling?.maxTokens,
          limits: asked.limits,
        },
      },
      listener,
      signal,
    });
  }

  async #prepare(params: AskRequest.Params, loaded?: readonly LoadedImage[]): Promise<Prepared> {
    checkParams(params);
    const { loadImage, models, engineCacheDirectory } = this.#dependencies;
    const settings = await this.#dependencies.settings(params.images[0]);
    const reduction = formatReduction(parseReduction(params.reduction ?? settings.reduction));
    const directory = models.directory(settings.model);
    const [images, summary] = await Promise.all([
      loaded ?? Promise.all(params.images.map((source) => loadImage(source, settings))),
      models.summary(directory),
    ]);
    const { question = EXPLAIN_QUESTION, system, rawPrompt } = params;
    const fit = params.fit ?? settings.fit;
    const sampling = { ...params.sampling, maxTokens: params.sampling?.maxTokens ?? settings.maxTokens };
    const key: AnswerKey = {
      images: images.map(({ sha256 }) => sha256),
      question,
      system,
      rawPrompt,
      model: summary.hash,
      precision: settings.precision,
      reduction,
      fit,
      sampling,
    };
    const task: Task = {
      choice: {
        directory,
        device: settings.device,
        precision: settings.precision,
        cacheDirectory: engineCacheDirectory,
      },
      question: {
        images: images.map(({ bytes }) => bytes),
        question,
        system,
        rawPrompt,
        reduction,
        fit,
        sampling,
        reuse: params.reuse,
        limits: { maxPixels: settings.image.maxMegapixels * 1e6 },
      },
    };
    return { key, task, images };
  }
}

/** Of what is computed ahead of a question: of everything but its words. */
function aheadKey(key: AnswerKey): string {
  return `ahead ${answerKeyText({ ...key, question: '', rawPrompt: undefined, sampling: {} })}`;
}

/** Any LSP client may call, so the types are not believed. */
function checkParams({
  images,
  question,
  system,
  rawPrompt,
  reduction,
  fit,
  sampling,
  reuse,
}: AskRequest.Params): void {
  const isText = (value: unknown): boolean =>
    value === undefined || (typeof value === 'string' && value.length <= MAX_QUESTION);
  const isNumber = (value: unknown): boolean => value === undefined || Number.isFinite(value);
  let fault: string | undefined;
  if (!Array.isArray(images) || images.length === 0 || images.length > MAX_IMAGES) {
    fault = `It takes 1 to ${MAX_IMAGES} images.`;
  } else if (![question, system, rawPrompt, reduction].every(isText)) {
    fault = `Question, system, prompt and reduction are texts of at most ${MAX_QUESTION} characters.`;
  } else if (question !== undefined && question.trim() === '') {
    fault = 'The question is empty.';
  } else if (fit !== undefined && fit !== 'pad' && fit !== 'crop') {
    fault = 'The fit is pad or crop.';
  } else if (reuse !== undefined && typeof reuse !== 'boolean') {
    fault = 'What is to be reused is all (true) or nothing (false).';
  } else if (
    sampling !== undefined &&
    (typeof sampling !== 'object' ||
      sampling === null ||
      ![sampling.maxTokens, sampling.temperature, sampling.topP, sampling.seed].every(isNumber))
  ) {
    fault = 'Sampling options are numbers.';
  }
  if (fault === undefined) return;
  throw new InputError({
    code: 'request.invalid',
    message: 'The question cannot be asked like this.',
    why: fault,
    nextStep: 'Change it and ask again.',
  });
}
