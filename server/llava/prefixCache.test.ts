import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { copyCheckpoint } from './checkpoint/testing';
import { Decoding, type Prompt } from './decoding';
import type { Question } from './question';
import { LlavaModel } from './model';
import { PrefixCache, type Prefix } from './prefixCache';
import type { Reduction } from './reduction/reduction';
import { LayerCache } from './runtime/keyValueCache';
import {
  askWatching,
  comparableSteps,
  expectSame,
  type FixtureAnswer,
  fixtureQuestion,
} from './testing/askFixture';
import {
  KEPT_PREFIX_FIXTURES,
  expectClose,
  type Fixture,
  fixtureImage,
  readFixture,
} from './testing/fixtures';
import { temporaryDirectory } from './testing/temporaryDirectory';

const ask = (model: LlavaModel, question: Question, reuse: boolean): Promise<FixtureAnswer> =>
  askWatching(model, question, { reuse });

const questionOf = (fixture: Fixture, change: Partial<Question> = {}): Question =>
  fixtureQuestion(fixture, { sampling: { maxTokens: 8 }, ...change });

/** Method -> how many layers of a decoder may take the beginning over (undefined: none). */
const METHODS: [spec: string, layers: (all: number) => number | undefined][] = [
  ['none', (all) => all],
  ['visionzip:dominant=6,contextual=3', (all) => all],
  ['scope:keep=5', (all) => all],
  ['fastv:layer=1,keep=0.3', () => 1],
  ['fastv:layer=2,keep=4', () => 2],
  ['sparsevlm:layer=1,keep=0.5', () => 1],
  ['pyramiddrop', () => 1],
  ['visionzip:dominant=8,contextual=2+fastv:layer=2,keep=0.5', () => 2],
  ['fastv:layer=1,keep=0.3,score=columnSum', () => undefined],
  ['fastv:layer=1,keep=0.3,score=lastQueryNoRotary', () => 1],
];

describe.each(KEPT_PREFIX_FIXTURES)('a further question about the images of %s', (name) => {
  const fixture = readFixture(name);
  let model: LlavaModel;
  beforeAll(async () => {
    model = await LlavaModel.open(fixture.directory, { cacheDirectory: temporaryDirectory() });
  });
  afterAll(() => model.dispose());

  it.each(METHODS)('%s: equals the run that computes everything', async (reduction, layersOf) => {
    const first = questionOf(fixture, { reduction, question: 'another one that came before' });
    const second = questionOf(fixture, { reduction });
    const expected = await ask(model, second, false);
    expect(expected.result.costs.prefixReused).toBeUndefined();
    await ask(model, first, true);
    const actual = await ask(model, second, true);
    const layers = layersOf(model.checkpoint.config.text.numHiddenLayers);
    const { tokens } = actual.result.costs.prefixReused ?? {};
    if (layers === undefined) expect(tokens).toBeUndefined();
    else {
      const lastImage = actual.attention[0].labels.findLastIndex((label) => label >= 0);
      expect(actual.result.costs.prefixReused).toEqual({ layers, tokens: lastImage + 1 });
    }
    expectSame(actual, expected);
    // And what was taken over is as good a beginning for a third.
    expectSame(await ask(model, second, true), expected);
  });
});

describe('a further question where caches stay on the device', () => {
  // The CPU in the device's place: it runs the same graphs, in half precision. test/webgpu does it on a real adapter.
  const fixture = readFixture('clip-llama');
  const HALF_TOLERANCE = 0.01;
  let model: LlavaModel;
  beforeAll(async () => {
    model = await LlavaModel.open(fixture.directory, {
      precision: 'fp16',
      cacheDirectory: temporaryDirectory(),
    });
  });
  afterAll(() => model.dispose());

  it.each(METHODS)('%s: equals the run that computes everything', async (reduction, layersOf) => {
    const question = questionOf(fixture, { reduction });
    const expected = await ask(model, question, false);
    await ask(model, { ...question, question: 'another one that came before' }, true);
    const layers = layersOf(model.checkpoint.config.text.numHiddenLayers);
    // What was taken over is as good a beginning for a third.
    for (const time of ['second', 'third']) {
      const actual = await ask(model, question, true);
      expect(actual.result.costs.prefixReused?.layers, time).toBe(layers);
      const steps = Math.min(comparableSteps(actual, expected), expected.logits.length);
      expect(steps).toBeGreaterThan(1);
      for (let step = 0; step < steps; step++)
        expectClose(actual.logits[step], expected.logits[step], HALF_TOLERANCE);
    }
  });

  it('holds the rows of one prompt at a time', async () => {
    const bytes: number[] = [];
    let reused = 0;
    for (const reduction of ['none', 'none', 'uniform:keep=3', 'fastv:layer=1,keep=3', 'none', 'none']) {
      const { result } = await ask(model, questionOf(fixture, { reduction }), true);
      if (result.costs.prefixReused) reused++;
      bytes.push(model.prefixes.bytes);
    }
    expect(reused).toBe(2);
    const [whole] = bytes;
    const layers = model.checkpoint.config.text.numHiddenLayers;
    expect([bytes[1], bytes[4], bytes[5]]).toEqual([whole, whole, whole]);
    // Three image tokens and some text; and one layer's rows, with the hidden states behind it.
    expect(bytes[2]).toBeLessThan(whole);
    expect(bytes[3]).toBeLessThan(whole / layers + whole);
    expect(bytes[3]).toBeGreaterThan(whole / layers);
  });
});

describe('what is taken over', () => {
  const fixture = readFixture('clip-llama');
  const base = questionOf(fixture);
  async function open(directory = fixture.directory): Promise<LlavaModel> {
    return LlavaModel.open(directory, { cacheDirectory: temporaryDirectory() });
  }

  it('never comes from a question that differs in system prompt, image, fit or a reduction before the decoder', async () => {
    const model = await open();
    await ask(model, base, true);
    const other = readFixture('clip-qwen2-two-images');
    const changes: Partial<Question>[] = [
      { system: 'Be brief.' },
      { images: [fixtureImage(other, 1)] },
      { fit: 'crop' },
      { reduction: 'uniform:keep=7' },
      { reduction: 'random:keep=7,seed=1' },
      { reduction: 'random:keep=7,seed=2' },
      { reduction: 'fastv:layer=1,keep=0.5' },
      { reduction: 'fastv:layer=2,keep=0.5' },
    ];
    for (const change of changes) {
      const { result } = await ask(model, { ...base, ...change }, true);
      expect(result.costs.prefixReused, JSON.stringify(Object.keys(change))).toBeUndefined();
    }
    await model.dispose();
  });

  it('is kept across methods that look at the same layer, whatever they keep', async () => {
    const model = await open();
    await ask(model, { ...base, reduction: 'fastv:layer=1,keep=0.5' }, true);
    const question = { ...base, reduction: 'sparsevlm:layer=1,keep=3' };
    const actual = await ask(model, question, true);
    expect(actual.result.costs.prefixReused?.layers).toBe(1);
    expectSame(actual, await ask(model, question, false));
    await model.dispose();
  });

  it('is neither read nor written for a measurement, and does not outlive the model', async () => {
    const model = await open();
    await ask(model, base, false);
    expect(model.prefixes.bytes).toBe(0);
    expect((await ask(model, base, true)).result.costs.prefixReused).toBeUndefined();
    expect(model.prefixes.bytes).toBeGreaterThan(0);
    expect((await ask(model, base, false)).result.costs.prefixReused).toBeUndefined();
    await model.dispose();
    const again = await open();
    expect((await ask(again, base, true)).result.costs.prefixReused).toBeUndefined();
    await again.dispose();
  });

  it('is not changed by what a later answer drops from its cache', async () => {
    const model = await open();
    let prompt: Prompt | undefined;
    await model.ask(base, { reuse: false, onPrompt: (entered) => (prompt = entered) });
    const { text, vision } = model.checkpoint.config;
    const reused: boolean[] = [];
    const dropsHalf: Reduction = {
      id: 'half',
      spec: 'half',
      atStep: ({ importance }) =>
        Uint32Array.from({ length: importance.length >> 1 }, (_, index) => index * 2),
    };
    const answer = async (prefixes: PrefixCache | undefined): Promise<Float32Array[]> => {
      const shape = { layers: text.numHiddenLayers, hasClassToken: vision.hasClassToken, imageTokens: 0 };
      await using decoding = new Decoding(
        {
          text,
          sessions: model.sessions,
          reductions: [dropsHalf],
          shape,
          signal: undefined,
          stages: [],
          contextId: 0,
          onSelectionTime: () => undefined,
          prefixes,
        },
        100,
      );
      const logits = [(await decoding.prefill(prompt!)).logits];
      reused.push(decoding.reused !== undefined);
      for (const token of [1, 2, 3]) logits.push((await decoding.step(token)).logits);
      expect(decoding.imageTokensLeft).toBe(prompt!.imageTokens.length >> 3);
      return logits;
    };
    const expected = await answer(undefined);
    const prefixes = new PrefixCache();
    for (let time = 0; time < 3; time++) {
      (await answer(prefixes)).forEach((logits, step) => expectClose(logits, expected[step]));
    }
    expect(reused).toEqual([false, false, true, true]);
    await model.dispose();
  });

  const factors = [1, 2, 3, 4];
  const longrope = { rope_type: 'longrope', rope_theta: 10_000, short_factor: factors, long_factor: factors };
  it.each([
    ['a longer prompt', { rope_type: 'dynamic', factor: 8, rope_theta: 10_000 }, 16, false],
    ['a prompt as in training', { rope_type: 'dynamic', factor: 8, rope_theta: 10_000 }, 512, true],
    ['a longer prompt', { ...longrope, original_max_position_embeddings: 16 }, 512, false],
    ['a prompt as in training', { ...longrope, original_max_position_embeddings: 256 }, 512, true],
  ])(
    'of %s where rotary angles depend on its length (%j, %i positions): %s',
    async (_, rope, positions, reused) => {
      const directory = copyCheckpoint('clip-llama', path.join(temporaryDirectory(), 'scaled'));
      const file = path.join(directory, 'config.json');
      const config = JSON.parse(readFileSync(file, 'utf8')) as { text_config: Record<string, unknown> };
      config.text_config.rope_parameters = rope;
      config.text_config.max_position_embeddings = positions;
      writeFileSync(file, JSON.stringify(config));
      const model = await open(directory);
      const short = { ...base, sampling: { maxTokens: 1 } };
      await ask(model, short, true);
      const { result } = await ask(model, short, true);
      expect(result.costs.prefixReused !== undefined).toBe(reused);
      await model.dispose();
    },
  );
});

describe('PrefixCache', () => {
  const prefix = (rows: number): Prefix => ({
    rows,
    layers: [new LayerCache(1, 1, rows)],
    hidden: { data: new Float32Array(rows), rows, columns: 1 },
  });

  it('holds no more than it may, in number and in bytes', () => {
    const few = new PrefixCache(2, 1e6);
    for (const key of ['a', 'b', 'c']) few.put(key, prefix(10));
    expect(few.take('a')).toBeUndefined();
    expect(few.bytes).toBe(2 * 10 * 3 * 4);
    const small = new PrefixCache(8, 300);
    small.put('a', prefix(20));
    small.put('b', prefix(20));
    expect(small.take('a')).toBeUndefined();
    expect(small.take('b')?.rows).toBe(20);
    small.put('b', prefix(26));
    expect(small.bytes).toBe(0);
  });

  it('gives a beginning to one question at a time', () => {
    const cache = new PrefixCache();
    const entry = prefix(10);
    cache.put('a', entry);
    expect(cache.take('a')).toBe(entry);
    expect(cache.take('a')).toBeUndefined();
    expect(cache.bytes).toBe(0);
    cache.put('a', entry);
    expect(cache.take('a')).toBe(entry);
  });

  it('tells rows and depths apart', () => {
    const rows = Float32Array.from([1, 2, 3]);
    expect(PrefixCache.key(rows, 2)).toBe(PrefixCache.key(rows.slice(), 2));
    expect(PrefixCache.key(rows, 2)).not.toBe(PrefixCache.key(rows, 3));
    expect(PrefixCache.key(rows, 2)).not.toBe(PrefixCache.key(rows.with(2, 4), 2));
  });
});
