import { Template } from '@huggingface/jinja';
import type { Checkpoint } from '../checkpoint/checkpoint';
import { InputError, ModelError } from '../errors';
import { withPatience } from './patience';
import { controlTokens, imageToken, markControlTokens } from './plainText';
import { specialTokenTexts, type Tokenizer } from './tokenizer';

/** What one prompt is made of. */
export interface PromptParts {
  readonly question: string;
  readonly system?: string;
  /** How many images come before the question. */
  readonly images: number;
}

type Content = string | ({ type: 'image' } | { type: 'text'; text: string })[];

/**
 * The prompt text for one user message with content [image..., text], ending where the answer begins: the checkpoint's
 * own chat template, or LLaVA-1.5's form where it has none.
 *
 * Control tokens inside the question and the system text stay plain text (plainText.ts), so the result is meant for
 * {@link promptIds} only.
 *
 * @throws ModelError `model.chat-template` when the template fails
 */
export function renderPrompt(checkpoint: Checkpoint, parts: PromptParts): string {
  const { json, config } = checkpoint.tokenizer;
  const { imageTokenIndex } = checkpoint.config;
  const image = imageToken(json, imageTokenIndex) ?? '<image>';
  const tokens = [...controlTokens(json, imageTokenIndex), image];
  const question = markControlTokens(parts.question, tokens);
  const system = parts.system === undefined ? undefined : markControlTokens(parts.system, tokens);

  if (checkpoint.chatTemplate === undefined) {
    const images = `${image}\n`.repeat(parts.images);
    return `${system === undefined ? '' : `${system} `}USER: ${images}${question} ASSISTANT:`;
  }
  const template = compile(checkpoint.chatTemplate);
  const render = (textOnly: boolean): string => {
    const content = (text: string, images: number): Content =>
      textOnly
        ? `${image}\n`.repeat(images) + text
        : [...Array.from({ length: images }, () => ({ type: 'image' as const })), { type: 'text', text }];
    const messages = [
      ...(system === undefined ? [] : [{ role: 'system', content: content(system, 0) }]),
      { role: 'user', content: content(question, parts.images) },
    ];
    const variables = {
      ...specialTokenTexts(config),
      [BOUNDED_RANGE]: boundedRange,
      messages,
      tools: null,
      documents: null,
      add_generation_prompt: true,
    };
    return withPatience(() => template.render(variables)).replaceAll(BOUNDED_RANGE, 'range');
  };
  // A template made for text alone expects `content` to be a text, and drops or mangles a list.
  let failure: unknown;
  for (const textOnly of [false, true]) {
    try {
      const text = render(textOnly);
      if (text.split(image).length - 1 === parts.images && text.includes(question.trim())) return text;
    } catch (error) {
      failure ??= error;
    }
  }
  throw templateError(
    failure === undefined
      ? `It did not put the question and ${parts.images} image placeholder(s) into the prompt.`
      : (failure as Error).message,
    parts.system === undefined
      ? 'Write the prompt yourself with --raw-prompt, or use another checkpoint.'
      : 'Leave out the system message (not every model takes one), or write the prompt yourself with --raw-prompt.',
    failure,
  );
}

/** A comment, or an expression or statement with the texts in it: what stands outside of these is no code. */
const TAG = /\{#[^]*?#\}|\{[{%](?:'(?:\\[^]|[^'\\])*'|"(?:\\[^]|[^"\\])*"|(?![%}]\})[^'"])*/g;
const TEXT_IN_TAG = /'(?:\\[^]|[^'\\])*'|"(?:\\[^]|[^"\\])*"/g;
/** A backslash before a character with which Python, in which templates are written, knows no escape sequence. */
const PLAIN_BACKSLASH = /\\(\\|[^\\'"abfnrtvxuUN0-7\n])/g;

/**
 * In Python, and so in jinja2, a backslash before any other character is just a backslash; the library here refuses it.
 * Templates that close a turn with '<\s>' instead of '</s>' work there.
 */
function withPlainBackslashes(source: string): string {
  return source.replace(TAG, (tag) =>
    tag.startsWith('{#')
      ? tag
      : tag.replace(TEXT_IN_TAG, (text) =>
          text.replace(PLAIN_BACKSLASH, (sequence, next: string) =>
            next === '\\' ? sequence : `\\${sequence}`,
          ),
        ),
  );
}

/**
 * What templates call as `range`, since a list of a billion numbers would end the process and the library's own function cannot be
 * replaced. The word is exchanged wherever it stands, and back in what the template writes.
 */
const BOUNDED_RANGE = '__bounded_range__';
/** Far above any number of messages. */
const MAX_RANGE = 1e5;

/** Python's `range(stop)` and `range(start, stop, step)` for templates; whole numbers only. */
function boundedRange(...bounds: number[]): number[] {
  const [start, stop, step = 1] = bounds.length < 2 ? [0, bounds[0]] : bounds;
  const length = Math.max(0, Math.ceil((stop - start) / step));
  if (!(length <= MAX_RANGE)) throw new Error(`range() of ${length} numbers`);
  return Array.from({ length }, (_, index) => start + index * step);
}

function compile(source: string): Template {
  try {
    return withPatience(
      () => new Template(withPlainBackslashes(source.replace(/\brange\b/g, BOUNDED_RANGE))),
    );
  } catch (error) {
    throw templateError(
      (error as Error).message,
      'Write the prompt yourself with --raw-prompt, or use another checkpoint.',
      error,
    );
  }
}

function templateError(why: string, nextStep: string, cause: unknown): ModelError {
  return new ModelError({
    code: 'model.chat-template',
    message: 'The chat template of the checkpoint cannot be used for this question.',
    why,
    nextStep,
    cause,
  });
}

/**
 * The ids of a prompt text with one placeholder per image.
 *
 * As transformers' processor does it: the tokenizer adds its special tokens (the beginning of the sequence) unless the
 * text begins with that token already, which many chat templates write themselves.
 */
export function promptIds(tokenizer: Tokenizer, text: string): number[] {
  const hasBos = tokenizer.bosToken !== undefined && text.startsWith(tokenizer.bosToken);
  return tokenizer.encode(text, { addSpecialTokens: !hasBos });
}

/**
 * Replaces the i-th image placeholder by `counts[i]` copies of it.
 * @throws InputError `prompt.image-count` when there are not exactly as many placeholders as counts
 */
export function expandImageTokens(
  ids: readonly number[],
  imageTokenIndex: number,
  counts: readonly number[],
): number[] {
  const placeholders = ids.filter((id) => id === imageTokenIndex).length;
  if (placeholders !== counts.length)
    throw new InputError({
      code: 'prompt.image-count',
      message: `The prompt has ${placeholders} image placeholder(s) for ${counts.length} image(s).`,
      why: 'Each image needs its own place in the prompt.',
      nextStep: 'Write one <image> per image into the prompt.',
    });
  let image = 0;
  return ids.flatMap((id) => (id === imageTokenIndex ? new Array<number>(counts[image++]).fill(id) : [id]));
}
