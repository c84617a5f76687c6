import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { DEFAULT_SETTINGS } from './protocol';
import { parseSettings } from './settings';

function parse(value: unknown): { settings: ReturnType<typeof parseSettings>; warnings: string[] } {
  const warnings: string[] = [];
  return { settings: parseSettings(value, (warning) => warnings.push(warning)), warnings };
}

describe('parseSettings', () => {
  it.each([[undefined], [null], [{}], [[]], ['x'], [{ hover: 3, cache: null, image: [] }]])(
    'gives the defaults for %j',
    (value) => expect(parse(value).settings).toEqual(DEFAULT_SETTINGS),
  );

  it('takes valid values', () => {
    const value = {
      model: '/m',
      device: 'cpu',
      precision: 'q4',
      reduction: 'fastv',
      fit: 'crop',
      maxTokens: 1,
      idleUnloadMinutes: 0,
      readAhead: false,
      hover: { explain: 'off' },
      cache: { maxSizeMB: 0 },
      image: { maxMegapixels: 500 },
    };
    expect(parse(value)).toEqual({ settings: value, warnings: [] });
  });

  it.each([
    [{ model: 3 }, 'fovea.model'],
    [{ device: 'gpu' }, 'fovea.device'],
    [{ fit: 'auto' }, 'fovea.fit'],
    [{ maxTokens: 0 }, 'fovea.maxTokens'],
    [{ maxTokens: 1.5 }, 'fovea.maxTokens'],
    [{ maxTokens: NaN }, 'fovea.maxTokens'],
    [{ idleUnloadMinutes: -1 }, 'fovea.idleUnloadMinutes'],
    [{ readAhead: 'no' }, 'fovea.readAhead'],
    [{ hover: { explain: 'always' } }, 'fovea.hover.explain'],
    [{ cache: { maxSizeMB: '200' } }, 'fovea.cache.maxSizeMB'],
    [{ image: { maxMegapixels: Infinity } }, 'fovea.image.maxMegapixels'],
  ])('replaces and names what is wrong in %j', (value, name) => {
    const { settings, warnings } = parse(value);
    expect(settings).toEqual(DEFAULT_SETTINGS);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain(name);
  });

  it('accepts at least what the manifest lets through', () => {
    const manifest = JSON.parse(readFileSync(path.resolve(__dirname, '../package.json'), 'utf8')) as {
      contributes: {
        configuration: {
          properties: Record<string, { minimum?: number; maximum?: number; enum?: string[] }>;
        }[];
      };
    };
    let checked = 0;
    for (const { properties } of manifest.contributes.configuration) {
      for (const [name, { minimum, maximum, enum: choices }] of Object.entries(properties)) {
        if (name === 'fovea.trace.server') continue; // the client's
        for (const value of [minimum, maximum, ...(choices ?? [])].filter((value) => value !== undefined)) {
          const [first, second] = name.split('.').slice(1);
          const { warnings } = parse(
            second === undefined ? { [first]: value } : { [first]: { [second]: value } },
          );
          expect(warnings, `${name} = ${value}`).toEqual([]);
          checked++;
        }
      }
    }
    expect(checked).toBeGreaterThan(10);
  });
});
