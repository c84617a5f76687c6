import { once } from 'node:events';
import { createInterface } from 'node:readline/promises';
import type { Readable, Writable } from 'node:stream';

import { FoveaError, InputError } from '../llava/errors';

/** Where the user is asked. */
export interface Terminal {
  readonly input: Readable & { isTTY?: boolean };
  readonly output: Writable;
}

/**
 * Asks the user for a yes.
 *
 * @param action the command that needs it, for messages
 * @throws InputError `model.declined` where the user says anything else, `usage` where there is nobody to ask; an error of kind `cancelled` for
 *   Ctrl+C and Ctrl+D
 */
export async function askConsent(
  question: string,
  action: string,
  signal: AbortSignal,
  terminal: Terminal = { input: process.stdin, output: process.stderr },
): Promise<void> {
  if (!terminal.input.isTTY)
    throw new InputError({
      code: 'usage',
      message: `"fovea model ${action}" needs your consent.`,
      why: 'There is no terminal to ask on.',
      nextStep: 'If you agree, repeat the command with --yes.',
    });
  const answer = await readLine(`${question} [y/N] `, signal, terminal);
  if (answer !== undefined && /^y(es)?$/i.test(answer.trim())) return;
  const declined = {
    code: 'model.declined',
    message: 'Nothing was done.',
    nextStep: 'Answer y to agree, or use --yes.',
  };
  throw answer === undefined ? new FoveaError('cancelled', declined) : new InputError(declined);
}

/** @returns undefined where the user ended the input instead */
async function readLine(
  question: string,
  signal: AbortSignal,
  { input, output }: Terminal,
): Promise<string | undefined> {
  const reader = createInterface({ input, output, terminal: true });
  const closed = once(reader, 'close').then(() => undefined);
  try {
    const line = await Promise.race([reader.question(question, { signal }).catch(() => undefined), closed]);
    if (line === undefined) output.write('\n');
    return line;
  } finally {
    reader.close();
  }
}
