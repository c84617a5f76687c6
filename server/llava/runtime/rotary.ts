import { rotaryScale, type RopeConfig } from '../checkpoint/config';

/** Cosines and sines of rotary position embedding (Su et al. 2021) for given positions, [positions, headDim / 2] each. */
export interface RotaryTable {
  readonly cos: Float32Array;
  readonly sin: Float32Array;
}

/**
 * Computed here rather than in the graph, so that gapped positions are exact and every scaling rule of HF's
 * `modeling_rope_utils` is one formula. Angles are computed in double precision.
 *
 * @param furthest position of the sequence, where it lies beyond `positions`: dynamic scaling and LongRoPE depend on it.
 */
export function rotaryTable(
  rope: RopeConfig,
  headDim: number,
  positions: ArrayLike<number>,
  furthest = 0,
): RotaryTable {
  const half = headDim / 2;
  for (let i = 0; i < positions.length; i++) furthest = Math.max(furthest, positions[i]);
  const frequencies = inverseFrequencies(rope, headDim, furthest + 1);
  const cos = new Float32Array(positions.length * half);
  const sin = new Float32Array(positions.length * half);
  const scale = rotaryScale(rope);
  for (let row = 0; row < positions.length; row++) {
    for (let i = 0; i < half; i++) {
      // HF multiplies in float32; so do we, or long positions would drift apart from the reference.
      const angle = Math.fround(Math.fround(positions[row]) * frequencies[i]);
      cos[row * half + i] = scale * Math.cos(angle);
      sin[row * half + i] = scale * Math.sin(angle);
    }
  }
  return { cos, sin };
}

function inverseFrequencies(rope: RopeConfig, headDim: number, sequenceLength: number): Float32Array {
  const half = headDim / 2;
  let theta = rope.theta;
  if (rope.type === 'dynamic' && sequenceLength > rope.originalMaxPositions) {
    const stretch = (rope.factor * sequenceLength) / rope.originalMaxPositions - (rope.factor - 1);
    theta *= stretch ** (headDim / (headDim - 2));
  }
  const frequencies = new Float32Array(half);
  for (let i = 0; i < half; i++) frequencies[i] = theta ** (-(2 * i) / headDim);
  if (rope.type === 'linear') return frequencies.map((frequency) => frequency / rope.factor);
  if (rope.type === 'longrope') {
    const factors = sequenceLength > rope.originalMaxPositions ? rope.longFactors : rope.shortFactors;
    return frequencies.map((frequency, i) => frequency / factors[i]);
  }
  if (rope.type === 'yarn') return yarnFrequencies(rope, headDim, frequencies);
  if (rope.type === 'llama3') return frequencies.map((frequency) => llama3Frequency(rope, frequency));
  return frequencies;
}

/** YaRN: fast dimensions stay, slow ones are divided, and between them it goes over linearly. */
function yarnFrequencies(
  rope: Extract<RopeConfig, { type: 'yarn' }>,
  headDim: number,
  frequencies: Float32Array,
): Float32Array {
  const { theta, factor, originalMaxPositions, betaFast, betaSlow, truncate } = rope;
  /** The dimension that turns so often over the original length. */
  const dimension = (turns: number): number =>
    (headDim * Math.log(originalMaxPositions / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
  const [fast, slow] = [dimension(betaFast), dimension(betaSlow)];
  const low = Math.max(truncate ? Math.floor(fast) : fast, 0);
  const high = Math.min(truncate ? Math.ceil(slow) : slow, headDim - 1);
  // As transformers keeps clear of a division by zero.
  const span = high === low ? 0.001 : high - low;
  return frequencies.map((frequency, i) => {
    const divided = Math.min(1, Math.max(0, (i - low) / span));
    return (frequency / factor) * divided + frequency * (1 - divided);
  });
}

/** Llama 3.1: long wavelengths are stretched, short ones stay, those between are blended. */
function llama3Frequency(rope: Extract<RopeConfig, { type: 'llama3' }>, frequency: number): number {
  const wavelength = (2 * Math.PI) / frequency;
  if (wavelength < rope.originalMaxPositions / rope.highFrequencyFactor) return frequency;
  if (wavelength > rope.originalMaxPositions / rope.lowFrequencyFactor) return frequency / rope.factor;
  const smooth =
    (rope.originalMaxPositions / wavelength - rope.lowFrequencyFactor) /
    (rope.highFrequencyFactor - rope.lowFrequencyFactor);
  return ((1 - smooth) * frequency) / rope.factor + smooth * frequency;
}
