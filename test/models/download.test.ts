import {
  existsSync,
  lstatSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import * as fileSystem from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import path from 'node:path';

import { describe, expect, it } from 'vitest';

import { openCheckpoint } from '../../server/llava/checkpoint/open';
import { fixturePath } from '../../server/llava/testing/fixtures';
import { temporaryDirectory } from '../../server/llava/testing/temporaryDirectory';
import type { DownloadProgress } from '../../server/models/progress';
import { formatBytes } from '../../server/traceView/wording';
import { hashes, type Exchange, type FakeHub } from './fakeHub';
import { QUICK, refusal, startHub, tinyRepository, User } from './setting';

const parent = temporaryDirectory();
const WEIGHTS = 'model.safetensors';

async function setting(files?: Record<string, Buffer>, environment?: Record<string, string>) {
  const hub = await startHub(files);
  return { hub, user: new User(parent, hub, environment) };
}

/** Each file of the folder has the content that the repository has. */
function expectWhole(directory: string, hub: FakeHub): void {
  const names = readdirSync(directory);
  expect(names).toContain('config.json');
  for (const name of names)
    expect(readFileSync(path.join(directory, name)).equals(hub.files.get(name)!.content)).toBe(true);
}

function incomplete(user: User, hub: FakeHub, name = WEIGHTS): string {
  const { large, sha256, gitSha1 } = hub.files.get(name)!;
  const folder = path.join(user.settings.modelsDirectory, 'models--acme--tiny-llava', 'blobs');
  return path.join(folder, `${large ? sha256 : gitSha1}.incomplete`);
}

/**
 * Sends the next bytes of the weights and breaks the line when they are on the client's disk; what is on the way when a line
 * breaks is lost, here as on real networks.
 */
async function breakAfter(exchange: Exchange, count: number, user: User, hub: FakeHub): Promise<true> {
  const { content } = hub.files.get(WEIGHTS)!;
  const { from, response } = exchange;
  response.writeHead(from > 0 ? 206 : 200, {
    'content-length': content.length - from,
    ...(from > 0 ? { 'content-range': `bytes ${from}-${content.length - 1}/${content.length}` } : {}),
  });
  response.write(content.subarray(from, from + count));
  const arrived = (): number => statSync(incomplete(user, hub), { throwIfNoEntry: false })?.size ?? 0;
  for (let waited = 0; arrived() < from + count && waited < 5000; waited += 5)
    await new Promise((resolve) => setTimeout(resolve, 5));
  response.destroy();
  return true;
}

const isWeights = ({ url }: { url: string }): boolean => url.endsWith(`/storage/${WEIGHTS}`);

describe('a plan', () => {
  it('says who is asked, what for, how much, and under which licence, and writes nothing', async () => {
    const { hub, user } = await setting();
    const plan = await user.planned();
    expect(plan).toMatchObject({
      host: hub.host,
      licence: 'apache-2.0',
      commit: hub.commit,
      presentBytes: 0,
    });
    const needed = readdirSync(fixturePath('checkpoints', 'clip-llama')).filter(
      (name) => name !== 'reference',
    );
    expect(plan.files.map((file) => file.path).sort()).toEqual(needed.sort());
    expect(plan.totalBytes).toBe(needed.reduce((sum, name) => sum + hub.files.get(name)!.content.length, 0));
    expect(plan.unsupported).toBeUndefined();
    expect(readdirSync(user.home)).toEqual([]);
    // The list and config.json: nothing else was fetched.
    expect(hub.requests.length).toBe(2);
  });

  it('takes exactly the shards that the index names', async () => {
    const { hub, user } = await setting({
      ...tinyRepository('clip-mistral-layers-sharded'),
      'model-00004-of-00003.safetensors': Buffer.from('of another upload'),
    });
    const directory = await user.download();
    expectWhole(directory, hub);
    const shards = readdirSync(directory).filter((name) => name.endsWith('.safetensors'));
    expect(shards).toEqual([1, 2, 3].map((n) => `model-0000${n}-of-00003.safetensors`));
    await openCheckpoint(directory);
  });

  it('says before the download that the engine cannot run a model', async () => {
    const { user } = await setting({
      ...tinyRepository(),
      'config.json': Buffer.from(JSON.stringify({ model_type: 'a_model_of_the_future' })),
    });
    expect((await user.planned()).unsupported?.code).toMatch(/^model\.unsupported/);
  });

  it.each([
    ['config.json', /config\.json/],
    ['tokenizer.json', /tokenizer\.json/],
    [WEIGHTS, /safetensors/],
  ])('refuses a repository without %s', async (name, words) => {
    const files = Object.entries(tinyRepository()).filter(([other]) => other !== name);
    const { user } = await setting(Object.fromEntries(files));
    const error = await refusal(user.plan());
    expect(error.code).toBe('hub.not-a-checkpoint');
    expect(error.why).toMatch(words);
  });

  it('asks for the tree, page by page, where a mirror lists no sizes', async () => {
    const { hub, user } = await setting();
    const whole = await user.planned();
    hub.blobs = false;
    hub.pageSize = 3;
    expect(await user.planned()).toEqual(whole);
    expect(hub.requests.filter(({ url }) => url.includes('/tree/')).length).toBe(
      Math.ceil((hub.files.size + 1) / 3),
    );
  });
});

describe('a download', () => {
  it('gives a folder that the engine opens, in the layout of huggingface_hub', async () => {
    const { hub, user } = await setting();
    const directory = await user.download();
    expectWhole(directory, hub);
    expect((await openCheckpoint(directory)).name).toBe('acme/tiny-llava');

    const repository = path.join(user.settings.modelsDirectory, 'models--acme--tiny-llava');
    expect(directory).toBe(path.join(repository, 'snapshots', hub.commit));
    expect(readFileSync(path.join(repository, 'refs', 'main'), 'utf8')).toBe(hub.commit);
    for (const name of readdirSync(directory)) {
      const { large, content } = hub.files.get(name)!;
      const { sha256, gitSha1 } = hashes(content);
      expect(readlinkSync(path.join(directory, name))).toBe(`../../blobs/${large ? sha256 : gitSha1}`);
    }
    expect(readdirSync(path.join(repository, 'blobs')).length).toBe(readdirSync(directory).length);
  });

  it('reports progress that only grows and ends complete', async () => {
    const { user } = await setting();
    const reports: DownloadProgress[] = [];
    await user.download({ onProgress: (progress) => reports.push(progress) });
    const bytes = reports.map((progress) => progress.bytes);
    expect(bytes).toEqual(bytes.toSorted((a, b) => a - b));
    expect(reports.at(-1)).toMatchObject({ bytes: reports[0].totalBytes, file: undefined });
  });

  it('is not repeated: a second plan makes no request', async () => {
    const { hub, user } = await setting();
    const directory = await user.download();
    hub.requests.length = 0;
    expect(await user.plan()).toMatchObject({ kind: 'present', directory, origin: 'fovea' });
    expect(hub.requests).toEqual([]);
  });

  it('works where the system allows no symbolic links, and where it allows no links at all', async () => {
    const refuse = (): Promise<never> => Promise.reject(Object.assign(new Error('EPERM'), { code: 'EPERM' }));
    for (const link of [fileSystem.link, refuse]) {
      const { hub, user } = await setting();
      const directory = await user.download({ fileSystem: { ...fileSystem, symlink: refuse, link } });
      expectWhole(directory, hub);
      expect(lstatSync(path.join(directory, WEIGHTS)).isFile()).toBe(true);
      await openCheckpoint(directory);
    }
  });

  it('is done by one Fovea at a time', async () => {
    const { hub, user } = await setting();
    const plan = await user.planned();
    const outcomes = await Promise.allSettled([user.execute(plan), user.execute(plan)]);
    expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    const refused = outcomes.find((outcome) => outcome.status === 'rejected');
    expect(refused?.reason).toMatchObject({ code: 'model.in-use' });
    expectWhole(plan.directory, hub);
  });
});

describe('a line that breaks', () => {
  it('costs no byte twice: each attempt asks for the range that is missing', async () => {
    const { hub, user } = await setting();
    hub.misbehave = (exchange) =>
      isWeights(exchange) && exchange.attempt <= 2 && breakAfter(exchange, 30_000, user, hub);
    expectWhole(await user.download(), hub);
    expect(hub.requests.filter(isWeights).map(({ range }) => range)).toEqual([
      undefined,
      'bytes=30000-',
      'bytes=60000-',
    ]);
  });

  it('survives more breaks than there are attempts, as long as each brings something', async () => {
    const { hub, user } = await setting();
    hub.misbehave = (exchange) =>
      isWeights(exchange) && exchange.attempt <= 9 && breakAfter(exchange, 10_000, user, hub);
    expectWhole(await user.download(), hub);
    expect(hub.requests.filter(isWeights).length).toBe(10);
  });

  it('gives up where attempts bring nothing worth the name', async () => {
    const { hub, user } = await setting();
    hub.misbehave = (exchange) => isWeights(exchange) && breakAfter(exchange, 10, user, hub);
    expect((await refusal(user.download())).code).toBe('hub.unreachable');
    expect(hub.requests.filter(isWeights).length).toBe(4);
  });

  it('that ends politely, too early and without a length is taken for a break', async () => {
    const { hub, user } = await setting();
    hub.misbehave = (exchange) => {
      if (!isWeights(exchange) || exchange.attempt > 1) return false;
      exchange.response.writeHead(200);
      exchange.response.end(exchange.file!.content.subarray(0, 5000));
      return true;
    };
    expectWhole(await user.download(), hub);
    expect(hub.requests.filter(isWeights).map(({ range }) => range)).toEqual([undefined, 'bytes=5000-']);
  });

  it('is tried from the beginning where the server has no ranges', async () => {
    const { hub, user } = await setting();
    hub.misbehave = (exchange) => {
      if (!isWeights(exchange)) return false;
      if (exchange.attempt === 1) return breakAfter(exchange, 9000, user, hub);
      exchange.serve(0, exchange.file!.content);
      return true;
    };
    expectWhole(await user.download(), hub);
    expect(hub.requests.filter(isWeights)[1].range).toBe('bytes=9000-');
  });

  it('slow is not broken', async () => {
    const { hub, user } = await setting();
    hub.misbehave = async (exchange) => {
      if (!isWeights(exchange)) return false;
      const { content } = exchange.file!;
      exchange.response.writeHead(200, { 'content-length': content.length });
      // All of it takes longer than the limit on silence.
      const piece = Math.ceil(content.length / 12);
      for (let at = 0; at < content.length; at += piece) {
        exchange.response.write(content.subarray(at, at + piece));
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      exchange.response.end();
      return true;
    };
    expectWhole(await user.download({ client: { inactivityMs: 1000 } }), hub);
    expect(hub.requests.filter(isWeights).length).toBe(1);
  });

  it('silent is broken: the next attempt goes on', async () => {
    const { hub, user } = await setting();
    const notes: string[] = [];
    hub.misbehave = (exchange) => {
      if (!isWeights(exchange) || exchange.attempt > 1) return false;
      exchange.response.writeHead(200, { 'content-length': exchange.file!.content.length });
      exchange.response.write(exchange.file!.content.subarray(0, 7000));
      return true;
    };
    const onProgress = ({ note }: DownloadProgress): void => void (note && notes.push(note));
    const client = { inactivityMs: 500 };
    expectWhole(await user.download({ onProgress, client }), hub);
    expect(notes.join()).toMatch(/said nothing for 0\.5 s/);
    expect(hub.requests.filter(isWeights)[1].range).toBe('bytes=7000-');
  });

  it('silent for ever ends with an error, not with a wait', async () => {
    const { hub, user } = await setting();
    hub.misbehave = () => true;
    const error = await refusal(user.plan({ inactivityMs: 100 }));
    expect(error.code).toBe('hub.unreachable');
    expect(hub.requests.length).toBe(4);
  });
});

describe('a server that disappears', () => {
  it('and comes back is no problem', async () => {
    const { hub, user } = await setting();
    hub.misbehave = async (exchange) => {
      if (!isWeights(exchange) || exchange.attempt > 1) return false;
      await breakAfter(exchange, 6000, user, hub);
      await hub.close();
      setTimeout(() => void hub.open(), 30);
      return true;
    };
    const retries = { attempts: 200, baseMs: 5, maxMs: 20, maxRetryAfterMs: 0, random: Math.random };
    expectWhole(await user.download({ client: { retries } }), hub);
  });

  it('for good leaves what has arrived for the next time', async () => {
    const { hub, user } = await setting();
    hub.misbehave = async (exchange) => {
      if (!isWeights(exchange)) return false;
      await breakAfter(exchange, 6000, user, hub);
      await hub.close();
      return true;
    };
    const error = await refusal(user.download());
    expect(error.code).toBe('hub.unreachable');
    expect(statSync(incomplete(user, hub)).size).toBe(6000);

    hub.misbehave = () => false;
    await hub.open();
    expect((await user.planned()).presentBytes).toBeGreaterThanOrEqual(6000);
    expectWhole(await user.download(), hub);
    expect(hub.requests.filter(isWeights).at(-1)?.range).toBe('bytes=6000-');
  });

  it('file by file: one that is gone since the plan ends the download', async () => {
    const { hub, user } = await setting();
    hub.misbehave = (exchange) => {
      if (exchange.file !== undefined && exchange.url.includes('tokenizer.json')) {
        exchange.response.writeHead(404).end();
        return true;
      }
      return false;
    };
    const error = await refusal(user.download());
    expect(error).toMatchObject({ code: 'hub.not-found' });
    expect(error.message).toContain('tokenizer.json');
  });
});

describe('what arrives is checked', () => {
  it.each([
    ['large, by its SHA-256', WEIGHTS, /SHA-256/],
    ['small, by its git blob id', 'tokenizer.json', /git blob id/],
  ])('%s: another content is refused and nothing of it stays', async (_, name, words) => {
    const { hub, user } = await setting();
    hub.misbehave = (exchange) => {
      const { file } = exchange;
      if (file === undefined || file !== hub.files.get(name)) return false;
      if (file.large && !isWeights(exchange)) return false;
      const forged = Buffer.from(file.content);
      forged[forged.length - 1] ^= 1;
      exchange.serve(exchange.from, forged);
      return true;
    };
    const plan = await user.planned();
    const error = await refusal(user.execute(plan));
    expect(error.code).toBe('hub.wrong-content');
    expect(error.why).toMatch(words);
    expect(existsSync(incomplete(user, hub, name))).toBe(false);
    expect(existsSync(plan.directory)).toBe(false);
  });

  it('a bad beginning from an earlier try is fetched again', async () => {
    const { hub, user } = await setting();
    const plan = await user.planned();
    await fileSystem.mkdir(path.dirname(incomplete(user, hub)), { recursive: true });
    writeFileSync(incomplete(user, hub), Buffer.alloc(5000, 7));
    expectWhole(await user.execute(plan), hub);
    expect(hub.requests.filter(isWeights).map(({ range }) => range)).toEqual(['bytes=5000-', undefined]);
  });

  it('more than the file has, left by an earlier try, is thrown away', async () => {
    const { hub, user } = await setting();
    const plan = await user.planned();
    await fileSystem.mkdir(path.dirname(incomplete(user, hub)), { recursive: true });
    writeFileSync(incomplete(user, hub), Buffer.alloc(hub.files.get(WEIGHTS)!.content.length + 1));
    expectWhole(await user.execute(plan), hub);
  });

  it.each([
    ['a longer length', (n: number) => ({ 'content-length': n + 10 }), 10],
    ['a shorter length', (n: number) => ({ 'content-length': n - 10 }), -10],
    ['no length and more bytes', () => ({}), 10],
  ])('%s than the listing says is refused', async (_, headers, surplus) => {
    const { hub, user } = await setting();
    hub.misbehave = (exchange) => {
      if (!isWeights(exchange)) return false;
      const { content } = exchange.file!;
      exchange.response.writeHead(200, headers(content.length));
      exchange.response.end(
        surplus > 0 ? Buffer.concat([content, Buffer.alloc(surplus)]) : content.subarray(0, surplus),
      );
      return true;
    };
    expect((await refusal(user.download())).code).toBe('hub.untrustworthy');
    expect(hub.requests.filter(isWeights).length).toBe(1);
  });

  it.each([
    ['another range', (from: number, size: number) => `bytes ${from - 1}-${size - 1}/${size}`],
    ['a range of another file', (from: number, size: number) => `bytes ${from}-${size - 1}/${size + 1}`],
    ['no range at all', () => ''],
  ])('%s than was asked for is refused', async (_, range) => {
    const { hub, user } = await setting();
    hub.misbehave = (exchange) => {
      if (!isWeights(exchange)) return false;
      if (exchange.attempt === 1) return breakAfter(exchange, 4000, user, hub);
      const { content } = exchange.file!;
      exchange.response.writeHead(206, { 'content-range': range(exchange.from, content.length) });
      exchange.response.end(content.subarray(exchange.from));
      return true;
    };
    expect((await refusal(user.download())).code).toBe('hub.untrustworthy');
  });

  it('a compressed answer that nobody asked for is refused', async () => {
    const { hub, user } = await setting();
    hub.misbehave = (exchange) => {
      if (!isWeights(exchange)) return false;
      exchange.serve(0, exchange.file!.content, { 'content-encoding': 'gzip' });
      return true;
    };
    expect((await refusal(user.download())).why).toMatch(/gzip/);
  });
});

describe('a server that refuses', () => {
  const always = (status: number, headers = {}) => ({
    misbehave: ({ response }: { response: ServerResponse }) => {
      response.writeHead(status, headers).end('{}');
      return true;
    },
  });

  it.each([
    [401, 'hub.sign-in', /HF_TOKEN/],
    [403, 'hub.forbidden', /HF_TOKEN/],
    [404, 'hub.not-found', /Look it up/],
    [407, 'hub.proxy', /HTTPS_PROXY/],
    [418, 'hub.untrustworthy', /HF_ENDPOINT/],
  ])('with %i is believed at once', async (status, code, next) => {
    const { hub, user } = await setting();
    Object.assign(hub, always(status));
    const error = await refusal(user.plan());
    expect(error.code).toBe(code);
    expect(error.nextStep).toMatch(next);
    expect(hub.requests.length).toBe(1);
  });

  it.each([
    [401, 'GatedRepo', /restricts who may read it/],
    [401, 'RepoNotFound', /does not exist, or it is private/],
    [404, 'RepoNotFound', /has no model acme\/tiny-llava/],
    [404, 'RevisionNotFound', /has no revision "main"/],
  ])('with %i and the reason %s is told as what it is', async (status, reason, words) => {
    const { hub, user } = await setting();
    Object.assign(hub, always(status, { 'x-error-code': reason }));
    const { message, why, page } = await refusal(user.plan());
    expect(`${message} ${why}`).toMatch(words);
    // There is no page of what does not exist.
    const exists = status === 401 || reason === 'RevisionNotFound';
    expect(page).toBe(exists ? `${hub.origin}/acme/tiny-llava` : undefined);
  });

  it.each([408, 429, 500, 502, 503, 504])(
    'with %i is asked again, a bounded number of times',
    async (status) => {
      const { hub, user } = await setting();
      Object.assign(hub, always(status));
      expect((await refusal(user.plan())).code).toBe('hub.busy');
      expect(hub.requests.length).toBe(4);
    },
  );

  it.each([429, 503])('with %i for a while is waited for', async (status) => {
    const { hub, user } = await setting();
    hub.misbehave = ({ response, attempt }) => {
      if (attempt > 1) return false;
      response.writeHead(status, { 'retry-after': '0' }).end();
      return true;
    };
    expectWhole(await user.download(), hub);
  });

  it('and wants a pause gets that pause', async () => {
    const { hub, user } = await setting();
    hub.misbehave = (exchange) => {
      if (!isWeights(exchange) || exchange.attempt > 1) return false;
      exchange.response.writeHead(429, { 'retry-after': '1' }).end();
      return true;
    };
    const notes: (string | undefined)[] = [];
    expectWhole(await user.download({ onProgress: ({ note }) => notes.push(note) }), hub);
    expect(notes).toContain('It limits how much one may ask (status 429). Next attempt in 1 s.');
  });

  it('and wants an hour is not waited for', async () => {
    const { hub, user } = await setting();
    Object.assign(hub, always(429, { 'retry-after': '3600' }));
    expect((await refusal(user.plan())).code).toBe('hub.busy');
    expect(hub.requests.length).toBe(1);
  });
});

describe('a listing that cannot be right', () => {
  const names = [
    '../evil.json',
    'a/../../evil.json',
    '/etc/passwd',
    'a\\..\\evil.json',
    'C:evil.json',
    'C:\\evil.json',
    '//server/share',
    'a\u0000b.json',
    'line\nbreak.json',
    'con.json',
    'sub/NUL',
    'trailing./x',
    '',
    '.',
    'x'.repeat(2000),
    'right\u2028left',
    'file.json:stream',
  ];

  it.each(names)('with the file name %j is refused as a whole', async (rfilename) => {
    const { hub, user } = await setting();
    hub.extra = [{ rfilename, size: 1, blobId: '0'.repeat(40) }];
    expect((await refusal(user.plan())).code).toBe('hub.untrustworthy');
    expect(readdirSync(user.home)).toEqual([]);
  });

  it.each([
    ['a file without a name', { size: 1 }],
    ['a name that is no text', { rfilename: ['x'], size: 1, blobId: '0'.repeat(40) }],
    ['a negative size', { rfilename: 'x.json', size: -1, blobId: '0'.repeat(40) }],
    ['a size that is no whole number', { rfilename: 'x.json', size: 0.5, blobId: '0'.repeat(40) }],
    ['an absurd size', { rfilename: 'x.json', size: 1e15, blobId: '0'.repeat(40) }],
  ])('with %s is refused', async (_, entry) => {
    const { hub, user } = await setting();
    hub.extra = [entry];
    expect((await refusal(user.plan())).code).toBe('hub.untrustworthy');
  });

  it.each([
    ['no commit', { sha: 'main', siblings: [] }],
    ['no files', { sha: 'a'.repeat(40) }],
    ['a list for an answer', [1, 2]],
    ['null', null],
    [
      'too many files',
      {
        sha: 'a'.repeat(40),
        siblings: Array.from({ length: 10_001 }, (_, i) => ({ rfilename: `${i}`, size: 1 })),
      },
    ],
  ])('with %s is refused', async (_, answer) => {
    const { hub, user } = await setting();
    hub.misbehave = ({ response }) => {
      hub.json(response, answer);
      return true;
    };
    expect((await refusal(user.plan())).code).toBe('hub.untrustworthy');
  });

  it('without an end is cut off', async () => {
    const { hub, user } = await setting();
    let sent = 0;
    hub.misbehave = async ({ response }) => {
      response.writeHead(200);
      while (!response.destroyed && sent < 64e6) {
        sent += 1e6;
        if (!response.write(Buffer.alloc(1e6, ' '))) await new Promise((resolve) => setTimeout(resolve, 1));
      }
      response.end();
      return true;
    };
    expect((await refusal(user.plan())).code).toBe('hub.untrustworthy');
    expect(sent).toBeLessThan(64e6);
  });

  it('a tree without an end is left', async () => {
    const { hub, user } = await setting();
    hub.blobs = false;
    hub.misbehave = ({ url, response }) => {
      if (!url.includes('/tree/')) return false;
      hub.json(response, [], { link: `<${hub.origin}/api?cursor=again>; rel="next"` });
      return true;
    };
    expect((await refusal(user.plan())).why).toMatch(/does not end/);
  });

  it('an index that names files elsewhere is refused', async () => {
    const { user } = await setting({
      ...tinyRepository('clip-mistral-layers-sharded'),
      'model.safetensors.index.json': Buffer.from('{"weight_map":{"a":"../../x.safetensors"}}'),
    });
    expect((await refusal(user.plan())).code).toBe('hub.untrustworthy');
  });

  it('an index that names shards that are not there is refused', async () => {
    const files = tinyRepository('clip-mistral-layers-sharded');
    delete files['model-00002-of-00003.safetensors'];
    const { user } = await setting(files);
    expect((await refusal(user.plan())).why).toMatch(/model-00002-of-00003/);
  });
});

describe('cancelling', () => {
  it('in the middle of a file stops at once and keeps what has arrived', async () => {
    const { hub, user } = await setting();
    const cancellation = new AbortController();
    hub.misbehave = (exchange) => {
      if (!isWeights(exchange)) return false;
      exchange.response.writeHead(200, { 'content-length': exchange.file!.content.length });
      exchange.response.write(exchange.file!.content.subarray(0, 8000));
      const onDisk = setInterval(() => {
        if ((statSync(incomplete(user, hub), { throwIfNoEntry: false })?.size ?? 0) < 8000) return;
        clearInterval(onDisk);
        cancellation.abort();
      }, 5);
      return true;
    };
    const plan = await user.planned();
    const error = await refusal(
      user.execute(plan, { signal: cancellation.signal, client: { inactivityMs: 20_000 } }),
    );
    expect(error.kind).toBe('cancelled');
    expect(statSync(incomplete(user, hub)).size).toBe(8000);
    expect(existsSync(plan.directory)).toBe(false);

    hub.misbehave = () => false;
    expectWhole(await user.execute(plan), hub);
    expect(hub.requests.filter(isWeights).at(-1)?.range).toBe('bytes=8000-');
  });

  it('in a pause between attempts does not wait for its end', { timeout: 10_000 }, async () => {
    const { hub, user } = await setting();
    const cancellation = new AbortController();
    hub.misbehave = ({ response }) => {
      response.writeHead(503, { 'retry-after': '3600' }).end();
      setTimeout(() => cancellation.abort(), 20);
      return true;
    };
    const retries = { ...QUICK.retries, maxRetryAfterMs: 1e9 };
    expect((await refusal(user.plan({ retries }, cancellation.signal))).kind).toBe('cancelled');
    expect(hub.requests.length).toBe(1);
  });

  it('before anything makes no request', async () => {
    const { hub, user } = await setting();
    expect((await refusal(user.plan({}, AbortSignal.abort()))).kind).toBe('cancelled');
    expect(hub.requests).toEqual([]);
  });
});

describe('the disk', () => {
  it('is looked at before the first byte', async () => {
    const { hub, user } = await setting();
    const plan = await user.planned();
    hub.requests.length = 0;
    const statfs = (async () => ({ bavail: 10, bsize: 4096 })) as unknown as typeof fileSystem.statfs;
    const error = await refusal(user.execute(plan, { fileSystem: { ...fileSystem, statfs } }));
    expect(error.code).toBe('model.disk-full');
    expect(error.why).toContain(formatBytes(plan.totalBytes));
    expect(hub.requests).toEqual([]);
  });

  it('that fills up all the same is named, and what has arrived stays', async () => {
    const { hub, user } = await setting();
    const plan = await user.planned();
    const full: typeof fileSystem.open = async (file, flags, mode) => {
      const handle = await fileSystem.open(file, flags, mode);
      if (!String(file).includes(hub.files.get(WEIGHTS)!.sha256)) return handle;
      let room = 10_000;
      return new Proxy(handle, {
        get: (target, key) => {
          if (key !== 'write') {
            const value: unknown = Reflect.get(target, key, target);
            return typeof value === 'function' ? (value as () => unknown).bind(target) : value;
          }
          return async (buffer: Uint8Array, offset: number, length: number, position: number) => {
            if (room === 0)
              throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
            const result = await target.write(buffer, offset, Math.min(length, room), position);
            room -= result.bytesWritten;
            return result;
          };
        },
      });
    };
    const error = await refusal(user.execute(plan, { fileSystem: { ...fileSystem, open: full } }));
    expect(error.code).toBe('model.disk-full');
    expect(statSync(incomplete(user, hub)).size).toBe(10_000);
    expectWhole(await user.execute(plan), hub);
    expect(hub.requests.filter(isWeights).at(-1)?.range).toBe('bytes=10000-');
  });

  it('that may not be written to is named', async () => {
    const { user } = await setting();
    await fileSystem.writeFile(path.join(user.home, 'fovea'), 'a file where a folder should be');
    const error = await refusal(user.download());
    expect(error.code).toBe('model.folder-unwritable');
  });
});

describe('the Hugging Face cache', () => {
  /** A cache as huggingface_hub leaves it behind. */
  async function fill(user: User, hub: FakeHub, names: readonly string[]): Promise<string> {
    const repository = path.join(user.settings.huggingFaceCache, 'models--acme--tiny-llava');
    const snapshot = path.join(repository, 'snapshots', hub.commit);
    for (const folder of ['blobs', 'refs', path.join('snapshots', hub.commit)])
      await fileSystem.mkdir(path.join(repository, folder), { recursive: true });
    await fileSystem.writeFile(path.join(repository, 'refs', 'main'), hub.commit);
    for (const name of names) {
      const { content, large, sha256, gitSha1 } = hub.files.get(name)!;
      const blob = large ? sha256 : gitSha1;
      await fileSystem.writeFile(path.join(repository, 'blobs', blob), content);
      await fileSystem.symlink(`../../blobs/${blob}`, path.join(snapshot, name));
    }
    return snapshot;
  }

  it('is used as it is: a model that is there costs no request', async () => {
    const { hub, user } = await setting();
    const snapshot = await fill(
      user,
      hub,
      [...hub.files.keys()].filter((name) => !name.includes('/')),
    );
    expect(await user.plan()).toMatchObject({
      kind: 'present',
      directory: snapshot,
      origin: 'hugging-face-cache',
    });
    expect(hub.requests).toEqual([]);
    expect(existsSync(user.settings.modelsDirectory)).toBe(false);
  });

  it('is used offline too', async () => {
    const { hub, user } = await setting(undefined, { HF_HUB_OFFLINE: '1' });
    const error = await refusal(user.plan());
    expect(error.code).toBe('hub.offline');
    await fill(
      user,
      hub,
      [...hub.files.keys()].filter((name) => !name.includes('/')),
    );
    expect((await user.plan()).kind).toBe('present');
    expect(hub.requests).toEqual([]);
  });

  it('gives what it has of a model, is checked, and stays as it is', async () => {
    const { hub, user } = await setting();
    const snapshot = await fill(user, hub, ['config.json', WEIGHTS]);
    const blobs = path.join(path.dirname(path.dirname(snapshot)), 'blobs');
    const before = readdirSync(blobs);
    const plan = await user.planned();
    expect(plan.presentBytes).toBe(
      hub.files.get('config.json')!.content.length + hub.files.get(WEIGHTS)!.content.length,
    );
    expectWhole(await user.execute(plan), hub);
    expect(hub.downloads.some(({ url }) => url.includes(WEIGHTS))).toBe(false);
    expect(readdirSync(blobs)).toEqual(before);
    expect(readdirSync(snapshot).sort()).toEqual(['config.json', WEIGHTS]);
  });

  it('is not believed where its content is damaged', async () => {
    const { hub, user } = await setting();
    await fill(user, hub, [WEIGHTS]);
    const { content, sha256 } = hub.files.get(WEIGHTS)!;
    const blob = path.join(user.settings.huggingFaceCache, 'models--acme--tiny-llava', 'blobs', sha256);
    const damaged = Buffer.from(content);
    damaged[1000] ^= 255;
    writeFileSync(blob, damaged);
    expectWhole(await user.download(), hub);
    expect(hub.downloads.some(({ url }) => url.includes(WEIGHTS))).toBe(true);
    expect(readFileSync(blob).equals(damaged)).toBe(true);
  });
});

describe('HF_HUB_OFFLINE', () => {
  it('holds also where there is a plan already', async () => {
    const { hub, user } = await setting();
    const plan = await user.planned();
    hub.requests.length = 0;
    const offline = new User(parent, hub, { HF_HUB_OFFLINE: 'yes' });
    expect((await refusal(offline.execute(plan))).code).toBe('hub.offline');
    expect(hub.requests).toEqual([]);
  });
});
