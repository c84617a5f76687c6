import { imageForCommand } from '../images';
import { inputQuestion } from '../questionInput';
import type { CommandContext } from './context';

/** "Ask About Image...": which image, which question, then the answer streams into the token view. */
export async function askAboutImage(
  { client, memory, readingAhead, tokenView }: CommandContext,
  argument: unknown,
): Promise<void> {
  const image = await imageForCommand(argument, client, memory);
  if (!image) return;
  readingAhead.begin([image]);
  const question = await inputQuestion(image.name, memory);
  if (question) await tokenView.ask({ images: [image], question });
  else readingAhead.giveUp();
}
