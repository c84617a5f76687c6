import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { fixturePath } from '../testing/fixtures';
import { promptIds } from '../text/chatTemplate';
import { Tokenizer } from '../text/tokenizer';
import { completeTokenizer } from './tokenizerFiles';

interface Token {
  id: number;
  content: string;
}
interface TokenizerJson extends Record<string, unknown> {
  added_tokens: Token[];
  model: { vocab: Record<string, number> };
}

const whole = (): TokenizerJson =>
  JSON.parse(readFileSync(fixturePath('checkpoints', 'clip-llama', 'tokenizer.json'), 'utf8'));
const TEXT = '<s>see <image>\nthe window';
/** What transformers' tokenizer of the untouched files makes of the text. */
const expected = new Tokenizer({ json: whole(), config: {} }).encode(TEXT);

describe('completeTokenizer', () => {
  it('adds tokens that only tokenizer_config.json adds, with their settings', () => {
    const json = whole();
    const [image] = json.added_tokens.filter(({ content }) => content === '<image>');
    json.added_tokens = json.added_tokens.filter((token) => token !== image);
    expect(new Tokenizer({ json, config: {} }).encode(TEXT)).not.toEqual(expected);
    const { id, ...settings } = image;
    const completed = completeTokenizer(json, { added_tokens_decoder: { [id]: settings } }, {});
    expect(completed.json.added_tokens).toContainEqual(image);
    expect(new Tokenizer(completed).encode(TEXT)).toEqual(expected);
  });

  it('finds special tokens in a text that are only in the vocabulary', () => {
    const json = whole();
    json.added_tokens = json.added_tokens.filter(({ content }) => content !== '<s>');
    expect(json.model.vocab['<s>']).toBe(1);
    expect(new Tokenizer({ json, config: {} }).encode(TEXT)).not.toEqual(expected);
    for (const config of [{ bos_token: '<s>' }, { extra_special_tokens: { begin: '<s>' } }])
      expect(new Tokenizer(completeTokenizer(json, config, {})).encode(TEXT)).toEqual(expected);
  });

  it('takes the names of special tokens from special_tokens_map.json, where tokenizer_config.json has none', () => {
    const map = { bos_token: { content: '<s>' }, eos_token: '</s>' };
    const { json, config } = completeTokenizer(whole(), { eos_token: '<pad>' }, map);
    expect(config).toMatchObject({ bos_token: { content: '<s>' }, eos_token: '<pad>' });
    const tokenizer = new Tokenizer({ json, config });
    // A template that writes it itself must not get a second one.
    expect(promptIds(tokenizer, TEXT)).toEqual(expected);
  });

  it('changes nothing where nothing is missing', () => {
    const json = whole();
    const decoder = Object.fromEntries(json.added_tokens.map(({ id, ...token }) => [id, token]));
    const config = { bos_token: '<s>', unk_token: '<unk>', added_tokens_decoder: decoder };
    expect(completeTokenizer(json, config, {})).toEqual({ json, config });
  });

  it('leaves what makes no sense to the tokenizer', () => {
    const config = { added_tokens_decoder: { x: { content: 'a' }, 5: 'b', 6: null }, bos_token: 7 };
    expect(completeTokenizer({ added_tokens: 5 }, config, {}).json).toEqual({ added_tokens: 5 });
    expect(completeTokenizer(whole(), config, {}).json).toEqual(whole());
  });
});
