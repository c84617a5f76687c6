import { expect, it } from 'vitest';
import { HOSTILE_TEXTS } from '../test/hostile/texts';
import { exportName } from './exporting';

it('names exports after the picture', () => {
  expect(exportName('docs/screens/network error.final.png', 'json')).toBe('network-error-final-tokens.json');
  expect(exportName('Überblick.webp', 'png')).toBe('Überblick-tokens.png');
  expect(exportName('', 'html')).toBe('image-tokens.html');
});

it.each(['../../etc/passwd', 'C:\\Windows\\x.png', 'CON:', '...', ...HOSTILE_TEXTS])(
  'gives a plain file name for %j',
  (name) => {
    expect(exportName(name, 'png')).toMatch(/^[\p{L}\p{N}_-]{1,67}\.png$/u);
  },
);
