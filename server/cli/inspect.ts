import { totalmem } from 'node:os';

import { planOfSize } from '../llava/analysis/memory';
import { predictQuestion } from '../llava/analysis/prediction';
import { type MachineSpeed, measureSpeed, predictTime } from '../llava/analysis/speed';
import { weightMemory, type WeightMemory } from '../llava/analysis/weightMemory';
import { defaultCacheDirectory } from '../llava/cacheDirectory';
import type { Checkpoint } from '../llava/checkpoint/checkpoint';
import { openCheckpoint } from '../llava/checkpoint/open';
import {
  type ChosenPrecision,
  choosePrecision,
  decoderBytes,
  type Precision,
  CPU_PRECISIONS,
} from '../llava/checkpoint/precision';
import { sidecarBytes, sidecarFolder } from '../llava/checkpoint/sidecar';
import { unreducedTokens } from '../llava/imagePlan';
import type { Size } from '../llava/vision/anyres';
import { imageFacts } from '../llava/vision/decode';
import type { DeviceReport } from '../inference/devices';
import { formatParameters } from '../traceView/wording';
import type { InspectCommand } from './arguments';
import { readImageFile } from './imageFile';
import { outcome, planWords } from './devices';
import { bytes } from './format';
import { machineDevices } from './openModel';
import { textTable } from './table';

/** Text tokens around the image that the estimates assume: a chat template and a short question. */
const ASSUMED_TEXT_TOKENS = 32;

/** Answers up to this length have room in the cache from the start. */
const ASSUMED_ANSWER_TOKENS = 256;

/** The image that the estimates are about where none is given: a screenshot of a common screen. */
const SCREENSHOT = { width: 1920, height: 1080 };

/** Budgets that the estimate lists, as shares of the image tokens. */
const SHARES = [1, 1 / 2, 1 / 4, 1 / 9];

interface Estimate {
  imageTokens: number;
  prefillMacs: number;
  cacheBytes: number;
  /** Private memory at the peak of a question on the CPU, with the weights as `auto` chooses them. */
  memoryBytes: number;
  /** Until the first token on the CPU, with the model loaded and the image decoded. */
  firstTokenMilliseconds: number;
}

/** `fovea inspect`: what a checkpoint is, and what a question will cost with and without reduction. */
export async function inspect(command: InspectCommand, signal: AbortSignal): Promise<void> {
  const checkpoint = await openCheckpoint(command.model, { signal });
  const precision = choosePrecision('auto', checkpoint.config, 'cpu', totalmem());
  const image = command.image === undefined ? SCREENSHOT : await sizeOf(command.image);
  const all = unreducedTokens(checkpoint, planOfSize(checkpoint.config, image).layout);
  const budgets = SHARES.map((share) => Math.max(1, Math.round(all * share)));
  const rows = budgets.map((imageTokens) => imageTokens + ASSUMED_TEXT_TOKENS);
  const speed = await measureSpeed(checkpoint, precision.precision, rows);
  const report = {
    ...describe(checkpoint, image),
    estimates: budgets.map((budget) => estimate(checkpoint, precision.precision, image, budget, speed)),
    convertedFolder: sidecarFolder(checkpoint, defaultCacheDirectory()),
    precision,
    precisions: await Promise.all(
      CPU_PRECISIONS.map((precision) => describePrecision(checkpoint, precision)),
    ),
    devices: await machineDevices().known(),
  };
  process.stdout.write(command.json ? `${JSON.stringify(report)}\n` : render(report));
}

type Report = ReturnType<typeof describe> & {
  /** Of converted weights; it may be deleted at any time. */
  convertedFolder: string;
  /** What `auto` chooses on the CPU. */
  precision: ChosenPrecision;
  precisions: PrecisionReport[];
  devices: DeviceReport[];
  estimates: Estimate[];
};

/** The weights on the CPU. */
interface PrecisionReport extends WeightMemory {
  precision: Precision;
  /** Bytes of weights that every answer token reads. */
  readPerToken: number;
  /** Converted weights in the cache folder, and those of them that have to be made first. */
  converted: { total: number; missing: number };
}

async function describePrecision(checkpoint: Checkpoint, precision: Precision): Promise<PrecisionReport> {
  return {
    precision,
    ...weightMemory(checkpoint, precision),
    readPerToken: decoderBytes(checkpoint.config, precision),
    converted: await sidecarBytes(checkpoint, precision, defaultCacheDirectory()),
  };
}

async function sizeOf(file: string): Promise<Size> {
  const { width, height } = await imageFacts(await readImageFile(file));
  return { width, height };
}

function describe(checkpoint: Checkpoint, image: Size) {
  const { config, parameters } = checkpoint;
  const { vision, text } = config;
  const plan = planOfSize(config, image);
  const imageTokens = unreducedTokens(checkpoint, plan.layout);
  const dtypes = [...new Set(Array.from(checkpoint.tensors.values(), (tensor) => tensor.dtype))].sort();
  return {
    name: checkpoint.name,
    directory: checkpoint.directory,
    hash: checkpoint.hash,
    family: config.modelType,
    parameters,
    dtypes,
    /** Of a picture of `image` pixels; `towerInputs` are the overview and the tiles with picture in them. */
    imageTokens,
    image,
    towerInputs: plan.inputs.length,
    contextTokens: text.maxPositionEmbeddings,
    vision: {
      type: vision.modelType,
      layers: vision.numHiddenLayers,
      width: vision.hiddenSize,
      heads: vision.numAttentionHeads,
      imageSize: vision.imageSize,
      patchSize: vision.patchSize,
      classToken: vision.hasClassToken,
      featureLayer: config.visionFeatureLayer,
      select: config.visionFeatureSelectStrategy,
    },
    text: {
      type: text.modelType,
      layers: text.numHiddenLayers,
      width: text.hiddenSize,
      heads: text.numAttentionHeads,
      keyValueHeads: text.numKeyValueHeads,
      headDim: text.headDim,
      feedForward: text.intermediateSize,
      vocabulary: text.vocabSize,
      tiedHead: text.tieWordEmbeddings,
      rope: text.rope,
    },
    textTokensAssumed: ASSUMED_TEXT_TOKENS,
  };
}

/** What one image and a short question cost when so many image tokens enter the decoder. */
function estimate(
  checkpoint: Checkpoint,
  precision: Precision,
  image: Size,
  budget: number,
  speed: MachineSpeed,
): Estimate {
  const predicted = predictQuestion(checkpoint, precision, {
    image,
    imageTokens: budget,
    textTokens: ASSUMED_TEXT_TOKENS,
    answerTokens: ASSUMED_ANSWER_TOKENS,
  });
  const { imageTokens, cost, cacheBytes, memoryBytes } = predicted;
  return {
    imageTokens,
    prefillMacs: cost.tower + cost.projector + cost.decoder + cost.head,
    cacheBytes,
    memoryBytes,
    firstTokenMilliseconds: predictTime(predicted, speed).wall,
  };
}

function render(report: Report): string {
  const { vision, text } = report;
  const rows: [string, string][] = [
    [
      'model',
      `${report.name} (${report.family}, ${formatParameters(report.parameters)} parameters, ${report.dtypes.join('/')})`,
    ],
    ['folder', report.directory],
    ['hash', report.hash],
    [
      'vision tower',
      `${vision.type}, ${vision.layers} layers of ${vision.width}, ${vision.heads} heads, ${vision.imageSize} px in patches of ${vision.patchSize} px`,
    ],
    [
      'features',
      `layer ${vision.featureLayer.join(', ')}, ${vision.select}${vision.classToken ? ', CLS token' : ', no CLS token'}`,
    ],
    [
      'decoder',
      `${text.type}, ${text.layers} layers of ${text.width}, ${text.heads}/${text.keyValueHeads} heads of ${text.headDim}, feed-forward ${text.feedForward}, vocabulary ${text.vocabulary}${text.tiedHead ? ' (tied)' : ''}`,
    ],
    ['image tokens', `${imageTokenWords(report)}, ${report.contextTokens} positions in all`],
    ['precision', `${report.precision.precision} (auto): ${report.precision.reason}`],
    ['devices', deviceLine(report.devices)],
  ];
  const label = Math.max(...rows.map(([name]) => name.length));
  const header = rows.map(([name, value]) => `${name.padEnd(label)}  ${value}`).join('\n');
  const full = report.estimates[0];
  const table = report.estimates
    .map((row) =>
      [
        String(row.imageTokens).padStart(12),
        `${(row.prefillMacs / 1e9).toPrecision(3)} G`.padStart(12),
        `${((100 * row.prefillMacs) / full.prefillMacs).toFixed(0)} %`.padStart(8),
        bytes(row.cacheBytes).padStart(12),
        bytes(row.memoryBytes).padStart(12),
        duration(row.firstTokenMilliseconds).padStart(13),
      ].join(''),
    )
    .join('\n');
  const precisions = textTable(
    ['precision', 'own memory', 'mapped files', 'read per token', 'converted weights'],
    report.precisions.map(({ precision, copiedBytes, mappedBytes, readPerToken, converted }) => [
      precision,
      bytes(copiedBytes),
      bytes(mappedBytes),
      bytes(readPerToken),
      convertedWords(converted),
    ]),
  );
  return `${header}

weights on the CPU:
${precisions.trimEnd()}
converted weights lie in ${report.convertedFolder}, which may be deleted

one image and ${report.textTokensAssumed} text tokens, reduced before the decoder; predicted for the CPU with ${report.precision.precision} weights (memory: the
process's own at its peak, without mapped files; first token: at the machine's speed at this moment, model loaded and image decoded):
${'image tokens'.padStart(12)}${'prefill MACs'.padStart(14)}${'share'.padStart(6)}${'cache'.padStart(12)}${'memory'.padStart(12)}${'first token'.padStart(13)}
${table}
`;
}

function imageTokenWords({ imageTokens, image, towerInputs }: Report): string {
  return towerInputs === 1
    ? `${imageTokens} per image`
    : `${imageTokens} for an image of ${image.width} x ${image.height} (an overview and ${towerInputs - 1} tiles)`;
}

function convertedWords({ total, missing }: PrecisionReport['converted']): string {
  if (total === 0) return 'none';
  return missing === 0 ? `${bytes(total)}, made` : `${bytes(total)}, ${bytes(missing)} to be made`;
}

/** What is known; `fovea devices` tests. */
function deviceLine(reports: readonly DeviceReport[]): string {
  const known = reports.filter(({ attention, float, tested }) => (attention === 'plain' && !float) || tested);
  const words = known.map((report) => `${planWords(report)}: ${outcome(report)}`);
  return [...words, 'cpu'].join('; ');
}

function duration(milliseconds: number): string {
  return milliseconds < 1000 ? `${milliseconds.toFixed(0)} ms` : `${(milliseconds / 1000).toPrecision(2)} s`;
}
