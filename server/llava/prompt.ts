import type { ReductionTrace } from '../protocol';
import type { Checkpoint } from './checkpoint/checkpoint';
import { towerSquare } from './checkpoint/config';
import { Decoding, type DecodingOptions, labelRows, type Prompt } from './decoding';
import { ModelError, throwIfCancelled } from './errors';
import { type ImagePlan, planSquare, planTiles, unreducedTokens } from './imagePlan';
import {
  encodeImage,
  type ImageEncodingContext,
  type ImageTokens,
  type PreparedImage,
  rasterIndex,
} from './imageTokens';
import type { Matrix } from './matrix';
import { resolveBudgets } from './pictureChoices';
import type { GenerationContext, Question } from './question';
import { parseReduction } from './reduction/parse';
import type { ModelShape, Reduction } from './reduction/reduction';
import { floats, idTensor } from './runtime/session';
import { expandImageTokens, promptIds, renderPrompt } from './text/chatTemplate';
import { textHeight, type TextSize } from './textHeight';
import { planDetails } from './vision/anyres';
import { decodeImage, type DecodeLimits } from './vision/decode';
import { fitSquare } from './vision/geometry';
import { preprocessDetails, preprocessImage } from './vision/preprocess';
import type { RgbImage } from './vision/resample';

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
      pixels: [() => square.pixels(), ...(cut ? [() => cut.pixels()] : [])],
      text,
      unshrunk: content && (() => preprocessImage(decoded, preprocessor, fit, vision.patchSize).pixels()),
    });
    firstId = plan.endId;
  }
  return prepared;
}

/** What {@link readPrompt} is told, and tells, beside the question. */
export interface ReadOptions {
  readonly signal?: AbortSignal;
  /** False computes everything, even for a picture that was asked about before. */
  readonly reuse?: boolean;
  readonly onAttention?: ImageEncodingContext['onAttention'];
  readonly spend?: ImageEncodingContext['spend'];
}

/** A prompt on its way into the decoder. */
export interface EnteringPrompt {
  readonly prompt: Prompt;
  /** Token ids with one placeholder per image. */
  readonly ids: readonly number[];
  readonly plans: readonly ImagePlan[];
  readonly encoded: readonly ImageTokens[];
  /** Pictures of which the tower's output was known. */
  readonly imagesReused: number;
  /** Tokens of every image without reduction. */
  readonly unreduced: readonly number[];
  /** What has happened to the image tokens so far. */
  readonly trace: ReductionTrace;
  /** The reductions, their budgets chosen for the images. */
  readonly reductions: readonly Reduction[];
}

/** Question and prepared images -> the rows that enter the decoder. */
export async function readPrompt(
  context: GenerationContext,
  inputs: readonly PreparedImage[],
  question: Omit<Question, 'images'>,
  { signal, reuse = true, onAttention, spend }: ReadOptions = {},
): Promise<EnteringPrompt> {
  const { checkpoint, tokenizer, sessions } = context;
  const parsed = parseReduction(question.reduction ?? 'none');

  // prompt text -> ids with one placeholder per image
  throwIfCancelled(signal);
  const text = question.rawPrompt ?? renderPrompt(checkpoint, { ...question, images: inputs.length });
  const ids = promptIds(tokenizer, text);
  const questionIds = tokenizer.encode(question.question, { addSpecialTokens: false, plain: true });
  const questionEmbeddings = await embed(context, questionIds);

  // pixels -> tower -> atVision -> projector -> atEmbeddings -> image embeddings
  const trace: ReductionTrace = {
    version: 1,
    images: inputs.map(({ plan }) => plan.layout),
    decoderTokens: [],
    stages: [],
    answer: [],
  };
  const resolved = (images: readonly PreparedImage[]): readonly Reduction[] => {
    const before = performance.now();
    const list = resolveBudgets(parsed, images);
    spend?.('selection', performance.now() - before);
    return list;
  };
  const encoded: ImageTokens[] = [];
  let imagesReused = 0;
  for (const input of inputs) {
    throwIfCancelled(signal);
    encoded.push(
      await encodeImage(input, {
        checkpoint,
        sessions,
        reductions: resolved([input]),
        questionEmbeddings,
        signal,
        features: reuse ? context.features : undefined,
        stages: trace.stages,
        spend: (stage, milliseconds) => spend?.(stage, milliseconds),
        onReuse: () => imagesReused++,
        onAttention,
      }),
    );
  }

  // text embeddings around the image spans
  const plans = inputs.map(({ plan }) => plan);
  const prompt = await assemblePrompt(context, ids, encoded, plans);
  trace.decoderTokens = [...prompt.imageTokens];
  return {
    prompt,
    ids,
    plans,
    encoded,
    imagesReused,
    unreduced: trace.images.map((layout) => unreducedTokens(checkpoint, layout)),
    trace,
    reductions: resolved(inputs),
  };
}

/**
 * The decoder for a prompt.
 *
 * @param capacity rows that its caches will probably hold.
 */
export function openDecoder(
  { checkpoint, sessions, prefixes }: GenerationContext,
  { trace, reductions, unreduced }: EnteringPrompt,
  capacity: number,
  {
    reuse = true,
    ...options
  }: Pick<DecodingOptions, 'signal' | 'onSelectionTime' | 'onAttention'> & { readonly reuse?: boolean },
): Decoding {
  const { text, vision } = checkpoint.config;
  const imageTokens = unreduced.reduce((sum, count) => sum + count, 0);
  const shape: ModelShape = {
    layers: text.numHiddenLayers,
    hasClassToken: vision.hasClassToken,
    imageTokens,
  };
  return new Decoding(
    {
      ...options,
      text,
      sessions,
      reductions,
      shape,
      heads: checkpoint.heads,
      stages: trace.stages,
      contextId: trace.images[0]?.contextTokenId ?? 0,
      prefixes: reuse ? prefixes : undefined,
      onSessionsReplaced: () => prefixes?.clear(),
    },
    capacity,
  );
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

/** The text of a picture at the largest scale that the tower sees it at. */
function textSize(image: RgbImage, scale: number): TextSize | undefined {
  const source = textHeight(image);
  return source === undefined ? undefined : { source, seen: source * scale };
}
