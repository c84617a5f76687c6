import { existsSync, readdirSync, readFileSync, realpathSync, statSync, writeFileSync } from 'node:fs';
import * as fileSystem from 'node:fs/promises';
import path from 'node:path';

import { describe, expect, it } from 'vitest';

import { openCheckpoint } from '../../server/llava/checkpoint/open';
import { prepareWeights, sidecarFolder } from '../../server/llava/checkpoint/sidecar';
import { fixturePath } from '../../server/llava/testing/fixtures';
import { temporaryDirectory } from '../../server/llava/testing/temporaryDirectory';
import { parseModelId } from '../../server/models/fileNames';
import {
  listInstalled,
  planRemoval,
  removeInstalled,
  resolveModel,
  verifyInstalled,
} from '../../server/models/installed';
import { withLock } from '../../server/models/lock';
import { refusal, startHub, tinyRepository, User } from './setting';

const parent = temporaryDirectory();
const EMBEDDED = path.join(parent, 'embedded');
const ID = parseModelId('acme/tiny-llava');
const WEIGHTS = 'model.safetensors';

async function user(files?: Record<string, Buffer>): Promise<User> {
  return new User(parent, await startHub(files));
}

/** A second user whose Hugging Face cache is the first one's folder of downloads: the layout is the same. */
function asHuggingFaceCache({ settings, hub }: User): User {
  return new User(parent, hub, { HF_HUB_CACHE: settings.modelsDirectory });
}

function damage(file: string): void {
  const real = realpathSync(file);
  const content = readFileSync(real);
  content[content.length >> 1] ^= 1;
  writeFileSync(real, content);
}

describe('the list of models', () => {
  it('is empty where there is nothing', async () => {
    expect(await listInstalled((await user()).settings)).toEqual([]);
  });

  it('shows a complete model with its size and folder', async () => {
    const someone = await user();
    const directory = await someone.download();
    const bytes = readdirSync(directory).reduce(
      (sum, name) => sum + statSync(path.join(directory, name)).size,
      0,
    );
    expect(await listInstalled(someone.settings)).toEqual([
      {
        repository: 'acme/tiny-llava',
        commit: someone.hub.commit,
        directory,
        origin: 'fovea',
        state: 'complete',
        bytes,
        totalBytes: bytes,
        unsupported: undefined,
      },
    ]);
  });

  it('shows how far a download has come', async () => {
    const someone = await user();
    const { content } = someone.hub.files.get(WEIGHTS)!;
    someone.hub.misbehave = ({ url, response }) => {
      if (!url.endsWith(`/storage/${WEIGHTS}`)) return false;
      response.writeHead(404).end();
      return true;
    };
    const plan = await someone.planned();
    await refusal(someone.execute(plan));
    const [model, ...others] = await listInstalled(someone.settings);
    expect(others).toEqual([]);
    expect(model).toMatchObject({
      state: 'partial',
      bytes: plan.totalBytes - content.length,
      totalBytes: plan.totalBytes,
      directory: plan.directory,
    });
  });

  it('shows the Hugging Face cache too, but no models of other kinds', async () => {
    const first = await user();
    await first.download();
    const second = asHuggingFaceCache(first);
    const other = path.join(
      first.settings.modelsDirectory,
      'models--acme--text-only',
      'snapshots',
      'a'.repeat(40),
    );
    await fileSystem.mkdir(other, { recursive: true });
    await fileSystem.writeFile(path.join(other, 'config.json'), '{"model_type":"bert"}');
    const list = await listInstalled(second.settings);
    expect(list.map(({ repository, origin }) => [repository, origin])).toEqual([
      ['acme/tiny-llava', 'hugging-face-cache'],
    ]);
  });

  it('says which of them this version cannot run', async () => {
    const someone = await user({
      ...tinyRepository(),
      'config.json': Buffer.from('{"model_type":"llava_of_the_future"}'),
    });
    await someone.download();
    const [model] = await listInstalled(someone.settings);
    expect(model.unsupported?.code).toMatch(/^model\.unsupported/);
  });

  it.each(['{', '[]', '', '{"version":1,"repository":"../..","commit":"x","files":[]}'])(
    'does not believe a damaged note of a download: %j',
    async (text) => {
      const someone = await user();
      const notes = path.join(someone.settings.modelsDirectory, 'models--acme--tiny-llava', 'fovea');
      await fileSystem.mkdir(notes, { recursive: true });
      await fileSystem.writeFile(path.join(notes, `${'b'.repeat(40)}.json`), text);
      expect(await listInstalled(someone.settings)).toEqual([]);
    },
  );
});

describe('the name of a model', () => {
  const resolve = (text: string, { settings }: User): Promise<string> =>
    resolveModel(text, { embedded: EMBEDDED, places: settings });

  it('is a folder, where there is one', async () => {
    const folder = fixturePath('checkpoints', 'clip-llama');
    expect(await resolve(folder, await user())).toBe(folder);
  });

  it('may be that of the embedded model', async () => {
    expect(await resolve('fovea-nano', await user())).toBe(EMBEDDED);
  });

  it('may be a hub id, with a revision, of a model that is here', async () => {
    const someone = await user();
    const directory = await someone.download();
    for (const text of ['acme/tiny-llava', 'acme/tiny-llava@main', `acme/tiny-llava@${someone.hub.commit}`])
      expect(await resolve(text, someone)).toBe(directory);
    expect((await refusal(resolve('acme/tiny-llava@v2', someone))).code).toBe('model.not-downloaded');
  });

  it('may be found in the Hugging Face cache', async () => {
    const first = await user();
    const directory = await first.download();
    expect(await resolve('acme/tiny-llava', asHuggingFaceCache(first))).toBe(directory);
  });

  it('never downloads, and the error says what does', async () => {
    const someone = await user();
    for (const text of ['acme/tiny-llava', 'llava-1.5-7b', 'llava-hf/llava-1.5-7b-hf']) {
      const error = await refusal(resolve(text, someone));
      expect(error.code).toBe('model.not-downloaded');
      expect(error.nextStep).toBe(`Get it with: fovea model add ${text}`);
    }
    expect(someone.hub.requests).toEqual([]);
  });

  it('that is neither is taken for a path, whose opening says what is wrong', async () => {
    for (const text of ['./nowhere', '/no/where/at/all', '../up/there'])
      expect(await resolve(text, await user())).toBe(text);
    const error = await refusal(resolve('nowhere', await user()));
    expect(error).toMatchObject({ code: 'model.unknown', kind: 'input' });
  });

  it('does not take an incomplete model for one', async () => {
    const someone = await user();
    const directory = await someone.download();
    await fileSystem.rm(path.join(directory, 'tokenizer.json'));
    const error = await refusal(resolve('acme/tiny-llava', someone));
    expect(error.code).toBe('model.incomplete');
    expect(error.nextStep).toContain('fovea model add acme/tiny-llava');
  });
});

describe('verifying', () => {
  const cache = temporaryDirectory();

  it('reads the weights that were converted from it too, and removes what is damaged so that it is made again', async () => {
    const someone = await user();
    const directory = await someone.download();
    const checkpoint = await openCheckpoint(directory);
    const converted = temporaryDirectory();
    const check = async (removeDamaged = false) =>
      (await verifyInstalled(ID, someone.settings, converted, { removeDamaged })).converted;
    const folder = sidecarFolder(checkpoint, converted);
    expect(await check()).toEqual({ folder, right: [], damaged: [] });
    await prepareWeights(checkpoint, 'q4', { cacheDirectory: converted });
    const names = readdirSync(folder).sort();
    expect(await check()).toEqual({ folder, right: names, damaged: [] });
    // The middle of the file is data; the header stays right.
    damage(path.join(folder, names[0]));
    expect(await check()).toEqual({ folder, right: names.slice(1), damaged: [names[0]] });
    await check(true);
    expect(await check()).toEqual({ folder, right: names.slice(1), damaged: [] });
    await prepareWeights(checkpoint, 'q4', { cacheDirectory: converted });
    expect(await check()).toEqual({ folder, right: names, damaged: [] });
  });

  it('reads every file again', async () => {
    const someone = await user();
    const directory = await someone.download();
    let read = 0;
    const result = await verifyInstalled(ID, someone.settings, cache, {
      onBytes: (bytes) => (read += bytes),
    });
    expect([...result.right].sort()).toEqual(readdirSync(directory).sort());
    expect(result).toMatchObject({ directory, damaged: [], unknown: [] });
    expect(read).toBe((await listInstalled(someone.settings))[0].bytes);
  });

  it.each([WEIGHTS, 'tokenizer.json'])('finds one changed bit in %s', async (name) => {
    const someone = await user();
    damage(path.join(await someone.download(), name));
    expect((await verifyInstalled(ID, someone.settings, cache)).damaged).toEqual([name]);
  });

  it('removes what is damaged, so that the next download fetches that and nothing else', async () => {
    const someone = await user();
    const directory = await someone.download();
    damage(path.join(directory, WEIGHTS));
    await verifyInstalled(ID, someone.settings, cache, { removeDamaged: true });
    someone.hub.requests.length = 0;
    expect(await someone.download()).toBe(directory);
    const fetched = someone.hub.downloads.filter(({ url }) => url.includes('/storage/'));
    expect(fetched.map(({ url }) => url)).toEqual([`/storage/${WEIGHTS}`]);
    expect((await verifyInstalled(ID, someone.settings, cache)).damaged).toEqual([]);
  });

  it('knows the hashes of the Hugging Face cache by the names of its contents, and changes nothing there', async () => {
    const first = await user();
    const directory = await first.download();
    const notes = path.join(first.settings.modelsDirectory, 'models--acme--tiny-llava', 'fovea');
    await fileSystem.rm(notes, { recursive: true });
    const second = asHuggingFaceCache(first);
    expect((await verifyInstalled(ID, second.settings, cache)).damaged).toEqual([]);
    damage(path.join(directory, WEIGHTS));
    expect((await verifyInstalled(ID, second.settings, cache)).damaged).toEqual([WEIGHTS]);
    const error = await refusal(verifyInstalled(ID, second.settings, cache, { removeDamaged: true }));
    expect(error.code).toBe('model.not-ours');
    expect(existsSync(path.join(directory, WEIGHTS))).toBe(true);
  });

  it('says so where nobody wrote down what a file must be', async () => {
    const first = await user();
    const directory = await first.download();
    const notes = path.join(first.settings.modelsDirectory, 'models--acme--tiny-llava', 'fovea');
    await fileSystem.rm(notes, { recursive: true });
    const file = path.join(directory, WEIGHTS);
    const content = readFileSync(file);
    await fileSystem.rm(file);
    await fileSystem.writeFile(file, content);
    const result = await verifyInstalled(ID, asHuggingFaceCache(first).settings, cache);
    expect(result.unknown).toEqual([WEIGHTS]);
    expect(result.right).not.toContain(WEIGHTS);
  });

  it('can be cancelled', async () => {
    const someone = await user();
    await someone.download();
    const error = await refusal(
      verifyInstalled(ID, someone.settings, cache, { signal: AbortSignal.abort() }),
    );
    expect(error).toMatchObject({ kind: 'cancelled', message: 'The check was cancelled.' });
  });

  it('of a model that is not here says how to get it', async () => {
    expect((await refusal(verifyInstalled(ID, (await user()).settings, cache))).nextStep).toMatch(
      /fovea model add/,
    );
  });
});

describe('removing', () => {
  it('takes the model with its converted weights, and nothing else', async () => {
    const someone = await user(tinyRepository('siglip-qwen2-float16'));
    const directory = await someone.download();
    const engineCache = path.join(someone.home, 'fovea');
    const checkpoint = await openCheckpoint(directory);
    await prepareWeights(checkpoint, 'fp32', { cacheDirectory: engineCache });
    const stranger = path.join(engineCache, 'f'.repeat(64));
    await fileSystem.mkdir(stranger);
    expect(readdirSync(engineCache).sort()).toEqual([checkpoint.hash, 'f'.repeat(64), 'models'].sort());

    const removal = await removeInstalled(ID, someone.settings, engineCache);
    expect(removal.bytes).toBeGreaterThan((await someone.planned()).totalBytes);
    expect(readdirSync(engineCache).sort()).toEqual(['f'.repeat(64), 'models'].sort());
    expect(readdirSync(someone.settings.modelsDirectory)).toEqual([]);
  });

  it('takes a download that was begun', async () => {
    const someone = await user();
    someone.hub.misbehave = ({ url, response }) => {
      if (!url.includes('tokenizer.json')) return false;
      response.writeHead(404).end();
      return true;
    };
    await refusal(someone.download());
    await removeInstalled(ID, someone.settings, someone.home);
    expect(await listInstalled(someone.settings)).toEqual([]);
  });

  it('never touches the Hugging Face cache', async () => {
    const first = await user();
    const directory = await first.download();
    const second = asHuggingFaceCache(first);
    expect((await refusal(planRemoval(ID, second.settings))).code).toBe('model.not-ours');
    expect((await refusal(removeInstalled(ID, second.settings, second.home))).code).toBe('model.not-ours');
    await openCheckpoint(directory);
  });

  it('does not follow a link that stands in the place of a model', async () => {
    const someone = await user();
    const precious = path.join(someone.home, 'precious');
    await fileSystem.mkdir(precious);
    await fileSystem.writeFile(path.join(precious, 'file'), 'mine');
    await fileSystem.mkdir(someone.settings.modelsDirectory, { recursive: true });
    await fileSystem.symlink(
      precious,
      path.join(someone.settings.modelsDirectory, 'models--acme--tiny-llava'),
    );
    await refusal(removeInstalled(ID, someone.settings, someone.home));
    expect(readdirSync(precious)).toEqual(['file']);
  });

  it('waits for nobody: what another Fovea works on is not removed', async () => {
    const someone = await user();
    await someone.download();
    const lock = path.join(someone.settings.modelsDirectory, 'models--acme--tiny-llava', 'fovea', 'lock');
    await withLock(lock, 'acme/tiny-llava', async () => {
      const error = await refusal(removeInstalled(ID, someone.settings, someone.home));
      expect(error.code).toBe('model.in-use');
    });
    await removeInstalled(ID, someone.settings, someone.home);
  });

  it('of what is not here says so', async () => {
    const someone = await user();
    expect((await refusal(removeInstalled(ID, someone.settings, someone.home))).code).toBe(
      'model.not-downloaded',
    );
  });
});

describe('the lock', () => {
  it.each([
    ['a process that is gone', '2147483646'],
    ['nonsense', 'x'],
  ])('of %s is taken over when it is old enough to be abandoned', async (_, pid) => {
    const lock = path.join(parent, `lock-${pid}`);
    await withLock(lock, 'a/b', async () => undefined);
    const mine = await holderOf(lock);
    await fileSystem.writeFile(lock, mine.replace(/\d+\s*$/, pid));
    const old = new Date(Date.now() - 3600_000);
    await fileSystem.utimes(lock, old, old);
    expect(await withLock(lock, 'a/b', async () => 'done')).toBe('done');
    expect(existsSync(lock)).toBe(false);
  });

  it('of another machine is respected while it is touched', async () => {
    const lock = path.join(parent, 'lock-elsewhere');
    await fileSystem.writeFile(lock, '00000000 1\n');
    expect((await refusal(withLock(lock, 'a/b', async () => 'done'))).code).toBe('model.in-use');
  });

  it('is given back when the work fails', async () => {
    const lock = path.join(parent, 'lock-failing');
    await expect(withLock(lock, 'a/b', () => Promise.reject(new Error('broken')))).rejects.toThrow('broken');
    expect(existsSync(lock)).toBe(false);
  });

  async function holderOf(lock: string): Promise<string> {
    return withLock(lock, 'a/b', () => fileSystem.readFile(lock, 'utf8'));
  }
});
