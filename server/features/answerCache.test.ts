import { execFileSync } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AnswerResult } from '../protocol';
import { AnswerCache, answerKeyText, type AnswerKey } from './answerCache';

let directory: string;
let log: string[];

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'fovea-answers-'));
  log = [];
});
afterEach(() => rm(directory, { recursive: true, force: true }));

function cache(maxBytes = 1e6, folder: string | null = directory): AnswerCache {
  const made = new AnswerCache(folder ?? undefined, (line) => log.push(line));
  made.setMaxBytes(maxBytes);
  return made;
}

const key = (question: string): AnswerKey => ({
  images: ['00'],
  question,
  precision: 'auto',
  model: 'm',
  reduction: 'none',
  fit: 'pad',
  sampling: { maxTokens: 5 },
});

/** Only what the cache looks at; it stores and returns any answer whole. */
const answer = (text: string): AnswerResult =>
  ({ answer: text, trace: { version: 1, answer: [] } }) as unknown as AnswerResult;

async function files(folder = directory): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath, entry.name));
}

describe('an answer', () => {
  it('is found again, at once and by another process', async () => {
    const first = cache();
    const stored = first.put(key('a'), answer('yes'));
    expect(await first.get(key('a'))).toEqual(answer('yes'));
    await stored;
    expect(await cache().get(key('a'))).toEqual(answer('yes'));
    expect(await cache().get(key('b'))).toBeUndefined();
    expect(log).toEqual([]);
  });

  it('has one name, whatever the order of the fields, and another for every change', () => {
    const base = key('a');
    const reordered = Object.fromEntries(Object.entries(base).reverse()) as unknown as AnswerKey;
    expect(answerKeyText(reordered)).toBe(answerKeyText(base));
    const changes: Partial<AnswerKey>[] = [
      { precision: 'q4' },
      { images: ['01'] },
      { images: ['00', '00'] },
      { question: 'b' },
      { system: '' },
      { rawPrompt: 'a' },
      { model: 'n' },
      { reduction: 'fastv' },
      { fit: 'crop' },
      { sampling: { maxTokens: 6 } },
      { sampling: { maxTokens: 5, temperature: 0 } },
      { sampling: { maxTokens: 5, topP: 0 } },
      { sampling: { maxTokens: 5, seed: 0 } },
    ];
    const names = new Set([base, ...changes.map((change) => ({ ...base, ...change }))].map(answerKeyText));
    expect(names.size).toBe(changes.length + 1);
  });

  it('that is damaged on disk is not there, is forgotten, and can be stored again', async () => {
    await cache().put(key('a'), answer('yes'));
    for (const file of await files(path.join(directory, 'content-v2')))
      await writeFile(file, '{"answer":"no"}');
    const damaged = cache();
    expect(await damaged.get(key('a'))).toBeUndefined();
    await damaged.settled();
    expect(log).toHaveLength(1);
    await damaged.put(key('a'), answer('yes'));
    expect(await cache().get(key('a'))).toEqual(answer('yes'));
  });

  it('survives an index that is cut or garbage: the others are still found', async () => {
    await cache().put(key('a'), answer('yes'));
    await cache().put(key('b'), answer('no'));
    const [index] = await files(path.join(directory, 'index-v5'));
    const whole = await readFile(index);
    await writeFile(
      index,
      Buffer.concat([Buffer.from('garbage\n\0\xff'), whole.subarray(0, whole.length - 5)]),
    );
    const found = await Promise.all(['a', 'b'].map((question) => cache().get(key(question))));
    expect(found.filter((result) => result !== undefined)).toHaveLength(1);
  });
});

describe('the size', () => {
  it('is limited: what was not used for longest leaves first', async () => {
    const big = (text: string): AnswerResult => answer(text.repeat(1000));
    const limited = cache(5000);
    for (const question of ['a', 'b', 'c', 'd']) {
      await limited.put(key(question), big(question));
      await new Promise((resolve) => setTimeout(resolve, 5)); // the index counts in milliseconds
    }
    expect(await limited.get(key('a'))).toBeDefined();
    await limited.settled();
    await new Promise((resolve) => setTimeout(resolve, 5));
    await limited.put(key('e'), big('e'));
    const there = await Promise.all(
      ['a', 'b', 'c', 'd', 'e'].map((question) => cache(5000).get(key(question))),
    );
    expect(there.map((result) => result !== undefined)).toEqual([true, false, false, true, true]);
    const bytes = Number(
      execFileSync('du', ['-sb', path.join(directory, 'content-v2')], { encoding: 'utf8' }).split('\t')[0],
    );
    expect(bytes).toBeLessThan(5000 + 20 * 4096); // folders count too
  });

  it('takes effect when it shrinks, and 0 keeps nothing', async () => {
    const shrinking = cache();
    await shrinking.put(key('a'), answer('yes'));
    shrinking.setMaxBytes(0);
    await shrinking.settled();
    expect(await shrinking.get(key('a'))).toBeUndefined();
    expect(await cache().get(key('a'))).toBeUndefined();
    await shrinking.put(key('b'), answer('no'));
    expect(await cache().get(key('b'))).toBeUndefined();
  });

  it('an answer that is larger than the whole cache is not kept', async () => {
    const small = cache(100);
    await small.put(key('a'), answer('x'.repeat(200)));
    expect(await small.get(key('a'))).toBeUndefined();
    expect(await files()).toEqual([]);
  });
});

describe('clearing', () => {
  it('forgets everything and says how much there was', async () => {
    const cleared = cache();
    await cleared.put(key('a'), answer('yes'));
    await cleared.put(key('b'), answer('no'));
    const bytes = JSON.stringify(answer('yes')).length + JSON.stringify(answer('no')).length;
    expect(await cleared.clear()).toEqual({ answers: 2, bytes });
    expect(await cleared.get(key('a'))).toBeUndefined();
    expect(await cleared.clear()).toEqual({ answers: 0, bytes: 0 });
  });

  it('never throws where there is no folder or it cannot be written', async () => {
    const none = cache(1e6, null);
    await none.put(key('a'), answer('yes'));
    expect(await none.clear()).toEqual({ answers: 0, bytes: 0 });
    const file = path.join(directory, 'file');
    await writeFile(file, '');
    const blocked = cache(1e6, path.join(file, 'below'));
    await blocked.put(key('a'), answer('yes'));
    expect(await blocked.get(key('a'))).toBeUndefined();
    expect(log.length).toBeGreaterThan(0);
  });
});
