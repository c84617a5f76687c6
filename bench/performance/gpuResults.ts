import type { Precision } from '../../server/llava/checkpoint/precision';

/** One model under one reduction on one device. */
export interface Run {
  readonly reduction: string;
  /** Medians, in milliseconds. */
  readonly firstToken: number;
  readonly prefill: number;
  /** First token of a further question about the image, whose keys and values are still on the device. */
  readonly followUp: number;
  readonly tokensPerSecond: number;
  readonly cacheBytes: number;
  /** Of the first answer token's logits, against the CPU's: largest difference over largest magnitude. 0 for the CPU itself. */
  readonly error: number;
  /** Answer tokens until the greedy answers part, of those that were asked for. */
  readonly sameTokens: string;
}

export interface ModelRuns {
  readonly model: string;
  readonly precision: Precision;
  readonly device: string;
  readonly attention: string;
  readonly loadMilliseconds: number;
  readonly privateBytes: number | undefined;
  /** What nvidia-smi says of this process; undefined without it. */
  readonly deviceBytes: number | undefined;
  readonly runs: readonly Run[];
}

/** HuggingFace transformers on the same card and checkpoint, in milliseconds. */
export interface PeerRun {
  readonly model: string;
  readonly versions: string;
  readonly dtype: string;
  readonly firstToken: number;
  readonly tokensPerSecond: number;
  readonly deviceBytes: number;
}

export interface GpuResults {
  readonly command: string;
  readonly machine: string;
  readonly code: string;
  readonly selfTest: string;
  readonly models: readonly ModelRuns[];
  readonly peers: readonly PeerRun[];
}

/** docs/results/gpu.md */
export function renderGpuResults({ command, machine, code, selfTest, models, peers }: GpuResults): string {
  const rows = models.flatMap((model) =>
    model.runs.map((run) =>
      [
        `${model.model}, ${model.precision}`,
        `${model.device}${model.attention === 'fused' ? ' (fused attention)' : ''}`,
        run.reduction,
        `${run.firstToken.toFixed(0)} ms`,
        `${run.prefill.toFixed(0)} ms`,
        `${run.followUp.toFixed(0)} ms`,
        run.tokensPerSecond.toFixed(1),
        megabytes(run.cacheBytes),
        run.error.toExponential(1),
        run.sameTokens,
        `${megabytes(model.privateBytes)} / ${megabytes(model.deviceBytes)}`,
      ].join(' | '),
    ),
  );
  return `# On a graphics card

Made by \`${command}\` on: ${machine}. Sources \`${code}\`. ${selfTest}

Random weights in the shapes of real models. "Error" is the largest difference of the first token's logits from the CPU's over their largest
magnitude; with 4-bit weights the CPU multiplies by activations of 8 bits, so that the two differ by about a hundredth. With random weights many tokens
are as good as others, so that in half precision VisionZip chooses some other ones and greedy answers part early (gpu-reading.md has the same of a
trained model). "Second question" is the time to the first token of a further question about the same image, "device memory" what nvidia-smi says of
the process: buffers that WebGPU keeps for the next tensors are in it.

| model | device | reduction | first token | prefill | second question | tokens/s | cache | error | same tokens | private / device memory |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
${rows.map((row) => `| ${row} |`).join('\n')}
${peers.length > 0 ? renderPeers(peers) : ''}`;
}

function renderPeers(peers: readonly PeerRun[]): string {
  const rows = peers.map(
    (run) =>
      `| ${run.model}, ${run.dtype} | ${run.firstToken.toFixed(0)} ms | ${run.tokensPerSecond.toFixed(1)} | ${megabytes(run.deviceBytes)} |`,
  );
  return `
## HuggingFace transformers on the same card

${peers[0].versions}; the same checkpoint, as many prompt tokens, nothing left out. Its first token is from pixels that lie on the card already; ours
from the PNG file of a screenshot of 1920 x 1080.

| model | first token | tokens/s | device memory |
| --- | --- | --- | --- |
${rows.join('\n')}
`;
}

function megabytes(bytes: number | undefined): string {
  return bytes === undefined ? '-' : `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
}
