import { PassThrough } from 'node:stream';

import { expect, it } from 'vitest';

import { FoveaError } from '../llava/errors';
import { askConsent } from './consent';

/** What becomes of the question when these keys are pressed; undefined: agreed. */
async function pressing(keys: string | undefined): Promise<FoveaError | undefined> {
  const input = Object.assign(new PassThrough(), { isTTY: true, setRawMode: () => undefined });
  const output = new PassThrough();
  const asked = askConsent('Download 3 GB?', 'add', new AbortController().signal, { input, output });
  output.once('data', () => (keys === undefined ? input.end() : input.write(keys)));
  const error: unknown = await asked.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error !== undefined) expect(error).toBeInstanceOf(FoveaError);
  return error as FoveaError | undefined;
}

it('takes a yes', async () => {
  for (const keys of ['y\r', 'YES\r', ' y \r']) expect(await pressing(keys)).toBeUndefined();
});

it('takes everything else for a no', async () => {
  for (const keys of ['\r', 'n\r', 'yep\r'])
    expect(await pressing(keys)).toMatchObject({ kind: 'input', code: 'model.declined' });
});

it('takes Ctrl+C, Ctrl+D and the end of the input for a cancellation, and for no defect of ours', async () => {
  for (const keys of ['\u0003', '\u0004', undefined])
    expect(await pressing(keys)).toMatchObject({ kind: 'cancelled', message: 'Nothing was done.' });
});

it('asks nobody where there is no terminal', async () => {
  const streams = { input: new PassThrough(), output: new PassThrough() };
  await expect(askConsent('?', 'add', new AbortController().signal, streams)).rejects.toMatchObject({
    code: 'usage',
    nextStep: expect.stringContaining('--yes') as string,
  });
});
