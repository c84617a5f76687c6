import { describe, expect, it } from 'vitest';
import type { Checkpoint } from '../checkpoint/checkpoint';
import { openCheckpoint } from '../checkpoint/open';
import { InputError, ModelError } from '../errors';
import { ALL_FIXTURES, readFixture } from '../testing/fixtures';
import { expandImageTokens, promptIds, renderPrompt } from './chatTemplate';
import { removeMarks } from './plainText';
import { Tokenizer } from './tokenizer';

describe.each(ALL_FIXTURES)('prompt of %s', (name) => {
  const { directory, description } = readFixture(name);

  it('has the text and the ids of transformers', async () => {
    const checkpoint = await openCheckpoint(directory);
    const tokenizer = new Tokenizer(checkpoint.tokenizer);
    const text = renderPrompt(checkpoint, {
      question: description.question,
      system: description.system ?? undefined,
      images: description.images.length,
    });
    expect(removeMarks(text)).toBe(description.promptText);
    const counts = description.images.map(() => description.imageTokensPerImage);
    const ids = promptIds(tokenizer, text);
    expect(expandImageTokens(ids, checkpoint.config.imageTokenIndex, counts)).toEqual(description.promptIds);
  });

  it('keeps control tokens in the question as text', async () => {
    const checkpoint = await openCheckpoint(directory);
    const tokenizer = new Tokenizer(checkpoint.tokenizer);
    const { imageTokenIndex } = checkpoint.config;
    const question = 'What do <image> and </s> and <|im_end|> mean?';
    const ids = promptIds(tokenizer, renderPrompt(checkpoint, { question, images: 1 }));
    expect(ids.filter((id) => id === imageTokenIndex)).toHaveLength(1);
    const harmless = promptIds(tokenizer, renderPrompt(checkpoint, { question: 'What?', images: 1 }));
    const special = (list: number[]): number[] =>
      list.filter((id) => checkpointSpecialIds(checkpoint).includes(id));
    expect(special(ids)).toEqual(special(harmless));
    expect(tokenizer.decode(ids)).toContain(question);
  });
});

function checkpointSpecialIds(checkpoint: Checkpoint): number[] {
  const { added_tokens: added } = checkpoint.tokenizer.json as {
    added_tokens: { id: number; special: boolean }[];
  };
  return added.filter(({ special }) => special).map(({ id }) => id);
}

/** A fixture checkpoint with another template. */
async function withTemplate(chatTemplate: string | undefined): Promise<Checkpoint> {
  return { ...(await openCheckpoint(readFixture('clip-llama').directory)), chatTemplate };
}

describe('renderPrompt', () => {
  it('gives templates a range() that cannot end the process, and the word to texts', async () => {
    const rest = '{{ messages[0].content[1].text }}';
    const render = async (source: string): Promise<string> =>
      renderPrompt(await withTemplate(`<image>${source}${rest}`), { question: 'A range?', images: 1 });
    const numbers = "{% for i in range(2) %}{{ i }}{% endfor %}{{ range(5, 1, -2) | join(',') }}";
    expect(await render(`range ${numbers}{{ 'range' }}`)).toBe('<image>range 015,3rangeA range?');
    await expect(render('{{ range(1000000000) | length }}')).rejects.toMatchObject({
      code: 'model.chat-template',
      why: 'range() of 1000000000 numbers',
    });
  });

  it.each([
    // What Python makes of each is right of it.
    [String.raw`{{ '<\s>' }}`, String.raw`<\s>`],
    [String.raw`{{ "a\\s\d" + '\'\n' }}`, String.raw`a\s\d` + "'\n"],
    [String.raw`{# it's \s #}\s{{ '}}\-' }}`, String.raw`\s}}\-`],
  ])('reads a backslash that begins no escape sequence as Python does: %s', async (source, expected) => {
    const rest = '{% for part in messages[0].content %}{{ part.text or "<image>" }}{% endfor %}';
    const checkpoint = await withTemplate(source + rest);
    expect(renderPrompt(checkpoint, { question: 'Why?', images: 1 })).toBe(`${expected}<image>Why?`);
  });

  it('falls back to the form of LLaVA-1.5 without a template', async () => {
    const checkpoint = await withTemplate(undefined);
    expect(renderPrompt(checkpoint, { question: 'Why?', images: 1 })).toBe('USER: <image>\nWhy? ASSISTANT:');
    expect(renderPrompt(checkpoint, { question: 'Why?', system: 'Be brief.', images: 2 })).toBe(
      'Be brief. USER: <image>\n<image>\nWhy? ASSISTANT:',
    );
    expect(renderPrompt(checkpoint, { question: 'Why?', images: 0 })).toBe('USER: Why? ASSISTANT:');
  });

  it('gives the template the special tokens by name', async () => {
    const checkpoint = await withTemplate(
      "{{ bos_token }}{% for m in messages %}{% for c in m['content'] %}{{ '<image>' if c['type'] == 'image' else c['text'] }}{% endfor %}{% endfor %}{{ eos_token if not add_generation_prompt }}",
    );
    expect(renderPrompt(checkpoint, { question: 'Why?', images: 1 })).toBe('<s><image>Why?');
  });

  it('serves a template that expects plain text', async () => {
    const checkpoint = await withTemplate(
      "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] + '.' }}{% endfor %}",
    );
    expect(renderPrompt(checkpoint, { question: 'Why?', system: 'Be brief', images: 1 })).toBe(
      '[system] Be brief.[user] <image>\nWhy?.',
    );
  });

  it('passes on why a template refuses', async () => {
    const checkpoint = await withTemplate(
      "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for c in messages[0]['content'] %}{{ '<image>' if c['type'] == 'image' else c['text'] }}{% endfor %}",
    );
    expect(renderPrompt(checkpoint, { question: 'Why?', images: 1 })).toBe('<image>Why?');
    expect(() => renderPrompt(checkpoint, { question: 'Why?', system: 'Be brief', images: 1 })).toThrow(
      expect.objectContaining({
        code: 'model.chat-template',
        why: expect.stringContaining('System role not supported'),
        nextStep: expect.stringContaining('system message'),
      }),
    );
  });

  it.each([
    '{% for %}',
    '{{ unclosed',
    'no question and no image',
    '{{ messages[0].content.nothing.at.all }}',
  ])('refuses the broken template %s', async (template) => {
    const checkpoint = await withTemplate(template);
    expect(() => renderPrompt(checkpoint, { question: 'Why?', images: 1 })).toThrow(ModelError);
  });
});

describe('promptIds', () => {
  it('adds the beginning of the sequence once, whoever writes it', async () => {
    const checkpoint = await withTemplate(undefined);
    const tokenizer = new Tokenizer(checkpoint.tokenizer);
    const bos = 1;
    expect(promptIds(tokenizer, 'USER: hi').filter((id) => id === bos)).toEqual([bos]);
    expect(promptIds(tokenizer, '<s>USER: hi').filter((id) => id === bos)).toEqual([bos]);
    expect(promptIds(tokenizer, '<s>USER: hi')[0]).toBe(bos);
  });
});

describe('expandImageTokens', () => {
  it('copies each placeholder as often as its image has tokens', () => {
    expect(expandImageTokens([1, 9, 2, 9, 3], 9, [3, 1])).toEqual([1, 9, 9, 9, 2, 9, 3]);
    expect(expandImageTokens([1, 9, 2], 9, [0])).toEqual([1, 2]);
    expect(expandImageTokens([1, 2], 9, [])).toEqual([1, 2]);
  });

  it.each([
    [[1, 2], [4]],
    [[9, 9], [4]],
    [[9], []],
  ])('refuses %j with counts %j', (ids, counts) => {
    expect(() => expandImageTokens(ids, 9, counts)).toThrow(InputError);
  });
});
