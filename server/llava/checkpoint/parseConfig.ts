import { ModelError } from '../errors';
import type { AnyresConfig, Size } from '../vision/anyres';
import type { Activation, LlavaConfig, ModelType, RopeConfig, TextConfig, VisionConfig } from './config';

/**
 * Turns config.json of a HuggingFace LLaVA checkpoint into one complete, consistent {@link LlavaConfig}.
 *
 * Configs omit every field that equals its class default, so the defaults of transformers 5.23's `LlavaConfig`,
 * `LlavaNextConfig`, `LlavaOnevisionConfig`, `CLIPVisionConfig`, `SiglipVisionConfig`, `LlamaConfig`, `MistralConfig` and `Qwen2Config` are repeated here.
 *
 * @throws ModelError `model.unsupported-*` for what the engine cannot run, `model.config-invalid` for what makes no sense.
 */
export function parseConfig(json: unknown): LlavaConfig {
  const root = Section.of(json, 'config.json');
  root.refuseQuantization();
  const modelType = root.choice('model_type', undefined, MODEL_TYPES, 'model type');
  const defaults = FAMILY_DEFAULTS[modelType];
  const textSection = root.section('text_config');
  textSection?.refuseQuantization();
  const vision = parseVision(root.section('vision_config'), defaults);
  const text = parseText(root, textSection, defaults);

  const config: LlavaConfig = {
    modelType,
    // Where a file has both, the newer name counts, as in transformers.
    imageTokenIndex:
      root.optionalInteger('image_token_id', 0) ??
      root.optionalInteger('image_token_index', 0) ??
      defaults.imageToken,
    visionFeatureLayer: parseFeatureLayers(root, vision, defaults),
    visionFeatureSelectStrategy: root.choice(
      'vision_feature_select_strategy',
      defaults.select,
      ['default', 'full'],
      'feature selection',
    ),
    projectorHiddenAct: parseActivation(root, 'projector_hidden_act', 'gelu'),
    projectorBias: root.boolean('multimodal_projector_bias', true),
    anyres: modelType === 'llava' ? undefined : parseAnyres(root, vision, modelType, defaults),
    vision,
    text,
  };
  if (config.visionFeatureSelectStrategy === 'default' && !vision.hasClassToken)
    throw invalid(
      'config.json asks for vision_feature_select_strategy "default" with a SigLIP tower',
      '"default" drops the class token, and a SigLIP tower has none: a patch would be lost.',
    );
  if (config.anyres && config.visionFeatureSelectStrategy === 'full' && vision.hasClassToken)
    throw invalid(
      `config.json asks a ${modelType} model to keep the class token of every tile`,
      'vision_feature_select_strategy "full" with a CLIP tower: the tiles would not fit together to rows.',
    );
  return config;
}

// ---------------------------------------------------------------------------------------------- vision

/** What the classes of a family assume where config.json says nothing. */
interface FamilyDefaults {
  readonly imageToken: number;
  readonly featureLayer: number;
  readonly select: 'default' | 'full';
  /** Where there is no vision_config at all. */
  readonly tower: Readonly<Record<string, unknown>>;
  readonly visionModel: VisionConfig['modelType'];
  readonly textModel: TextConfig['modelType'];
  /** [height, width] */
  readonly pinpoints: readonly (readonly [number, number])[];
}

/** CLIP ViT-L/14 at 336 pixels. */
const CLIP_TOWER = {
  model_type: 'clip_vision_model',
  hidden_size: 1024,
  intermediate_size: 4096,
  num_hidden_layers: 24,
  num_attention_heads: 16,
  image_size: 336,
  patch_size: 14,
};

/** SigLIP so400m/14 at 384 pixels. */
const SIGLIP_TOWER = {
  model_type: 'siglip_vision_model',
  hidden_size: 1152,
  intermediate_size: 4304,
  num_hidden_layers: 26,
  num_attention_heads: 16,
  image_size: 384,
  patch_size: 14,
};

const CLIP_LLAMA = {
  imageToken: 32000,
  featureLayer: -2,
  select: 'default',
  tower: CLIP_TOWER,
  visionModel: 'clip_vision_model',
  textModel: 'llama',
} as const;

const ONE_TO_SIX = [1, 2, 3, 4, 5, 6];

const FAMILY_DEFAULTS: Readonly<Record<ModelType, FamilyDefaults>> = {
  llava: { ...CLIP_LLAMA, pinpoints: [] },
  llava_next: {
    ...CLIP_LLAMA,
    pinpoints: [
      [336, 672],
      [672, 336],
      [672, 672],
      [1008, 336],
      [336, 1008],
    ],
  },
  llava_onevision: {
    imageToken: 151646,
    featureLayer: -1,
    select: 'full',
    tower: SIGLIP_TOWER,
    visionModel: 'siglip_vision_model',
    textModel: 'qwen2',
    pinpoints: ONE_TO_SIX.flatMap((rows) =>
      ONE_TO_SIX.map((columns) => [384 * rows, 384 * columns] as const),
    ),
  },
};

const MODEL_TYPES: readonly ModelType[] = ['llava', 'llava_next', 'llava_onevision'];

/** More canvases than any model has; each is looked at for every picture. */
const MAX_PINPOINTS = 1024;
/** As tiles are computed one by one, a hostile config could otherwise keep the machine busy for a day. */
const MAX_TILES = 256;
/** The picture is scaled up to its canvas, 3 bytes a pixel. OneVision's largest has 5.3 million. */
const MAX_CANVAS_PIXELS = 100e6;

function parseAnyres(
  root: Section,
  vision: VisionConfig,
  modelType: ModelType,
  { pinpoints }: FamilyDefaults,
): AnyresConfig {
  const given = root.value('image_grid_pinpoints') ?? pinpoints;
  const parsed = parsePinpoints(given, vision.imageSize);
  if (!parsed)
    throw invalid(
      `config.json: "image_grid_pinpoints" is ${JSON.stringify(given).slice(0, 200)}`,
      `Expected a list of [height, width], multiples of the tower's ${vision.imageSize} pixels, of at most ${MAX_TILES} tiles and ${MAX_CANVAS_PIXELS} pixels each.`,
    );
  return { pinpoints: parsed, maxTiles: modelType === 'llava_onevision' ? parseMaxTiles(root) : undefined };
}

/** [[height, width], ...] as checkpoints write it; undefined where it is none, or does not fit the tower. */
export function parsePinpoints(value: unknown, towerSize: number): Size[] | undefined {
  if (!Array.isArray(value) || value.length === 0 || value.length > MAX_PINPOINTS) return undefined;
  const sizes: Size[] = [];
  for (const pair of value as unknown[]) {
    if (!Array.isArray(pair) || pair.length !== 2) return undefined;
    const [height, width] = pair as unknown[];
    const fits = (side: unknown): side is number =>
      typeof side === 'number' && Number.isInteger(side) && side > 0 && side % towerSize === 0;
    if (!fits(height) || !fits(width)) return undefined;
    const tiles = (height / towerSize) * (width / towerSize);
    if (tiles > MAX_TILES || height * width > MAX_CANVAS_PIXELS) return undefined;
    sizes.push({ width, height });
  }
  return sizes;
}

function parseMaxTiles(root: Section): number {
  const value = root.value('vision_aspect_ratio') ?? 'anyres_max_9';
  const match = typeof value === 'string' ? /^anyres_max_([1-9]\d{0,3})$/.exec(value) : null;
  if (!match) throw unsupported('vision_aspect_ratio', JSON.stringify(value), ['anyres_max_<tiles>']);
  return Number(match[1]);
}

function parseVision(given: Section | undefined, defaults: FamilyDefaults): VisionConfig {
  const section = given ?? new Section(defaults.tower, 'vision_config');
  const modelType = section.choice(
    'model_type',
    defaults.visionModel,
    ['clip_vision_model', 'siglip_vision_model'],
    'vision tower',
  );
  const clip = modelType === 'clip_vision_model';
  const channels = section.integer('num_channels', 3);
  if (channels !== 3) throw unsupported('number of image channels', channels, ['3']);

  const config: VisionConfig = {
    modelType,
    hiddenSize: section.integer('hidden_size', 768),
    intermediateSize: section.integer('intermediate_size', 3072),
    numHiddenLayers: section.integer('num_hidden_layers', 12, MAX_LAYERS),
    numAttentionHeads: section.integer('num_attention_heads', 12),
    imageSize: section.side('image_size', 224),
    patchSize: section.side('patch_size', clip ? 32 : 16),
    hiddenAct: parseActivation(section, 'hidden_act', clip ? 'quick_gelu' : 'gelu_pytorch_tanh'),
    layerNormEps: section.positive('layer_norm_eps', clip ? 1e-5 : 1e-6),
    hasClassToken: clip,
  };
  requireDivides(section, 'hidden_size', config.hiddenSize, 'num_attention_heads', config.numAttentionHeads);
  // A size that the patch does not divide is legal (SigLIP so400m: 384 / 14): the convolution leaves the rest out.
  if (config.patchSize > config.imageSize)
    throw invalid(
      `vision_config.patch_size ${config.patchSize} is larger than image_size ${config.imageSize}`,
      'The tower would see no patch at all.',
    );
  return config;
}

function parseFeatureLayers(root: Section, vision: VisionConfig, defaults: FamilyDefaults): number[] {
  const value = root.value('vision_feature_layer') ?? defaults.featureLayer;
  const layers = Array.isArray(value) ? value : [value];
  const states = vision.numHiddenLayers + 1;
  for (const layer of layers) {
    if (!Number.isInteger(layer) || layer < -states || layer >= states)
      throw invalid(
        `vision_feature_layer ${JSON.stringify(layer)} does not exist`,
        `A tower of ${vision.numHiddenLayers} layers has hidden states ${-states} to ${states - 1}.`,
      );
  }
  if (layers.length === 0)
    throw invalid('vision_feature_layer is an empty list', 'At least one layer is needed.');
  return layers as number[];
}

// ---------------------------------------------------------------------------------------------- text

interface TextDefaults {
  vocabSize: number;
  intermediateSize: number;
  /** undefined = as many as attention heads. */
  keyValueHeads: number | undefined;
  maxPositionEmbeddings: number;
  bosTokenId: number | undefined;
  eosTokenId: number | undefined;
}

const TEXT_DEFAULTS: Record<TextConfig['modelType'], TextDefaults> = {
  llama: {
    vocabSize: 32000,
    intermediateSize: 11008,
    keyValueHeads: undefined,
    maxPositionEmbeddings: 2048,
    bosTokenId: 1,
    eosTokenId: 2,
  },
  mistral: {
    vocabSize: 32000,
    intermediateSize: 14336,
    keyValueHeads: 8,
    maxPositionEmbeddings: 131072,
    bosTokenId: 1,
    eosTokenId: 2,
  },
  qwen2: {
    vocabSize: 151936,
    intermediateSize: 22016,
    keyValueHeads: 32,
    maxPositionEmbeddings: 32768,
    bosTokenId: undefined,
    eosTokenId: undefined,
  },
};

function parseText(root: Section, given: Section | undefined, { textModel }: FamilyDefaults): TextConfig {
  const section = given ?? new Section({}, 'text_config');
  const modelType = section.choice('model_type', textModel, ['llama', 'mistral', 'qwen2'], 'language model');
  const defaults = TEXT_DEFAULTS[modelType];
  const llama = modelType === 'llama';

  const hiddenSize = section.integer('hidden_size', 4096);
  const numAttentionHeads = section.integer('num_attention_heads', 32);
  const explicitHeadDim = section.optionalInteger('head_dim', 1);
  if (explicitHeadDim === undefined)
    requireDivides(section, 'hidden_size', hiddenSize, 'num_attention_heads', numAttentionHeads);
  const headDim = explicitHeadDim ?? hiddenSize / numAttentionHeads;
  if (headDim % 2 !== 0)
    throw invalid(
      `text_config has heads of ${headDim} dimensions`,
      'Rotary position embeddings turn pairs of dimensions, so the number must be even.',
    );

  // An explicit null means "as many as attention heads" in every class; only an absent field takes the class default.
  const numKeyValueHeads =
    section.optionalInteger('num_key_value_heads', 1) ??
    (section.has('num_key_value_heads') ? undefined : defaults.keyValueHeads) ??
    numAttentionHeads;
  requireDivides(section, 'num_attention_heads', numAttentionHeads, 'num_key_value_heads', numKeyValueHeads);

  const numHiddenLayers = section.integer('num_hidden_layers', 32, MAX_LAYERS);
  const maxPositions = section.integer('max_position_embeddings', defaults.maxPositionEmbeddings);
  const rope = parseRope(section, maxPositions, headDim);
  const attentionBias = llama && section.boolean('attention_bias', false);
  return {
    modelType,
    vocabSize: section.integer('vocab_size', defaults.vocabSize),
    hiddenSize,
    intermediateSize: section.integer('intermediate_size', defaults.intermediateSize),
    numHiddenLayers,
    numAttentionHeads,
    numKeyValueHeads,
    headDim,
    hiddenAct: parseActivation(section, 'hidden_act', 'silu'),
    rmsNormEps: section.positive('rms_norm_eps', 1e-6),
    rope,
    qkvBias: modelType === 'qwen2' || attentionBias,
    outputBias: attentionBias,
    mlpBias: llama && section.boolean('mlp_bias', false),
    tieWordEmbeddings:
      root.boolean('tie_word_embeddings', false) || section.boolean('tie_word_embeddings', false),
    maxPositionEmbeddings: stretchedPositions(rope, maxPositions),
    ...parseWindows(section, modelType, numHiddenLayers),
    bosTokenId: section.has('bos_token_id') ? parseTokenIds(section, 'bos_token_id')[0] : defaults.bosTokenId,
    eosTokenIds: parseEnds(root, section, defaults),
  };
}

/** Where no generation_config.json says it: at the top level of config.json, in text_config, or as the class has it. */
function parseEnds(root: Section, section: Section, { eosTokenId }: TextDefaults): number[] {
  const atRoot = parseTokenIds(root, 'eos_token_id');
  if (atRoot.length > 0) return atRoot;
  if (section.has('eos_token_id')) return parseTokenIds(section, 'eos_token_id');
  return eosTokenId === undefined ? [] : [eosTokenId];
}

/** Token ids as HF writes them: a number, a list of numbers, or null. */
function parseTokenIds(section: Section, key: string): number[] {
  return tokenIdList(section.value(key), `${section.name}.${key}`);
}

/** Reads a number, a list of numbers, or nothing as a list of token ids; `where` names the field in an error. */
export function tokenIdList(value: unknown, where: string): number[] {
  if (value === undefined || value === null) return [];
  const ids = Array.isArray(value) ? value : [value];
  for (const id of ids) {
    if (!Number.isInteger(id) || id < 0 || id > MAX_SIZE)
      throw invalid(`${where} is ${JSON.stringify(id)}`, 'A token id is a whole number from 0 up.');
  }
  return ids as number[];
}

function parseWindows(
  section: Section,
  modelType: TextConfig['modelType'],
  layers: number,
): Pick<TextConfig, 'slidingWindow' | 'fullAttentionLayers'> {
  if (modelType === 'llama') return { slidingWindow: undefined };
  const window = section.has('sliding_window') ? section.optionalInteger('sliding_window', 1) : 4096;
  if (modelType === 'mistral') return { slidingWindow: window };

  // Qwen2: off unless asked for, and then only from layer max_window_layers on, or where layer_types says so.
  if (!section.boolean('use_sliding_window', false) || window === undefined)
    return { slidingWindow: undefined };
  const firstWindowed = section.optionalInteger('max_window_layers', 0) ?? 28;
  const types = section.value('layer_types');
  const isFull = (layer: number): boolean =>
    Array.isArray(types) ? types[layer] !== 'sliding_attention' : layer < firstWindowed;
  const full = Array.from({ length: layers }, (_, layer) => layer).filter(isFull);
  if (full.length === layers) return { slidingWindow: undefined };
  return full.length === 0 ? { slidingWindow: window } : { slidingWindow: window, fullAttentionLayers: full };
}

/** Linear and dynamic scaling stretch what max_position_embeddings says; the others may have been counted in already. */
function stretchedPositions(rope: RopeConfig, maxPositions: number): number {
  switch (rope.type) {
    case 'default':
    case 'longrope':
      return maxPositions;
    case 'linear':
    case 'dynamic':
      return Math.floor(maxPositions * Math.max(1, rope.factor));
    case 'llama3':
    case 'yarn':
      return Math.max(maxPositions, Math.floor(rope.originalMaxPositions * rope.factor));
  }
}

function parseRope(section: Section, maxPositionEmbeddings: number, headDim: number): RopeConfig {
  // `rope_parameters` is transformers 5, `rope_scaling` beside `rope_theta` is everything before it.
  const given = ['rope_scaling', 'rope_parameters']
    .map((key) => section.section(key))
    .find((parameters) => parameters?.isEmpty === false);
  const parameters = given ?? new Section({}, `${section.name}.rope_parameters`);
  const theta = parameters.has('rope_theta')
    ? parameters.positive('rope_theta', 10000)
    : section.positive('rope_theta', 10000);
  for (const where of [section, parameters]) {
    const rotated = where.positive('partial_rotary_factor', 1);
    if (rotated !== 1) throw unsupported('partial rotary factor', rotated, ['1']);
  }
  const key = parameters.has('rope_type') || !parameters.has('type') ? 'rope_type' : 'type';
  const type = parameters.choice(
    key,
    'default',
    ['default', 'linear', 'dynamic', 'llama3', 'yarn', 'longrope'],
    'rotary scaling (rope type)',
  );
  if (type === 'default') return { type, theta };
  if (type === 'yarn') return parseYarn(parameters, theta, maxPositionEmbeddings);
  if (type === 'longrope') return parseLongRope(parameters, theta, maxPositionEmbeddings, headDim);
  const factor = parameters.required('factor');
  if (type === 'linear') return { type, theta, factor };
  // transformers scales "dynamic" from max_position_embeddings, whatever else the config says.
  if (type === 'dynamic') return { type, theta, factor, originalMaxPositions: maxPositionEmbeddings };
  const lowFrequencyFactor = parameters.required('low_freq_factor');
  const highFrequencyFactor = parameters.required('high_freq_factor');
  if (highFrequencyFactor <= lowFrequencyFactor)
    throw invalid(
      `${parameters.name}.high_freq_factor ${highFrequencyFactor} is not above low_freq_factor ${lowFrequencyFactor}`,
      'The llama3 rotary scaling divides by their difference.',
    );
  return {
    type,
    theta,
    factor,
    lowFrequencyFactor,
    highFrequencyFactor,
    originalMaxPositions: parameters.integer('original_max_position_embeddings', maxPositionEmbeddings),
  };
}

/** YaRN (Peng et al. 2023, arXiv 2309.00071), with the defaults of transformers' `_compute_yarn_parameters`. */
function parseYarn(parameters: Section, theta: number, maxPositions: number): RopeConfig {
  const originalMaxPositions = parameters.integer('original_max_position_embeddings', maxPositions);
  const factor = parameters.positive('factor', maxPositions / originalMaxPositions);
  const temperature = (scale: number): number => (factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1);
  const [scale, scaleAll] = [parameters.value('mscale'), parameters.value('mscale_all_dim')];
  const inferred =
    scale && scaleAll
      ? temperature(parameters.required('mscale')) / temperature(parameters.required('mscale_all_dim'))
      : temperature(1);
  return {
    type: 'yarn',
    theta,
    factor,
    originalMaxPositions,
    betaFast: parameters.positive('beta_fast', 32),
    betaSlow: parameters.positive('beta_slow', 1),
    truncate: parameters.boolean('truncate', true),
    attentionFactor: parameters.positive('attention_factor', inferred),
  };
}

/** LongRoPE (Ding et al. 2024, arXiv 2402.13753), with the defaults of transformers' `_compute_longrope_parameters`. */
function parseLongRope(
  parameters: Section,
  theta: number,
  maxPositions: number,
  headDim: number,
): RopeConfig {
  const originalMaxPositions = parameters.integer('original_max_position_embeddings', maxPositions);
  const factor = parameters.positive('factor', maxPositions / originalMaxPositions);
  const inferred = factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(originalMaxPositions));
  return {
    type: 'longrope',
    theta,
    originalMaxPositions,
    shortFactors: parameters.positives('short_factor', headDim / 2),
    longFactors: parameters.positives('long_factor', headDim / 2),
    attentionFactor: parameters.positive('attention_factor', inferred),
  };
}

// ---------------------------------------------------------------------------------------------- reading fields

/** Names that transformers' ACT2FN gives the activations that the engine has. */
const ACTIVATIONS: Readonly<Record<string, Activation>> = {
  gelu: 'gelu',
  gelu_pytorch_tanh: 'gelu_pytorch_tanh',
  gelu_new: 'gelu_pytorch_tanh',
  gelu_fast: 'gelu_pytorch_tanh',
  gelu_accurate: 'gelu_pytorch_tanh',
  gelu_python_tanh: 'gelu_pytorch_tanh',
  gelu_python: 'gelu',
  quick_gelu: 'quick_gelu',
  silu: 'silu',
  swish: 'silu',
  relu: 'relu',
};

/** The product's limit on tensor dimensions, and so on every size that becomes one. */
const MAX_SIZE = 2 ** 32;
/** Far above any model; keeps a hostile config from making the engine list billions of tensors. */
const MAX_LAYERS = 1024;
/** 8192 x 8192 pixels is far above any tower; one float image of it is 800 MB. */
const MAX_IMAGE_SIDE = 8192;

function parseActivation(section: Section, key: string, fallback: Activation): Activation {
  return ACTIVATIONS[section.choice(key, fallback, Object.keys(ACTIVATIONS), 'activation function')];
}

/** One object of config.json. Absent and null are the same unless `has` is asked. */
class Section {
  constructor(
    private readonly fields: Readonly<Record<string, unknown>>,
    readonly name: string,
  ) {}

  static of(json: unknown, name: string): Section {
    if (typeof json !== 'object' || json === null || Array.isArray(json))
      throw invalid(`${name} is not an object`, 'A checkpoint is described by a JSON object.');
    return new Section(json as Record<string, unknown>, name);
  }

  has(key: string): boolean {
    return Object.hasOwn(this.fields, key);
  }

  get isEmpty(): boolean {
    return Object.keys(this.fields).length === 0;
  }

  value(key: string): unknown {
    return this.has(key) ? this.fields[key] : undefined;
  }

  section(key: string): Section | undefined {
    const value = this.value(key);
    if (value === undefined || value === null) return undefined;
    return Section.of(value, this.name === 'config.json' ? key : `${this.name}.${key}`);
  }

  boolean(key: string, fallback: boolean): boolean {
    const value = this.value(key) ?? fallback;
    if (typeof value !== 'boolean') throw this.wrong(key, value, 'true or false');
    return value;
  }

  /** A size: whole, from 1 to `maximum`. */
  integer(key: string, fallback: number, maximum = MAX_SIZE): number {
    return this.optionalInteger(key, 1, maximum) ?? fallback;
  }

  optionalInteger(key: string, minimum: number, maximum = MAX_SIZE): number | undefined {
    const value = this.value(key);
    if (value === undefined || value === null) return undefined;
    if (typeof value !== 'number' || !Number.isInteger(value) || value < minimum || value > maximum)
      throw this.wrong(key, value, `a whole number from ${minimum} to ${maximum}`);
    return value;
  }

  /** A side of a square, which some configs write as [height, width]. */
  side(key: string, fallback: number): number {
    const value = this.value(key);
    if (Array.isArray(value)) {
      if (value.length !== 2 || value[0] !== value[1])
        throw unsupported(`${this.name}.${key}`, JSON.stringify(value), ['a square']);
      return new Section({ [key]: value[0] }, this.name).side(key, fallback);
    }
    return this.integer(key, fallback, MAX_IMAGE_SIDE);
  }

  positive(key: string, fallback: number): number {
    const value = this.value(key) ?? fallback;
    if (typeof value !== 'number' || !(value > 0) || !Number.isFinite(value))
      throw this.wrong(key, value, 'a number above 0');
    return value;
  }

  /** A list of so many numbers above 0. */
  positives(key: string, count: number): number[] {
    const value = this.value(key);
    const isPositive = (number: unknown): boolean =>
      typeof number === 'number' && number > 0 && Number.isFinite(number);
    if (!Array.isArray(value) || value.length !== count || !value.every(isPositive))
      throw this.wrong(key, value, `${count} numbers above 0`);
    return value as number[];
  }

  required(key: string): number {
    if (this.value(key) === undefined || this.value(key) === null)
      throw this.wrong(key, undefined, 'a number above 0');
    return this.positive(key, 1);
  }

  choice<T extends string>(key: string, fallback: T | undefined, supported: readonly T[], what: string): T {
    const value = this.value(key) ?? fallback;
    if (typeof value === 'string' && (supported as readonly string[]).includes(value)) return value as T;
    if (typeof value === 'string') throw unsupported(what, value, supported);
    throw this.wrong(key, value, `one of ${supported.join(', ')}`);
  }

  refuseQuantization(): void {
    for (const key of ['quantization_config', 'compression_config']) {
      const section = this.section(key);
      if (!section) continue;
      const method = section.value('quant_method') ?? section.value('format') ?? 'unnamed';
      throw unsupported('quantization of the checkpoint', String(method), [
        'float32, float16 and bfloat16 weights',
      ]);
    }
  }

  private wrong(key: string, value: unknown, expected: string): ModelError {
    const found = value === undefined ? 'missing' : JSON.stringify(value).slice(0, 200);
    return invalid(`${this.name}: "${key}" is ${found}`, `Expected ${expected}.`);
  }
}

function requireDivides(section: Section, a: string, whole: number, b: string, parts: number): void {
  if (whole % parts === 0) return;
  throw invalid(
    `${section.name}: ${a} ${whole} cannot be divided by ${b} ${parts}`,
    'The heads would have a fractional size.',
  );
}

function unsupported(what: string, value: unknown, supported: readonly string[]): ModelError {
  const subject = what.split(' (')[0];
  return new ModelError({
    code: `model.unsupported-${subject.toLowerCase().replace(/[^a-z]+/g, '-')}`,
    message: `This checkpoint has a ${what} that Fovea cannot run: ${String(value)}.`,
    why: `Supported: ${supported.join(', ')}.`,
    nextStep: 'Choose a LLaVA checkpoint with a CLIP or SigLIP tower and a Llama, Mistral or Qwen2 decoder.',
  });
}

function invalid(message: string, why: string): ModelError {
  return new ModelError({
    code: 'model.config-invalid',
    message: `${message}.`,
    why,
    nextStep: 'Download the checkpoint again, or correct its config.json.',
  });
}
