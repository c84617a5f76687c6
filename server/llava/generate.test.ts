import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { AnswerResult } from '../protocol';
import { CancelledError, InputError } from './errors';
import { LlavaModel } from './model';
import { expectClose, fixtureImage, readFixture } from './testing/fixtures';
import { temporaryDirectory } from './testing/temporaryDirectory';

/** What was computed for an earlier question rounds differently in the last bit when it is taken over. */
const exactly = { reuse: false };

/** Specs that keep every token, by every method that can and at every split. */
const KEEP_ALL = [
  'fastv:layer=1,keep=all',
  'fastv:layer=2,keep=100%',
  'fastv:layer=1,keep=all,score=columnSum',
  'visionzip:dominant=all,contextual=0',
  'random:keep=all',
  'uniform:keep=all',
  'scope:keep=all',
  'mmr:keep=all',
  'divprune:keep=all',
  'downscale:grid=1000',
  'sparsevlm:layer=1,keep=all',
  'fastv:layer=1,keep=all,score=lastQueryNoRotary',
  'visionzip:dominant=all,contextual=0+fastv:layer=1,keep=all',
];

describe.each(['clip-llama', 'siglip-qwen2', 'clip-qwen2-two-images'])('questions to %s', (name) => {
  const fixture = readFixture(name);
  const images = fixture.description.images.map((_, index) => fixtureImage(fixture, index));
  const question = { images, question: fixture.description.question, sampling: { maxTokens: 12 } };
  let model: LlavaModel;
  let unreduced: AnswerResult;

  beforeAll(async () => {
    model = await LlavaModel.open(fixture.directory, { cacheDirectory: temporaryDirectory() });
    unreduced = await model.ask(question, exactly);
  });
  afterAll(() => model.dispose());

  it.each(KEEP_ALL)('%s gives exactly the unreduced answer', async (reduction) => {
    const result = await model.ask({ ...question, reduction }, exactly);
    expect(result.answerTokenIds).toEqual(unreduced.answerTokenIds);
    expect(result.firstStep).toEqual(unreduced.firstStep);
    expect(result.trace.decoderTokens).toEqual(unreduced.trace.decoderTokens);
    expect(result.trace.answer.map((token) => token.attention)).toEqual(
      unreduced.trace.answer.map((token) => token.attention),
    );
    expect(result.costs.prefillMacs).toBe(unreduced.costs.prefillMacs);
    for (const stage of result.trace.stages) expect(stage.dropped).toEqual([]);
  });

  it('gives exactly the unreduced answer at every split', async () => {
    for (let layer = 1; layer < model.checkpoint.config.text.numHiddenLayers; layer++) {
      const result = await model.ask({ ...question, reduction: `fastv:layer=${layer},keep=all` }, exactly);
      expect(result.answerTokenIds).toEqual(unreduced.answerTokenIds);
      expect(result.firstStep).toEqual(unreduced.firstStep);
    }
  });

  it('streams exactly the answer, piece by piece', async () => {
    const pieces: string[] = [];
    const result = await model.ask(question, { onToken: (piece) => pieces.push(piece) });
    expect(pieces.join('').trim()).toBe(result.answer);
    expect(
      result.trace.answer
        .map((token) => token.text)
        .join('')
        .trim(),
    ).toBe(result.answer);
  });

  it('accounts for every token at every stage of a reduction', async () => {
    const result = await model.ask({
      ...question,
      reduction: 'visionzip:dominant=6,contextual=3+fastv:layer=1,keep=0.5',
    });
    const stages = result.trace.stages;
    expect(stages.length).toBe(images.length + 1);
    for (const stage of stages) {
      const after = [...stage.kept, ...stage.merged.flatMap((token) => token.sources), ...stage.dropped];
      expect(after.toSorted((a, b) => a - b)).toEqual(stage.received.toSorted((a, b) => a - b));
      expect(stage.milliseconds).toBeGreaterThanOrEqual(0);
      if (stage.scores) expect(stage.scores.values.every(Number.isFinite)).toBe(true);
    }
    expect(stages.at(-1)!.received).toEqual(result.trace.decoderTokens);
    expect(result.costs.imageTokens.atDecoder).toBe(result.trace.decoderTokens.length);
    expect(result.costs.imageTokens.total).toBe(unreduced.costs.imageTokens.total);
    expect(result.costs.cacheBytes).toBeLessThan(unreduced.costs.cacheBytes);
    expect(result.costs.prefillMacs).toBeLessThan(result.costs.prefillMacsUnreduced);
    for (const token of result.trace.answer) {
      expect(token.attention.length).toBe(result.trace.decoderTokens.length);
      expect(token.imageTokens).toBe(stages.at(-1)!.kept.length);
      const share = token.attention.reduce((sum, value) => sum + value, 0);
      expect(share).toBeGreaterThan(0);
      expect(share).toBeLessThanOrEqual(1.001);
    }
  });

  it('repeats a sampled answer with its seed, and gives others with other seeds', async () => {
    const sampled = (seed: number): Promise<AnswerResult> =>
      model.ask({ ...question, sampling: { maxTokens: 12, temperature: 2, topP: 0.95, seed } });
    const first = await sampled(7);
    expect((await sampled(7)).answerTokenIds).toEqual(first.answerTokenIds);
    const others = await Promise.all([1, 2, 3].map(sampled));
    expect(others.some((other) => other.answerTokenIds.join() !== first.answerTokenIds.join())).toBe(true);
  });

  it('skips the vision tower for a picture that it knows, with the same answer under every method', async () => {
    for (const reduction of [
      'none',
      'visionzip:dominant=6,contextual=3',
      'visionzip:dominant=6,contextual=3',
    ]) {
      const fresh = await model.ask({ ...question, reduction }, exactly);
      const again = await model.ask({ ...question, reduction });
      const third = await model.ask({ ...question, reduction });
      expect(fresh.costs.imagesReused).toBe(0);
      expect(fresh.costs.timings.vision).toBeGreaterThan(0);
      expect(third.costs.imagesReused).toBe(images.length);
      expect(third.costs.timings.vision).toBe(0);
      for (const result of [again, third]) {
        expect(result.firstStep.topTokenIds).toEqual(fresh.firstStep.topTokenIds);
        expectClose(result.firstStep.topLogits, fresh.firstStep.topLogits);
        expect(result.answerTokenIds).toEqual(fresh.answerTokenIds);
        expect(result.trace.stages.map(({ kept, merged }) => ({ kept, merged }))).toEqual(
          fresh.trace.stages.map(({ kept, merged }) => ({ kept, merged })),
        );
      }
    }
  });

  it('can be cancelled at any point and answers the next question unharmed', async () => {
    const total = countProgress(await events(model, question));
    // After the last piece there is nothing left to cancel.
    for (let stop = 0; stop < total - 1; stop++) {
      const cancellation = new AbortController();
      let seen = 0;
      const tick = (): void => {
        if (seen++ === stop) cancellation.abort();
      };
      const options = { signal: cancellation.signal, onProgress: tick, onToken: tick };
      await expect(model.ask(question, options)).rejects.toThrow(CancelledError);
    }
    expect((await model.ask(question)).answerTokenIds).toEqual(unreduced.answerTokenIds);
  });

  it('refuses a layer that the model does not have', async () => {
    await expect(model.ask({ ...question, reduction: 'fastv:layer=40,keep=0.5' })).rejects.toThrow(
      InputError,
    );
  });

  it('refuses a prompt with another number of image placeholders than images', async () => {
    await expect(model.ask({ ...question, rawPrompt: 'no picture here' })).rejects.toThrow(InputError);
  });

  it('answers questions that arrive together one after the other', async () => {
    const results = await Promise.all([model.ask(question), model.ask(question), model.ask(question)]);
    for (const result of results) expect(result.answerTokenIds).toEqual(unreduced.answerTokenIds);
  });
});

type Ask = Parameters<LlavaModel['ask']>[0];

async function events(model: LlavaModel, question: Ask): Promise<string[]> {
  const seen: string[] = [];
  await model.ask(question, {
    onProgress: ({ stage }) => seen.push(stage),
    onToken: (piece) => seen.push(piece),
  });
  return seen;
}

function countProgress(seen: readonly string[]): number {
  expect(seen.slice(0, 4)).toEqual(['image', 'vision', 'prefill', 'answer']);
  return seen.length;
}
