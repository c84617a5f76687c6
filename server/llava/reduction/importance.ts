import { InputError } from '../errors';
import type { EmbeddingsInput, Selection, VisionInput } from './reduction';

type Scores = NonNullable<Selection['scores']>;

/**
 * What a question-independent method ranks patches by: attention of the CLS query where the tower has CLS, otherwise the
 * mean attention that a patch receives.
 * @throws InputError where the tower gave none.
 */
export function visionImportance(
  { classAttention, receivedAttention }: Pick<VisionInput, 'classAttention' | 'receivedAttention'>,
  id: string,
): Scores {
  if (classAttention) return { name: 'classAttention', values: classAttention };
  if (receivedAttention) return { name: 'receivedAttention', values: receivedAttention };
  throw noAttention(id);
}

/** The same after the projector, aligned with the tokens that are still there. */
export function tokenImportance({ importance }: Pick<EmbeddingsInput, 'importance'>, id: string): Scores {
  if (importance) return { name: 'importance', values: importance };
  throw noAttention(id);
}

function noAttention(id: string): InputError {
  return new InputError({
    code: 'reduction.no-attention',
    message: `${id} cannot be used with this model.`,
    why: "It ranks patches by the vision tower's attention, and this model takes its features from before the first attention layer.",
    nextStep: 'Use a method that needs no attention of the tower, such as divprune, pool or fastv.',
  });
}
