import { cssMentions } from './css';
import { htmlMentions } from './html';
import { latexMentions } from './latex';
import { markdownMentions } from './markdown';
import type { Mention } from './mention';
import { stringMentions } from './strings';
import { yamlMentions } from './yaml';

/** Longer documents (in UTF-16 code units) are data, not writing; their images are not looked for. */
export const MAX_DOCUMENT_LENGTH = 4_000_000;

const READERS: Readonly<Record<string, (text: string) => Mention[]>> = {
  markdown: markdownMentions,
  html: htmlMentions,
  handlebars: htmlMentions,
  php: htmlMentions,
  vue: htmlMentions,
  svelte: htmlMentions,
  xml: htmlMentions,
  css: (text) => cssMentions(text, false),
  scss: (text) => cssMentions(text, true),
  less: (text) => cssMentions(text, true),
  javascript: stringMentions,
  javascriptreact: stringMentions,
  typescript: stringMentions,
  typescriptreact: stringMentions,
  python: stringMentions,
  json: stringMentions,
  jsonc: stringMentions,
  yaml: yamlMentions,
  latex: latexMentions,
  tex: latexMentions,
};

/** The languages whose images are found, by VS Code's language identifiers. */
export const LANGUAGES: readonly string[] = Object.keys(READERS);

/** All mentions of images in a text, in its order; none for an unknown language. */
export function findMentions(text: string, languageId: string): Mention[] {
  if (text.length > MAX_DOCUMENT_LENGTH) return [];
  return Object.hasOwn(READERS, languageId) ? READERS[languageId](text) : [];
}
