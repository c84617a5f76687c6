import { expect, it, vi } from 'vitest';
import type { StatusNotification } from '../server/protocol';
import { detailText, stateText } from './status';

vi.mock('vscode', () => ({
  l10n: {
    t: (text: string, ...values: unknown[]) =>
      text.replace(/\{(\d)\}/g, (_, place: string) => String(values[Number(place)])),
  },
}));
vi.mock('./errors', () => ({ errorText: () => '' }));

/** Beside a line of so many characters the editor still has room for the link to the actions (seen in VS Code 1.139). */
const ROOM = 68;

const status = (name: string, more: Partial<StatusNotification.Params> = {}): StatusNotification.Params => ({
  state: 'ready',
  waiting: 0,
  modelDirectory: '/m',
  model: { name, directory: '/m', family: 'llava', parameters: 1, hash: 'h' },
  device: 'cpu',
  precision: 'q4',
  memoryBytes: 12_345e6,
  ...more,
});
const line = (shown: StatusNotification.Params): string => `${stateText(shown)} – ${detailText(shown)}`;

it('says model, device, precision and memory', () => {
  expect(detailText(status('fovea-nano', { precision: 'fp32', memoryBytes: 130e6 }))).toBe(
    'fovea-nano · CPU · 32 bit · 130 MB',
  );
});

it('leaves room for the link to the actions, however long the name of the model', () => {
  for (const name of [
    'llava-hf/llava-onevision-qwen2-0.5b-ov-hf',
    `acme/${'x'.repeat(90)}`,
    'y'.repeat(60),
  ]) {
    expect(line(status(name)).length).toBeLessThanOrEqual(ROOM);
    expect(line(status(name))).not.toContain('/');
    expect(line(status(name, { state: 'working', waiting: 12 })).length).toBeLessThanOrEqual(ROOM);
  }
  const converting = status('a', { state: 'loading', stage: 'converting', fraction: 1 });
  expect(line(converting)).toContain('Converting the weights');
  expect(line(converting).length).toBeLessThanOrEqual(ROOM);
});
