import { PreTokenizer, Tokenizer as LibraryTokenizer } from '@huggingface/tokenizers';
import { ModelError } from '../errors';
import { withPatience } from './patience';
import { controlTokens, markControlTokens, removeMarks } from './plainText';

export interface EncodeOptions {
  /** Adds what the tokenizer's post-processor adds: usually the beginning-of-sequence token. */
  addSpecialTokens?: boolean;
  /** Takes text that looks like a control token as plain text. */
  plain?: boolean;
}

/** Turns answer tokens into text piece by piece. The pieces joined are what `decode` makes of all tokens. */
export interface StreamDecoder {
  /** The text that this token completes; empty in the middle of a multi-byte character. */
  push(id: number): string;
  /** What is left: a character that was cut off becomes U+FFFD. The decoder is then as new. */
  finish(): string;
}

/** The checkpoint's own tokenizer. Ids equal those of transformers' fast tokenizer of the same files. */
export class Tokenizer {
  /** The text of the beginning-of-sequence token, where the checkpoint names one. */
  readonly bosToken: string | undefined;
  private readonly library: LibraryTokenizer;
  private readonly controlTokens: readonly string[];

  /**
   * @param files parsed tokenizer.json and tokenizer_config.json
   * @throws ModelError `model.tokenizer-invalid`
   */
  constructor(files: { readonly json: object; readonly config: object }) {
    try {
      this.library = withPatience(() => new LibraryTokenizer(files.json, files.config));
      this.library.pre_tokenizer = new MarkRemover(this.library.pre_tokenizer);
    } catch (error) {
      throw invalidTokenizer((error as Error).message, error);
    }
    this.controlTokens = controlTokens(files.json);
    this.bosToken = specialTokenTexts(files.config).bos_token;
  }

  /** @throws ModelError `model.tokenizer-invalid` where the tokenizer fails on the text, or makes something other than ids of it */
  encode(text: string, { addSpecialTokens = false, plain = false }: EncodeOptions = {}): number[] {
    const marked = plain ? markControlTokens(text, this.controlTokens) : text;
    let ids: number[];
    try {
      ids = withPatience(() => this.library.encode(marked, { add_special_tokens: addSpecialTokens }).ids);
    } catch (error) {
      throw invalidTokenizer((error as Error).message, error);
    }
    if (!ids.every((id) => Number.isSafeInteger(id) && id >= 0))
      throw invalidTokenizer('it gives a part of the text no number, or a negative one');
    return ids;
  }

  /**
   * Spaces are never "cleaned up", whatever tokenizer_config.json says: that would change what the model wrote
   * (`a . b`), and transformers 5 ignores the setting for the BPE tokenizers of these models for the same reason.
   */
  decode(ids: readonly number[], { skipSpecialTokens = true }: { skipSpecialTokens?: boolean } = {}): string {
    if (ids.length === 0) return '';
    return this.library.decode([...ids], {
      skip_special_tokens: skipSpecialTokens,
      clean_up_tokenization_spaces: false,
    });
  }

  createStreamDecoder({ skipSpecialTokens = true }: { skipSpecialTokens?: boolean } = {}): StreamDecoder {
    const decode = (ids: readonly number[]): string => this.decode(ids, { skipSpecialTokens });
    /** Tokens whose text is out already, kept as context: decoders treat the first token of a text differently. */
    let context: number[] = [];
    /** Tokens whose text is not complete yet. */
    let pending: number[] = [];
    const flush = (complete: boolean): string => {
      const before = decode(context);
      const text = decode([...context, ...pending]);
      // A character whose bytes are not all there yet decodes to U+FFFD at the end.
      if (!complete && text.endsWith('\uFFFD')) return '';
      const piece = text.slice(before.length);
      // Context without text (special tokens) would let the next token count as the first of the text again.
      context = piece === '' ? [...context, ...pending] : pending;
      pending = [];
      return piece;
    };
    return {
      push(id) {
        pending.push(id);
        return flush(false);
      },
      finish() {
        const rest = flush(true);
        context = [];
        return rest;
      },
    };
  }
}

function invalidTokenizer(why: string, cause?: unknown): ModelError {
  return new ModelError({
    code: 'model.tokenizer-invalid',
    message: 'The tokenizer of the checkpoint cannot be used.',
    why: `tokenizer.json: ${why}`,
    nextStep: 'Download tokenizer.json and tokenizer_config.json again.',
    cause,
  });
}

/** Takes the marks of plainText.ts out of the text, at the point where control tokens have been split off already. */
class MarkRemover extends PreTokenizer {
  constructor(private readonly inner: PreTokenizer | null) {
    super();
  }

  override pre_tokenize_text(text: string, options?: { section_index?: number }): string[] {
    const plain = removeMarks(text);
    return this.inner === null ? [plain] : this.inner.pre_tokenize(plain, options);
  }
}

/**
 * The texts of bos_token, eos_token and the like in tokenizer_config.json, which writes each as a text or as an object
 * with `content`. Chat templates see them under these names.
 */
export function specialTokenTexts(tokenizerConfig: object): Record<string, string> {
  const texts: Record<string, string> = {};
  for (const [key, value] of Object.entries(tokenizerConfig)) {
    if (!key.endsWith('_token')) continue;
    const text: unknown = typeof value === 'object' && value !== null ? value.content : value;
    if (typeof text === 'string') texts[key] = text;
  }
  return texts;
}
