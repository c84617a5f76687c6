import type { AnswerResult, ReductionTrace, SamplingOptions } from '../protocol';
import { prefillMacs } from './analysis/flops';
import type { Checkpoint } from './checkpoint/checkpoint';
import { towerSquare } from './checkpoint/config';
import { Decoding, labelRows, type AttentionRow, type DecoderOutput, type Prompt } from './decoding';
import { InputError, ModelError, throwIfCancelled } from './errors';
import { fineTextLeft, fineTextWarning } from './fineText';
import type { FeatureCache } from './featureCache';
import { type ImagePlan, planSquare, planTiles, unreducedTokens } from './imagePlan';
import { encodeImage, type ImageTokens, type PreparedImage, rasterIndex } from './imageTokens';
import { fineTextTokens, resolveBudgets, smallestText } from './pictureChoices';
import { formatReduction, parseReduction } from './reduction/parse';
import type { PrefixCache } from './prefixCache';
import { requireHeads } from './reduction/heads';
import type { Matrix } from './matrix';
import type { ModelShape, Reduction } from './reduction/reduction';
import type { GraphSessions } from './runtime/graphSessions';
import { floats, idTensor } from './runtime/session';
import { expandImageTokens, promptIds, renderPrompt } from './text/chatTemplate';
import { createSampler, topLogits } from './text/sampling';
import type { Tokenizer } from './text/tokenizer';
import { smallTextWarning, textHeight, type TextSize } from './textHeight';
import { rounded, tokensAfterStages } from './trace';
import { decodeImage, type DecodeLimits } from './vision/decode';
import { planDetails } from './vision/anyres';
import { fitSquare } from './vision/geometry';
import { preprocessDetails, preprocessImage } from './vision/preprocess';
import type { RgbImage } from './vision/resample';

const DEFAULT_MAX_TOKENS = 256;
const FIRST_STEP_LOGITS = 20;

/** One question about one or several images. */
export interface Question {
  /** Encoded image files, in the order of their placeholders. */
  readonly images: readonly Uint8Array[];
  readonly question: string;
  readonly system?: string;
  /** The whole prompt as it is, with `<image>` in it, instead of the checkpoint's chat template. */
  readonly rawPrompt?: string;
  /** Reduction spec; `none` (the default) keeps every token. */
  readonly reduction?: string;
  readonly fit?: 'pad' | 'crop';
  readonly sampling?: SamplingOptions;
  readonly limits?: Partial<DecodeLimits>;
}

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

export interface Progress {
  readonly stage: string;
  /** 0..1 where known. */
  readonly fraction?: number;
}

/** What a question needs of a loaded model. */
export interface GenerationContext {
  readonly checkpoint: Checkpoint;
  readonly tokenizer: Tokenizer;
  readonly sessions: GraphSessions;
  /** The tower's output for earlier pictures. */
  readonly features?: FeatureCache;
  /** What the decoder made of the beginnings of earlier prompts. */
  readonly prefixes?: PrefixCache;
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
  const { checkpoint, tokenizer, sessions } = context;
  const { config } = checkpoint;
  const { signal } = options;
  const reductions = parseReduction(question.reduction ?? 'none');

  // prompt text -> ids with one placeholder per image
  throwIfCancelled(signal);
  const text = question.rawPrompt ?? renderPrompt(checkpoint, { ...question, images: inputs.length });
  const ids = promptIds(tokenizer, text);
  const questionIds = tokenizer.encode(question.question, { addSpecialTokens: false, plain: true });
  const questionEmbeddings = await embed(context, questionIds);

  // pixels -> tower -> atVision -> projector -> atEmbeddings -> image embeddings
  options.onProgress?.({ stage: 'vision' });
  const trace: ReductionTrace = {
    version: 1,
    images: inputs.map(({ plan }) => plan.layout),
    decoderTokens: [],
    stages: [],
    answer: [],
  };
  const encoded: ImageTokens[] = [];
  let imagesReused = 0;
  const resolved = (images: readonly PreparedImage[]): readonly Reduction[] => {
    const before = performance.now();
    const list = resolveBudgets(reductions, images);
    time.add('selection', performance.now() - before);
    return list;
  };
  for (const input of inputs) {
    throwIfCancelled(signal);
    encoded.push(
      await encodeImage(input, {
        checkpoint,
        sessions,
        reductions: resolved([input]),
        questionEmbeddings,
        signal,
        features: options.reuse === false ? undefined : context.features,
        stages: trace.stages,
        spend: (stage, milliseconds) => time.add(stage, milliseconds),
        onReuse: () => imagesReused++,
        onAttention: options.onVisionAttention,
      }),
    );
  }

  // text embeddings around the image spans
  const plans = inputs.map(({ plan }) => plan);
  const prompt = await assemblePrompt(context, ids, encoded, plans);
  trace.decoderTokens = [...prompt.imageTokens];
  options.onPrompt?.(prompt);
  const unreducedCounts = trace.images.map((layout) => unreducedTokens(checkpoint, layout));
  const unreduced = unreducedCounts.reduce((sum, count) => sum + count, 0);
  const maxTokens = answerBudget(checkpoint, question.sampling, prompt.labels.length);

  // decoder segments -> atLayer -> logits
  options.onProgress?.({ stage: 'prefill' });
  await using decoding = new Decoding(
    {
      text: config.text,
      sessions,
      reductions: resolved(inputs),
      shape: modelShape(checkpoint, unreduced),
      heads: checkpoint.heads,
      signal,
      stages: trace.stages,
      contextId: trace.images[0]?.contextTokenId ?? 0,
      onSelectionTime: (milliseconds) => time.add('selection', milliseconds),
      onAttention: options.onAttention,
      prefixes: options.reuse === false ? undefined : context.prefixes,
    },
    prompt.labels.length + Math.min(maxTokens, DEFAULT_MAX_TOKENS),
  );
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
  const answer = await answerTokens(context, decoding, output, question, maxTokens, options, trace, time);
  output = answer.first;
  const total = time.elapsed();
  const towerInputs = plans.reduce((sum, plan) => sum + plan.inputs.length, 0);
  const patches = plans.reduce((sum, { layout }) => sum + layout.patches, 0);
  const newlines = plans.reduce((sum, plan) => sum + plan.newlines.length, 0);
  const textTokens = prompt.labels.length - prompt.imageTokens.length;
  const fineText =
    reductions.length > 0
      ? fineTextLeft(trace, fineTextTokens(inputs), config.text.numHiddenLayers)
      : undefined;
  const textSize = smallestText(inputs);

  return {
    answer: answer.text,
    answerTokenIds: answer.ids,
    promptTokenIds: expandImageTokens(ids, config.imageTokenIndex, unreducedCounts),
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
    reduction: formatReduction(reductions),
    question: question.question,
    fineText,
    textHeight: textSize,
    warning:
      (textSize && smallTextWarning(textSize, config.vision)) ?? (fineText && fineTextWarning(fineText)),
  };
}

/** The text of a picture at the largest scale that the tower sees it at. */
function textSize(image: RgbImage, scale: number): TextSize | undefined {
  const source = textHeight(image);
  return source === undefined ? undefined : { source, seen: source * scale };
}

export interface PreparationOptions {
  readonly fit?: 'pad' | 'crop';
  readonly limits?: Partial<DecodeLimits>;
  readonly reductions?: readonly Reduction[];
  readonly signal?: AbortSignal;
  readonly spend?: (stage: 'decode' | 'preprocess', milliseconds: number) => void;
}

/** Encoded image files -> tower inputs, and the plan of their tokens. */
export async function prepareImages(
  checkpoint: Checkpoint,
  files: readonly Uint8Array[],
  { fit: wanted = 'pad', limits, reductions = [], signal, spend }: PreparationOptions = {},
): Promise<PreparedImage[]> {
  const { preprocessor } = checkpoint;
  const { vision, anyres, modelType } = checkpoint.config;
  const tower = towerSquare(vision);
  const shrinking = reductions.find((reduction) => reduction.atPixels);
  // OneVision looks at several pictures as one padded square each, with a newline behind it.
  const several = modelType === 'llava_onevision' && files.length > 1;
  const tiled = several ? undefined : anyres;
  // The overview of a tiled image is squeezed, as its processor does it.
  const fit = several ? 'pad' : tiled ? 'crop' : wanted;
  const prepared: PreparedImage[] = [];
  let firstId = 0;
  for (const bytes of files) {
    const before = performance.now();
    const decoded = await decodeImage(bytes, limits, signal);
    const between = performance.now();
    spend?.('decode', between - before);
    const { width, height } = decoded;
    const details = tiled && planDetails({ width, height }, tower, tiled);
    const content = shrinking?.atPixels?.({ grid: { rows: tower.patches, columns: tower.patches } });
    const square = preprocessImage(decoded, preprocessor, fit, vision.patchSize, content);
    const cut = details && preprocessDetails(decoded, preprocessor, details, tower);
    const whole = fitSquare(
      width,
      height,
      tower.size,
      fit,
      preprocessor.shortestEdge,
      preprocessor.padsToSquare,
    );
    const scales = [
      whole.scaled.height / whole.canvas.height,
      ...(details ? [details.scaled.height / height] : []),
    ];
    const text = textSize(decoded, Math.max(...scales));
    spend?.('preprocess', performance.now() - between);
    const seen = { width, height, fit, source: square.source };
    const plan = details
      ? planTiles(vision, seen, details, firstId)
      : planSquare(vision, seen, firstId, several);
    prepared.push({
      plan,
      inputs: [() => square.pixelValues, ...(cut?.tiles ?? [])],
      pixels: [() => square.pixels, ...(cut ? [() => cut.pixels()] : [])],
      text,
      unshrunk: content && (() => preprocessImage(decoded, preprocessor, fit, vision.patchSize).pixels),
    });
    firstId = plan.endId;
  }
  return prepared;
}

/**
 * Embeddings of text tokens [ids, textDim].
 * @throws ModelError `model.tokenizer-vocabulary` for ids that the model has no row for
 */
export async function embed(context: GenerationContext, ids: readonly number[]): Promise<Matrix> {
  const { hiddenSize: columns, vocabSize } = context.checkpoint.config.text;
  const beyond = ids.find((id) => id >= vocabSize);
  if (beyond !== undefined)
    throw new ModelError({
      code: 'model.tokenizer-vocabulary',
      message: `The tokenizer of the checkpoint gives a text the token ${beyond}, but the model knows ${vocabSize} tokens.`,
      why: 'tokenizer.json belongs to another model.',
      nextStep: 'Download the checkpoint again into an empty folder.',
    });
  if (ids.length === 0) return { data: new Float32Array(0), rows: 0, columns };
  const session = await context.sessions.embedding();
  const output = await session.run({ ids: idTensor(ids) });
  return { data: floats(output.hidden), rows: ids.length, columns };
}

/** Text embeddings with each placeholder replaced by its image's tokens; positions count through without gaps. */
async function assemblePrompt(
  context: GenerationContext,
  ids: readonly number[],
  images: readonly ImageTokens[],
  plans: readonly ImagePlan[],
): Promise<Prompt> {
  const { imageTokenIndex, text } = context.checkpoint.config;
  const width = text.hiddenSize;
  // Also checks that there is one placeholder per image.
  const expanded = expandImageTokens(
    ids,
    imageTokenIndex,
    images.map((image) => image.ids.length),
  );
  const textEmbeddings = await embed(
    context,
    ids.filter((id) => id !== imageTokenIndex),
  );
  const data = new Float32Array(expanded.length * width);
  let row = 0;
  let textRow = 0;
  let image = 0;
  for (const id of ids) {
    if (id === imageTokenIndex) {
      const { embeddings } = images[image++];
      data.set(embeddings.data, row * width);
      row += embeddings.rows;
    } else {
      data.set(textEmbeddings.data.subarray(textRow * width, (textRow + 1) * width), row * width);
      textRow++;
      row++;
    }
  }
  return {
    hidden: { data, rows: expanded.length, columns: width },
    labels: labelRows(expanded.map((id) => (id === imageTokenIndex ? 'image' : 'text'))),
    imageTokens: images.flatMap((entry) => entry.ids),
    raster: Int32Array.from(
      images.flatMap((entry, index) => entry.ids.map((id) => rasterIndex(plans[index], id))),
    ),
    tailIds: ids.slice(ids.lastIndexOf(imageTokenIndex) + 1),
  };
}

async function answerTokens(
  context: GenerationContext,
  decoding: Decoding,
  first: DecoderOutput,
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
  const stops = new Set(checkpoint.generation.eosTokenIds);
  const ids: number[] = [];
  let text = '';
  let output = first;
  let finish: 'stop' | 'length' = 'length';
  options.onProgress?.({ stage: 'answer' });
  let before = performance.now();
  for (;;) {
    throwIfCancelled(options.signal);
    options.onLogits?.(output.logits);
    const id = sampler.sample(output.logits);
    ids.push(id);
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

function modelShape(checkpoint: Checkpoint, imageTokens: number): ModelShape {
  const { text, vision } = checkpoint.config;
  return { layers: text.numHiddenLayers, hasClassToken: vision.hasClassToken, imageTokens };
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
