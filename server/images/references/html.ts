import { cssMentions } from './css';
import { looksLikeImage, MAX_PATH, type Mention } from './mention';
import { stringMentions } from './strings';

/** Elements whose `src` can only be an image. */
const IMAGE_ELEMENTS = new Set(['img', 'image', 'nextimage']);
/** Attributes that may lead to an image, by what follows. */
const LINK_ATTRIBUTES = new Set([
  'src',
  'href',
  'xlink:href',
  'poster',
  'data',
  'content',
  'data-src',
  ':src',
  'v-bind:src',
]);
const SET_ATTRIBUTES = new Set(['srcset', 'imagesrcset', 'data-srcset']);

/** HTML (and what looks like it in Markdown, Vue, Svelte): attributes in any order, any quoting; `style`, `<style>`, `<script>`. */
export function htmlMentions(text: string): Mention[] {
  const mentions: Mention[] = [];
  let i = 0;
  while (i < text.length) {
    const open = text.indexOf('<', i);
    if (open < 0) break;
    if (text.startsWith('<!--', open)) {
      const close = text.indexOf('-->', open + 4);
      if (close < 0) break;
      i = close + 3;
      continue;
    }
    const tag = readTag(text, open);
    if (tag === 'unclosed') break;
    if (!tag) {
      i = open + 1;
      continue;
    }
    mentions.push(...tagMentions(text, tag));
    i = tag.end;
    if (tag.name === 'style' || tag.name === 'script') {
      const rest = new RegExp(`</${tag.name}[\\s/>]`, 'gi');
      rest.lastIndex = i;
      const end = rest.exec(text)?.index ?? text.length;
      const body = text.slice(i, end);
      const inner = tag.name === 'style' ? cssMentions(body, false) : stringMentions(body);
      mentions.push(...inner.map((mention) => shift(mention, i)));
      i = end;
    }
  }
  return mentions.sort((a, b) => a.start - b.start);
}

export interface Tag {
  /** Lower case. */
  name: string;
  start: number;
  end: number;
  attributes: Attribute[];
}

interface Attribute {
  /** Lower case. */
  name: string;
  /** Offsets of the value as written. */
  start: number;
  end: number;
  value: string;
}

/**
 * Reads a start tag at `<` as the HTML tokenizer does (HTML Standard 13.2.5.6 and following).
 * @param limit the text ends there.
 * @returns undefined for anything else; `unclosed` where the text ends inside it, and so inside every later one.
 */
export function readTag(text: string, open: number, limit = text.length): Tag | 'unclosed' | undefined {
  const name = /^[A-Za-z][^\s/>]*/.exec(text.slice(open + 1, open + 65))?.[0];
  if (name === undefined) return undefined;
  const attributes: Attribute[] = [];
  let i = open + 1 + name.length;
  while (i < limit) {
    const c = text[i];
    if (c === '>') return { name: name.toLowerCase(), start: open, end: i + 1, attributes };
    if (c === '<') return undefined;
    if (/[\s/]/.test(c)) {
      i++;
      continue;
    }
    const nameStart = i;
    i++;
    while (i < limit && !/[\s/>=]/.test(text[i])) i++;
    const attribute: Attribute = {
      name: text.slice(nameStart, i).toLowerCase(),
      start: i,
      end: i,
      value: '',
    };
    let next = i;
    while (/\s/.test(text[next] ?? '')) next++;
    if (text[next] === '=') {
      next++;
      while (/\s/.test(text[next] ?? '')) next++;
      const quote = text[next];
      if (quote === '"' || quote === "'") {
        const close = text.indexOf(quote, next + 1);
        if (close < 0 || close >= limit) return undefined;
        [attribute.start, attribute.end, i] = [next + 1, close, close + 1];
      } else {
        let close = next;
        while (close < limit && !/[\s>]/.test(text[close])) close++;
        [attribute.start, attribute.end, i] = [next, close, close];
      }
      attribute.value = decodeEntities(text.slice(attribute.start, attribute.end));
    }
    attributes.push(attribute);
  }
  return 'unclosed';
}

function tagMentions(text: string, tag: Tag): Mention[] {
  const mentions: Mention[] = [];
  const alt = tag.attributes.find(({ name }) => name === 'alt')?.value;
  const whole = {
    fullStart: tag.start,
    fullEnd: tag.end,
    kind: 'url' as const,
    ...(alt === undefined ? {} : { alt }),
  };
  const seen = new Set<string>();
  for (const { name, start, end, value } of tag.attributes) {
    if (seen.has(name)) continue; // the first of two equal attributes counts
    seen.add(name);
    const isImage = IMAGE_ELEMENTS.has(tag.name) && (name === 'src' || name.endsWith('href'));
    if (LINK_ATTRIBUTES.has(name) || isImage) {
      const padding = value.length - value.trimStart().length;
      const destination = value.trim();
      const isPath = destination !== '' && (destination.length <= MAX_PATH || /^data:/i.test(destination));
      // Braces: filled in by a framework or a template.
      if (!isPath || (/[{}]|<%/.test(destination) && !/^data:/i.test(destination))) continue;
      if (!isImage && !looksLikeImage(destination)) continue;
      const from = start + padding;
      mentions.push({
        ...whole,
        start: from,
        end: end - (value.length - padding - destination.length),
        destination,
        certain: isImage,
      });
    } else if (SET_ATTRIBUTES.has(name)) {
      for (const [from, to] of sourceSet(text.slice(start, end))) {
        const destination = decodeEntities(text.slice(start + from, start + to));
        if (/[{}]/.test(destination)) continue;
        mentions.push({ ...whole, start: start + from, end: start + to, destination, certain: true });
      }
    } else if (name === 'style') {
      for (const mention of cssMentions(text.slice(start, end), false)) mentions.push(shift(mention, start));
    }
  }
  return mentions;
}

/** The URLs of a `srcset` (HTML Standard 4.8.4.3.5): separated by commas behind a descriptor or at a URL's end. */
function sourceSet(value: string): [from: number, to: number][] {
  const urls: [number, number][] = [];
  let i = 0;
  while (i < value.length) {
    while (i < value.length && /[\s,]/.test(value[i])) i++;
    const from = i;
    while (i < value.length && !/\s/.test(value[i])) i++;
    let to = i;
    while (to > from && value[to - 1] === ',') to--;
    if (to > from) urls.push([from, to]);
    if (to === i) {
      // A descriptor (2x, 300w) follows, up to the comma.
      while (i < value.length && value[i] !== ',') i++;
    }
  }
  return urls;
}

const ENTITIES: Readonly<Record<string, string>> = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
  nbsp: '\u00a0',
};

/** The character references that occur in paths: numeric ones and the markup characters. */
export function decodeEntities(text: string): string {
  if (!text.includes('&')) return text;
  return text.replace(/&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|([a-z]{2,4}));/gi, (whole, decimal, hex, name) => {
    if (name !== undefined) return ENTITIES[String(name).toLowerCase()] ?? whole;
    const code = decimal !== undefined ? Number(decimal) : Number.parseInt(String(hex), 16);
    return code === 0 || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)
      ? '\ufffd'
      : String.fromCodePoint(code);
  });
}

function shift(mention: Mention, by: number): Mention {
  return {
    ...mention,
    start: mention.start + by,
    end: mention.end + by,
    fullStart: mention.fullStart + by,
    fullEnd: mention.fullEnd + by,
  };
}
