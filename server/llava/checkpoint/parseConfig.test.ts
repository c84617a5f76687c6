import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { ModelError } from '../errors';
import { ALL_FIXTURES, readFixture } from '../testing/fixtures';
import { windowOf } from './config';
import { parseConfig } from './parseConfig';

/** config.json of llava-hf/llava-1.5-7b-hf, as far as it matters: text_config has no sizes. */
const LLAVA_15 = {
  model_type: 'llava',
  ignore_index: -100,
  image_token_index: 32000,
  projector_hidden_act: 'gelu',
  text_config: {
    _name_or_path: 'lmsys/vicuna-7b-v1.5',
    architectures: ['LlamaForCausalLM'],
    max_position_embeddings: 4096,
    model_type: 'llama',
    rms_norm_eps: 1e-5,
    torch_dtype: 'float16',
    vocab_size: 32064,
  },
  torch_dtype: 'float16',
  vision_config: {
    hidden_size: 1024,
    image_size: 336,
    intermediate_size: 4096,
    model_type: 'clip_vision_model',
    num_attention_heads: 16,
    num_hidden_layers: 24,
    patch_size: 14,
    projection_dim: 768,
    vocab_size: 32000,
  },
  vision_feature_layer: -2,
  vision_feature_select_strategy: 'default',
  vocab_size: 32064,
};

/** A config with some fields of one part replaced. */
function withText(fields: object): object {
  return { ...LLAVA_15, text_config: { ...LLAVA_15.text_config, ...fields } };
}

function withVision(fields: object): object {
  return { ...LLAVA_15, vision_config: { ...LLAVA_15.vision_config, ...fields } };
}

function refusal(config: unknown): ModelError {
  try {
    parseConfig(config);
  } catch (error) {
    expect(error).toBeInstanceOf(ModelError);
    return error as ModelError;
  }
  return expect.fail('the config was accepted');
}

describe('defaults of the HuggingFace classes', () => {
  it('complete llava-1.5-7b', () => {
    expect(parseConfig(LLAVA_15)).toEqual({
      modelType: 'llava',
      imageTokenIndex: 32000,
      visionFeatureLayer: [-2],
      visionFeatureSelectStrategy: 'default',
      projectorHiddenAct: 'gelu',
      projectorBias: true,
      vision: {
        modelType: 'clip_vision_model',
        hiddenSize: 1024,
        intermediateSize: 4096,
        numHiddenLayers: 24,
        numAttentionHeads: 16,
        imageSize: 336,
        patchSize: 14,
        hiddenAct: 'quick_gelu',
        layerNormEps: 1e-5,
        hasClassToken: true,
      },
      text: {
        modelType: 'llama',
        vocabSize: 32064,
        hiddenSize: 4096,
        intermediateSize: 11008,
        numHiddenLayers: 32,
        numAttentionHeads: 32,
        numKeyValueHeads: 32,
        headDim: 128,
        hiddenAct: 'silu',
        rmsNormEps: 1e-5,
        rope: { type: 'default', theta: 10000 },
        qkvBias: false,
        outputBias: false,
        mlpBias: false,
        tieWordEmbeddings: false,
        maxPositionEmbeddings: 4096,
        slidingWindow: undefined,
        bosTokenId: 1,
        eosTokenIds: [2],
      },
    });
  });

  it('stand in for whole parts that are absent', () => {
    const config = parseConfig({ model_type: 'llava' });
    expect(config.vision).toMatchObject({
      imageSize: 336,
      patchSize: 14,
      hiddenSize: 1024,
      numHiddenLayers: 24,
    });
    expect(config.text).toMatchObject({ modelType: 'llama', vocabSize: 32000, maxPositionEmbeddings: 2048 });
  });

  it('of SigLIP and Qwen2: llava-interleave-qwen-0.5b', () => {
    const config = parseConfig({
      model_type: 'llava',
      image_token_index: 151646,
      vision_feature_layer: -1,
      vision_feature_select_strategy: 'full',
      text_config: {
        model_type: 'qwen2',
        hidden_size: 1024,
        intermediate_size: 2816,
        num_attention_heads: 16,
        num_hidden_layers: 24,
        num_key_value_heads: 16,
        tie_word_embeddings: true,
        vocab_size: 152000,
      },
      vision_config: {
        model_type: 'siglip_vision_model',
        hidden_size: 1152,
        image_size: 384,
        intermediate_size: 4304,
        num_attention_heads: 16,
        num_hidden_layers: 26,
        patch_size: 14,
        vision_use_head: false,
      },
    });
    expect(config.vision).toMatchObject({
      hiddenAct: 'gelu_pytorch_tanh',
      layerNormEps: 1e-6,
      hasClassToken: false,
    });
    expect(config.text).toMatchObject({
      qkvBias: true,
      outputBias: false,
      mlpBias: false,
      tieWordEmbeddings: true,
      headDim: 64,
      slidingWindow: undefined,
      bosTokenId: undefined,
      eosTokenIds: [],
    });
  });

  it('of Mistral: grouped queries and a sliding window', () => {
    const text = { model_type: 'mistral' };
    expect(parseConfig({ model_type: 'llava', text_config: text }).text).toMatchObject({
      numKeyValueHeads: 8,
      intermediateSize: 14336,
      slidingWindow: 4096,
      maxPositionEmbeddings: 131072,
    });
    expect(
      parseConfig({ model_type: 'llava', text_config: { ...text, sliding_window: null } }).text.slidingWindow,
    ).toBeUndefined();
  });

  it.each(ALL_FIXTURES)('are complete for %s', (name) => {
    const json = JSON.parse(readFileSync(path.join(readFixture(name).directory, 'config.json'), 'utf8'));
    const { text, vision } = parseConfig(json);
    for (const size of [
      text.headDim,
      text.numKeyValueHeads,
      text.vocabSize,
      vision.hiddenSize,
      vision.patchSize,
    ])
      expect(size).toBeGreaterThan(0);
  });
});

describe('forms that a field may have', () => {
  it('image_token_index is image_token_id in transformers 5', () => {
    const rest = { ...LLAVA_15, image_token_index: undefined };
    expect(parseConfig({ ...rest, image_token_id: 77 }).imageTokenIndex).toBe(77);
    expect(parseConfig({ ...rest, image_token_index: 5, image_token_id: 77 }).imageTokenIndex).toBe(77);
    expect(parseConfig(rest).imageTokenIndex).toBe(32000);
  });

  it('vision_feature_layer is a number or a list', () => {
    expect(parseConfig({ ...LLAVA_15, vision_feature_layer: [-2, -5, 3] }).visionFeatureLayer).toEqual([
      -2, -5, 3,
    ]);
  });

  it('image_size may be a square pair', () => {
    expect(parseConfig(withVision({ image_size: [336, 336] })).vision.imageSize).toBe(336);
  });

  it('null is the same as absent', () => {
    const text = parseConfig(
      withText({ head_dim: null, num_key_value_heads: null, rope_scaling: null }),
    ).text;
    expect(text).toMatchObject({
      headDim: 128,
      numKeyValueHeads: 32,
      rope: { type: 'default', theta: 10000 },
    });
    // In Mistral's class the default is 8, but an explicit null means as many as attention heads.
    expect(
      parseConfig(withText({ model_type: 'mistral', num_key_value_heads: null })).text.numKeyValueHeads,
    ).toBe(32);
  });

  it('head_dim need not be hidden_size / heads', () => {
    expect(parseConfig(withText({ head_dim: 96 })).text.headDim).toBe(96);
  });

  it('tied embeddings count from either place', () => {
    expect(parseConfig(withText({ tie_word_embeddings: true })).text.tieWordEmbeddings).toBe(true);
    expect(parseConfig({ ...LLAVA_15, tie_word_embeddings: true }).text.tieWordEmbeddings).toBe(true);
  });

  it('biases of Llama', () => {
    expect(parseConfig(withText({ attention_bias: true, mlp_bias: true })).text).toMatchObject({
      qkvBias: true,
      outputBias: true,
      mlpBias: true,
    });
  });

  it('several end tokens, or none', () => {
    expect(parseConfig(withText({ eos_token_id: [5, 6] })).text.eosTokenIds).toEqual([5, 6]);
    expect(parseConfig(withText({ eos_token_id: null })).text.eosTokenIds).toEqual([]);
  });

  it.each([
    [{ rope_theta: 5e5 }, { type: 'default', theta: 5e5 }],
    [{ rope_parameters: { rope_type: 'default', rope_theta: 1e6 } }, { type: 'default', theta: 1e6 }],
    [{ rope_scaling: { type: 'linear', factor: 2 } }, { type: 'linear', theta: 10000, factor: 2 }],
    [
      { rope_theta: 7, rope_scaling: { rope_type: 'dynamic', factor: 4 } },
      { type: 'dynamic', theta: 7, factor: 4, originalMaxPositions: 4096 },
    ],
    [
      {
        rope_parameters: {
          rope_type: 'llama3',
          rope_theta: 5e5,
          factor: 8,
          low_freq_factor: 1,
          high_freq_factor: 4,
          original_max_position_embeddings: 1024,
        },
      },
      {
        type: 'llama3',
        theta: 5e5,
        factor: 8,
        lowFrequencyFactor: 1,
        highFrequencyFactor: 4,
        originalMaxPositions: 1024,
      },
    ],
    [
      { max_position_embeddings: 256, rope_scaling: { type: 'yarn', factor: 4 } },
      {
        type: 'yarn',
        theta: 10000,
        factor: 4,
        originalMaxPositions: 256,
        betaFast: 32,
        betaSlow: 1,
        truncate: true,
        attentionFactor: 0.1 * Math.log(4) + 1,
      },
    ],
    [
      {
        rope_scaling: {},
        rope_parameters: {
          rope_type: 'yarn',
          rope_theta: 1e6,
          factor: 2,
          original_max_position_embeddings: 128,
          mscale: 0.8,
          mscale_all_dim: 0.5,
          beta_fast: 16,
          beta_slow: 2,
          truncate: false,
        },
      },
      {
        type: 'yarn',
        theta: 1e6,
        factor: 2,
        originalMaxPositions: 128,
        betaFast: 16,
        betaSlow: 2,
        truncate: false,
        attentionFactor: (0.08 * Math.log(2) + 1) / (0.05 * Math.log(2) + 1),
      },
    ],
    [
      {
        hidden_size: 64,
        num_attention_heads: 16,
        max_position_embeddings: 4096,
        rope_scaling: {
          type: 'longrope',
          original_max_position_embeddings: 1024,
          short_factor: [1, 2],
          long_factor: [3, 4],
        },
      },
      {
        type: 'longrope',
        theta: 10000,
        originalMaxPositions: 1024,
        shortFactors: [1, 2],
        longFactors: [3, 4],
        attentionFactor: Math.sqrt(1 + Math.log(4) / Math.log(1024)),
      },
    ],
  ])('rotary positions %j', (fields, expected) => {
    expect(parseConfig(withText(fields)).text.rope).toEqual(expected);
  });

  it.each([
    [{ max_position_embeddings: 4096 }, 4096],
    [{ max_position_embeddings: 4096, rope_scaling: { type: 'linear', factor: 4 } }, 16384],
    [{ max_position_embeddings: 4096, rope_scaling: { type: 'dynamic', factor: 2 } }, 8192],
    [
      {
        max_position_embeddings: 32768,
        rope_scaling: { type: 'yarn', factor: 4, original_max_position_embeddings: 32768 },
      },
      131072,
    ],
  ])('the positions that scaling makes room for %j', (fields, expected) => {
    expect(parseConfig(withText(fields)).text.maxPositionEmbeddings).toBe(expected);
  });

  it("Qwen2's sliding window, in all layers, some or none", () => {
    const qwen = { model_type: 'qwen2', sliding_window: 512 };
    const slidingWindow = (fields: object) =>
      parseConfig(withText({ ...qwen, ...fields })).text.slidingWindow;
    expect(slidingWindow({})).toBeUndefined();
    expect(slidingWindow({ use_sliding_window: true, max_window_layers: 0 })).toBe(512);
    expect(slidingWindow({ use_sliding_window: true, max_window_layers: 32 })).toBeUndefined();
    const { text } = parseConfig(
      withText({ ...qwen, use_sliding_window: true, max_window_layers: 2, num_hidden_layers: 4 }),
    );
    expect([0, 1, 2, 3].map((layer) => windowOf(text, layer))).toEqual([undefined, undefined, 512, 512]);
    const types = ['sliding_attention', 'full_attention', 'full_attention'];
    const mixed = parseConfig(
      withText({ ...qwen, use_sliding_window: true, layer_types: types, num_hidden_layers: 3 }),
    ).text;
    expect([0, 1, 2].map((layer) => windowOf(mixed, layer))).toEqual([512, undefined, undefined]);
  });
});

describe('what the engine cannot run is refused by name, with what it can', () => {
  it.each([
    [{ model_type: 'qwen2_vl' }, 'qwen2_vl', 'llava'],
    [withVision({ model_type: 'dinov2' }), 'dinov2', 'siglip_vision_model'],
    [withText({ model_type: 'gemma2' }), 'gemma2', 'qwen2'],
    [withText({ hidden_act: 'gelu_fast_unknown' }), 'gelu_fast_unknown', 'silu'],
    [withText({ rope_scaling: { type: 'mrope', factor: 4 } }), 'mrope', 'llama3'],
    [withText({ rope_parameters: { rope_type: 'proportional' } }), 'proportional', 'longrope'],
    [withText({ partial_rotary_factor: 0.5 }), '0.5', '1'],
    [{ ...LLAVA_15, quantization_config: { quant_method: 'awq' } }, 'awq', 'float16'],
    [withText({ quantization_config: { quant_method: 'bitsandbytes' } }), 'bitsandbytes', 'bfloat16'],
    [withVision({ num_channels: 1 }), '1', '3'],
    [withVision({ image_size: [336, 448] }), '[336,448]', 'square'],
    [{ ...LLAVA_15, vision_feature_select_strategy: 'cls' }, 'cls', 'full'],
    [{ ...LLAVA_15, projector_hidden_act: 'tanh' }, 'tanh', 'gelu'],
  ])('%#: %j', (config, named, supported) => {
    const error = refusal(config);
    expect(error.code).toMatch(/^model\.unsupported-[a-z-]+$/);
    expect(error.message).toContain(named);
    expect(error.why).toContain(supported);
  });
});

describe('what makes no sense is refused', () => {
  it.each([
    ['no object', []],
    ['nothing', null],
    ['a number', 7],
    ['no model type', {}],
    ['a model type that is no text', { model_type: 3 }],
    ['heads that do not divide the width', withText({ num_attention_heads: 33 })],
    ['key heads that do not divide the heads', withText({ num_key_value_heads: 5 })],
    ['heads of odd size', withText({ head_dim: 33 })],
    ['vision heads that do not divide the width', withVision({ num_attention_heads: 15 })],
    ['a patch larger than the image', withVision({ patch_size: 337 })],
    ['size 0', withText({ hidden_size: 0 })],
    ['a negative size', withText({ vocab_size: -1 })],
    ['a fractional size', withText({ hidden_size: 4096.5 })],
    ['a size beyond 2^32', withText({ vocab_size: 2 ** 32 + 1 })],
    ['a size that is a text', withText({ hidden_size: '4096' })],
    ['a billion layers', withText({ num_hidden_layers: 1e9 })],
    ['an image of a million pixels a side', withVision({ image_size: 1e6 })],
    ['no epsilon', withText({ rms_norm_eps: 0 })],
    ['a feature layer that does not exist', { ...LLAVA_15, vision_feature_layer: 25 }],
    ['a feature layer before the first', { ...LLAVA_15, vision_feature_layer: -26 }],
    ['no feature layer', { ...LLAVA_15, vision_feature_layer: [] }],
    ['a feature layer that is no number', { ...LLAVA_15, vision_feature_layer: 'last' }],
    ['a text part that is a list', { ...LLAVA_15, text_config: [] }],
    ['an end token that is a text', withText({ eos_token_id: '</s>' })],
    ['a flag that is a number', withText({ attention_bias: 1 })],
    [
      'LongRoPE with factors for other heads',
      withText({ rope_scaling: { type: 'longrope', short_factor: [1], long_factor: [1] } }),
    ],
    ['linear rotary scaling without a factor', withText({ rope_scaling: { type: 'linear' } })],
    [
      'llama3 scaling without a band',
      withText({ rope_scaling: { rope_type: 'llama3', factor: 8, low_freq_factor: 4, high_freq_factor: 4 } }),
    ],
    ['dropping the class token of a tower that has none', withVision({ model_type: 'siglip_vision_model' })],
  ])('%s', (_, config) => {
    const error = refusal(config);
    expect(error.code).toBe('model.config-invalid');
    expect(error.why).toBeTruthy();
  });
});

describe('tiled models', () => {
  it('take the canvases of llava-v1.6 where config.json has none, as [height, width]', () => {
    const { anyres, imageTokenIndex, vision, text, visionFeatureLayer } = parseConfig({
      model_type: 'llava_next',
    });
    expect(anyres).toEqual({
      pinpoints: [
        { width: 672, height: 336 },
        { width: 336, height: 672 },
        { width: 672, height: 672 },
        { width: 336, height: 1008 },
        { width: 1008, height: 336 },
      ],
      maxTiles: undefined,
    });
    expect([imageTokenIndex, vision.modelType, text.modelType, visionFeatureLayer]).toEqual([
      32000,
      'clip_vision_model',
      'llama',
      [-2],
    ]);
  });

  it('take the defaults of OneVision: SigLIP in full, Qwen2, six by six tiles, nine of them in tokens', () => {
    const config = parseConfig({ model_type: 'llava_onevision' });
    expect(config).toMatchObject({
      imageTokenIndex: 151646,
      visionFeatureLayer: [-1],
      visionFeatureSelectStrategy: 'full',
      vision: { modelType: 'siglip_vision_model', imageSize: 384, patchSize: 14, numHiddenLayers: 26 },
      text: { modelType: 'qwen2' },
      anyres: { maxTiles: 9 },
    });
    expect(config.anyres!.pinpoints).toHaveLength(36);
    expect(
      parseConfig({ model_type: 'llava_onevision', vision_aspect_ratio: 'anyres_max_4' }).anyres,
    ).toMatchObject({ maxTiles: 4 });
  });

  it.each([
    [{ image_grid_pinpoints: [] }],
    [{ image_grid_pinpoints: [[336, 500]] }],
    [{ image_grid_pinpoints: [[336]] }],
    [{ image_grid_pinpoints: [[336, -336]] }],
    [{ image_grid_pinpoints: [[336 * 1000, 336 * 1000]] }],
    [{ image_grid_pinpoints: [[10_080, 10_080]], vision_config: { image_size: 1008, patch_size: 14 } }],
    [{ image_grid_pinpoints: 'anyres' }],
    [{ vision_feature_select_strategy: 'full' }],
  ])('refuse %j', (fields) => {
    expect(refusal({ model_type: 'llava_next', ...fields }).code).toBe('model.config-invalid');
  });

  it('refuse a OneVision that shrinks in another way', () => {
    const error = refusal({ model_type: 'llava_onevision', vision_aspect_ratio: 'pad' });
    expect(error.code).toBe('model.unsupported-vision-aspect-ratio');
  });
});
