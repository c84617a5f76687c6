import { patchesPerSide, towerSquare, type LlavaConfig } from '../checkpoint/config';
import { planSquare, planTiles, type ImagePlan } from '../imagePlan';
import { chunkStarts } from '../promptChunks';
import { planDetails, type Size } from '../vision/anyres';
import { cacheBytes } from './flops';

/** The plan of one image of some size, as a question about it would make it with `fit: pad`. */
export function planOfSize({ vision, anyres }: LlavaConfig, size: Size): ImagePlan {
  const source = { x: 0, y: 0, width: size.width, height: size.height };
  return anyres
    ? planTiles(vision, { ...size, fit: 'crop', source }, planDetails(size, towerSquare(vision), anyres), 0)
    : planSquare(vision, { ...size, fit: 'pad', source }, 0);
}

/** One question about one image, for an estimate. */
export interface QuestionSize {
  readonly image: Size;
  readonly plan: ImagePlan;
  /** Rows that pass the projector, and image tokens that enter the decoder. */
  readonly projected: number;
  readonly imageTokens: number;
  readonly textTokens: number;
  /** Room for the answer. */
  readonly answerTokens: number;
}

const FLOAT = Float32Array.BYTES_PER_ELEMENT;

/** Node.js, onnxruntime, the image decoder, without any model. */
const PROCESS_BYTES = 55e6;
/** Of the tokenizer, for every token that it knows. */
const VOCABULARY_BYTES = 200;
/** Copies of the attention scores that a segment needs: masked, soft, joined to those over earlier rows. */
const SCORE_COPIES = 3.25;
/** Features and what the projector makes of them are partly gone when the decoder needs most. */
const ROWS_LEFT = 0.75;

/**
 * Private memory of a question on the CPU at its peak, in bytes: what the process has for itself, without the weights, which are mapped from
 * files (copies of quantised ones come on top, see weightMemory.ts), and without what is remembered of other pictures. onnxruntime
 * keeps for each session what it needed at most, so tower and decoder add up.
 *
 * The constants are fitted to peaks that were measured on Linux x64 with random checkpoints (docs/results/prediction.md).
 */
export function peakBytes(config: LlavaConfig, question: QuestionSize): number {
  const { vision, text } = config;
  const { plan, image, imageTokens } = question;
  const side = patchesPerSide(vision);
  const towerRows = side * side + (vision.hasClassToken ? 1 : 0);
  const inputPixels = FLOAT * 3 * vision.imageSize ** 2;
  const pixels = 2 * 3 * image.width * image.height + plan.inputs.length * inputPixels;

  const featureWidth = vision.hiddenSize * config.visionFeatureLayer.length;
  // Before and behind the activation; queries, keys and values, and the same head by head.
  const tower = FLOAT * towerRows * (2 * vision.intermediateSize + 6 * vision.hiddenSize);
  const featureRows =
    FLOAT *
    (plan.inputs.length * towerRows * featureWidth +
      question.projected * (2 * featureWidth + 3 * text.hiddenSize) +
      // Behind the projector, between newlines, and in the prompt.
      3 * imageTokens * text.hiddenSize);

  const rows = imageTokens + question.textTokens;
  const chunk = Math.ceil(rows / chunkStarts(text.numAttentionHeads, rows).length);
  const scores = FLOAT * text.numAttentionHeads * chunk * rows;
  const perToken = cacheBytes(text, new Array<number>(text.numHiddenLayers).fill(1));
  const decoder =
    SCORE_COPIES * scores + chunk * (FLOAT * (3 * text.intermediateSize + 8 * text.hiddenSize) + perToken);
  const cache = perToken * (rows + question.answerTokens);
  const process = PROCESS_BYTES + VOCABULARY_BYTES * text.vocabSize;
  return process + pixels + tower + ROWS_LEFT * featureRows + decoder + cache;
}
