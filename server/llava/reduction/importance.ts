import { InputError } from '../errors';
import type { EmbeddingsInput, Selection, VisionInput } from './reduction';
import { requireNumber } from './topK';

type Scores = NonNullable<Selection['scores']>;

/**
 * What a question-independent method ranks patches by: attention of the CLS query where the tower has CLS, otherwise the
 * mean attention that a patch receives.
 * @throws InputError where the tower gave none, DeviceError where it gave something that is not a number.
 */
export function visionImportance(
  { classAttention, receivedAttention }: Pick<VisionInput, 'classAttention' | 'receivedAttention'>,
  id: string,
): Scores {
  if (classAttention) return scoresOf('classAttention', classAttention);
  if (receivedAttention) return scoresOf('receivedAttention', receivedAttention);
  throw noAttention(id);
}

/** The same after the projector, aligned with the tokens that are still there. */
export function tokenImportance({ importance }: Pick<EmbeddingsInput, 'importance'>, id: string): Scores {
  if (importance) return scoresOf('importance', importance);
  throw noAttention(id);
}

function scoresOf(name: string, values: Float32Array): Scores {
  values.forEach(requireNumber);
  return { name, values };
}

function noAttention(id: string): InputError {
  return new InputError({
    code: 'reduction.no-attention',
    message: `${id} cannot be used with this model.`,
    why: "It ranks patches by the vision tower's attention, and this model takes its features from before the first attention layer.",
    nextStep: 'Use a method that needs no attention of the tower, such as divprune, pool or fastv.',
  });
}
