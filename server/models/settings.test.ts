import os from 'node:os';
import path from 'node:path';

import { describe, expect, it } from 'vitest';

import { InputError } from '../llava/errors';
import { hubSettings, modelPlaces } from './settings';

describe('the endpoint', () => {
  it.each([
    [undefined, 'https://huggingface.co'],
    ['', 'https://huggingface.co'],
    ['https://hf-mirror.example/', 'https://hf-mirror.example'],
    ['https://gate.example/api/hf//', 'https://gate.example/api/hf'],
    ['http://localhost:8080', 'http://localhost:8080'],
    ['http://127.0.0.1:8080', 'http://127.0.0.1:8080'],
    ['http://[::1]:8080', 'http://[::1]:8080'],
  ])('%s is %s', (text, expected) => {
    expect(hubSettings({ HF_ENDPOINT: text }).endpoint.href.replace(/\/$/, '')).toBe(expected);
  });

  it.each([
    'http://huggingface.co',
    'http://10.0.0.1',
    'http://localhost.example',
    'ftp://x',
    'file:///etc',
    'huggingface.co',
    'https://user:secret@x.example',
  ])('cannot be %s', (text) => {
    expect(() => hubSettings({ HF_ENDPOINT: text })).toThrow(InputError);
  });

  it.each(['https://user:secret@x.example', 'https://user:secret@:x'])(
    'with a password in it is refused without repeating that (%#)',
    (text) => {
      try {
        hubSettings({ HF_ENDPOINT: text });
        expect.unreachable();
      } catch (error) {
        expect(JSON.stringify((error as InputError).toData())).not.toContain('secret');
      }
    },
  );
});

describe('the token', () => {
  it('is taken without the white space around it', () => {
    expect(hubSettings({ HF_TOKEN: ' hf_abc\n' }).token).toBe('hf_abc');
    expect(hubSettings({ HF_TOKEN: '' }).token).toBeUndefined();
    expect(hubSettings({}).token).toBeUndefined();
  });

  it.each(['hf_abc\r\nX-Evil: 1', 'two words', 'tök'])(
    'cannot be %j, and the error does not repeat it',
    (token) => {
      try {
        hubSettings({ HF_TOKEN: token });
        expect.unreachable();
      } catch (error) {
        expect(error).toBeInstanceOf(InputError);
        expect(JSON.stringify((error as InputError).toData())).not.toContain(token);
      }
    },
  );
});

describe('offline', () => {
  it.each(['1', 'ON', 'yes', 'True'])('is %s', (value) => {
    expect(hubSettings({ HF_HUB_OFFLINE: value }).offline).toBe(true);
  });
  it.each(['0', 'off', '', undefined])('is not %s', (value) => {
    expect(hubSettings({ HF_HUB_OFFLINE: value }).offline).toBe(false);
  });
});

describe('the Hugging Face cache', () => {
  const absolute = path.resolve('/some/where');
  it.each([
    [{ HF_HUB_CACHE: absolute, HF_HOME: '/other' }, absolute],
    [{ HUGGINGFACE_HUB_CACHE: absolute }, absolute],
    [{ HF_HOME: absolute }, path.join(absolute, 'hub')],
    [{ XDG_CACHE_HOME: absolute }, path.join(absolute, 'huggingface', 'hub')],
    [{ HF_HOME: '~/models' }, path.join(os.homedir(), 'models', 'hub')],
    [{}, path.join(os.homedir(), '.cache', 'huggingface', 'hub')],
  ])('with %j is %s', (environment, expected) => {
    expect(modelPlaces(environment).huggingFaceCache).toBe(expected);
  });
});
