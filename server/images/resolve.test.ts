import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ImageTarget } from '../protocol';
import { resolveMention } from './resolve';
import { checkPathText, isInside, pathOfFileUri } from './safeFiles';
import { imageFacts, loadImage } from './source';

/** The smallest file whose header says that it is a GIF of 3 x 2 pixels. */
const GIF = Buffer.from('GIF89a\x03\x00\x02\x00\x00\x00\x00;', 'latin1');

let root: string;
let ws: string;

beforeAll(async () => {
  root = await realpath(await mkdtemp(path.join(tmpdir(), 'fovea-images-')));
  ws = path.join(root, 'ws');
  for (const folder of ['ws/docs/img', 'ws/public', 'ws/src/assets', 'ws-evil', 'outside']) {
    await mkdir(path.join(root, folder), { recursive: true });
  }
  for (const file of [
    'ws/docs/a.gif',
    'ws/docs/my shot.gif',
    'ws/docs/50%25.gif',
    'ws/docs/img/b.gif',
    'ws/root.gif',
    'ws/public/logo.gif',
    'ws/src/assets/c.gif',
    'ws/..hidden.gif',
    'ws-evil/e.gif',
    'outside/secret.gif',
  ]) {
    await writeFile(path.join(root, file), GIF);
  }
  await symlink(path.join(root, 'outside/secret.gif'), path.join(ws, 'docs/link.gif'));
  await symlink(path.join(root, 'outside'), path.join(ws, 'docs/linked'));
  await symlink(path.join(ws, 'root.gif'), path.join(ws, 'docs/inner.gif'));
  await symlink(path.join(ws, 'docs/loop.gif'), path.join(ws, 'docs/loop.gif'));
  await symlink('/dev/zero', path.join(ws, 'docs/zero.gif'));
  await symlink(ws, path.join(root, 'ws-link'));
  execFileSync('mkfifo', [path.join(ws, 'docs/pipe.gif')]);
});
afterAll(() => rm(root, { recursive: true, force: true }));

function resolve(
  destination: string,
  kind: 'url' | 'path' = 'url',
  certain = true,
): Promise<ImageTarget | undefined> {
  const surroundings = { documentFolder: path.join(ws, 'docs'), workspaceFolders: [ws] };
  return resolveMention({ destination, kind, certain }, surroundings);
}

const file = (name: string): ImageTarget => ({
  kind: 'file',
  uri: pathToFileURL(path.join(root, name)).href,
});
const refused = (code: string): object => ({ kind: 'unreadable', error: { code, kind: 'input' } });

describe('a destination leads to', () => {
  it.each([
    ['a.gif', 'ws/docs/a.gif'],
    ['./img/../a.gif', 'ws/docs/a.gif'],
    ['img/b.gif', 'ws/docs/img/b.gif'],
    ['../root.gif', 'ws/root.gif'],
    ['my%20shot.gif', 'ws/docs/my shot.gif'],
    ['my shot.gif', 'ws/docs/my shot.gif'],
    ['50%25.gif', 'ws/docs/50%25.gif'],
    ['a.gif?v=1#top', 'ws/docs/a.gif'],
    ['/root.gif', 'ws/root.gif'],
    ['/logo.gif', 'ws/public/logo.gif'],
    ['root.gif', 'ws/root.gif'],
    ['@/assets/c.gif', 'ws/src/assets/c.gif'],
    ['../..hidden.gif', 'ws/..hidden.gif'],
    ['inner.gif', 'ws/root.gif'],
  ])('%s: the file %s', async (destination, name) => {
    expect(await resolve(destination)).toEqual(file(name));
  });

  it('an absolute path or file: URI inside the workspace', async () => {
    expect(await resolve(path.join(ws, 'root.gif'))).toEqual(file('ws/root.gif'));
    expect(await resolve(pathToFileURL(path.join(ws, 'root.gif')).href)).toEqual(file('ws/root.gif'));
  });

  it('a file of a workspace that is opened through a link', async () => {
    const linked = path.join(root, 'ws-link');
    const surroundings = { documentFolder: path.join(linked, 'docs'), workspaceFolders: [linked] };
    const mention = { destination: 'a.gif', kind: 'url' as const, certain: true };
    expect(await resolveMention(mention, surroundings)).toEqual(file('ws/docs/a.gif'));
    const again = await imageFacts({ uri: (file('ws/docs/a.gif') as { uri: string }).uri }, [linked]);
    expect(again).toMatchObject({ width: 3, height: 2 });
  });

  it('a file beside a document that is outside of every workspace folder', async () => {
    const surroundings = { documentFolder: path.join(root, 'outside'), workspaceFolders: [ws] };
    const at = (destination: string): Promise<ImageTarget | undefined> =>
      resolveMention({ destination, kind: 'url', certain: true }, surroundings);
    expect(await at('secret.gif')).toEqual(file('outside/secret.gif'));
    expect(await at('../ws-evil/e.gif')).toMatchObject(refused('image.outside-workspace'));
  });

  it('a URL that is named and not fetched', async () => {
    expect(await resolve('https://example.org/a.png')).toEqual({
      kind: 'remote',
      url: 'https://example.org/a.png',
    });
    expect(await resolve('//example.org/a.png')).toEqual({ kind: 'remote', url: '//example.org/a.png' });
  });
});

describe('a destination is refused', () => {
  it.each([
    ['../../outside/secret.gif', 'image.outside-workspace'],
    ['../../ws-evil/e.gif', 'image.outside-workspace'],
    ['%2e%2e/%2e%2e/outside/secret.gif', 'image.outside-workspace'],
    ['..%2F..%2Foutside%2Fsecret.gif', 'image.outside-workspace'],
    ['/../../outside/secret.gif', 'image.outside-workspace'],
    ['link.gif', 'image.outside-workspace'],
    ['linked/secret.gif', 'image.outside-workspace'],
    ['zero.gif', 'image.outside-workspace'],
    ['/etc/passwd', 'image.outside-workspace'],
    ['file:///etc/passwd', 'image.outside-workspace'],
    ['file://server/share/a.gif', 'image.refused-path'],
    ['\\\\server\\share\\a.gif', 'image.refused-path'],
    ['%5C%5Cserver/share/a.gif', 'image.refused-path'],
    ['\\\\.\\pipe\\x.gif', 'image.refused-path'],
    ['\\\\?\\C:\\a.gif', 'image.refused-path'],
    ['a\0.gif', 'image.refused-path'],
    ['a%00.gif', 'image.refused-path'],
    ['file:///a%00.gif', 'image.refused-path'],
    ['file:///a%2Fb.gif', 'image.refused-path'],
    ['javascript:alert(1).gif', 'image.unsupported-scheme'],
    ['command:x.gif', 'image.unsupported-scheme'],
    ['vscode-resource:/a.gif', 'image.unsupported-scheme'],
    ['loop.gif', 'image.unreadable'],
    ['missing.gif', 'image.not-found'],
    ['a.gif/b.gif', 'image.not-found'],
    [`${'x'.repeat(5000)}.gif`, 'image.not-found'],
  ])('%s: %s', async (destination, code) => {
    expect(await resolve(destination)).toMatchObject(refused(code));
  });

  it('silently where a string in code only looks like a path', async () => {
    for (const destination of ['missing.gif', 'foo:bar.gif', 'a\0.gif']) {
      expect(await resolve(destination, 'path', false)).toBeUndefined();
    }
  });
});

describe('reading an image', () => {
  const uri = (name: string): string => pathToFileURL(path.join(root, name)).href;
  const codeOf = (promise: Promise<unknown>): Promise<unknown> =>
    promise.then(
      () => 'read',
      (error: { code: string }) => error.code,
    );

  it('outside the workspace needs the word of the user', async () => {
    expect(await codeOf(imageFacts({ uri: uri('outside/secret.gif') }, [ws]))).toBe(
      'image.outside-workspace',
    );
    expect(await codeOf(imageFacts({ uri: uri('ws/docs/link.gif') }, [ws]))).toBe('image.outside-workspace');
    const facts = await imageFacts({ uri: uri('outside/secret.gif'), outsideWorkspace: true }, [ws]);
    expect(facts).toMatchObject({
      name: 'secret.gif',
      format: 'gif',
      width: 3,
      height: 2,
      bytes: GIF.length,
    });
  });

  it('opens no pipes, devices or folders', async () => {
    expect(await codeOf(imageFacts({ uri: uri('ws/docs/pipe.gif') }, [ws]))).toBe('image.refused-path');
    expect(await codeOf(imageFacts({ uri: uri('ws/docs/zero.gif'), outsideWorkspace: true }, [ws]))).toBe(
      'image.refused-path',
    );
    expect(await codeOf(imageFacts({ uri: uri('ws/docs') }, [ws]))).toBe('image.refused-path');
  });

  it('refuses what claims more pixels than allowed, whatever its file size', async () => {
    const bomb = Buffer.from(GIF);
    bomb.writeUInt16LE(60_000, 6);
    bomb.writeUInt16LE(60_000, 8);
    const source = { base64: bomb.toString('base64'), name: 'bomb.gif' };
    expect(await imageFacts(source, [])).toMatchObject({ width: 60_000, height: 60_000 });
    expect(await codeOf(loadImage(source, [], 50))).toBe('image.too-many-pixels');
    expect(await codeOf(loadImage(source, [], 3600))).toBe('read');
  });

  it('refuses texts, damaged headers and data that is none', async () => {
    const source = (text: string): { uri: string } => ({ uri: text });
    expect(await codeOf(imageFacts(source('data:image/png,hello'), []))).toBe('image.unknown-format');
    expect(await codeOf(imageFacts(source('data:image/png;base64,####'), []))).toBe('image.bad-data-uri');
    expect(await codeOf(imageFacts(source('data:image/png;base64'), []))).toBe('image.bad-data-uri');
    expect(await codeOf(imageFacts(source('data:,'), []))).toBe('image.bad-data-uri');
    expect(await codeOf(imageFacts(source('data:,GIF89a'), []))).toBe('image.damaged');
    expect(await codeOf(imageFacts(source('https://example.org/a.png'), []))).toBe(
      'image.unsupported-scheme',
    );
    expect(await codeOf(imageFacts(source('no uri'), []))).toBe('image.refused-path');
  });

  it('takes data: URIs in base64 and percent-encoded', async () => {
    const svg = '<svg width="7" height="5"/>';
    for (const text of [
      `data:image/svg+xml,${encodeURIComponent(svg)}`,
      `data:image/svg+xml;utf8,${svg}`,
      `DATA:image/svg+xml;charset=utf-8;base64,${Buffer.from(svg).toString('base64')}`,
    ]) {
      expect(await imageFacts({ uri: text }, [])).toMatchObject({
        format: 'svg',
        width: 7,
        height: 5,
        bytes: svg.length,
      });
    }
  });
});

describe('paths by their text', () => {
  it('isInside knows names that only begin alike', () => {
    expect(isInside('/ws', '/ws/a')).toBe(true);
    expect(isInside('/ws', '/ws')).toBe(true);
    expect(isInside('/ws', '/ws/..a')).toBe(true);
    expect(isInside('/ws', '/ws-evil/a')).toBe(false);
    expect(isInside('/ws', '/ws/../x')).toBe(false);
    expect(isInside('/ws', '/')).toBe(false);
  });

  it('network shares and NUL are refused before the file system hears of them', () => {
    for (const name of ['//server/share', '\\\\server\\share', '/\\server', 'a\0b'])
      expect(() => checkPathText(name)).toThrow();
    for (const uri of [
      'file://server/a.png',
      'file:////server/a.png',
      'file:///%5C%5Cserver/a.png',
      'http://x/a.png',
    ]) {
      expect(() => pathOfFileUri(uri), uri).toThrow();
    }
  });
});
