import { spawn, type ChildProcess } from 'node:child_process';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';

import { afterAll, describe, expect, it } from 'vitest';

import { temporaryDirectory } from '../../server/llava/testing/temporaryDirectory';
import type { FakeHub } from './fakeHub';
import { startHub, tinyRepository } from './setting';

/** The built command line, as a user runs it. `npm test` builds it first. */
const CLI = path.join(__dirname, '..', '..', 'dist', 'cli.js');
const parent = temporaryDirectory();
const children = new Set<ChildProcess>();
afterAll(() => children.forEach((child) => child.kill('SIGKILL')));

const MODEL = 'acme/tiny-llava';
const WEIGHTS = 'model.safetensors';

interface Run {
  readonly child: ChildProcess;
  readonly done: Promise<{ code: number | null; signal: string | null; stdout: string; stderr: string }>;
}

class Someone {
  readonly home = mkdtempSync(path.join(parent, 'home-'));

  constructor(
    private readonly hub: FakeHub,
    private readonly environment: Record<string, string> = {},
  ) {}

  get models(): string {
    return path.join(this.home, 'fovea', 'models');
  }

  get folder(): string {
    return path.join(this.models, 'models--acme--tiny-llava', 'snapshots', this.hub.commit);
  }

  get incomplete(): string {
    const { sha256 } = this.hub.files.get(WEIGHTS)!;
    return path.join(this.models, 'models--acme--tiny-llava', 'blobs', `${sha256}.incomplete`);
  }

  start(...args: string[]): Run {
    const child = spawn(process.execPath, [CLI, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: process.env.PATH,
        HOME: this.home,
        USERPROFILE: this.home,
        XDG_CACHE_HOME: this.home,
        LOCALAPPDATA: this.home,
        HF_ENDPOINT: this.hub.origin,
        ...this.environment,
      },
    });
    children.add(child);
    const text = { stdout: '', stderr: '' };
    child.stdout!.on('data', (chunk: Buffer) => (text.stdout += chunk.toString()));
    child.stderr!.on('data', (chunk: Buffer) => (text.stderr += chunk.toString()));
    const done = new Promise<Awaited<Run['done']>>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (code, signal) => {
        children.delete(child);
        resolve({ code, signal, ...text });
      });
    });
    return { child, done };
  }

  run(...args: string[]): Run['done'] {
    return this.start(...args).done;
  }
}

/** The hub sends the first bytes of the weights and then nothing, so that there is a middle to stop in. */
function stopInTheMiddle(hub: FakeHub, bytes: number): void {
  hub.misbehave = ({ url, response, file }) => {
    if (!url.endsWith(`/storage/${WEIGHTS}`)) return false;
    response.writeHead(200, { 'content-length': file!.content.length });
    response.write(file!.content.subarray(0, bytes));
    return true;
  };
}

async function untilOnDisk(file: string, bytes: number): Promise<void> {
  for (let waited = 0; waited < 20_000; waited += 10) {
    if (statSync(file, { throwIfNoEntry: false })?.size === bytes) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`${file} never had ${bytes} bytes.`);
}

const IMAGE = path.join(__dirname, '..', 'fixtures', 'checkpoints', 'clip-llama', 'reference', 'image-0.png');

describe('fovea model add', () => {
  it('shows host, size and licence, downloads after --yes, and the model answers by its name', async () => {
    const hub = await startHub();
    const someone = new Someone(hub);
    const added = await someone.run('model', 'add', MODEL, '--yes');
    expect(added).toMatchObject({ code: 0, stdout: `${someone.folder}\n` });
    expect(added.stderr).toContain(hub.host);
    expect(added.stderr).toMatch(/licence: apache-2\.0/);
    expect(added.stderr).toMatch(/7 files, \d+ kB/);

    await hub.close();
    const asked = await someone.run(
      'ask',
      IMAGE,
      'What is this?',
      '--model',
      MODEL,
      '--max-tokens',
      '2',
      '--json',
    );
    expect(asked.code).toBe(0);
    expect(JSON.parse(asked.stdout).model.name).toBe(MODEL);
    expect((await someone.run('inspect', MODEL)).stdout).toContain(MODEL);
    expect((await someone.run('model', 'add', MODEL, '--yes')).stdout).toBe(`${someone.folder}\n`);
    await hub.open();
  });

  it('without consent downloads nothing', async () => {
    const hub = await startHub();
    const someone = new Someone(hub);
    const { code, stderr, stdout } = await someone.run('model', 'add', MODEL);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(/needs your consent/);
    expect(stderr).toMatch(/--yes/);
    expect(existsSync(someone.models)).toBe(false);
    expect(hub.downloads.some(({ url }) => url.includes(WEIGHTS))).toBe(false);
  });

  it('does not download what the engine cannot run, unless it must', async () => {
    const hub = await startHub({
      ...tinyRepository(),
      'config.json': Buffer.from('{"model_type":"llava_x"}'),
    });
    const someone = new Someone(hub);
    const refused = await someone.run('model', 'add', MODEL, '--yes');
    expect(refused.code).toBe(3);
    expect(refused.stderr).toMatch(/llava_x/);
    expect(existsSync(someone.models)).toBe(false);
    expect((await someone.run('model', 'add', MODEL, '--yes', '--force')).code).toBe(0);
  });

  it('goes on where a killed process stopped', async () => {
    const hub = await startHub();
    const someone = new Someone(hub);
    stopInTheMiddle(hub, 20_000);
    const run = someone.start('model', 'add', MODEL, '--yes');
    await untilOnDisk(someone.incomplete, 20_000);
    run.child.kill('SIGKILL');
    expect((await run.done).signal).toBe('SIGKILL');

    hub.misbehave = () => false;
    const asked = await someone.run('ask', IMAGE, 'What?', '--model', MODEL);
    expect(asked.code).toBe(3);
    expect(asked.stderr).toMatch(
      /Only a part of the model acme\/tiny-llava .*\n.*fovea model add acme\/tiny-llava/,
    );
    const listed = await someone.run('model', 'list', '--json');
    expect(JSON.parse(listed.stdout).installed).toMatchObject([{ repository: MODEL, state: 'partial' }]);
    expect((await someone.run('model', 'add', MODEL, '--yes')).code).toBe(0);
    expect(hub.requests.at(-1)).toMatchObject({ url: `/storage/${WEIGHTS}`, range: 'bytes=20000-' });
    const verified = await someone.run('model', 'verify', MODEL);
    expect(verified).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(/7 files are what the hub describes/) as string,
    });
  });

  it('stops at Ctrl+C, says that what has arrived is kept, and keeps it', async () => {
    const hub = await startHub();
    const someone = new Someone(hub);
    stopInTheMiddle(hub, 10_000);
    const run = someone.start('model', 'add', MODEL, '--yes');
    await untilOnDisk(someone.incomplete, 10_000);
    run.child.kill('SIGINT');
    const { code, stderr } = await run.done;
    expect(code).toBe(130);
    expect(stderr).toMatch(/download was cancelled/);
    expect(stderr).toMatch(/kept/);
    expect(statSync(someone.incomplete).size).toBe(10_000);
  });

  it('tells each refusal in three lines at most', async () => {
    const hub = await startHub();
    for (const status of [401, 403, 404]) {
      hub.misbehave = ({ response }) => {
        response.writeHead(status).end();
        return true;
      };
      const { code, stderr } = await new Someone(hub).run('model', 'add', MODEL, '--yes');
      expect(code).toBe(3);
      expect(stderr.trim().split('\n').length).toBeLessThanOrEqual(3);
    }
  });

  it('offline asks nobody', async () => {
    const hub = await startHub();
    const { code, stderr } = await new Someone(hub, { HF_HUB_OFFLINE: '1' }).run(
      'model',
      'add',
      MODEL,
      '--yes',
    );
    expect(code).toBe(3);
    expect(stderr).toMatch(/HF_HUB_OFFLINE/);
    expect(hub.requests).toEqual([]);
  });

  it('of a folder checks it, and says how to use it', async () => {
    const hub = await startHub();
    const folder = path.dirname(path.dirname(IMAGE));
    const { code, stdout, stderr } = await new Someone(hub).run('model', 'add', folder);
    expect({ code, stdout }).toEqual({ code: 0, stdout: `${realpathSync(folder)}\n` });
    expect(stderr).toContain(`--model ${folder}`);
  });
});

describe('the other commands', () => {
  it('--model with a model that is not here says how to get it, and asks nobody', async () => {
    const hub = await startHub();
    const { code, stderr } = await new Someone(hub).run('ask', IMAGE, 'What?', '--model', 'llava-1.5-7b');
    expect(code).toBe(3);
    expect(stderr).toMatch(/fovea model add llava-1\.5-7b/);
    expect(hub.requests).toEqual([]);
  });

  it('--model with a slip of the pen says which name was meant', async () => {
    const hub = await startHub();
    const { code, stderr } = await new Someone(hub).run('ask', IMAGE, 'What?', '--model', 'llava-1.5-7');
    expect(code).toBe(2);
    expect(stderr).toMatch(/Did you mean "llava-1\.5-7b"/);
  });

  it('list and show tell what is known, without a request', async () => {
    const hub = await startHub();
    const someone = new Someone(hub);
    const list = await someone.run('model', 'list');
    expect(list.code).toBe(0);
    for (const name of ['fovea-nano', 'llava-1.5-7b', 'llava-v1.6-mistral-7b'])
      expect(list.stdout).toContain(name);
    expect(list.stdout).toMatch(/^llava-1\.5-7b +14\.1 GB +[\d.]+ GB +llama2$/m);
    expect(list.stdout).toMatch(/this machine has [\d.]+ GB/);
    const { catalogue } = JSON.parse((await someone.run('model', 'list', '--json')).stdout);
    expect(catalogue.find(({ name }: { name: string }) => name === 'llava-1.5-13b')).toMatchObject({
      state: 'absent',
      licence: 'llama2',
      repository: 'llava-hf/llava-1.5-13b-hf',
    });
    const shown = (await someone.run('model', 'show', 'llava-1.5-7b')).stdout;
    const [, gigabytes] = /^memory +about ([\d.]+) GB .*; this machine has [\d.]+ GB$/m.exec(shown)!;
    // More than its weights in 4 bits, less than those in 16 that lie on disk.
    expect(Number(gigabytes)).toBeGreaterThan(4);
    expect(Number(gigabytes)).toBeLessThan(14);
    expect((await someone.run('model', 'show', 'fovea-nano')).stdout).toMatch(/embedded/);
    expect((await someone.run('model', 'show', MODEL)).stdout).toMatch(/not on this machine/);
    expect(hub.requests).toEqual([]);
  });

  it('verify finds damage, offers to remove it, and add repairs it', async () => {
    const hub = await startHub();
    const someone = new Someone(hub);
    await someone.run('model', 'add', MODEL, '--yes');
    const blob = realpathSync(path.join(someone.folder, WEIGHTS));
    const content = readFileSync(blob);
    content[5000] ^= 1;
    writeFileSync(blob, content);
    const found = await someone.run('model', 'verify', MODEL);
    expect(found.code).toBe(3);
    expect(found.stdout).toMatch(new RegExp(`^damaged  ${WEIGHTS}$`, 'm'));
    expect(found.stderr).toMatch(/--remove-damaged/);
    expect((await someone.run('model', 'verify', MODEL, '--remove-damaged')).code).toBe(3);
    expect((await someone.run('model', 'add', MODEL, '--yes')).code).toBe(0);
    expect((await someone.run('model', 'verify', MODEL)).code).toBe(0);
  });

  it('remove needs consent, then leaves nothing of the model', async () => {
    const hub = await startHub();
    const someone = new Someone(hub);
    await someone.run('model', 'add', MODEL, '--yes');
    expect((await someone.run('model', 'remove', MODEL)).code).toBe(2);
    expect(existsSync(someone.folder)).toBe(true);
    expect((await someone.run('model', 'remove', MODEL, '--yes')).code).toBe(0);
    expect(readdirSync(someone.models)).toEqual([]);
  });

  it.each([
    [['model'], /what to do/],
    [['model', 'frobnicate'], /cannot "frobnicate"/],
    [['model', 'add'], /takes one model/],
    [['model', 'list', 'x'], /no further argument/],
    [['verify', MODEL], /Did you mean "fovea model verify"/],
    [['ask', 'a.png'], /got 1 argument\./],
    [
      ['ask', 'a.png', 'What?', '--max-tokens', '-3'],
      /^fovea: Option '--max-tokens' argument is ambiguous\.\n +fovea help/,
    ],
    [['model', 'add', '../evil'], /not the name of a model/],
    [['model', 'add', 'a/b', '--revision', '../x'], /not a revision/],
    [['model', 'add', 'fovea-nano'], /comes with Fovea/],
  ])('%j is bad usage', async (args, words) => {
    const hub = await startHub();
    const { code, stderr, stdout } = await new Someone(hub).run(...args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(words);
    expect(hub.requests).toEqual([]);
  });
});
