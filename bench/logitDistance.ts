/** How far the distribution of the next token is from what it should be. */
export interface Distances {
  /** Kullback-Leibler divergence from the exact distribution, in nats. */
  readonly kl: number;
  /** Share of the positions where both have the same likeliest token. */
  readonly sameTop: number;
  /** Root mean square of the difference of the logits, relative to the exact ones' spread around their mean. */
  readonly error: number;
}

/** @param exact, other raw logits of one position [vocabulary] */
export function compareLogits(exact: Float32Array, other: Float32Array): Distances {
  const exactTotal = logSumExp(exact);
  const otherTotal = logSumExp(other);
  const mean = exact.reduce((sum, value) => sum + value, 0) / exact.length;
  let kl = 0;
  let difference = 0;
  let spread = 0;
  for (let i = 0; i < exact.length; i++) {
    const logProbability = exact[i] - exactTotal;
    kl += Math.exp(logProbability) * (logProbability - (other[i] - otherTotal));
    difference += (exact[i] - other[i]) ** 2;
    spread += (exact[i] - mean) ** 2;
  }
  return { kl, sameTop: top(exact) === top(other) ? 1 : 0, error: Math.sqrt(difference / spread) };
}

export function meanDistances(all: readonly Distances[]): Distances {
  const mean = (read: (distances: Distances) => number): number =>
    all.reduce((sum, distances) => sum + read(distances), 0) / all.length;
  return {
    kl: mean(({ kl }) => kl),
    sameTop: mean(({ sameTop }) => sameTop),
    error: mean(({ error }) => error),
  };
}

function logSumExp(values: Float32Array): number {
  const highest = values.reduce((a, b) => Math.max(a, b), -Infinity);
  return highest + Math.log(values.reduce((sum, value) => sum + Math.exp(value - highest), 0));
}

function top(values: Float32Array): number {
  return values.reduce((best, value, index) => (value > values[best] ? index : best), 0);
}
