import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { formatReduction, parseReduction } from '../server/llava/reduction/parse';
import { REDUCTIONS } from '../server/llava/reduction/registry';
import { DEFAULT_SETTINGS, HoverCommand } from '../server/protocol';
import { IMAGE_EXTENSIONS } from './imageFiles';
import { LANGUAGES } from './languages';

/** What the manifest says about one setting, as far as it is checked here. */
interface SettingManifest {
  scope: string;
  type: string;
  default: unknown;
  order: number;
  markdownDescription: string;
  enum?: string[];
  enumDescriptions?: string[];
  minimum?: number;
  maximum?: number;
  pattern?: string;
}

interface Manifest {
  main: string;
  icon: string;
  activationEvents: string[];
  capabilities: { untrustedWorkspaces: { supported: unknown; restrictedConfigurations: string[] } };
  contributes: {
    commands: { command: string }[];
    menus: Record<string, { command: string; when: string }[]>;
    configuration: { properties: Record<string, SettingManifest> }[];
    walkthroughs: { steps: { description: string; media: { markdown?: string; image?: string } }[] }[];
  };
}

const root = join(__dirname, '..');
const text = readFileSync(join(root, 'package.json'), 'utf8');
const manifest = JSON.parse(text) as Manifest;
const strings = JSON.parse(readFileSync(join(root, 'package.nls.json'), 'utf8')) as Record<string, string>;
const settings = Object.assign(
  {},
  ...manifest.contributes.configuration.map(({ properties }) => properties),
) as Record<string, SettingManifest>;
const { restrictedConfigurations } = manifest.capabilities.untrustedWorkspaces;

/** `{ hover: { explain: 'off' } }` as `{ 'hover.explain': 'off' }`. */
function flatten(value: object, prefix = ''): Record<string, unknown> {
  return Object.assign(
    {},
    ...Object.entries(value).map(([key, inner]: [string, unknown]) =>
      typeof inner === 'object' && inner !== null
        ? flatten(inner, `${prefix}${key}.`)
        : { [`${prefix}${key}`]: inner },
    ),
  ) as Record<string, unknown>;
}

describe('the texts of the manifest', () => {
  it('are all in package.nls.json, and nothing else is', () => {
    const used = [...text.matchAll(/"%([^%"]+)%"/g)].map(([, key]) => key).sort();
    expect(Object.keys(strings).sort()).toEqual(used);
  });

  it('are never empty', () => {
    for (const value of Object.values(strings)) expect(value.trim()).not.toBe('');
  });
});

describe('the settings', () => {
  it('have the defaults of the protocol, one for one', () => {
    const expected = flatten(DEFAULT_SETTINGS, 'fovea.');
    const actual = Object.fromEntries(
      Object.entries(settings).map(([key, { default: value }]) => [key, value]),
    );
    delete actual['fovea.trace.server']; // read by the language client, not by the server
    expect(actual).toEqual(expected);
  });

  it.each(Object.entries(settings))('%s is described, ordered, scoped and bounded', (_name, setting) => {
    expect(setting.markdownDescription).toMatch(/^%.+%$/);
    expect(setting.order).toBeGreaterThan(0);
    expect(['machine', 'resource', 'window']).toContain(setting.scope);
    if (setting.enum) {
      expect(setting.enumDescriptions).toHaveLength(setting.enum.length);
      expect(setting.enum).toContain(setting.default);
    }
    if (setting.type === 'integer' || setting.type === 'number') {
      expect(setting.default).toBeGreaterThanOrEqual(setting.minimum!);
      expect(setting.default).toBeLessThanOrEqual(setting.maximum!);
    }
  });

  it('that choose code, memory or unasked work cannot come from an untrusted workspace', () => {
    expect(manifest.capabilities.untrustedWorkspaces.supported).toBe('limited');
    for (const key of restrictedConfigurations) expect(settings).toHaveProperty([key]);
    const machine = Object.keys(settings).filter((key) => settings[key].scope === 'machine');
    expect(restrictedConfigurations).toEqual(expect.arrayContaining([...machine, 'fovea.hover.explain']));
  });

  it('accept every reduction that the engine accepts', () => {
    const pattern = new RegExp(settings['fovea.reduction'].pattern!);
    const specs = [
      'none',
      ' FastV : layer = 2 ',
      'fastv:keep=25%,layer=3,score=columnSum',
      'visionzip:dominant=54,contextual=10+fastv:layer=2,keep=0.5',
      ...REDUCTIONS.map(({ description }) => description.id),
      ...REDUCTIONS.map(({ description }) => formatReduction(parseReduction(description.id))),
    ];
    for (const spec of specs) expect(spec).toMatch(pattern);
  });

  it('refuse what cannot be a reduction', () => {
    const pattern = new RegExp(settings['fovea.reduction'].pattern!);
    for (const spec of [
      '',
      'fastv:',
      'fastv:keep',
      'fastv:keep=',
      'fastv+',
      '64',
      'fastv;rm',
      'fastv keep=2',
    ]) {
      expect(spec).not.toMatch(pattern);
    }
  });
});

describe('the contributions', () => {
  it('name only commands that exist, those of hovers among them', () => {
    const commands = manifest.contributes.commands.map(({ command }) => command);
    expect(commands).toEqual(expect.arrayContaining(Object.values(HoverCommand)));
    const used = Object.values(manifest.contributes.menus).flatMap((entries) =>
      entries.map(({ command }) => command),
    );
    for (const command of used) expect(commands).toContain(command);
    const linked = [
      ...Object.values(strings)
        .join('\n')
        .matchAll(/\(command:(fovea\.\w+)\)/g),
    ].map(([, name]) => name);
    expect(linked.length).toBeGreaterThan(0);
    for (const command of linked) expect(commands).toContain(command);
  });

  it('show up on exactly the image files that can be asked about', () => {
    const conditions = Object.values(manifest.contributes.menus).flatMap((entries) =>
      entries.map(({ when }) => when),
    );
    const patterns = conditions.flatMap((when) => /resourceExtname =~ \/(.+?)\/i/.exec(when)?.[1] ?? []);
    expect(patterns.length).toBeGreaterThan(0);
    for (const source of patterns) {
      const pattern = new RegExp(source, 'i');
      for (const extension of IMAGE_EXTENSIONS) expect(`.${extension}`).toMatch(pattern);
      for (const extension of ['.txt', '.pngx', '.svgz', '.mp4', '']) expect(extension).not.toMatch(pattern);
    }
  });

  it('activate on the languages of the client, and on a restored token view', () => {
    const expected = [
      ...LANGUAGES.map((language) => `onLanguage:${language}`),
      'onWebviewPanel:fovea.tokenView',
    ];
    expect([...manifest.activationEvents].sort()).toEqual(expected.sort());
  });

  it('refer to files that are there', async () => {
    const media = manifest.contributes.walkthroughs.flatMap(({ steps }) => steps.map((step) => step.media));
    for (const { markdown, image } of media) expect(existsSync(join(root, (markdown ?? image)!))).toBe(true);
    const { width, height, format } = await sharp(join(root, manifest.icon)).metadata();
    expect({ width, height, format }).toEqual({ width: 128, height: 128, format: 'png' });
  });
});
