import { describe, expect, it } from 'vitest';
import { mulberry32 } from '../mulberry32';
import { controlTokens, imageToken, markControlTokens, removeMarks } from './plainText';

describe('markControlTokens', () => {
  it('leaves text without control tokens as it is', () => {
    expect(markControlTokens('a < b and b > c', ['<image>', '</s>'])).toBe('a < b and b > c');
  });

  it('breaks every control token, overlapping ones too, and loses no character', () => {
    const tokens = ['<image>', 'ab', 'bc', '<im', '(a|b)*', '</s>'];
    const random = mulberry32(3);
    const pieces = [...tokens, 'a', 'b', 'c', '<', '>', ' ', '😀', '(', '*'];
    for (let round = 0; round < 500; round++) {
      let text = '';
      for (let i = 0; i < 8; i++) text += pieces[Math.floor(random() * pieces.length)];
      const marked = markControlTokens(text, tokens);
      for (const token of tokens) expect(marked.includes(token)).toBe(false);
      expect(removeMarks(marked)).toBe(text);
    }
  });

  it('leaves tokens of one character alone', () => {
    expect(markControlTokens('a\nb', ['\n'])).toBe('a\nb');
  });

  it('does not let the text bring its own marks', () => {
    const marked = markControlTokens('<image>', ['<image>']);
    expect(markControlTokens(marked, ['<image>'])).toBe(marked);
  });
});

describe('control tokens of a tokenizer.json', () => {
  const json = {
    added_tokens: [
      { id: 2, content: '</s>', special: true },
      { id: 7, content: '<pic>', special: false },
      { id: 8, content: 'word', special: false },
    ],
  };

  it('are the special ones and the image token', () => {
    expect(controlTokens(json, 7)).toEqual(['</s>', '<pic>']);
    expect(imageToken(json, 7)).toBe('<pic>');
    expect(imageToken(json, 9)).toBeUndefined();
  });

  it('are none where the file has none', () => {
    expect(controlTokens({})).toEqual([]);
    expect(controlTokens({ added_tokens: [null, 1, { id: 'x' }] })).toEqual([]);
  });
});
