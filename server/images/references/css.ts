import { looksLikeImage, MAX_PATH, type Mention } from './mention';

/**
 * CSS, SCSS, Less: `url(...)`, bare or quoted, and strings in `image-set(...)`.
 * @param singleLineComments `//` comments, as SCSS and Less have them.
 */
export function cssMentions(text: string, singleLineComments: boolean): Mention[] {
  const mentions: Mention[] = [];
  let i = 0;
  while (i < text.length) {
    const c = text[i];
    if (c === '/' && text[i + 1] === '*') {
      const close = text.indexOf('*/', i + 2);
      i = close < 0 ? text.length : close + 2;
    } else if (singleLineComments && c === '/' && text[i + 1] === '/') {
      const close = text.indexOf('\n', i);
      i = close < 0 ? text.length : close;
    } else if (c === '"' || c === "'") {
      const close = endOfString(text, i);
      const destination = unescapeCss(text.slice(i + 1, close));
      if (destination.length <= MAX_PATH && looksLikeImage(destination) && isImageSet(text, i)) {
        const range = { start: i + 1, end: close, fullStart: i, fullEnd: close + 1 };
        mentions.push({ ...range, destination, kind: 'url', certain: true });
      }
      i = close + 1;
    } else if (
      (c === 'u' || c === 'U') &&
      /^url\($/i.test(text.slice(i, i + 4)) &&
      !/[\w-]/.test(text[i - 1] ?? '')
    ) {
      const mention = urlFunction(text, i);
      if (mention) mentions.push(mention);
      i = mention ? mention.fullEnd : i + 4;
    } else {
      i++;
    }
  }
  return mentions;
}

function urlFunction(text: string, open: number): Mention | undefined {
  let start = open + 4;
  while (/\s/.test(text[start] ?? '')) start++;
  let end: number;
  let close: number;
  if (text[start] === '"' || text[start] === "'") {
    end = endOfString(text, start);
    start++;
    close = end + 1;
    while (/\s/.test(text[close] ?? '')) close++;
  } else {
    close = start;
    while (close < text.length && !/[)"'(\n]/.test(text[close])) close += text[close] === '\\' ? 2 : 1;
    end = close;
    while (end > start && /\s/.test(text[end - 1])) end--;
  }
  if (text[close] !== ')' || end <= start) return undefined;
  const destination = unescapeCss(text.slice(start, end));
  // Interpolation is filled in later; fonts and fragments of the same document are no images.
  if (/[#@]\{|\$|var\(/.test(destination) && !/^data:/i.test(destination)) return undefined;
  if (!looksLikeImage(destination) || (destination.length > MAX_PATH && !/^data:/i.test(destination)))
    return undefined;
  return { start, end, fullStart: open, fullEnd: close + 1, destination, kind: 'url', certain: true };
}

/** Offset of the closing quote, or of the line's end where it is missing (CSS Syntax 3, 4.3.5). */
function endOfString(text: string, open: number): number {
  const quote = text[open];
  for (let i = open + 1; i < text.length; i++) {
    if (text[i] === quote || text[i] === '\n') return i;
    if (text[i] === '\\') i++;
  }
  return text.length;
}

/** A bare string names an image only as an argument of image-set(). */
function isImageSet(text: string, quote: number): boolean {
  return /image-set\([^();{}]*$/i.test(text.slice(Math.max(0, quote - 500), quote));
}

/** CSS Syntax 3, 4.3.7. */
function unescapeCss(text: string): string {
  return text.replace(
    /\\(?:([0-9a-f]{1,6})\s?|\r?\n|([^]))/gi,
    (_, hex: string | undefined, other: string | undefined) => {
      if (hex === undefined) return other ?? '';
      const code = Number.parseInt(hex, 16);
      return code === 0 || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)
        ? '\ufffd'
        : String.fromCodePoint(code);
    },
  );
}
