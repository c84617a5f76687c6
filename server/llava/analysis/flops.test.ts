import { describe, expect, it } from 'vitest';
import type { LlavaConfig } from '../checkpoint/config';
import {
  cacheBytes,
  decodeMacs,
  fastVRatio,
  lastLayerShare,
  plainLayerMacs,
  prefillCost,
  prefillMacs,
  towerMacs,
} from './flops';

/** llava-1.5-7b: CLIP-L/14 at 336 pixels and Llama 7B, as the papers count it. */
const LLAVA_7B: LlavaConfig = {
  modelType: 'llava',
  imageTokenIndex: 32000,
  visionFeatureLayer: [-2],
  visionFeatureSelectStrategy: 'default',
  projectorHiddenAct: 'gelu',
  projectorBias: true,
  anyres: undefined,
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
};

const layers = (tokens: number) => new Array<number>(32).fill(tokens);

/** Every matrix product of the decoder as [rows, inner, columns], one by one. */
function decoderProducts(config: LlavaConfig, rows: number, keys: number): [number, number, number][] {
  const { text } = config;
  const products: [number, number, number][] = [];
  for (let layer = 0; layer < text.numHiddenLayers; layer++) {
    products.push([rows, text.hiddenSize, text.numAttentionHeads * text.headDim]); // q
    products.push([rows, text.hiddenSize, text.numKeyValueHeads * text.headDim]); // k
    products.push([rows, text.hiddenSize, text.numKeyValueHeads * text.headDim]); // v
    for (let head = 0; head < text.numAttentionHeads; head++) {
      products.push([rows, text.headDim, keys], [rows, keys, text.headDim]);
    }
    products.push([rows, text.numAttentionHeads * text.headDim, text.hiddenSize]); // o
    products.push([rows, text.hiddenSize, text.intermediateSize]); // gate
    products.push([rows, text.hiddenSize, text.intermediateSize]); // up
    products.push([rows, text.intermediateSize, text.hiddenSize]); // down
  }
  return products;
}

const macs = (products: [number, number, number][]) =>
  products.reduce((sum, [a, b, c]) => sum + a * b * c, 0);

describe('multiply-accumulates', () => {
  it('of the decoder are those of its matrix products', () => {
    const grouped = {
      ...LLAVA_7B,
      text: { ...LLAVA_7B.text, numKeyValueHeads: 2, numAttentionHeads: 14, headDim: 64, hiddenSize: 896 },
    };
    for (const config of [LLAVA_7B, grouped]) {
      for (const tokens of [1, 64, 612]) {
        const { decoder } = prefillCost(config, {
          images: 1,
          projected: 576,
          tokensPerLayer: layers(tokens),
        });
        expect(decoder).toBe(macs(decoderProducts(config, tokens, tokens)));
      }
    }
  });

  it('of the last layer for all rows are those of q, k and v', () => {
    for (const tokens of [1, 612]) {
      const layer = decoderProducts(LLAVA_7B, tokens, tokens).slice(0, 7 + 2 * 32);
      expect(lastLayerShare(LLAVA_7B.text, tokens)).toBeCloseTo(macs(layer.slice(0, 3)) / macs(layer), 12);
    }
  });

  it('of one answer token are the weights once and the cache twice', () => {
    const products = decoderProducts(LLAVA_7B, 1, 640);
    expect(decodeMacs(LLAVA_7B, layers(640))).toBe(macs(products) + 4096 * 32064);
  });

  it('of the tower stop at the layer that gives the features', () => {
    const perLayer = plainLayerMacs(577, 1024, 4096);
    expect(towerMacs(LLAVA_7B)).toBe(576 * 14 * 14 * 3 * 1024 + 23 * perLayer);
    const last = { ...LLAVA_7B, visionFeatureLayer: [-1] };
    expect(towerMacs(last) - towerMacs(LLAVA_7B)).toBe(perLayer);
    const siglip = { ...last, vision: { ...LLAVA_7B.vision, hasClassToken: false } };
    expect(towerMacs(siglip)).toBe(576 * 14 * 14 * 3 * 1024 + 24 * plainLayerMacs(576, 1024, 4096));
  });

  it('of a prefill are the sum of its parts, and those of a reduced one are less by what was dropped', () => {
    const full = { images: 1, projected: 576, tokensPerLayer: layers(612) };
    const { tower, projector, decoder, head } = prefillCost(LLAVA_7B, full);
    expect(prefillMacs(LLAVA_7B, full)).toBe(tower + projector + decoder + head);
    expect(projector).toBe(576 * (1024 * 4096 + 4096 * 4096));
    expect(head).toBe(4096 * 32064);
    const half = { ...full, tokensPerLayer: layers(324).fill(612, 0, 2) };
    const perLayer = (tokens: number) => prefillCost(LLAVA_7B, { ...full, tokensPerLayer: [tokens] }).decoder;
    expect(prefillMacs(LLAVA_7B, full) - prefillMacs(LLAVA_7B, half)).toBe(
      30 * (perLayer(612) - perLayer(324)),
    );
  });

  it('count concatenated features and every image', () => {
    const two = { ...LLAVA_7B, visionFeatureLayer: [-2, 3] };
    const tokens = { images: 2, projected: 10, tokensPerLayer: [] };
    expect(prefillCost(two, tokens)).toEqual({
      tower: 2 * towerMacs(LLAVA_7B),
      projector: 10 * (2 * 1024 * 4096 + 4096 * 4096),
      decoder: 0,
      head: 4096 * 32064,
    });
  });
});

describe('cache bytes', () => {
  it('are two vectors per key/value head, layer and token', () => {
    // The well-known half a megabyte per token of a 7B model in half precision.
    expect(cacheBytes(LLAVA_7B.text, layers(1), 2)).toBe(512 * 1024);
    expect(cacheBytes(LLAVA_7B.text, [600, 600, 88])).toBe((600 + 600 + 88) * 2 * 32 * 128 * 4);
  });
});

describe("FastV's ratio", () => {
  const shape = { layers: 32, dim: 4096, feedForward: 11008, layer: 2 };

  it("is the paper's for its example: one layer of a 7B model at 612 tokens costs 99.3 billion", () => {
    // 4nd^2 + 2n^2d + 2ndm; the paper prints the average layer's cost as 99.3 B.
    expect(plainLayerMacs(612, 4096, 11008) / 1e9).toBeCloseTo(99.3, 1);
  });

  it.each([
    [0.5, 0.55],
    [0.75, 0.33],
    [0.9, 0.2],
  ])("is the paper's for K=2 and R=%f of 576 image tokens: about %f", (dropped, ratio) => {
    const kept = 36 + Math.round(576 * (1 - dropped));
    expect(Math.abs(fastVRatio({ ...shape, tokens: 612, kept }) - ratio)).toBeLessThan(0.015);
  });

  it('is 1 when nothing is dropped, or nothing before the last layer', () => {
    expect(fastVRatio({ ...shape, tokens: 612, kept: 612 })).toBe(1);
    expect(fastVRatio({ ...shape, layer: 32, tokens: 612, kept: 40 })).toBe(1);
  });
});
