import { MAX_PATH, type Mention } from './mention';

/** LaTeX: `\includegraphics[...]{path}` (extension often left out), also `\includesvg`; comments do not count. */
export function latexMentions(text: string): Mention[] {
  const mentions: Mention[] = [];
  const code = blankComments(text);
  for (const match of code.matchAll(
    /\\include(?:graphics|svg)\*?\s*(?:\[[^[\]]{0,1000}\]\s*)?\{([^{}\\]{1,1000})\}/g,
  )) {
    const destination = match[1].trim().replace(/^"(.*)"$/, '$1');
    if (destination === '' || destination.length > MAX_PATH) continue;
    const start = match.index + match[0].lastIndexOf('{') + 1 + match[1].indexOf(destination);
    const range = { start, end: start + destination.length };
    const full = { fullStart: match.index, fullEnd: match.index + match[0].length };
    mentions.push({ ...range, ...full, destination, kind: 'path', certain: true });
  }
  return mentions;
}

/** Folders of `\graphicspath{{a/}{b/}}`, relative to the document. */
export function graphicsPaths(text: string): string[] {
  const folders =
    /\\graphicspath\s*\{((?:\s*\{[^{}]{0,500}\}){1,50})\s*\}/.exec(blankComments(text))?.[1] ?? '';
  return [...folders.matchAll(/\{([^{}]*)\}/g)]
    .map((match) => match[1].trim())
    .filter((folder) => folder !== '');
}

/** Comments as spaces, so that offsets stay; `\%` is a percent sign. */
function blankComments(text: string): string {
  return text.replace(
    /(\\[^])|%[^\n]*/g,
    (whole, escaped: string | undefined) => escaped ?? ' '.repeat(whole.length),
  );
}
