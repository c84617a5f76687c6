import type { VisionInput } from './reduction';

/**
 * What a question-independent method ranks patches by: attention of the CLS query where the tower has CLS, otherwise the
 * mean attention that a patch receives.
 * @returns the name for the trace and the values [patches].
 */
export function rankable(
  input: Pick<VisionInput, 'classAttention' | 'receivedAttention'>,
  id: string,
): { name: string; values: Float32Array } {
  if (input.classAttention) return { name: 'classAttention', values: input.classAttention };
  if (input.receivedAttention) return { name: 'receivedAttention', values: input.receivedAttention };
  throw new Error(`${id} asked for the attention of the vision tower and did not get it`);
}
