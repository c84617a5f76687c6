import { addedTokens } from '../text/plainText';
import { specialTokenTexts } from '../text/tokenizer';

type Fields = Readonly<Record<string, unknown>>;

/** Fields of tokenizer_config.json that hold texts of special tokens, as a list or a table of named ones. */
const SPECIAL_LISTS = ['additional_special_tokens', 'extra_special_tokens'];

/**
 * tokenizer.json and tokenizer_config.json with what transformers takes from elsewhere filled in: tokens that are added
 * only in tokenizer_config.json, special tokens that are only in the vocabulary (they must be found in a text before it is cut into
 * words), and the names of special tokens that only special_tokens_map.json has.
 */
export function completeTokenizer(
  json: Fields,
  config: Fields,
  map: Fields,
): { json: Fields; config: Fields } {
  const named = { ...map, ...config };
  const added: { id: number; content: string }[] = [...addedTokens(json)];
  const known = new Set(added.flatMap(({ id, content }) => [id, content]));
  const vocabulary = (json.model as { vocab?: unknown } | undefined)?.vocab;
  const idOf = (content: string): unknown =>
    typeof vocabulary === 'object' && vocabulary !== null && Object.hasOwn(vocabulary, content)
      ? (vocabulary as Fields)[content]
      : undefined;

  const candidates = [
    ...Object.entries(config.added_tokens_decoder ?? {}).map(([id, token]) => ({
      ...(token as object),
      id: Number(id),
    })),
    ...specialTexts(named).map((content) => ({ ...SPECIAL, content, id: idOf(content) })),
  ].filter(isToken);
  for (const token of candidates) {
    if (known.has(token.id) || known.has(token.content)) continue;
    known.add(token.id).add(token.content);
    added.push(token);
  }
  return {
    json: { ...json, added_tokens: Array.isArray(json.added_tokens) ? added : json.added_tokens },
    config: named,
  };
}

/** How transformers adds a token of which nothing but its text is known. */
const SPECIAL = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };

function isToken(token: { id: unknown; content?: unknown }): token is { id: number; content: string } {
  return typeof token.content === 'string' && token.content !== '' && Number.isSafeInteger(token.id);
}

function specialTexts(config: Fields): string[] {
  const listed = SPECIAL_LISTS.flatMap((key) => Object.values(config[key] ?? {}) as unknown[]);
  const texts = listed.map((token) =>
    typeof token === 'object' && token !== null ? (token as Fields).content : token,
  );
  return [...Object.values(specialTokenTexts(config)), ...texts].filter((text) => typeof text === 'string');
}
