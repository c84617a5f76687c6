import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { format, resolveConfig } from 'prettier';
import { describe, expect, it } from 'vitest';
import { methodsDocument } from './methodsDocument';
import { REDUCTIONS } from './registry';

const FILE = path.join(__dirname, '..', '..', '..', 'docs', 'methods.md');

describe('docs/methods.md', () => {
  it('is what the registry says (UPDATE_DOCS=1 rewrites it)', async () => {
    const config = await resolveConfig(FILE);
    const expected = await format(methodsDocument(), { ...config, parser: 'markdown' });
    if (process.env.UPDATE_DOCS === '1') writeFileSync(FILE, expected);
    expect(readFileSync(FILE, 'utf8')).toBe(expected);
  });

  it('has a section for every method with every parameter', () => {
    const document = methodsDocument();
    for (const { description } of REDUCTIONS) {
      const section = document.split(`\n## ${description.id}\n`)[1].split('\n## ')[0];
      expect(section).toContain(description.details);
      for (const { name } of description.parameters) expect(section).toContain(`| \`${name}\` |`);
    }
  });
});
