import { looksLikeImage, MAX_PATH, type Mention } from './mention';
import { stringMentions } from './strings';

/** YAML: quoted strings, and plain scalars: values behind `key: `, items behind `- `, members of `[a, b]`. */
export function yamlMentions(text: string): Mention[] {
  const mentions = stringMentions(text);
  const isTaken = (start: number, end: number): boolean =>
    mentions.some((mention) => mention.start < end && start < mention.end);
  const plain: Mention[] = [];
  let lineStart = 0;
  for (const line of text.split('\n')) {
    for (const [from, to] of plainScalars(line)) {
      const destination = line.slice(from, to);
      if (destination.length > MAX_PATH || !looksLikeImage(destination)) continue;
      const [start, end] = [lineStart + from, lineStart + to];
      if (isTaken(start, end)) continue;
      const range = { start, end, fullStart: start, fullEnd: end };
      plain.push({ ...range, destination, kind: 'path', certain: false });
    }
    lineStart += line.length + 1;
  }
  return [...mentions, ...plain].sort((a, b) => a.start - b.start);
}

/** The pieces of a line between YAML's separators, without white space around them. */
function plainScalars(line: string): [from: number, to: number][] {
  const pieces: [number, number][] = [];
  let from = 0;
  const finish = (to: number): void => {
    let [start, end] = [from, to];
    while (start < end && /\s/.test(line[start])) start++;
    while (end > start && /\s/.test(line[end - 1])) end--;
    if (end > start && !`"'`.includes(line[start])) pieces.push([start, end]);
  };
  for (let i = 0; i < line.length; i++) {
    const c = line[i];
    const followedBySpace = i + 1 === line.length || line[i + 1] === ' ' || line[i + 1] === '\t';
    const isSeparator =
      '[]{},'.includes(c) ||
      (c === ':' && followedBySpace) ||
      ((c === '-' || c === '?') && followedBySpace && line.slice(from, i).trim() === '');
    if (isSeparator) {
      finish(i);
      from = i + 1;
    } else if (c === '#' && (i === 0 || /\s/.test(line[i - 1]))) {
      finish(i);
      return pieces;
    }
  }
  finish(line.length);
  return pieces;
}
