import { expect } from 'vitest';

/** What a Markdown text shows once its escapes are resolved; fails where something in it is not text. */
export function plain(markdown: string): string {
  const unescaped = markdown.replace(/\\([!-/:-@[-`{-~])/g, '');
  expect(unescaped.replace(/ {2}\n|[\n ]/g, '')).not.toMatch(/[!-/:-@[-`{-~]/);
  return markdown.replace(/\\([!-/:-@[-`{-~])/g, '$1');
}
