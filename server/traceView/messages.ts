import type {
  AnswerResult,
  AttentionAnalysis,
  FromTokenView,
  ReductionDescription,
  TileLayout,
  TokenViewAnswer,
  ToTokenView,
} from '../protocol';

/*
 * Checks of what crosses the border between extension host and token view, and of the data in a standalone page. A
 * message is taken whole or not at all; nothing here throws.
 */

/** @returns the message, or undefined when it is not one (to be ignored and logged) */
export function parseToTokenView(value: unknown): ToTokenView | undefined {
  return isToTokenView(value) ? value : undefined;
}

/** @returns the message, or undefined when it is not one (to be ignored and logged) */
export function parseFromTokenView(value: unknown): FromTokenView | undefined {
  return isFromTokenView(value) ? value : undefined;
}

/** @returns the answer, or undefined when it is not one */
export function parseTokenViewAnswer(value: unknown): TokenViewAnswer | undefined {
  return isTokenViewAnswer(value) ? value : undefined;
}

/** @returns the descriptions, or undefined when they are none */
export function parseMethods(value: unknown): ReductionDescription[] | undefined {
  return methodsCheck(value) ? (value as ReductionDescription[]) : undefined;
}

type Check = (value: unknown) => boolean;

/** Longer texts than this are no questions, names or messages of ours. */
const MAX_TEXT = 1_000_000;
/** Base64 of the largest picture that is shown. */
const MAX_DATA_URL = 200_000_000;
/** Tokens, answer tokens, ... of one run: far above what any model makes. */
const MAX_ITEMS = 2_000_000;
/** Rows and columns of one tower input. */
const MAX_SIDE = 1024;
const DATA_URL = /^data:image\/(?:png|jpeg|webp|gif|avif);base64,[A-Za-z0-9+/]*={0,2}$/;

const text: Check = (value) => typeof value === 'string' && value.length <= MAX_TEXT;
const number: Check = (value) => typeof value === 'number' && Number.isFinite(value);
const boolean: Check = (value) => typeof value === 'boolean';
const count: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
const side: Check = (value) => count(value) && (value as number) >= 1 && (value as number) <= MAX_SIDE;
const positive: Check = (value) => number(value) && (value as number) > 0;
const dataUrl: Check = (value) =>
  typeof value === 'string' && value.length <= MAX_DATA_URL && DATA_URL.test(value);

function oneOf(...values: readonly (string | number)[]): Check {
  return (value) => values.some((candidate) => candidate === value);
}

function list(check: Check): Check {
  return (value) => Array.isArray(value) && value.length <= MAX_ITEMS && value.every(check);
}

function optional(check: Check): Check {
  return (value) => value === undefined || check(value);
}

function all(...checks: readonly Check[]): Check {
  return (value) => checks.every((check) => check(value));
}

function any(...checks: readonly Check[]): Check {
  return (value) => checks.some((check) => check(value));
}

function shape(checks: Readonly<Record<string, Check>>): Check {
  return (value) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
    const fields = new Map(Object.entries(value));
    return Object.entries(checks).every(([name, check]) => check(fields.get(name)));
  };
}

const rect = shape({ x: number, y: number, width: positive, height: positive });
/** Edges that a tile has are those of its rows and columns, ascending. */
const evenEdges: Check = (value) => {
  const { rows, columns, edges } = value as TileLayout;
  const ascending = (numbers: readonly number[], cells: number): boolean =>
    numbers.length === cells + 1 && numbers.every((edge, index) => index === 0 || edge > numbers[index - 1]);
  return edges === undefined || (ascending(edges.x, columns) && ascending(edges.y, rows));
};
const layout = shape({
  width: positive,
  height: positive,
  fit: oneOf('pad', 'crop', 'tiles'),
  modelSize: positive,
  tiles: (value) =>
    list(
      all(
        shape({
          firstId: count,
          rows: side,
          columns: side,
          source: rect,
          edges: optional(shape({ x: list(number), y: list(number) })),
          classTokenId: optional(count),
          contextTokenId: optional(count),
        }),
        evenEdges,
      ),
    )(value) && (value as unknown[]).length > 0,
  firstId: count,
  patches: count,
  classTokenId: count,
  contextTokenId: count,
  newlines: optional(list(shape({ id: count, row: rect }))),
});
const place = any(
  shape({ at: oneOf('vision', 'embeddings') }),
  shape({ at: oneOf('layer'), layer: count }),
  shape({ at: oneOf('step'), step: count }),
);
const stage = shape({
  place,
  method: text,
  spec: text,
  received: list(count),
  kept: list(count),
  merged: list(shape({ id: count, sources: list(count), weights: list(number) })),
  dropped: list(count),
  // JSON has no NaN: a score that is none arrives as null.
  scores: optional(shape({ name: text, values: list(any(number, (value) => value === null)) })),
  milliseconds: number,
  note: optional(text),
});
const trace = shape({
  version: oneOf(1),
  images: list(layout),
  decoderTokens: list(count),
  stages: list(stage),
  answer: list(
    shape({
      id: count,
      text,
      imageTokens: count,
      cacheBytes: number,
      milliseconds: number,
      attention: list(number),
    }),
  ),
});
const timings = shape(
  Object.fromEntries(
    [
      'load',
      'decode',
      'preprocess',
      'vision',
      'projector',
      'selection',
      'prefill',
      'generate',
      'firstToken',
      'total',
    ].map((name) => [name, number]),
  ),
);
const modelSummary = shape({ name: text, directory: text, family: text, parameters: number, hash: text });
const result = shape({
  answer: text,
  answerTokenIds: list(count),
  promptTokenIds: list(count),
  firstStep: shape({ topTokenIds: list(count), topLogits: list(number) }),
  finish: oneOf('stop', 'length'),
  costs: shape({
    imageTokens: shape({ total: count, atDecoder: count, perStage: list(count) }),
    cacheBytes: number,
    prefillMacs: number,
    prefillMacsUnreduced: number,
    imagesReused: optional(count),
    prefixReused: optional(shape({ tokens: count, layers: count })),
    timings,
  }),
  trace,
  model: modelSummary,
  device: text,
  precision: oneOf('fp32', 'fp16', 'q4', 'q4f16', 'q4q8'),
  reduction: text,
  question: text,
  fineText: optional(shape({ patches: count, lost: count, share: number })),
  textHeight: optional(shape({ source: number, seen: number })),
  warning: optional(
    shape({
      code: oneOf('image.small-text', 'reduction.fine-text'),
      message: text,
      askAgain: optional(shape({ reduction: text })),
    }),
  ),
});

const picture = shape({
  name: text,
  /** Empty while the picture is being read, or where a browser cannot show its format. */
  dataUrl: any((value) => value === '', dataUrl),
  width: optional(positive),
  height: optional(positive),
  isPart: optional(boolean),
});
const fit = oneOf('pad', 'crop');
const question = { pictures: list(picture), question: text, reduction: text, fit };
const action = oneOf('chooseModel', 'restartInference', 'showLog', 'openSettings', 'pickImage');
const warning = optional(
  shape({
    message: text,
    askAgain: optional(shape({ title: text, reduction: text })),
    action: optional(shape({ title: text, action })),
  }),
);
const answer = shape({ ...question, result, warning, cached: optional(boolean) });
const error = shape({
  code: text,
  kind: oneOf('input', 'model', 'device', 'cancelled', 'internal'),
  message: text,
  why: optional(text),
  nextStep: text,
  page: optional(text),
});
const typeShare = shape({ share: number, tokens: number, efficiency: number });
const typeShares = shape({
  system: typeShare,
  image: typeShare,
  instruction: typeShare,
  output: typeShare,
});
const analysis = shape({
  version: oneOf(1),
  question: text,
  answer: text,
  answerTokens: list(shape({ id: count, text })),
  images: list(layout),
  vision: list(
    shape({
      kind: oneOf('class', 'received'),
      layer: count,
      layers: count,
      shares: list(number),
      sorted: list(number),
      top: list(shape({ percent: oneOf(1, 5, 10), patches: count, share: number })),
    }),
  ),
  layers: list(typeShares),
  answerLayers: list(typeShares),
  steps: list(typeShares),
  imageShares: list(list(number)),
  removal: list(
    shape({
      layer: count,
      logLikelihood: number,
      firstChange: optional(shape({ index: count, id: count, text })),
    }),
  ),
  model: modelSummary,
  device: text,
  milliseconds: shape({ answer: number, removal: number }),
});
const parameter = any(
  shape({
    name: text,
    type: oneOf('budget'),
    minimum: count,
    auto: optional(boolean),
    share: optional(number),
    default: text,
    description: text,
  }),
  shape({
    name: text,
    type: oneOf('integer', 'number'),
    minimum: number,
    maximum: number,
    default: optional(number),
    description: text,
  }),
  shape({ name: text, type: oneOf('choice'), choices: list(text), default: text, description: text }),
);
const methodsCheck = list(
  shape({
    id: text,
    name: text,
    summary: text,
    details: text,
    paper: optional(text),
    places: list(text),
    needs: list(text),
    control: boolean,
    parameters: list(parameter),
  }),
);

const toTokenView: Readonly<Record<ToTokenView['type'], Check>> = {
  setup: shape({
    methods: methodsCheck,
    reduction: text,
    fit,
    model: optional(text),
    device: optional(text),
  }),
  picture: shape({ pictures: list(picture), question: optional(text) }),
  asked: shape({ run: count, ...question }),
  progress: shape({ run: count, message: text, fraction: optional(number) }),
  answerPart: shape({ run: count, text }),
  answered: shape({ run: count, result, warning, cached: optional(boolean) }),
  failed: shape({ run: count, error, action: optional(shape({ title: text, action })) }),
  compared: shape({}),
  analyzing: shape({ run: count, message: text, fraction: optional(number) }),
  analyzed: shape({ run: count, analysis }),
  analysisFailed: shape({ run: count, error }),
};

const fromTokenView: Readonly<Record<FromTokenView['type'], Check>> = {
  ready: shape({ runs: list(count) }),
  ask: shape({ question: text, reduction: text, fit, part: optional(shape({ image: count, rect })) }),
  wholeImage: shape({}),
  cancel: shape({ run: count }),
  analyze: shape({ run: count, question: text, fit }),
  cancelAnalysis: shape({ run: count }),
  pickImage: shape({}),
  image: shape({ name: text, dataUrl }),
  dropped: shape({ uris: list(text) }),
  action: shape({ action }),
  export: any(
    shape({ format: oneOf('png'), name: text, dataUrl }),
    shape({ format: oneOf('json', 'html'), name: text, answer, earlier: optional(list(result)) }),
    shape({ format: oneOf('json', 'html'), name: text, text }),
  ),
  copyText: shape({ text }),
  log: shape({ message: text }),
};

function isToTokenView(value: unknown): value is ToTokenView {
  return matches(value, toTokenView);
}

function isFromTokenView(value: unknown): value is FromTokenView {
  return matches(value, fromTokenView);
}

function isTokenViewAnswer(value: unknown): value is TokenViewAnswer {
  return answer(value) && consistent((value as TokenViewAnswer).result);
}

function matches(value: unknown, checks: Readonly<Record<string, Check>>): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { type } = value as { type?: unknown };
  if (typeof type !== 'string' || !Object.hasOwn(checks, type) || !checks[type](value)) return false;
  if (type === 'analyzed') return consistentAnalysis((value as { analysis: AttentionAnalysis }).analysis);
  return type !== 'answered' || consistent((value as { result: AnswerResult }).result);
}

/** What charts rely on beyond types: something to show, and lists that are aligned with one another. */
function consistentAnalysis(analysis: AttentionAnalysis): boolean {
  const { layers, answerLayers, steps, imageShares, answerTokens, removal, images, vision } = analysis;
  return (
    layers.length > 0 &&
    answerLayers.length === layers.length &&
    steps.length > 0 &&
    steps.length === answerTokens.length &&
    imageShares.length === steps.length &&
    imageShares.every((shares) => shares.length === layers.length) &&
    removal.length === layers.length + 1 &&
    (vision.length === 0 || vision.length === images.length) &&
    vision.every(
      ({ shares, sorted }, image) =>
        shares.length > 0 && shares.length === images[image].patches && sorted.length === shares.length,
    )
  );
}

/** What the drawing relies on beyond types: lists that are aligned with one another. */
function consistent({ trace: { decoderTokens, stages, answer: tokens, images } }: AnswerResult): boolean {
  const newlines = new Set(images.flatMap((image) => (image.newlines ?? []).map(({ id }) => id)));
  /** Newlines are ranked inside the decoder only; before it they come last. */
  const rankedOf = (received: readonly number[]): number[] => [
    received.length,
    received.filter((id) => !newlines.has(id)).length,
  ];
  return (
    images.length > 0 &&
    tokens.every(({ attention }) => attention.length === decoderTokens.length) &&
    stages.every(
      ({ received, scores, merged }) =>
        (scores === undefined || rankedOf(received).includes(scores.values.length)) &&
        merged.every(({ sources, weights }) => sources.length === weights.length),
    )
  );
}
