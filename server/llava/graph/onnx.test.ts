import path from 'node:path';

import { describe, expect, it } from 'vitest';

import { openCheckpoint } from '../checkpoint/open';
import { ALL_FIXTURES, fixturePath } from '../testing/fixtures';
import { emitDecoder } from './decoder';
import { commonFolder } from './onnx';
import { emitProjector } from './projector';
import { emitVisionTower } from './visionTower';

describe('emitted graphs', () => {
  it.each(ALL_FIXTURES)(
    '%s: the same bytes for the same checkpoint, and no weights among them',
    async (name) => {
      const emitAll = async (): Promise<Uint8Array[]> => {
        const { config, tensors } = await openCheckpoint(fixturePath('checkpoints', name));
        const decoder = { from: 0, to: 1, past: true, head: 'last', attention: 'mean' } as const;
        return [
          emitVisionTower(config, tensors, { attention: true, keys: true }),
          emitProjector(config, tensors),
          emitDecoder(config.text, tensors, decoder),
        ].map((model) => model.bytes);
      };
      const first = await emitAll();
      expect(await emitAll()).toEqual(first);
      for (const bytes of first) expect(bytes.length).toBeLessThan(64 * 1024);
    },
  );
});

describe('commonFolder', () => {
  const file = (...parts: string[]): string => path.join(path.sep, ...parts);

  it('is the deepest folder above all files', () => {
    expect(commonFolder([])).toBeUndefined();
    expect(commonFolder([file('a', 'b', 'x')])).toBe(file('a', 'b'));
    expect(commonFolder([file('a', 'b', 'x'), file('a', 'c', 'y')])).toBe(file('a'));
    expect(commonFolder([file('a', 'x'), file('b', 'y')])).toBe(file());
  });

  it('does not take a folder for its longer namesake', () => {
    expect(commonFolder([file('a', 'b', 'x'), file('a', 'bc', 'y')])).toBe(file('a'));
  });
});
