import type { Checkpoint } from '../checkpoint/checkpoint';
import { decoderBytes, type Precision } from '../checkpoint/precision';
import { unreducedTokens } from '../imagePlan';
import type { Size } from '../vision/anyres';
import { cacheBytes, lastLayerShare, type PrefillCost, prefillCost } from './flops';
import { peakBytes, planOfSize } from './memory';
import { weightMemory } from './weightMemory';

/** A question about one image. */
export interface PredictedQuestion {
  readonly image: Size;
  /** That enter the decoder; all by default. */
  readonly imageTokens?: number;
  readonly textTokens: number;
  readonly answerTokens: number;
}

export interface Prediction {
  readonly imageTokens: number;
  readonly cost: PrefillCost;
  /** Of the prompt, text included, in every layer of the decoder. */
  readonly rows: number;
  /** Layers of the decoder that all rows go through; the last one is a fraction. */
  readonly layers: number;
  /** Weights of the vocabulary projection, which are read for one row. */
  readonly headBytes: number;
  /** Numbers that enter the tower, of all tiles. */
  readonly pixelValues: number;
  readonly cacheBytes: number;
  /** Private memory of the process at its peak, copies of weights included, those that are mapped from files not. */
  readonly memoryBytes: number;
}

/** What one question will need on the CPU. */
export function predictQuestion(
  checkpoint: Pick<Checkpoint, 'config' | 'tensors'>,
  precision: Precision,
  question: PredictedQuestion,
): Prediction {
  const { config } = checkpoint;
  const { image, textTokens, answerTokens } = question;
  const plan = planOfSize(config, image);
  const all = unreducedTokens(checkpoint, plan.layout);
  const imageTokens = question.imageTokens ?? all;
  const projected = Math.max(1, Math.round((plan.projected * imageTokens) / all));
  const rows = imageTokens + textTokens;
  const layers = config.text.numHiddenLayers;
  const tokensPerLayer = new Array<number>(layers).fill(rows);
  const head = decoderBytes({ ...config, text: { ...config.text, numHiddenLayers: 0 } }, precision);
  return {
    imageTokens,
    rows,
    layers: layers - 1 + lastLayerShare(config.text, rows),
    headBytes: head,
    pixelValues: plan.inputs.length * 3 * config.vision.imageSize ** 2,
    cost: prefillCost(config, { images: plan.inputs.length, projected, tokensPerLayer }),
    cacheBytes: cacheBytes(config.text, tokensPerLayer),
    memoryBytes:
      weightMemory(checkpoint, precision).copiedBytes +
      peakBytes(config, { image, plan, projected, imageTokens, textTokens, answerTokens }),
  };
}
