/**
 * Text from files and models as Markdown that shows exactly this text: no links (bare URLs neither), no pictures, no HTML,
 * no entities, no headings. Every ASCII punctuation character is escaped (CommonMark 2.4 allows it for all of them).
 */
export function escapeMarkdown(text: string): string {
  return visible(text)
    .replace(/[!-/:-@[-`{-~]/g, '\\$&')
    .replace(/[ \t]+/g, ' ')
    .split('\n')
    .map((line) => line.trim())
    .join('  \n');
}

/** Without control characters, and without the marks that make text read in another order than it is written. */
export function visible(text: string): string {
  return text
    .replace(/\r\n?/g, '\n')
    .replace(/(?!\n)\p{Cc}/gu, ' ')
    .replace(/\p{Cf}/gu, '');
}

/** At most `limit` UTF-16 code units, with an ellipsis where something is missing. */
export function shorten(text: string, limit: number): string {
  if (text.length <= limit) return text;
  // Not in the middle of a surrogate pair.
  const end = /[\ud800-\udbff]/.test(text[limit - 2]) ? limit - 2 : limit - 1;
  return `${text.slice(0, end).trimEnd()}…`;
}
