import { describe, expect, it } from 'vitest';

import { hostileName, isDescription, isRepositoryId, isWeightsName, parseModelId } from './fileNames';

describe('the id of a model', () => {
  it.each(['llava-hf/llava-1.5-7b-hf', 'a/b', 'acme.co/x_y-z.1'])('may be %s', (text) => {
    expect(isRepositoryId(text)).toBe(true);
    expect(parseModelId(text)).toEqual({ repository: text, revision: 'main' });
  });

  it.each([
    'gpt2',
    'a/b/c',
    '../b',
    'a/..',
    './b',
    '/a/b',
    'a\\b',
    'a--b/c',
    'a/b--c',
    'a/b.git',
    '.a/b',
    'a/b.',
    '-a/b',
    'a/b c',
    'a/b\nc',
    'a/' + 'b'.repeat(97),
    'C:/b',
    '',
    'a/b@',
    'a/b@main@main',
    'a/b@../x',
    'a/b@/x',
    'a/b@x\\y',
    'a/b@x/con/y',
  ])('cannot be %j', (text) => {
    expect(() => parseModelId(text)).toThrow();
  });

  it('may name a revision', () => {
    expect(parseModelId('a/b@refs/pr/1').revision).toBe('refs/pr/1');
    expect(parseModelId('a/b', 'v1.0').revision).toBe('v1.0');
  });
});

describe('the files that are fetched', () => {
  it.each(['config.json', 'tokenizer.json', 'processor_config.json', 'chat_template.jinja'])(
    '%s is',
    (name) => {
      expect(isDescription(name)).toBe(true);
    },
  );
  it.each(['model.safetensors', 'model-00001-of-00003.safetensors'])('%s is a weights file', (name) => {
    expect(isWeightsName(name)).toBe(true);
  });
  it.each([
    'pytorch_model.bin',
    'model.py',
    'x/model.safetensors',
    '../model.safetensors',
    '.safetensors',
    'README.md',
  ])('%s is not', (name) => {
    expect(isDescription(name) || isWeightsName(name)).toBe(false);
  });
});

describe('names from a server', () => {
  it.each([
    'model.safetensors',
    'onnx/model_q4.onnx',
    '.gitattributes',
    'figures/Überblick (1).png',
    'console.log',
  ])('%s is harmless', (name) => {
    expect(hostileName(name)).toBeUndefined();
  });
  it.each([
    '..',
    'a/../b',
    '/a',
    'a//b',
    'a/',
    'a\\b',
    'C:x',
    'a\u0007',
    'a\u009fb',
    'aux',
    'lib/COM1.txt',
    'x ',
    'y.',
  ])('%j is not', (name) => {
    expect(hostileName(name)).toBeDefined();
  });
});
