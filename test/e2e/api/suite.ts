// Runs in the extension host of a real VS Code. `run` throws when a test failed.
import assert from 'node:assert/strict';
import * as vscode from 'vscode';

const EXTENSION = 'fovea.fovea';
const tests: { name: string; body: () => Promise<void> }[] = [];
const test = (name: string, body: () => Promise<void>) => tests.push({ name, body });

const inWorkspace = (path: string) => vscode.Uri.joinPath(vscode.workspace.workspaceFolders![0].uri, path);

async function open(path: string) {
  const document = await vscode.workspace.openTextDocument(inWorkspace(path));
  await vscode.window.showTextDocument(document);
  return document;
}

/** Our hovers at the first occurrence of a text: all parts with their trust. */
async function hoverParts(path: string, text: string): Promise<vscode.MarkdownString[]> {
  const document = await open(path);
  const position = document.positionAt(document.getText().indexOf(text) + Math.floor(text.length / 2));
  const started = Date.now();
  for (;;) {
    const hovers = await vscode.commands.executeCommand<vscode.Hover[]>(
      'vscode.executeHoverProvider',
      document.uri,
      position,
    );
    const parts = hovers
      .flatMap((hover) => hover.contents)
      .filter((content) => content instanceof vscode.MarkdownString);
    if (
      parts.some(({ value }) => /Fovea|command:fovea|\d+\s*(×|x)\s*\d+|remote|not found|no file/i.test(value))
    )
      return parts;
    if (Date.now() - started > 15000) return parts;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

const tokenViews = () =>
  vscode.window.tabGroups.all
    .flatMap((group) => group.tabs)
    .filter(
      ({ input }) => input instanceof vscode.TabInputWebview && input.viewType.includes('fovea.tokenView'),
    );

async function until(satisfied: () => boolean, what: string): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt++) {
    if (satisfied()) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.fail(`${what} did not come within 10 s`);
}

const facts = (parts: vscode.MarkdownString[]) => parts.map(({ value }) => value).join('\n');

test('the extension activates, and every command of its manifest exists', async () => {
  const extension = vscode.extensions.getExtension(EXTENSION);
  assert.ok(extension, 'the extension is installed');
  await open('notes.md');
  await extension.activate();
  const commands = await vscode.commands.getCommands(true);
  for (const { command } of extension.packageJSON.contributes.commands)
    assert.ok(commands.includes(command), command);
});

for (const [path, text] of [
  ['notes.md', 'images/login.png'],
  ['page.ts', './images/login.png'],
  ['page.ts', './images/settings-dark.png'],
  ['page.html', 'images/login.png'],
  ['load.js', './images/login.png'],
  ['view.jsx', 'images/login.png'],
  ['theme.scss', 'images/login.png'],
  ['style.css', 'images/login.png'],
  ['data.json', 'images/login.png'],
  ['data.yaml', 'images/login.png'],
  ['script.py', 'images/login.png'],
  ['paper.tex', 'images/login.png'],
]) {
  test(`a hover over ${text} in ${path} gives the size and a link that explains`, async () => {
    const parts = await hoverParts(path, text);
    const value = facts(parts);
    assert.match(value, /(1280|900)\s*(×|x|&#215;)\s*(720|900)/u);
    assert.match(value, /command:fovea\.explain/);
  });
}

test('only our own part of a hover may run commands, and only ours', async () => {
  const parts = await hoverParts('notes.md', 'images/photo.jpg');
  const ours = parts.filter(({ isTrusted }) => isTrusted);
  assert.equal(ours.length, 1);
  const { isTrusted } = ours[0];
  assert.ok(typeof isTrusted === 'object', 'trusted for some commands, not for all');
  assert.deepEqual([...isTrusted.enabledCommands].sort(), [
    'fovea.ask',
    'fovea.explain',
    'fovea.restartInference',
  ]);
  assert.doesNotMatch(ours[0].value, /terminal|onerror|img/);
  const described = parts.filter(({ value }) => /640\s*×\s*480/u.test(value));
  assert.equal(described.length, 1);
  assert.ok(!described[0].supportHtml && !described[0].isTrusted, 'text from files is plain');
  for (const part of parts) assert.doesNotMatch(part.value, /\]\(command:workbench/);
});

test('a hover over a data: URI has its facts and links that lead to its place in the document', async () => {
  const value = facts(await hoverParts('page.ts', 'data:image/png;base64'));
  assert.match(value, /1\s*×\s*1/u);
  assert.match(value, /command:fovea\.explain/);
});

test('the setting of hovers applies at once, in both directions', async () => {
  const settings = vscode.workspace.getConfiguration('fovea');
  for (const [mode, offers] of [
    ['off', false],
    ['onDemand', true],
  ] as const) {
    await settings.update('hover.explain', mode, vscode.ConfigurationTarget.Workspace);
    let value = '';
    for (let attempt = 0; attempt < 100; attempt++) {
      value = facts(await hoverParts('page.html', 'images/login.png'));
      if (/command:fovea\.explain/.test(value) === offers) break;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    assert.match(value, /1280\s*×\s*720/u, mode);
    assert.equal(/command:fovea\.explain/.test(value), offers, mode);
  }
  await settings.update('hover.explain', undefined, vscode.ConfigurationTarget.Workspace);
});

test('a remote image is named and not offered for explaining', async () => {
  const value = facts(await hoverParts('notes.md', 'https://example.com/remote.png'));
  assert.doesNotMatch(value, /command:fovea\.explain/);
});

test('a missing image and one outside the workspace say so', async () => {
  for (const path of ['images/missing.png', '../outside.png']) {
    const value = facts(await hoverParts('notes.md', path));
    assert.doesNotMatch(value, /command:fovea\.explain/, path);
  }
});

test('explaining an image opens the token view and fills the cache that hovers read', async () => {
  const image = { uri: inWorkspace('images/login.png').toString() };
  await vscode.commands.executeCommand('fovea.explain', { image });
  await until(() => tokenViews().length === 1, 'a token view');
  const parts = await hoverParts('page.ts', './images/login.png');
  assert.doesNotMatch(facts(parts), /\[Explain this image\]/);
});

test('the answer cache can be cleared', async () => {
  await vscode.commands.executeCommand('fovea.clearCache');
  const parts = await hoverParts('page.ts', './images/login.png');
  assert.match(facts(parts), /command:fovea\.explain/);
});

/** What VS Code's test driver calls. */
export async function run(): Promise<void> {
  const failures = [];
  for (const { name, body } of tests) {
    try {
      await body();
      console.log(`  ok      ${name}`);
    } catch (error) {
      failures.push(name);
      console.log(`  FAILED  ${name}\n${error instanceof Error ? error.stack : String(error)}`);
    }
  }
  if (failures.length > 0)
    throw new Error(`${failures.length} of ${tests.length} failed: ${failures.join('; ')}`);
}
