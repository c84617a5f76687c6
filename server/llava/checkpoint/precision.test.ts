import { describe, expect, it } from 'vitest';
import { DECODERS, TOWERS } from '../../../bench/randomCheckpoint';
import type { LlavaConfig } from './config';
import { parseConfig } from './parseConfig';
import { choosePrecision, decoderBytes } from './precision';

const GIGABYTE = 2 ** 30;

function config(decoder: keyof typeof DECODERS): LlavaConfig {
  return parseConfig({
    model_type: 'llava',
    vision_config: TOWERS['clip-l-336'],
    text_config: DECODERS[decoder],
    tie_word_embeddings: DECODERS[decoder].tie_word_embeddings,
  });
}

describe('the precision is chosen', () => {
  it.each([
    ['tiny', 16, 'fp32', /small/],
    ['smol', 16, 'q4', /answer token reads 100 MB instead of 538 MB$/],
    ['qwen-0.5b', 8, 'q4', /instead of 2.0 GB$/],
    ['llama-7b', 16, 'q4', /reads 4.3 GB instead of 26 GB, which is too much for the 17 GB/],
    ['llama-7b', 128, 'q4', /reads 4.3 GB instead of 26 GB$/],
  ] as const)('automatically for %s on a machine of %i GB', (decoder, memory, precision, reason) => {
    const chosen = choosePrecision('auto', config(decoder), 'cpu', memory * GIGABYTE);
    expect(chosen.precision).toBe(precision);
    expect(chosen.reason).toMatch(reason);
  });

  it('as the user says, whatever would be better', () => {
    expect(choosePrecision('fp32', config('llama-7b'), 'cpu', GIGABYTE).precision).toBe('fp32');
    expect(choosePrecision('q4', config('tiny'), 'cpu', GIGABYTE).precision).toBe('q4');
  });

  it('on WebGPU as on the CPU, and as float32 on other devices', () => {
    expect(choosePrecision('auto', config('llama-7b'), 'webgpu', 64 * GIGABYTE).precision).toBe('q4');
    expect(choosePrecision('auto', config('tiny'), 'webgpu', 64 * GIGABYTE).precision).toBe('fp32');
    const { precision, reason } = choosePrecision('auto', config('llama-7b'), 'coreml', 64 * GIGABYTE);
    expect(precision).toBe('fp32');
    expect(reason).toContain('coreml');
  });
});

describe('the bytes that an answer token reads', () => {
  it('are those of all matrices, the embedding table counted as the head only', () => {
    const { text } = config('smol');
    const perLayer =
      2 * text.hiddenSize ** 2 + 2 * text.hiddenSize * 192 + 3 * text.hiddenSize * text.intermediateSize;
    const weights = 30 * perLayer + text.hiddenSize * text.vocabSize;
    expect(decoderBytes(config('smol'), 'fp32')).toBe(4 * weights);
    // 5.125 bits per weight, 9 in the head.
    expect(decoderBytes(config('smol'), 'q4')).toBeCloseTo(
      (30 * perLayer * 5.125 + text.hiddenSize * text.vocabSize * 9) / 8,
      0,
    );
  });
});
