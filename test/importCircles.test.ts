import { readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';

/*
 * No file needs itself by way of others, types included: what two files share belongs into a third one below both.
 */

const ROOT = path.join(__dirname, '..');
const FOLDERS = ['server', 'client', 'webview', 'bench', 'test'];
/** `import ... from './x'`, `export ... from './x'`, `import './x'`; over several lines too. */
const IMPORT = /^(?:import|export)\s(?:[^'";]*?\sfrom\s*)?'(\.[^']*)'/gm;

/** The files that a file imports, as far as they are ours. */
function importsOf(file: string, text: string, files: ReadonlySet<string>): string[] {
  return Array.from(text.matchAll(IMPORT), ([, to]) => path.join(path.dirname(file), to)).flatMap((stem) =>
    [`${stem}.ts`, path.join(stem, 'index.ts'), stem].filter((candidate) => files.has(candidate)).slice(0, 1),
  );
}

/** Circles of a graph: one for each edge that leads back to where a walk has come from. */
function circles(graph: ReadonlyMap<string, readonly string[]>): string[][] {
  const done = new Set<string>();
  const found: string[][] = [];
  const walk = (file: string, way: readonly string[]): void => {
    const start = way.indexOf(file);
    if (start >= 0) found.push([...way.slice(start), file]);
    if (start >= 0 || done.has(file)) return;
    for (const next of graph.get(file) ?? []) walk(next, [...way, file]);
    done.add(file);
  };
  for (const file of graph.keys()) walk(file, []);
  return found;
}

it('finds circles', () => {
  const text = `import { a } from './a';\nimport type {\n  B,\n} from '../b';\nexport * from './c';\nimport 'd';`;
  const files = new Set(['x/a.ts', 'b.ts', 'x/c/index.ts']);
  expect(importsOf('x/file.ts', text, files)).toEqual(['x/a.ts', 'b.ts', 'x/c/index.ts']);
  const graph = new Map([
    ['a', ['b', 'c']],
    ['b', ['c']],
    ['c', ['a']],
    ['d', ['a']],
  ]);
  expect(circles(graph)).toEqual([['a', 'b', 'c', 'a']]);
  expect(
    circles(
      new Map([
        ['a', ['b', 'c']],
        ['b', ['c']],
        ['c', []],
      ]),
    ),
  ).toEqual([]);
});

it('there are none among the sources', () => {
  const sources = FOLDERS.flatMap((folder) =>
    readdirSync(path.join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .map((file) => path.join(folder, file))
      .filter((file) => file.endsWith('.ts') && statSync(path.join(ROOT, file)).isFile()),
  );
  const files = new Set(sources);
  const graph = new Map(
    sources.map((file) => [file, importsOf(file, readFileSync(path.join(ROOT, file), 'utf8'), files)]),
  );
  expect(sources.length).toBeGreaterThan(100);
  expect([...graph.values()].flat().length).toBeGreaterThan(300);
  expect(circles(graph).map((circle) => circle.join(' -> '))).toEqual([]);
});
