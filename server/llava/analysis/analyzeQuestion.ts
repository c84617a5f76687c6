import type { AttentionAnalysis, VisionAttention } from '../../protocol';
import type { LlavaConfig } from '../checkpoint/config';
import type { AttentionRow, Prompt } from '../decoding';
import { generate } from '../generate';
import type { GenerationContext, Progress, Question } from '../question';
import { featureStates } from '../checkpoint/config';
import { patchConcentration, sharesByLayer, sharesByStep, typeShares } from './attentionShares';
import { measureImageRemoval } from './imageRemoval';

/** A question to analyse. The answer is the unreduced model's greedy one, so there is no reduction and no sampling. */
export type AnalysisQuestion = Omit<Question, 'reduction' | 'sampling'> & {
  /** Longest answer, in tokens. */
  readonly maxTokens?: number;
};

export interface AnalysisOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
}

/** What {@link analyzeQuestion} finds; the model adds its name. */
export type Analysis = Omit<AttentionAnalysis, 'model' | 'device'>;

/**
 * The three phenomena that visual-token reduction rests on, and the experiment that tests the first of them, on one question.
 *
 * @throws the errors of a question: InputError, DeviceError, CancelledError.
 */
export async function analyzeQuestion(
  context: GenerationContext,
  question: AnalysisQuestion,
  { signal, onProgress }: AnalysisOptions = {},
): Promise<Analysis> {
  const rows: AttentionRow[] = [];
  const vision: VisionAttention[] = [];
  let prompt: Prompt | undefined;
  const start = performance.now();
  const { maxTokens, ...asked } = question;
  // A measurement computes every row, so that it gives the same numbers whatever was asked before.
  const { checkpoint, tokenizer, sessions, features } = context;
  const generation = await generate(
    { checkpoint, tokenizer, sessions, features },
    { ...asked, reduction: 'none', sampling: { maxTokens, temperature: 0 } },
    {
      signal,
      onProgress,
      onAttention: (row) => rows.push(row),
      onVisionAttention: (attention) =>
        vision.push({ ...visionPlace(context.checkpoint.config), ...patchConcentration(attention) }),
      onPrompt: (entered) => (prompt = entered),
    },
  );
  const answered = performance.now();

  const stage = 'without the image';
  onProgress?.({ stage, fraction: 0 });
  const removal = await measureImageRemoval(context, prompt!, generation.answerTokenIds, {
    signal,
    onProgress: (fraction) => onProgress?.({ stage, fraction }),
  });
  return {
    version: 1,
    question: question.question,
    answer: generation.answer,
    answerTokens: generation.trace.answer.map(({ id, text }) => ({ id, text })),
    images: generation.trace.images,
    vision,
    layers: sharesByLayer(rows.filter(({ step }) => step === 0)),
    answerLayers: sharesByLayer(rows),
    steps: sharesByStep(rows),
    imageShares: imageShares(rows),
    removal,
    milliseconds: { answer: answered - start, removal: performance.now() - answered },
  };
}

/** [answer tokens][layers] */
function imageShares(rows: readonly AttentionRow[]): number[][] {
  const shares: number[][] = [];
  for (const row of rows) (shares[row.step] ??= [])[row.layer] = typeShares(row).image.share;
  return shares;
}

function visionPlace(config: LlavaConfig): Pick<VisionAttention, 'kind' | 'layer' | 'layers'> {
  return {
    kind: config.vision.hasClassToken ? 'class' : 'received',
    layer: Math.max(...featureStates(config)),
    layers: config.vision.numHiddenLayers,
  };
}
