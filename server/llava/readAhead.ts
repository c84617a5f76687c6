import { throwIfCancelled } from './errors';
import { openDecoder, prepareImages, readPrompt } from './prompt';
import type { GenerationContext, Progress, Question } from './question';
import { requireHeads } from './reduction/heads';
import { parseReduction } from './reduction/parse';

/** Rows for a question and its answer, which shall find room behind the images without moving them. */
const ROOM = 320;

/** What is known before somebody has put a question into words. */
export type ComingQuestion = Omit<Question, 'question' | 'rawPrompt' | 'sampling'>;

export interface ReadAheadOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
}

/**
 * Does what does not depend on the words of a question while somebody is looking for them: vision tower, projector, and the decoder's
 * layers over system prompt and images. A question that comes finds it in the caches of the context, as a second question about the
 * same images does, and computes the rest.
 */
export async function readAhead(
  context: GenerationContext,
  coming: ComingQuestion,
  { signal, onProgress }: ReadAheadOptions = {},
): Promise<void> {
  throwIfCancelled(signal);
  const reductions = parseReduction(coming.reduction ?? 'none');
  requireHeads(reductions, context.checkpoint.heads);
  onProgress?.({ stage: 'image' });
  const images = await prepareImages(context.checkpoint, coming.images, { ...coming, reductions, signal });
  onProgress?.({ stage: 'vision' });
  const entering = await readPrompt(context, images, { ...coming, question: '' }, { signal });
  // What entered the decoder would be another question's.
  if (reductions.some(({ readsQuestion }) => readsQuestion)) return;
  throwIfCancelled(signal);
  onProgress?.({ stage: 'prefill' });
  await using decoding = openDecoder(context, entering, entering.prompt.labels.length + ROOM, {
    signal,
    onSelectionTime: () => undefined,
  });
  await decoding.readAhead(entering.prompt);
}
