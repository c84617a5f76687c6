/**
 * A question may contain the very text of a control token ("<image>", "</s>"). It must stay text: an image placeholder
 * or an end of turn that the user only writes about would change the prompt's structure.
 *
 * So text from the user carries a mark inside every such string. The mark keeps the tokenizer from seeing the token;
 * {@link Tokenizer} takes it out after it has looked for control tokens and before it encodes.
 */

/** A noncharacter, which Unicode reserves for such internal use; it never occurs in real text. */
const MARK = '\uFDD0';

/** Marks every control token in `text`; what was marked is encoded as the plain characters that it is. */
export function markControlTokens(text: string, controlTokens: Iterable<string>): string {
  // A token of one character (a line break, say) has no inside and is no structure that text could fake.
  const tokens = [...controlTokens].filter((token) => [...token].length > 1);
  const plain = removeMarks(text);
  if (tokens.length === 0) return plain;
  // After the first character of every place where a token begins, so that tokens which overlap are all broken.
  const pattern = new RegExp(`(?=${tokens.map(escapeForPattern).join('|')}).`, 'gsu');
  return plain.replace(pattern, `$&${MARK}`);
}

export function removeMarks(text: string): string {
  return text.replaceAll(MARK, '');
}

function escapeForPattern(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/gu, '\\$&');
}

/** The control tokens of a tokenizer.json: its special tokens, and the image token whatever the file calls it. */
export function controlTokens(tokenizerJson: object, imageTokenIndex?: number): string[] {
  return addedTokens(tokenizerJson)
    .filter(({ id, special }) => special || id === imageTokenIndex)
    .map(({ content }) => content);
}

/** The text of the token that stands for an image. */
export function imageToken(tokenizerJson: object, imageTokenIndex: number): string | undefined {
  return addedTokens(tokenizerJson).find(({ id }) => id === imageTokenIndex)?.content;
}

interface AddedToken {
  id: number;
  content: string;
  special: boolean;
}

/** The tokens of a tokenizer.json that are found in a text as they stand, before anything is encoded. */
export function addedTokens(tokenizerJson: object): AddedToken[] {
  const tokens: unknown = (tokenizerJson as { added_tokens?: unknown }).added_tokens;
  if (!Array.isArray(tokens)) return [];
  return tokens.filter(
    (token: Partial<AddedToken> | null): token is AddedToken =>
      typeof token?.content === 'string' && typeof token.id === 'number',
  );
}
