import { looksLikeImage, MAX_PATH, type Mention } from './mention';

/**
 * Image paths in quoted strings: the common ground of JavaScript, TypeScript, JSX, Python and JSON (imports, requires,
 * attributes, values). Only a quoted text that ends like an image counts, and every quote may open one, so that an
 * apostrophe in a comment or in JSX text cannot put the reading out of step; no tokenizer per language is needed.
 */
export function stringMentions(text: string): Mention[] {
  const mentions: Mention[] = [];
  let end = 0;
  for (let open = nextQuote(text, 0); open >= 0; open = nextQuote(text, end)) {
    end = open + 1;
    // An escaped quote opens nothing. (It also keeps the time linear: no two quotes scan the same stretch.)
    if (text[open - 1] === '\\') continue;
    const close = closingQuote(text, open);
    if (close === undefined) continue;
    const raw = text.slice(open + 1, close);
    const isData = /^data:/i.test(raw);
    if (!isData && raw.length > MAX_PATH) continue;
    if (isTemplate(text, open, raw)) continue;
    const destination = unescapeString(raw);
    if (!looksLikeImage(destination)) continue;
    const range = { start: open + 1, end: close, fullStart: open + 1, fullEnd: close };
    mentions.push({ ...range, destination, kind: 'path', certain: isData });
    end = close + 1;
  }
  return mentions;
}

function nextQuote(text: string, from: number): number {
  for (let i = from; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === 0x22 || c === 0x27 || c === 0x60) return i;
  }
  return -1;
}

/** Strings that hold paths end on their line; a backslash takes the next character with it. */
function closingQuote(text: string, open: number): number | undefined {
  const quote = text[open];
  for (let i = open + 1; i < text.length; i++) {
    const c = text[i];
    if (c === quote) return i;
    if (c === '\n' || c === '\r') return undefined;
    if (c === '\\') i++;
  }
  return undefined;
}

/** Strings that are filled in at run time: their text is no path. */
function isTemplate(text: string, open: number, raw: string): boolean {
  if (text[open] === '`') return raw.includes('${');
  return (
    raw.includes('{') && /(?:^|[^A-Za-z0-9_])(?:f|fr|rf)$/i.test(text.slice(Math.max(0, open - 3), open))
  );
}

const SIMPLE: Readonly<Record<string, string>> = {
  n: '\n',
  t: '\t',
  r: '\r',
  b: '\b',
  f: '\f',
  v: '\v',
  '0': '\0',
};

/** Escapes as JavaScript, JSON and Python agree on them. */
function unescapeString(raw: string): string {
  if (!raw.includes('\\')) return raw;
  return raw.replace(
    /\\(?:u\{([0-9a-f]{1,6})\}|u([0-9a-f]{4})|x([0-9a-f]{2})|([^]))/gi,
    (_, point: string | undefined, unit: string | undefined, byte: string | undefined, other: string) => {
      const code = point ?? unit ?? byte;
      if (code === undefined) return SIMPLE[other] ?? other;
      const value = Number.parseInt(code, 16);
      return value <= 0x10ffff ? String.fromCodePoint(value) : '';
    },
  );
}
