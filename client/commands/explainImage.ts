import { imageForCommand } from '../images';
import type { CommandContext } from './context';

/** "Explain Image": the question of hovers, so that its answer is the one that hovers show from then on. */
export async function explainImage(
  { client, memory, tokenView }: CommandContext,
  argument: unknown,
): Promise<void> {
  const image = await imageForCommand(argument, client, memory);
  if (image) await tokenView.ask({ images: [image], reduction: reductionOf(argument) });
}

/** A hover that warns about lost text offers the same question with all tokens. */
function reductionOf(argument: unknown): string | undefined {
  if (typeof argument !== 'object' || argument === null || !('reduction' in argument)) return undefined;
  return typeof argument.reduction === 'string' ? argument.reduction : undefined;
}
