import type { AnswerResult, ReductionTrace, SamplingOptions } from '../protocol';
import { prefillMacs } from './analysis/flops';
import type { Checkpoint } from './checkpoint/checkpoint';
import type { AttentionRow, Decoding, DecoderOutput, Prompt } from './decoding';
import { InputError, throwIfCancelled } from './errors';
import { fineTextLeft, fineTextWarning } from './fineText';
import type { PreparedImage } from './imageTokens';
import { fineTextTokens, smallestText } from './pictureChoices';
import { openDecoder, prepareImages, readPrompt } from './prompt';
import type { GenerationContext, Progress, Question } from './question';
import { requireHeads } from './reduction/heads';
import { formatReduction, parseReduction } from './reduction/parse';
import { expandImageTokens } from './text/chatTemplate';
import { createSampler, penalizeRepetition, topLogits } from './text/sampling';
import { smallTextWarning } from './textHeight';
import { rounded, tokensAfterStages } from './trace';

const DEFAULT_MAX_TOKENS = 256;
const FIRST_STEP_LOGITS = 20;

export interface AskOptions {
  readonly signal?: AbortSignal;
  /** Called with every piece of text as soon as it is complete characters. */
  readonly onToken?: (piece: string, index: number) => void;
  /** The answer ends where this says no to what it is so far: for evaluations that need to know no more. `finish` is then `length`. */
  readonly accepts?: (answer: string) => boolean;
  readonly onProgress?: (progress: Progress) => void;
  /** False computes everything, even for a picture that was asked about before: for measurements. */
  readonly reuse?: boolean;
  /** The raw logits that every answer token is chosen from [vocabulary], for analysis. */
  readonly onLogits?: (logits: Float32Array) => void;
  /** Every attention row of the answer's positions, for analysis. */
  readonly onAttention?: (row: AttentionRow) => void;
  /** The vision tower's attention over each image's patches [patches], for analysis: of CLS, or received. */
  readonly onVisionAttention?: (attention: Float32Array) => void;
  /** The rows that enter the decoder, for analysis. */
  readonly onPrompt?: (prompt: Prompt) => void;
}

/** Everything of {@link AnswerResult} that the way of one question decides. */
export type Generation = Omit<AnswerResult, 'model' | 'device' | 'precision'>;

/** The way of one question, top to bottom. */
export async function generate(
  context: GenerationContext,
  question: Question,
  options: AskOptions = {},
): Promise<Generation> {
  const time = new Stopwatch();
  throwIfCancelled(options.signal);
  const reductions = parseReduction(question.reduction ?? 'none');
  requireHeads(reductions, context.checkpoint.heads);

  // bytes -> decode -> fit -> pixels
  options.onProgress?.({ stage: 'image' });
  const images = await prepareImages(context.checkpoint, question.images, {
    ...question,
    reductions,
    signal: options.signal,
    spend: (stage, milliseconds) => time.add(stage, milliseconds),
  });
  return generateFromPixels(context, images, question, options, time);
}

/** The way from the tower's pixels on; `question.images` is not read. */
export async function generateFromPixels(
  context: GenerationContext,
  inputs: readonly PreparedImage[],
  question: Omit<Question, 'images'>,
  options: AskOptions = {},
  time = new Stopwatch(),
): Promise<Generation> {
  const { checkpoint } = context;
  const { config } = checkpoint;
  const { signal, reuse } = options;
  options.onProgress?.({ stage: 'vision' });
  const entering = await readPrompt(context, inputs, question, {
    signal,
    reuse,
    onAttention: options.onVisionAttention,
    spend: (stage, milliseconds) => time.add(stage, milliseconds),
  });
  const { prompt, ids, plans, encoded, imagesReused, trace } = entering;
  options.onPrompt?.(prompt);
  const unreduced = entering.unreduced.reduce((sum, count) => sum + count, 0);
  const maxTokens = answerBudget(checkpoint, question.sampling, prompt.labels.length);

  // decoder segments -> atLayer -> logits
  options.onProgress?.({ stage: 'prefill' });
  const capacity = prompt.labels.length + Math.min(maxTokens, DEFAULT_MAX_TOKENS);
  await using decoding = openDecoder(context, entering, capacity, {
    signal,
    reuse,
    onSelectionTime: (milliseconds) => time.add('selection', milliseconds),
    onAttention: options.onAttention,
  });
  const beforeLoad = performance.now();
  await decoding.prepare(prompt);
  const beforePrefill = performance.now();
  time.add('load', beforePrefill - beforeLoad);
  let output = await decoding.prefill(prompt);
  time.add('prefill', performance.now() - beforePrefill);
  const firstToken = time.elapsed();
  const cacheBytes = decoding.cache.bytes;
  const tokensPerLayer = decoding.cache.layers.map((layer) => layer.length);

  // sample -> stream -> atStep -> next token
  const answer = await answerTokens(
    context,
    decoding,
    { ids, output },
    question,
    maxTokens,
    options,
    trace,
    time,
  );
  output = answer.first;
  const total = time.elapsed();
  const towerInputs = plans.reduce((sum, plan) => sum + plan.inputs.length, 0);
  const patches = plans.reduce((sum, { layout }) => sum + layout.patches, 0);
  const newlines = plans.reduce((sum, plan) => sum + plan.newlines.length, 0);
  const textTokens = prompt.labels.length - prompt.imageTokens.length;
  const fineText =
    entering.reductions.length > 0
      ? fineTextLeft(trace, fineTextTokens(inputs), config.text.numHiddenLayers)
      : undefined;
  const textSize = smallestText(inputs);

  return {
    answer: answer.text,
    answerTokenIds: answer.ids,
    promptTokenIds: expandImageTokens(ids, config.imageTokenIndex, entering.unreduced),
    firstStep: topLogits(output.logits, FIRST_STEP_LOGITS),
    finish: answer.finish,
    costs: {
      imageTokens: {
        total: unreduced,
        atDecoder: prompt.imageTokens.length,
        perStage: tokensAfterStages(trace),
      },
      cacheBytes,
      prefillMacs: prefillMacs(config, {
        images: towerInputs,
        projected: encoded.reduce((sum, image) => sum + image.projected, 0),
        tokensPerLayer,
      }),
      prefillMacsUnreduced: prefillMacs(config, {
        images: towerInputs,
        projected: plans.reduce((sum, plan) => sum + plan.projected, unreduced - patches - newlines),
        tokensPerLayer: tokensPerLayer.map(() => textTokens + unreduced),
      }),
      imagesReused,
      prefixReused: decoding.reused,
      timings: {
        load: time.of('load') + time.of('stepLoad'),
        decode: time.of('decode'),
        preprocess: time.of('preprocess'),
        vision: time.of('vision'),
        projector: time.of('projector'),
        selection: time.of('selection'),
        prefill: time.of('prefill'),
        generate: total - firstToken - time.of('stepLoad'),
        firstToken,
        total,
      },
    },
    trace,
    reduction: formatReduction(parseReduction(question.reduction ?? 'none')),
    question: question.question,
    fineText,
    textHeight: textSize,
    warning:
      (textSize && smallTextWarning(textSize, config.vision)) ?? (fineText && fineTextWarning(fineText)),
  };
}

async function answerTokens(
  context: GenerationContext,
  decoding: Decoding,
  prompt: { readonly ids: readonly number[]; readonly output: DecoderOutput },
  question: Omit<Question, 'images'>,
  maxTokens: number,
  options: AskOptions,
  trace: ReductionTrace,
  time: Stopwatch,
): Promise<{ first: DecoderOutput; ids: number[]; text: string; finish: 'stop' | 'length' }> {
  const { checkpoint, tokenizer } = context;
  const { temperature = 0, topP = 1, seed = 0 } = question.sampling ?? {};
  const sampler = createSampler({ temperature, topP, seed });
  const stream = tokenizer.createStreamDecoder();
  const { eosTokenIds, repetitionPenalty } = checkpoint.generation;
  const stops = new Set(eosTokenIds);
  const seen = new Set(prompt.ids);
  const ids: number[] = [];
  let text = '';
  const first = prompt.output;
  let output = first;
  let finish: 'stop' | 'length' = 'length';
  options.onProgress?.({ stage: 'answer' });
  let before = performance.now();
  for (;;) {
    throwIfCancelled(options.signal);
    options.onLogits?.(output.logits);
    const id = sampler.sample(penalizeRepetition(output.logits, seen, repetitionPenalty));
    ids.push(id);
    seen.add(id);
    const stopped = stops.has(id);
    let piece = stopped ? '' : stream.push(id);
    const refused = !stopped && options.accepts?.(text + piece) === false;
    const last = stopped || refused || ids.length >= maxTokens;
    if (last) piece += stream.finish();
    text += piece;
    const now = performance.now();
    trace.answer.push({
      id,
      text: piece,
      imageTokens: decoding.imageTokensLeft,
      cacheBytes: decoding.cache.bytes,
      milliseconds: now - before,
      attention: rounded(output.imageAttention),
    });
    before = now;
    if (piece !== '') options.onToken?.(piece, ids.length - 1);
    if (stopped) finish = 'stop';
    if (last) break;
    if (ids.length === 1) {
      await decoding.prepareSteps();
      const ready = performance.now();
      time.add('stepLoad', ready - before);
      before = ready;
    }
    output = await decoding.step(id);
  }
  return { first, ids, text: text.trim(), finish };
}

/** How many tokens the answer may have: what was asked for, as far as the model's positions reach. */
function answerBudget(
  checkpoint: Checkpoint,
  sampling: SamplingOptions | undefined,
  promptRows: number,
): number {
  const room = checkpoint.config.text.maxPositionEmbeddings - promptRows;
  if (room < 1) {
    throw new InputError({
      code: 'prompt.too-long',
      message: `The prompt has ${promptRows} tokens, but this model reads at most ${checkpoint.config.text.maxPositionEmbeddings}.`,
      nextStep:
        'Ask a shorter question, give fewer images, or reduce the image tokens (for instance --reduce visionzip).',
    });
  }
  return Math.min(room, sampling?.maxTokens ?? checkpoint.generation.maxNewTokens ?? DEFAULT_MAX_TOKENS);
}

/** Milliseconds by name, and since the question began. */
class Stopwatch {
  private readonly start = performance.now();
  private readonly spent = new Map<string, number>();

  add(stage: string, milliseconds: number): void {
    this.spent.set(stage, this.of(stage) + milliseconds);
  }

  of(stage: string): number {
    return this.spent.get(stage) ?? 0;
  }

  elapsed(): number {
    return performance.now() - this.start;
  }
}
