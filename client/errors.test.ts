import { expect, it, vi } from 'vitest';
import { actionFor, errorText } from './errors';

vi.mock('vscode', () => ({ l10n: { t: (text: string) => text }, CancellationError: class extends Error {} }));
vi.mock('./languageClient', () => ({ FoveaRequestError: class extends Error {} }));

const error = {
  code: 'model.disk-full',
  kind: 'model' as const,
  message: 'The disk is too full.',
  nextStep: 'Free some space.',
};

it('one line says what happened, why and what to do, each as a sentence', () => {
  expect(errorText(error)).toBe('The disk is too full. Free some space.');
  expect(errorText({ ...error, why: 'ENOSPC: no space left on device, write' })).toBe(
    'The disk is too full. ENOSPC: no space left on device, write. Free some space.',
  );
});

it('a limit that is a setting leads to the setting, another one to another image', () => {
  const limit = { ...error, kind: 'input' as const, code: 'image.too-many-pixels' };
  expect(actionFor(limit)?.action).toBe('openSettings');
  expect(actionFor({ ...limit, code: 'image.too-large' })?.action).toBe('pickImage');
});
