import type { CommandContext } from './context';

/**
 * "Ask About Image in Clipboard". Extensions cannot read pictures from the clipboard, and running a program of the
 * system for it would read it without a gesture of the user: so the token view comes to the front, empty, which says
 * that an image can be pasted there.
 */
export async function askClipboard({ tokenView }: CommandContext): Promise<void> {
  await tokenView.showImages([]);
  await tokenView.show();
}
