import { mkdir, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  EXPLAIN_QUESTION,
  HOVER_COMMAND_PART,
  ImageFactsRequest,
  ImageReferenceAtRequest,
  ImageReferencesRequest,
  type HoverCommandArgument,
} from '../../server/protocol';
import {
  buildFakeInference,
  createSetup,
  removeSetup,
  TestServer,
  writePng,
  type Setup,
  type StartOptions,
} from './harness';
import { plain } from './plainMarkdown';

let setup: Setup;
let inference: string;
let image: string;
let server: TestServer;
let documents = 0;

beforeAll(async () => {
  setup = await createSetup();
  inference = await buildFakeInference(setup.folder);
  image = await writePng(path.join(setup.workspace, 'shot.png'), 640, 480);
  await writePng(path.join(setup.workspace, 'my shot (1).png'));
  await writePng(path.join(setup.folder, 'secret.png'));
  await symlink(path.join(setup.folder, 'secret.png'), path.join(setup.workspace, 'link.png'));
  await writeFile(path.join(setup.workspace, 'broken.png'), 'no image');
});
afterAll(() => removeSetup(setup));
afterEach(() => server?.stop());

async function start(options: Partial<StartOptions> = {}): Promise<void> {
  server = await TestServer.start({
    setup,
    inference,
    settings: { device: 'cpu' },
    ...options,
    options: {
      answerCacheDirectory: path.join(setup.folder, `answers-${Math.random()}`),
      ...options.options,
    },
  });
}

interface ShownHover {
  /** All contents but the commands. */
  text: string;
  commands: { label: string; command: string; argument?: HoverCommandArgument }[];
}

/** The hover at the mark in a text. */
async function hoverAt(languageId: string, marked: string, mark = '|'): Promise<ShownHover | null> {
  const offset = marked.indexOf(mark);
  const text = marked.slice(0, offset) + marked.slice(offset + 1);
  const before = text.slice(0, offset).split('\n');
  const uri = pathToFileURL(path.join(setup.workspace, `document${documents++}`)).href;
  await server.open(uri, languageId, text);
  const hover = await server.hover(uri, { line: before.length - 1, character: before.at(-1)!.length });
  if (!hover) return null;
  if (!Array.isArray(hover.contents))
    return { text: (hover.contents as { value: string }).value, commands: [] };
  const parts = hover.contents as string[];
  const last = parts.at(-1)!;
  // The client trusts exactly the part that has this form.
  expect(last).toMatch(HOVER_COMMAND_PART);
  for (const part of parts.slice(0, -1)) expect(part).not.toMatch(HOVER_COMMAND_PART);
  return { text: parts.slice(0, -1).join('\n\n'), commands: last.split(' | ').map(parseLink) };
}

function parseLink(link: string): ShownHover['commands'][number] {
  const [, label, command, query] = /^\[([^\]]*)\]\(command:([\w.]+)(?:\?(.*))?\)$/.exec(link)!;
  const [argument] = query ? (JSON.parse(decodeURIComponent(query)) as [HoverCommandArgument]) : [undefined];
  return { label, command, argument };
}

describe('the hover over an image', () => {
  it.each([
    ['markdown', '![a](sh|ot.png)'],
    ['markdown', '![a|][r]\n\n[r]: shot.png'],
    ['markdown', 'x <img alt="y" src="sh|ot.png"> z'],
    ['html', '<img alt="y" src="|shot.png">'],
    ['css', 'a { background: url(sho|t.png) }'],
    ['scss', 'a { background: url("sho|t.png") } // x'],
    ['less', 'a { background: url("sho|t.png") }'],
    ['javascript', "import a from './sho|t.png';"],
    ['javascriptreact', "const a = <img src='sho|t.png' />;"],
    ['typescript', "const a = require('./sho|t.png');"],
    ['typescriptreact', 'const a = <img src={"sho|t.png"} />;'],
    ['python', "image = open('sho|t.png', 'rb')"],
    ['json', '{ "icon": "sho|t.png" }'],
    ['jsonc', '{ "icon": "sho|t.png" } // x'],
    ['yaml', 'icon: sho|t.png'],
    ['latex', '\\includegraphics[width=3cm]{sho|t}'],
  ])('in %s: %s', async (languageId, text) => {
    await start();
    const hover = await hoverAt(languageId, text);
    expect(hover?.text).toContain('640 × 480 px');
    expect(hover?.text).toMatch(/PNG/);
    // VS Code itself shows the picture in Markdown.
    const picture = `![](${image}|width=173,height=130)`;
    if (languageId === 'markdown') expect(hover?.text).not.toContain('![');
    else expect(hover?.text).toContain(picture);
    expect(hover?.commands).toEqual([
      { label: 'Explain this image', command: 'fovea.explain', argument: { image: { uri: image } } },
      { label: 'Ask about it', command: 'fovea.ask', argument: { image: { uri: image } } },
    ]);
    expect(server.events()).toEqual([]);
  });

  it('is absent beside an image, in other files, and over strings that lead nowhere', async () => {
    await start();
    expect(await hoverAt('markdown', '![a](shot.png) te|xt')).toBeNull();
    expect(await hoverAt('plaintext', '![a](sh|ot.png)')).toBeNull();
    expect(await hoverAt('typescript', "const a = 'missi|ng.png';")).toBeNull();
  });

  it('shows the cached explanation, and nothing is asked', async () => {
    await start();
    await server.ask({ images: [{ uri: image }] });
    const before = server.events();
    const hover = await hoverAt('html', '<img src="sh|ot.png">');
    expect(hover?.text).toContain(EXPLAIN_QUESTION.replace('.', '\\.'));
    expect(hover?.commands[0]).toMatchObject({ label: 'Show the tokens', command: 'fovea.explain' });
    expect(server.events()).toEqual(before);
  });

  it('warns where the explanation probably lost text, and offers it with all tokens', async () => {
    const warning = {
      code: 'reduction.fine-text',
      message: 'Fine text *is* lost.',
      askAgain: { reduction: 'none' },
    };
    await start({ environment: { FAKE_PLAIN: JSON.stringify({ warning }) } });
    await server.ask({ images: [{ uri: image }] });
    const hover = await hoverAt('html', '<img src="sh|ot.png">');
    expect(hover?.text).toContain('Fine text \\*is\\* lost\\.');
    expect(hover?.commands.map(({ label }) => label)).toEqual([
      'Show the tokens',
      'Ask again with all tokens',
      'Ask about it',
    ]);
    expect(hover?.commands[1]).toMatchObject({
      command: 'fovea.explain',
      argument: { image: { uri: image }, reduction: 'none' },
    });
  });

  it('warns where the text is too small for the model, and offers nothing that would not help', async () => {
    const warning = { code: 'image.small-text', message: 'Text is 2 px high.' };
    await start({ environment: { FAKE_PLAIN: JSON.stringify({ warning }) } });
    await server.ask({ images: [{ uri: image }] });
    const hover = await hoverAt('html', '<img src="sh|ot.png">');
    expect(hover?.text).toContain('Text is 2 px high\\.');
    expect(hover?.commands.map(({ label }) => label)).toEqual(['Show the tokens', 'Ask about it']);
  });

  it('is facts only with the setting off, and follows the setting without a restart', async () => {
    await start({ settings: { hover: { explain: 'off' } } });
    const off = await hoverAt('html', '<img src="sh|ot.png">');
    expect(off?.commands).toEqual([]);
    expect(off?.text).toContain('640 × 480 px');
    await server.configure({ hover: { explain: 'onDemand' } });
    expect((await hoverAt('html', '<img src="sh|ot.png">'))?.commands).toHaveLength(2);
  });

  it('offers a restart where inference has stopped', async () => {
    await start({ open: { crash: 'SIGKILL' } });
    for (let i = 0; i < 3; i++) await server.ask({ images: [{ uri: image }] }).catch(() => undefined);
    const hover = await hoverAt('html', '<img src="sh|ot.png">');
    expect(hover?.commands).toEqual([{ label: 'Restart inference', command: 'fovea.restartInference' }]);
    expect(hover?.text).toContain('Inference is stopped');
  });

  it('has facts also when the model is missing, and says what is wrong', async () => {
    await start({ settings: { model: path.join(setup.folder, 'nowhere') } });
    const hover = await hoverAt('html', '<img src="sh|ot.png">');
    expect(hover?.text).toContain('640 × 480 px');
    expect(hover?.text).toContain('nowhere');
  });

  it('names what cannot be shown', async () => {
    await start();
    const texts = await Promise.all(
      ['miss|ing.png', '../sec|ret.png', 'li|nk.png', 'bro|ken.png', 'https://example.org/a|.png?x=1'].map(
        async (destination) => plain((await hoverAt('markdown', `![a](${destination})`))!.text),
      ),
    );
    expect(texts[0]).toContain('does not exist');
    expect(texts[1]).toContain('outside the workspace');
    expect(texts[2]).toContain('outside the workspace');
    expect(texts[3]).toContain('not an image');
    expect(texts[4]).toBe('Remote image, not fetched: https://example.org/a.png?x=1');
  });

  it('gives plain text to a client that shows no Markdown, and no commands to one that has none', async () => {
    await start({ capabilities: { textDocument: { hover: { contentFormat: ['plaintext'] } } } });
    expect((await hoverAt('html', '<img src="sh|ot.png">'))?.text).toMatch(
      /^shot\.png\n640 × 480 px · [\d.]+ KB · PNG$/,
    );
    await server.stop();
    await start({ options: { hoverCommands: false } });
    const hover = await hoverAt('html', '<img src="sh|ot.png">');
    expect(hover?.commands).toEqual([]);
    expect(hover?.text).not.toContain('command:');
  });
});

describe('a data: URI', () => {
  it('has facts, its picture, and links that lead to its place in the document', async () => {
    await start();
    const { default: sharp } = await import('sharp');
    const png = await sharp({ create: { width: 5, height: 4, channels: 3, background: 'red' } })
      .png()
      .toBuffer();
    const data = `data:image/png;base64,${png.toString('base64')}`;
    const hover = await hoverAt('html', `<img src="${data.slice(0, 30)}|${data.slice(30)}">`);
    expect(hover?.text).toContain(`![](${data}|width=5,height=4)`);
    expect(hover?.text).toContain('5 × 4 px');
    const source = hover!.commands[0].argument!.image;
    expect(source).toMatchObject({ mention: { position: { line: 0, character: 10 } } });
    expect(await server.request(ImageFactsRequest.type, { image: source })).toMatchObject({
      width: 5,
      height: 4,
    });
    expect((await server.ask({ images: [source] })).result.images[0]).toMatchObject({ width: 5, height: 4 });
  });

  it('that is long is not put into the hover', async () => {
    await start();
    const svg = Buffer.from(`<svg width="9" height="9"><!--${'x'.repeat(100_000)}--></svg>`).toString(
      'base64',
    );
    const hover = await hoverAt('html', `<img src="data:image/svg|+xml;base64,${svg}">`);
    expect(hover!.text.length).toBeLessThan(1000);
    expect(hover?.text).toContain('9 × 9 px');
  });
});

describe('hostile', () => {
  const attacks = [
    '[click](command:workbench.action.quit)',
    '![x](https://example.org/x.png)',
    '<img src=https://example.org/x.png onerror=alert(1)>',
    'https://example.org/ www.example.org mail@example.org',
    '[Explain this image](command:fovea.explain?%5B%5D)',
    '# heading\n- list\n> quote\n```\ncode',
    '&lt;b&gt; &#91; $(zap) ~~x~~ **y** | a | b |',
    '\u202egnp.exe\u2066\u200b',
    '\\[x\\](y) \\',
  ];

  it.each(attacks)('answers are shown as text: %j', async (attack) => {
    await start({ environment: { FAKE_PLAIN: JSON.stringify({ pieces: [attack] }) } });
    await server.ask({ images: [{ uri: image }] });
    const hover = await hoverAt('markdown', '![a](sh|ot.png)');
    // Behind name and facts.
    const answer = hover!.text.split('\n\n').slice(1).join('\n\n');
    const shown = plain(answer);
    expect(shown).not.toMatch(/[\u202e\u2066\u200b]/);
    expect(shown.replace(/\s+/g, ' ').trim()).toBe(
      attack
        .replace(/[\u202e\u2066\u200b]/g, '')
        .replace(/\s+/g, ' ')
        .trim(),
    );
    expect(hover?.commands.map(({ command }) => command)).toEqual(['fovea.explain', 'fovea.ask']);
  });

  it.each([
    'a](command:x) [.png',
    '<img src=x>.png',
    'x|width=9999,height=1.png',
    '$(zap)`.png',
    "q'(1)!*~.png",
  ])('file names are shown as text and lead to the file: %s', async (name) => {
    await start();
    const uri = await writePng(path.join(setup.workspace, 'names', name));
    const hover = await hoverAt('typescript', `const a = "./names/${name.replace('.png', '¦.png')}";`, '¦');
    const [picture, ...facts] = hover!.text.split('\n\n');
    const [, address] = /^!\[\]\(([^()\s|<>]+)\|width=8,height=6\)$/.exec(picture)!;
    expect(new URL(address).pathname).toBe(
      new URL(uri).pathname.replace(/[()|']/g, (c) => `%${c.charCodeAt(0).toString(16)}`),
    );
    expect(plain(facts.join('\n\n').replace(/^\*\*|\*\*(?= {2}\n)/g, ''))).toContain(name);
    expect(hover!.commands[0].argument).toEqual({ image: { uri } });
  });

  it('alternative texts and addresses do not reach the hover', async () => {
    await start();
    const hover = await hoverAt('markdown', '![[x](command:y)](sh|ot.png "<b>[t](command:z)</b>")');
    expect(hover?.text).not.toMatch(/command|<b>/);
    const remote = await hoverAt('html', '<img src="https://example.org/](command:x)|[a.png">');
    expect(plain(remote!.text)).toContain('](command:x)[a.png');
  });
});

describe('references of a document', () => {
  it('come in order, with their targets', async () => {
    await start();
    await mkdir(path.join(setup.workspace, 'sub'), { recursive: true });
    const uri = pathToFileURL(path.join(setup.workspace, 'sub', 'page.md')).href;
    await server.open(
      uri,
      'markdown',
      '![one](../shot.png)\n\n![two](<../my shot (1).png>) ![](gone.png) ![](https://example.org/x.png)',
    );
    const references = await server.request(ImageReferencesRequest.type, { textDocument: { uri } });
    expect(references.map(({ target, alt }) => [alt, target.kind])).toEqual([
      ['one', 'file'],
      ['two', 'file'],
      ['', 'unreadable'],
      ['', 'remote'],
    ]);
    expect(references[1].range).toEqual({
      start: { line: 2, character: 8 },
      end: { line: 2, character: 26 },
    });
    const at = await server.request(ImageReferenceAtRequest.type, {
      textDocument: { uri },
      position: { line: 2, character: 3 },
    });
    expect(at).toEqual(references[1]);
    expect(
      await server.request(ImageReferenceAtRequest.type, {
        textDocument: { uri },
        position: { line: 1, character: 0 },
      }),
    ).toBeNull();
  });
});
