import type { Accuracy } from './accuracy';
import type { Distances } from './logitDistance';

export interface ConversionResult {
  readonly parameters: number;
  readonly sourceBytes: number;
  readonly sidecarBytes: number;
  readonly seconds: number;
  readonly processorSeconds: number;
  readonly peakPrivateBytes: number;
  readonly threads: number;
}

export interface PrecisionResults {
  readonly machine: string;
  /** Programs that wanted a core while it was measured. */
  readonly load: number;
  readonly sources: string;
  readonly embedded: {
    readonly name: string;
    readonly hash: string;
    /** SHA-256 of the questions. */
    readonly questions: string;
    readonly fp32: Accuracy;
    readonly q4: Accuracy;
    readonly q4q8: Accuracy;
    readonly sameAnswer: Accuracy;
    /** `q4q8` against `q4`. */
    readonly sameWithTower: Accuracy;
    readonly firstToken: Distances;
    /** Root mean square error of the decoder's weights, relative to them. */
    readonly weights: { readonly zeroPoints: number; readonly symmetric: number };
  };
  readonly random: { readonly name: string; readonly layers: number; readonly distances: Distances }[];
  /** Cosine between features in 8 bits and in float32, patch by patch. */
  readonly towers: { readonly name: string; readonly mean: number; readonly worst: number }[];
  readonly conversion: ConversionResult;
}

/** docs/results/precision.md */
export function renderPrecisionResults({ embedded, conversion, ...results }: PrecisionResults): string {
  const share = ({ right, of, share, low, high }: Accuracy): string =>
    `${percent(share)} [${percent(low)}–${percent(high)}] (${right} of ${of})`;
  const rows = [
    ['embedded model, first answer token', '6', embedded.firstToken] as const,
    ...results.random.map(
      ({ name, layers, distances }) => [`random weights: ${name}`, String(layers), distances] as const,
    ),
  ];
  const rate = conversion.parameters / conversion.processorSeconds / 1e6;
  return `# 4-bit weights

Made by \`npm run bench:precision\` on: ${results.machine}. Sources \`${results.sources}\`; model ${embedded.name} \`${embedded.hash.slice(0, 12)}\`; questions
\`${embedded.questions.slice(0, 12)}\`. Speed and memory of both precisions are in [performance.md](performance.md).

\`q4\` holds the decoder's matrices in 4 bits, in blocks of 32 with a scale and a zero point each, and the vocabulary projection in 8
bits. Vision tower, projector, embeddings and norms stay as they are. \`q4q8\` also holds the matrices of the vision tower's layers in 8 bits, with a
scale for every output, and rounds what enters them to 8 bits row by row. Activations of the decoder are rounded to 8 bits block by block, by onnxruntime's kernel.

## Answers of the embedded model

The same held-out questions in three precisions, without reduction; exact answers with 95 % intervals.

| precision | exact answers |
| --- | --- |
| fp32 | ${share(embedded.fp32)} |
| q4 | ${share(embedded.q4)} |
| q4q8 | ${share(embedded.q4q8)} |

The first two gave the same answer, right or wrong, to ${share(embedded.sameAnswer)}, the last two to ${share(embedded.sameWithTower)}. A model as small as this one loses most by 4 bits and gains
nothing that anyone notices; \`auto\` leaves it in fp32.

The error of its decoder's weights, root mean square and relative to the weights, is ${(100 * embedded.weights.zeroPoints).toFixed(2)} %; symmetric codes without zero
points, with the scale of the largest weight in each block, would make it ${(100 * embedded.weights.symmetric).toFixed(2)} %.

## Distance of the logits

KL: divergence of the next token's distribution from that of fp32, in nats, mean over positions. Same top: share of the positions with the
same likeliest token. Error: root mean square of the difference of the logits, relative to their spread. Random weights are the worst case:
their logits have a spread of 3, but no token stands out, and nothing in them is redundant.

| model | decoder layers | KL | same top | error |
| --- | --- | --- | --- | --- |
${rows.map(([name, layers, { kl, sameTop, error }]) => `| ${name} | ${layers} | ${kl.toPrecision(2)} | ${percent(sameTop)} | ${percent(error)} |`).join('\n')}

## Features of vision towers in 8 bits

Random weights and pixels; cosine with the features in float32, patch by patch. What real CLIP and SigLIP weights lose was not measured: they have a few very large numbers in
some rows, which random ones do not. That is why \`auto\` never chooses \`q4q8\`.

| tower | mean | worst |
| --- | --- | --- |
${results.towers.map(({ name, mean, worst }) => `| ${name} | ${mean.toFixed(5)} | ${worst.toFixed(5)} |`).join('\n')}

## Conversion

${(conversion.parameters / 1e6).toFixed(0)} M parameters in the matrix shapes of LLaVA-1.5-7B, bfloat16 (${gigabytes(conversion.sourceBytes)}), to ${gigabytes(conversion.sidecarBytes)} of converted weights with ${conversion.threads} threads:
${conversion.seconds.toFixed(0)} s, ${conversion.processorSeconds.toFixed(0)} s of processor time (${rate.toFixed(0)} M parameters per second and core), **${(conversion.peakPrivateBytes / 1e6).toFixed(0)} MB of private memory at most**. Memory does not
grow with the model: a thread has buffers of a few MB and the scales of one matrix. The machine's load was ${results.load.toFixed(0)}.
`;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(2)} GB`;
}
