import { decodeEntities, htmlMentions, readTag } from './html';
import { looksLikeImage, MAX_PATH, type Mention } from './mention';
import { yamlMentions } from './yaml';

/**
 * Markdown as CommonMark 0.31 reads it, as far as images go: inline, full, collapsed and shortcut references, links that
 * lead to images, definitions, HTML; code spans, code blocks and escapes are respected. Front matter is read as YAML.
 */
export function markdownMentions(text: string): Mention[] {
  const { chunks, definitions, frontMatter } = splitBlocks(text);
  const mentions: Mention[] = [];
  if (frontMatter > 0) mentions.push(...yamlMentions(text.slice(0, frontMatter)));
  for (const definition of definitions.values()) {
    if (looksLikeImage(definition.destination)) mentions.push({ ...definition, kind: 'url', certain: true });
  }
  for (const chunk of chunks) mentions.push(...new InlineScanner(text, chunk, definitions).scan());
  return mentions.sort((a, b) => a.start - b.start || a.fullStart - b.fullStart);
}

/** Text that inlines are read from: between blank lines, code blocks and definitions. */
interface Chunk {
  start: number;
  end: number;
}

interface Definition {
  start: number;
  end: number;
  fullStart: number;
  fullEnd: number;
  destination: string;
}

interface Blocks {
  chunks: Chunk[];
  definitions: Map<string, Definition>;
  /** Offset behind the front matter; 0 where there is none. */
  frontMatter: number;
}

function splitBlocks(text: string): Blocks {
  const chunks: Chunk[] = [];
  const definitions = new Map<string, Definition>();
  const frontMatter =
    /^---[ \t]*\r?\n(?:[^]*?\r?\n)?(?:---|\.\.\.)[ \t]*(?:\r?\n|$)/.exec(text)?.[0].length ?? 0;
  let chunk: Chunk | undefined;
  let fence: { mark: string; length: number } | undefined;
  let inList = false;
  const close = (): void => {
    if (chunk) chunks.push(chunk);
    chunk = undefined;
  };
  let start = frontMatter;
  while (start < text.length) {
    const newline = text.indexOf('\n', start);
    const end = newline < 0 ? text.length : newline + 1;
    // Quote marks and list markers open containers; what counts is behind them.
    const line = text.slice(start, end).replace(/\r?\n$/, '');
    const content = line.replace(/^(?: {0,3}>[ \t]?)+/, '');
    const fenceMark = /^[ \t]*(?:(?:[-+*]|\d{1,9}[.)])[ \t]+)?(`{3,}|~{3,})([^]*)$/.exec(content);
    if (fence) {
      const closing = /^[ \t]*(`{3,}|~{3,})[ \t]*$/.exec(content);
      if (closing && closing[1][0] === fence.mark && closing[1].length >= fence.length) fence = undefined;
    } else if (fenceMark && !(fenceMark[1][0] === '`' && fenceMark[2].includes('`'))) {
      close();
      fence = { mark: fenceMark[1][0], length: fenceMark[1].length };
    } else if (content.trim() === '') {
      close();
    } else if (!chunk && !inList && /^(?: {4}| {0,3}\t)/.test(content)) {
      // An indented code block; inside a list the same indent is text.
    } else {
      if (/^ {0,3}(?:[-+*]|\d{1,9}[.)])(?:[ \t]|$)/.test(content)) inList = true;
      else if (!chunk && /^\S/.test(content)) inList = false;
      const definition = chunk ? undefined : readDefinition(text, start);
      if (definition) {
        const { label, ...rest } = definition;
        if (!definitions.has(label)) definitions.set(label, rest);
        start = definition.fullEnd;
        const rest2 = text.indexOf('\n', start);
        start = rest2 < 0 ? text.length : rest2 + 1;
        continue;
      }
      chunk ??= { start, end };
      chunk.end = end;
    }
    start = end;
  }
  close();
  return { chunks, definitions, frontMatter };
}

/** A link reference definition (CommonMark 4.7) that begins on the line at `start`. */
function readDefinition(text: string, start: number): (Definition & { label: string }) | undefined {
  const head = /^(?: {0,3}>[ \t]?)* {0,3}\[((?:[^[\]\\]|\\[^])+)\]:[ \t]*(?:\r?\n[ \t]*)?/.exec(
    text.slice(start, start + 2000),
  );
  if (!head || head[1].trim() === '') return undefined;
  const destination = readDestination(text, start + head[0].length, text.length);
  if (!destination || destination.start === destination.end) return undefined;
  const rest = text.slice(destination.after, lineEnd(text, destination.after));
  if (rest.trim() !== '' && !/^[ \t]+(?:"[^]*"|'[^]*'|\([^]*\))[ \t]*$/.test(rest.trimEnd()))
    return undefined;
  const fullEnd = destination.after + rest.trimEnd().length;
  const fullStart = start + head[0].indexOf('[');
  const decoded = decodeDestination(text.slice(destination.start, destination.end));
  return { label: normalise(head[1]), ...destination, fullStart, fullEnd, destination: decoded };
}

function lineEnd(text: string, from: number): number {
  const newline = text.indexOf('\n', from);
  return newline < 0 ? text.length : newline;
}

/** Matching of labels: CommonMark 6.3. */
function normalise(label: string): string {
  return label.trim().replace(/\s+/g, ' ').toLowerCase().toUpperCase();
}

interface Destination {
  /** The destination as written, without pointed brackets. */
  start: number;
  end: number;
  /** Behind it, with the bracket. */
  after: number;
}

/** A link destination (CommonMark 6.3): pointed brackets, or no white space and balanced parentheses. */
function readDestination(text: string, start: number, limit: number): Destination | undefined {
  if (text[start] === '<') {
    for (let i = start + 1; i < limit; i++) {
      const c = text[i];
      if (c === '>') return { start: start + 1, end: i, after: i + 1 };
      if (c === '<' || c === '\n') return undefined;
      if (c === '\\') i++;
    }
    return undefined;
  }
  let depth = 0;
  let i = start;
  // Only data: URIs are longer than a path.
  const last = /^data:/i.test(text.slice(start, start + 5)) ? limit : Math.min(limit, start + MAX_PATH + 1);
  for (; i < last; i++) {
    const code = text.charCodeAt(i);
    if (code <= 0x20 || code === 0x7f) break;
    if (code === 0x5c && isPunctuation(text[i + 1])) i++;
    else if (code === 0x28 && ++depth > MAX_PARENTHESES) return undefined;
    else if (code === 0x29 && --depth < 0) break;
  }
  i = Math.min(i, last);
  return depth > 0 ? undefined : { start, end: i, after: i };
}

/** Longest label, CommonMark 4.7, and limits of the same kind where it has none: they keep hostile texts cheap. */
const MAX_LABEL = 999;
const MAX_ALT = 4000;
const MAX_TITLE = 4000;
const MAX_PARENTHESES = 32;

const isPunctuation = (c: string | undefined): boolean => c !== undefined && /[!-/:-@[-`{-~]/.test(c);

function decodeDestination(raw: string): string {
  return decodeEntities(raw.replace(/\\([!-/:-@[-`{-~])/g, '$1'));
}

class InlineScanner {
  readonly #text: string;
  readonly #chunk: Chunk;
  readonly #definitions: ReadonlyMap<string, Definition>;
  readonly #mentions: Mention[] = [];
  /** False behind a tag that the chunk does not close: no later one is closed either. */
  #hasTags = true;
  /** False behind a comment that nothing closes. */
  #hasComments = true;

  constructor(text: string, chunk: Chunk, definitions: ReadonlyMap<string, Definition>) {
    this.#text = text;
    this.#chunk = chunk;
    this.#definitions = definitions;
  }

  scan(): Mention[] {
    const text = this.#text;
    const { end } = this.#chunk;
    /** Open brackets, as in CommonMark's appendix: images and links wait for their `]`. */
    const open: { at: number; isImage: boolean }[] = [];
    let i = this.#chunk.start;
    while (i < end) {
      const c = text[i];
      if (c === '\\') i += 2;
      else if (c === '`') i = this.#skipCode(i);
      else if (c === '<') i = this.#html(i);
      else if (c === '!' && text[i + 1] === '[') {
        open.push({ at: i, isImage: true });
        i += 2;
      } else if (c === '[') {
        open.push({ at: i, isImage: false });
        i++;
      } else if (c === ']') {
        const opener = open.pop();
        i = opener ? this.#close(opener.at, opener.isImage, i) : i + 1;
      } else i++;
    }
    return this.#mentions;
  }

  /** @returns the offset behind a code span, or behind the backticks that open none. */
  #skipCode(at: number): number {
    const text = this.#text;
    let length = 0;
    while (text[at + length] === '`') length++;
    let i = at + length;
    while (i < this.#chunk.end) {
      i = text.indexOf('`', i);
      if (i < 0 || i >= this.#chunk.end) break;
      let run = 0;
      while (text[i + run] === '`') run++;
      if (run === length) return i + run;
      i += run;
    }
    return at + length;
  }

  /** @returns the offset behind a tag, comment or autolink, or behind the `<` that opens none. */
  #html(at: number): number {
    const text = this.#text;
    if (text.startsWith('<!--', at)) {
      const close = this.#hasComments ? text.indexOf('-->', at + 4) : -1;
      this.#hasComments = close >= 0;
      return close < 0 ? at + 4 : close + 3;
    }
    const autolink = /^<[A-Za-z][A-Za-z0-9+.-]{1,31}:[^\s<>]*>/.exec(
      text.slice(at, Math.min(at + 2000, this.#chunk.end)),
    );
    if (autolink) return at + autolink[0].length;
    const tag = this.#hasTags ? readTag(text, at, this.#chunk.end) : undefined;
    if (tag === 'unclosed') this.#hasTags = false;
    if (!tag || tag === 'unclosed') return at + 1;
    for (const mention of htmlMentions(text.slice(tag.start, tag.end))) {
      this.#mentions.push({
        ...mention,
        start: mention.start + at,
        end: mention.end + at,
        fullStart: mention.fullStart + at,
        fullEnd: mention.fullEnd + at,
      });
    }
    return tag.end;
  }

  /** A `]` that closes a bracket. @returns the offset to go on from. */
  #close(opener: number, isImage: boolean, bracket: number): number {
    const text = this.#text;
    const labelStart = opener + (isImage ? 2 : 1);
    const alt = (): { alt?: string } =>
      isImage ? { alt: plainText(text.slice(labelStart, Math.min(bracket, labelStart + MAX_ALT))) } : {};
    const inline = text[bracket + 1] === '(' ? this.#inlineTarget(bracket + 2) : undefined;
    if (inline) {
      const { start, end, close } = inline;
      const raw = text.slice(start, end);
      const destination = decodeDestination(raw);
      const isPath = destination !== '' && (raw.length <= MAX_PATH || /^data:/i.test(raw));
      if (isPath && (isImage || looksLikeImage(destination))) {
        const range = { start, end, fullStart: opener, fullEnd: close + 1 };
        this.#mentions.push({ ...range, ...alt(), destination, kind: 'url', certain: isImage });
      }
      return close + 1;
    }
    const full = text[bracket + 1] === '[' ? this.#label(bracket + 2) : undefined;
    // `[text][]` and `[text]` take the text itself as label.
    const [start, end] = full && full.start < full.end ? [full.start, full.end] : [labelStart, bracket];
    const label = end - start <= MAX_LABEL ? normalise(text.slice(start, end)) : '';
    const definition = this.#definitions.get(label);
    if (!definition) return bracket + 1;
    const after = full ? full.end + 1 : bracket + 1;
    const { destination } = definition;
    if (isImage || looksLikeImage(destination)) {
      const range = { start, end, fullStart: opener, fullEnd: after };
      this.#mentions.push({ ...range, ...alt(), destination, kind: 'url', certain: isImage });
    }
    return after;
  }

  /** `destination "title")`, behind the `(`. */
  #inlineTarget(from: number): (Destination & { close: number }) | undefined {
    const text = this.#text;
    const { end } = this.#chunk;
    let i = skipSpace(text, from, end);
    const destination = readDestination(text, i, end);
    if (!destination) return undefined;
    i = skipSpace(text, destination.after, end);
    if (i > destination.after && `"'(`.includes(text[i] ?? ')')) {
      const mark = text[i] === '(' ? ')' : text[i];
      i++;
      const limit = Math.min(end, i + MAX_TITLE);
      while (i < limit && text[i] !== mark) i += text[i] === '\\' ? 2 : 1;
      i = skipSpace(text, i + 1, end);
    }
    return i < end && text[i] === ')' ? { ...destination, close: i } : undefined;
  }

  /** `label]`, behind the `[`. */
  #label(from: number): { start: number; end: number } | undefined {
    const limit = Math.min(this.#chunk.end, from + MAX_LABEL + 1);
    for (let i = from; i < limit; i++) {
      const c = this.#text[i];
      if (c === ']') return { start: from, end: i };
      if (c === '[') return undefined;
      if (c === '\\') i++;
    }
    return undefined;
  }
}

function skipSpace(text: string, from: number, end: number): number {
  let i = from;
  while (i < end && /\s/.test(text[i])) i++;
  return i;
}

/** Alternative text without escapes; inner markup stays as written. */
function plainText(raw: string): string {
  return decodeDestination(raw).replace(/\s+/g, ' ').trim();
}
