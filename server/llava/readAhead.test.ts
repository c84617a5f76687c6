import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { CancelledError } from './errors';
import { LlavaModel } from './model';
import { askWatching, comparableSteps, expectSame, fixtureQuestion } from './testing/askFixture';
import { KEPT_PREFIX_FIXTURES, expectClose, readFixture } from './testing/fixtures';
import { temporaryDirectory } from './testing/temporaryDirectory';

/** Method -> in how many layers of a decoder something can be computed before the question is known. */
const METHODS: [spec: string, layers: (all: number) => number | undefined][] = [
  ['none', (all) => all],
  ['visionzip:dominant=6,contextual=3', (all) => all],
  ['mmr:keep=7', (all) => all],
  ['fastv:layer=1,keep=0.3', () => 1],
  ['sparsevlm:layer=2,keep=0.5', () => 2],
  ['fastv:layer=1,keep=0.3,score=lastQueryNoRotary', () => 1],
  // Its score is a sum over all rows.
  ['fastv:layer=1,keep=0.3,score=columnSum', () => undefined],
];

describe.each(KEPT_PREFIX_FIXTURES)(
  'a question about the images of %s that were read before it was asked',
  (name) => {
    const fixture = readFixture(name);
    let model: LlavaModel;
    beforeAll(async () => {
      model = await LlavaModel.open(fixture.directory, { cacheDirectory: temporaryDirectory() });
    });
    afterAll(() => model.dispose());

    it.each(METHODS)('%s: is answered as without', async (reduction, layersOf) => {
      const question = fixtureQuestion(fixture, { reduction, sampling: { maxTokens: 8 } });
      const expected = await askWatching(model, question, { reuse: false });
      const { images, system } = question;
      await model.readAhead({ images, system, reduction });
      // A second time there is nothing left to do, and nothing is lost.
      await model.readAhead({ images, system, reduction });
      const actual = await askWatching(model, question);
      const { costs } = actual.result;
      expect(costs.imagesReused).toBe(images.length);
      const layers = layersOf(model.checkpoint.config.text.numHiddenLayers);
      if (layers === undefined) expect(costs.prefixReused).toBeUndefined();
      else {
        const lastImage = actual.attention[0].labels.findLastIndex((label) => label >= 0);
        expect(costs.prefixReused).toEqual({ layers, tokens: lastImage + 1 });
      }
      expectSame(actual, expected);
    });
  },
);

describe('reading ahead', () => {
  const fixture = readFixture('clip-llama');
  const { images } = fixtureQuestion(fixture);
  const open = (precision: 'fp32' | 'q4' | 'fp16'): Promise<LlavaModel> =>
    LlavaModel.open(fixture.directory, { precision, cacheDirectory: temporaryDirectory() });

  // Half precision keeps its caches where a device's would be.
  it.each([
    ['q4', 0.05],
    ['fp16', 0.01],
  ] as const)('serves a decoder in %s', async (precision, tolerance) => {
    const model = await open(precision);
    for (const reduction of ['none', 'fastv:layer=2,keep=0.5']) {
      const question = fixtureQuestion(fixture, { reduction, sampling: { maxTokens: 6 } });
      const expected = await askWatching(model, question, { reuse: false });
      await model.readAhead({ images, reduction });
      const actual = await askWatching(model, question);
      expect(actual.result.costs.prefixReused).toBeDefined();
      const steps = Math.min(comparableSteps(actual, expected), expected.logits.length);
      expect(steps).toBeGreaterThan(1);
      for (let step = 0; step < steps; step++)
        expectClose(actual.logits[step], expected.logits[step], tolerance);
    }
    await model.dispose();
  });

  it('makes no session that the question would not have made', async () => {
    const model = await open('fp32');
    await model.readAhead({ images });
    const parts = model.sessions.loadedParts;
    expect(parts).toHaveLength(1);
    await askWatching(model, fixtureQuestion(fixture, { sampling: { maxTokens: 3 } }));
    expect(model.sessions.loadedParts).toEqual(parts);
    await model.dispose();
  });

  it('stops at the signal, and leaves nothing half done', async () => {
    const model = await open('fp32');
    const controller = new AbortController();
    const stages: string[] = [];
    const stopped = model.readAhead(
      { images },
      {
        signal: controller.signal,
        onProgress: ({ stage }) => {
          stages.push(stage);
          if (stage === 'vision') controller.abort();
        },
      },
    );
    await expect(stopped).rejects.toThrow(CancelledError);
    expect(stages).toEqual(['image', 'vision']);
    expect(model.prefixes.bytes).toBe(0);
    const { result } = await askWatching(
      model,
      fixtureQuestion(fixture, { fit: 'crop', sampling: { maxTokens: 3 } }),
    );
    expect(result.answerTokenIds).toEqual(fixture.description.answerIds.slice(0, 3));
    await model.dispose();
  });
});

describe('reading ahead of a method that looks at the question before the decoder', () => {
  it('is the vision tower alone', async () => {
    const model = await LlavaModel.open('model', { cacheDirectory: temporaryDirectory() });
    const question = fixtureQuestion(readFixture('clip-llama'), {
      reduction: 'llamavid:grid=4',
      sampling: { maxTokens: 3 },
    });
    const expected = await askWatching(model, question, { reuse: false });
    await model.readAhead({ images: question.images, reduction: question.reduction });
    expect(model.prefixes.bytes).toBe(0);
    const actual = await askWatching(model, question);
    expect(actual.result.costs.imagesReused).toBe(1);
    expect(actual.result.costs.prefixReused).toBeUndefined();
    expectSame(actual, expected);
    await model.dispose();
  });
});
