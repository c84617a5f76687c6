import { decodeMacs } from '../analysis/flops';
import type { LlavaConfig } from './config';

/**
 * How the weights are held: as float32; as half precision, which tower and decoder then compute in too; or the decoder's matrices
 * quantised to 4 bits (the vocabulary projection to 8), with everything computed in float32 (`q4`), in half precision (`q4f16`), or with the
 * vision tower's products in 8 bits (`q4q8`, on the CPU).
 */
export type Precision = 'fp32' | 'fp16' | 'q4' | 'q4f16' | 'q4q8';

export type PrecisionChoice = Precision | 'auto';

export const PRECISIONS: readonly Precision[] = ['fp32', 'fp16', 'q4', 'q4f16', 'q4q8'];
/** One of each kind of converted weights. */
export const STORED_PRECISIONS: readonly Precision[] = ['fp32', 'fp16', 'q4', 'q4q8'];
/** Those that `auto` chooses between on the CPU. */
export const CPU_PRECISIONS: readonly ('fp32' | 'q4')[] = ['fp32', 'q4'];
export const PRECISION_CHOICES: readonly PrecisionChoice[] = ['auto', ...PRECISIONS];

export interface ChosenPrecision {
  readonly precision: Precision;
  /** For people: why this one. */
  readonly reason: string;
}

/**
 * An answer token reads every matrix of the decoder once. Up to this many bytes that is a hundredth of a second, so fewer
 * bits would gain nothing that anyone notices, and the smallest models lose most by them.
 */
const SMALL_DECODER_BYTES = 256e6;
/** What is left of a machine's memory for weights, beside the system, the editor and the computation. */
const SHARE_FOR_WEIGHTS = 0.6;
/** Codes, scales and zero points of blocks of 32; the head has 8 bits. */
const BYTES_PER_Q4_WEIGHT = (16 + 4 + 0.5) / 32;
const BYTES_PER_Q8_WEIGHT = (32 + 4) / 32;

/** Devices on which products with 4-bit weights are known to run, and are part of the self-test. */
const WITH_4_BITS: readonly string[] = ['cpu', 'webgpu'];

/** Whether tower and decoder compute in half precision. */
export function computesInHalf(precision: PrecisionChoice): boolean {
  return precision === 'fp16' || precision === 'q4f16';
}

/** Whether the decoder's matrices have 4 bits. */
export function hasFourBits(precision: Precision): boolean {
  return precision === 'q4' || precision === 'q4f16' || precision === 'q4q8';
}

/** Whether the vision tower's matrices have 8 bits, which only the CPU multiplies. */
export function hasByteTower(precision: PrecisionChoice): boolean {
  return precision === 'q4q8';
}

/** @param memoryBytes of the machine */
export function choosePrecision(
  choice: PrecisionChoice,
  config: LlavaConfig,
  device: string,
  memoryBytes: number,
): ChosenPrecision {
  if (choice !== 'auto') return { precision: choice, reason: 'as asked for' };
  if (!WITH_4_BITS.includes(device))
    return { precision: 'fp32', reason: `4-bit weights are not for ${device}` };
  const full = decoderBytes(config, 'fp32');
  if (full <= SMALL_DECODER_BYTES)
    return { precision: 'fp32', reason: `the decoder is small: an answer token reads ${size(full)}` };
  const fits = full <= memoryBytes * SHARE_FOR_WEIGHTS;
  const gain = `an answer token reads ${size(decoderBytes(config, 'q4'))} instead of ${size(full)}`;
  return {
    precision: 'q4',
    reason: fits ? gain : `${gain}, which is too much for the ${size(memoryBytes)} of this machine`,
  };
}

/** Bytes of the decoder's matrices and its vocabulary projection: what every answer token reads. */
export function decoderBytes(config: LlavaConfig, precision: Precision): number {
  const { numHiddenLayers, hiddenSize, vocabSize } = config.text;
  // With nothing cached every multiplication is one with a weight.
  const all = decodeMacs(config, new Array<number>(numHiddenLayers).fill(0));
  const head = hiddenSize * vocabSize;
  if (hasFourBits(precision)) return (all - head) * BYTES_PER_Q4_WEIGHT + head * BYTES_PER_Q8_WEIGHT;
  return all * (precision === 'fp32' ? 4 : 2);
}

function size(bytes: number): string {
  return bytes >= 1e9 ? `${(bytes / 1e9).toPrecision(2)} GB` : `${(bytes / 1e6).toFixed(0)} MB`;
}
