import { readFileSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { DEFAULT_SETTINGS, HOVER_COMMAND_PART, HoverCommand } from './protocol';

const SOURCE = ts.createSourceFile(
  'protocol.ts',
  readFileSync(path.join(__dirname, 'protocol.ts'), 'utf8'),
  ts.ScriptTarget.Latest,
  true,
);
const DOCUMENT = readFileSync(path.resolve(__dirname, '../docs/protocol.md'), 'utf8');

interface Message {
  method: string;
  /** Names of the properties of its own interfaces. */
  fields: string[];
}

/** Every namespace with a `method`. */
function messages(): Message[] {
  const found: Message[] = [];
  for (const statement of SOURCE.statements) {
    if (!ts.isModuleDeclaration(statement) || !statement.body || !ts.isModuleBlock(statement.body)) continue;
    let method: string | undefined;
    const fields: string[] = [];
    for (const inner of statement.body.statements) {
      if (ts.isVariableStatement(inner)) {
        const [{ name, initializer }] = inner.declarationList.declarations;
        if (name.getText() === 'method' && initializer && ts.isStringLiteral(initializer))
          method = initializer.text;
      } else if (ts.isInterfaceDeclaration(inner)) {
        fields.push(...inner.members.map((member) => member.name!.getText()));
      }
    }
    if (method !== undefined) found.push({ method, fields });
  }
  return found;
}

function membersOf(name: string): string[] {
  const declaration = SOURCE.statements.find(
    (statement) => ts.isInterfaceDeclaration(statement) && statement.name.text === name,
  ) as ts.InterfaceDeclaration;
  return declaration.members.map((member) => member.name!.getText());
}

/** Text under a heading, up to the next one of its level. */
function section(heading: string): string {
  const level = heading.slice(0, heading.indexOf(' '));
  const start = DOCUMENT.indexOf(`\n${heading}\n`);
  if (start < 0) return '';
  const end = DOCUMENT.indexOf(`\n${level} `, start + heading.length);
  const up = DOCUMENT.indexOf('\n## ', start + heading.length);
  return DOCUMENT.slice(start, Math.min(...[end, up].filter((at) => at >= 0), DOCUMENT.length));
}

describe('docs/protocol.md', () => {
  it('describes every message, and none that does not exist', () => {
    const methods = messages().map(({ method }) => method);
    expect(methods.length).toBeGreaterThanOrEqual(12);
    const described = [...DOCUMENT.matchAll(/^### (fovea\/\w+)$/gm)].map((match) => match[1]);
    expect(described.sort()).toEqual(methods.sort());
  });

  it.each(messages())('$method: every field is there', ({ method, fields }) => {
    const text = section(`### ${method}`);
    expect(fields.filter((field) => !text.includes(`\`${field}\``))).toEqual([]);
  });

  it.each([
    ['### fovea/imageFacts', 'ImageFacts'],
    ['### fovea/imageReferenceAt', 'ImageReference'],
    ['## Initialization options', 'ServerOptions'],
    ['## Errors', 'ErrorData'],
  ])('%s has every field of %s', (heading, name) => {
    const fields = membersOf(name);
    expect(fields.length).toBeGreaterThan(3);
    expect(fields.filter((field) => !section(heading).includes(`\`${field}\``))).toEqual([]);
  });

  it('states the settings with their defaults', () => {
    const rows = [...section('## Settings').matchAll(/^\| `fovea\.([\w.]+)` +\| `([^`]*)` +\|/gm)];
    const stated = Object.fromEntries(rows.map(([, key, value]) => [key, value]));
    const defaults: Record<string, string> = {};
    for (const [key, value] of Object.entries(DEFAULT_SETTINGS)) {
      if (typeof value !== 'object') defaults[key] = value === '' ? '""' : String(value);
      else
        for (const [inner, innerValue] of Object.entries(value))
          defaults[`${key}.${inner}`] = String(innerValue);
    }
    expect(stated).toEqual(defaults);
  });
});

describe('server/protocol.ts', () => {
  it('imports nothing', () => {
    expect(SOURCE.statements.filter((statement) => ts.isImportDeclaration(statement))).toEqual([]);
  });

  it('HOVER_COMMAND_PART takes our links and nothing around or between them', () => {
    const link = `[Explain this image](command:${HoverCommand.explain}?%5B%7B%22a%22%3A1%7D%5D)`;
    expect(link).toMatch(HOVER_COMMAND_PART);
    expect(`${link} | [Ask](command:${HoverCommand.ask})`).toMatch(HOVER_COMMAND_PART);
    for (const text of [
      '',
      ` ${link}`,
      `${link} x`,
      `${link}\n[x](command:fovea.ask)`,
      `${link} | `,
      '[x](command:workbench.action.quit)',
      '[x](command:fovea.ask) | [x](https://example.org)',
      '[x](command:fovea.ask "title")',
      '[x](command:fovea.ask?a)b)',
      '[<b>](command:fovea.ask)',
    ]) {
      expect(text).not.toMatch(HOVER_COMMAND_PART);
    }
  });
});
