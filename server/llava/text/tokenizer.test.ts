import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { ModelError } from '../errors';
import { mulberry32 } from '../mulberry32';
import { ALL_FIXTURES, readFixture } from '../testing/fixtures';
import reference from './tokenizer.reference.json';
import { Tokenizer } from './tokenizer';

function fixtureFiles(name: string): {
  json: { added_tokens: { id: number; content: string }[] };
  config: object;
} {
  const { directory } = readFixture(name);
  const read = (file: string) => JSON.parse(readFileSync(path.join(directory, file), 'utf8'));
  return { json: read('tokenizer.json'), config: read('tokenizer_config.json') };
}

describe.each(reference.tokenizers)(
  '$checkpoint: ids of the reference library',
  ({ checkpoint, ids, plainIds }) => {
    const tokenizer = new Tokenizer(fixtureFiles(checkpoint));

    it.each(reference.texts.map((text, i) => [JSON.stringify(text), i] as const))('%s', (_, i) => {
      expect(tokenizer.encode(reference.texts[i], { addSpecialTokens: true })).toEqual(ids[i]);
      expect(tokenizer.encode(reference.texts[i], { plain: true })).toEqual(plainIds[i]);
    });
  },
);

describe('a tokenizer that fails on a text', () => {
  it.each([
    ['a post-processor without its parts', { post_processor: { type: 'TemplateProcessing' } }],
    ['negative ids', { model: { type: 'BPE', vocab: { a: -1 }, merges: [] } }],
  ])('is refused by name: %s', (_, fields) => {
    const { json, config } = fixtureFiles('clip-llama');
    const tokenizer = new Tokenizer({ json: { ...json, ...fields }, config });
    expect(() => tokenizer.encode('a', { addSpecialTokens: true })).toThrow(
      expect.objectContaining({ code: 'model.tokenizer-invalid' }),
    );
  });
});

describe('Tokenizer.decode', () => {
  const tokenizer = new Tokenizer(fixtureFiles('clip-qwen2-two-images'));

  it('gives back what was encoded', () => {
    for (const text of ['Hello, world', 'naïve 日本語 😀', 'a . b  c\n\td']) {
      const ids = tokenizer.encode(text);
      expect(tokenizer.decode(ids)).toBe(text);
    }
  });

  it('leaves special tokens out, or in when asked', () => {
    const ids = tokenizer.encode('yes<|im_end|>');
    expect(tokenizer.decode(ids)).toBe('yes');
    expect(tokenizer.decode(ids, { skipSpecialTokens: false })).toBe('yes<|im_end|>');
  });

  it('makes nothing of nothing', () => {
    expect(tokenizer.decode([])).toBe('');
  });
});

describe.each(ALL_FIXTURES)('stream decoder of %s', (name) => {
  const files = fixtureFiles(name);
  const tokenizer = new Tokenizer(files);

  it('emits pieces that join to the decoded whole, for text', () => {
    for (const text of ['The button "Save" is green.', 'zwei  Leerzeichen\n', '日本語 😀 👩‍👩‍👧 é', ' . , a']) {
      const ids = tokenizer.encode(text, { addSpecialTokens: true });
      const stream = tokenizer.createStreamDecoder();
      const pieces = ids.map((id) => stream.push(id));
      pieces.push(stream.finish());
      expect(pieces.join('')).toBe(tokenizer.decode(ids));
      // Complete characters only, so that a view never shows a broken one.
      for (const piece of pieces) expect(Buffer.from(piece).toString()).toBe(piece.replaceAll('\uFFFD', '?'));
    }
  });

  it('emits pieces that join to the decoded whole, for random tokens', () => {
    const random = mulberry32(5);
    const vocabulary = 300;
    for (let round = 0; round < 100; round++) {
      const ids = Array.from({ length: 1 + Math.floor(random() * 30) }, () =>
        Math.floor(random() * vocabulary),
      );
      for (const skipSpecialTokens of [true, false]) {
        const stream = tokenizer.createStreamDecoder({ skipSpecialTokens });
        const text = ids.map((id) => stream.push(id)).join('') + stream.finish();
        expect(text).toBe(tokenizer.decode(ids, { skipSpecialTokens }));
      }
    }
  });

  it('is as new after finish', () => {
    const ids = tokenizer.encode(' again');
    const stream = tokenizer.createStreamDecoder();
    const once = ids.map((id) => stream.push(id)).join('') + stream.finish();
    const twice = ids.map((id) => stream.push(id)).join('') + stream.finish();
    expect(twice).toBe(once);
  });
});

it('holds a multi-byte character back until its last byte', () => {
  const tokenizer = new Tokenizer(fixtureFiles('clip-qwen2-two-images'));
  const ids = tokenizer.encode('😀');
  expect(ids.length).toBeGreaterThan(1);
  const stream = tokenizer.createStreamDecoder();
  const pieces = ids.map((id) => stream.push(id));
  expect(pieces.slice(0, -1).join('')).toBe('');
  expect(pieces.at(-1)).toBe('😀');
});

it('shows a character that was cut off as U+FFFD, at the end only', () => {
  const tokenizer = new Tokenizer(fixtureFiles('clip-qwen2-two-images'));
  const stream = tokenizer.createStreamDecoder();
  const [first] = tokenizer.encode('😀');
  expect(stream.push(first)).toBe('');
  expect(stream.finish()).toContain('\uFFFD');
});

it('refuses a tokenizer.json that is none', () => {
  expect(() => new Tokenizer({ json: { model: {} }, config: {} })).toThrow(ModelError);
  expect(() => new Tokenizer({ json: { model: {} }, config: {} })).toThrow(
    expect.objectContaining({ code: 'model.tokenizer-invalid' }),
  );
});
