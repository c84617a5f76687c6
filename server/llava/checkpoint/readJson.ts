import { basename } from 'node:path';
import { ModelError, throwIfCancelled } from '../errors';
import { openRegularFile } from './regularFile';

/** Above the largest real tokenizer.json (Llama 3: 17 MB); bounds what a hostile folder can make us parse. */
export const MAX_JSON_BYTES = 32 * 1024 * 1024;

/**
 * The text of a small file of a checkpoint, or undefined when there is no such file.
 * @throws ModelError `model.file-too-large`, `model.unreadable`, or `model.file-invalid` for text that is not UTF-8.
 */
export async function readTextFile(file: string, signal?: AbortSignal): Promise<string | undefined> {
  throwIfCancelled(signal);
  let bytes: Buffer;
  try {
    const handle = await openRegularFile(file);
    try {
      const { size } = await handle.stat();
      if (size > MAX_JSON_BYTES)
        throw new ModelError({
          code: 'model.file-too-large',
          message: `The file ${basename(file)} has ${size} bytes.`,
          why: `At most ${MAX_JSON_BYTES} bytes are accepted for a description file of a checkpoint.`,
          nextStep: 'Download the checkpoint again from its original place.',
        });
      bytes = await handle.readFile();
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (error instanceof ModelError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new ModelError({
      code: 'model.unreadable',
      message: `The file ${basename(file)} cannot be read.`,
      why: message,
      nextStep: 'Check the rights of the file and the disk.',
      cause: error,
    });
  }
  throwIfCancelled(signal);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw invalidFile(file, 'It is not UTF-8 text.', error);
  }
}

/** Like {@link readTextFile}, parsed: an object, or `model.file-invalid`. */
export async function readJsonObject(
  file: string,
  signal?: AbortSignal,
): Promise<Record<string, unknown> | undefined> {
  const text = await readTextFile(file, signal);
  if (text === undefined) return undefined;
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw invalidFile(file, `It is not valid JSON: ${(error as Error).message}.`, error);
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw invalidFile(file, 'It is JSON, but not an object.');
  return json as Record<string, unknown>;
}

export function invalidFile(file: string, why: string, cause?: unknown): ModelError {
  return new ModelError({
    code: 'model.file-invalid',
    message: `The file ${basename(file)} of the checkpoint cannot be used.`,
    why,
    nextStep: 'Download the checkpoint again.',
    cause,
  });
}
