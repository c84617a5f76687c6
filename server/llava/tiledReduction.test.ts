import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { AnswerResult, TraceStage } from '../protocol';
import { InputError } from './errors';
import { LlavaModel } from './model';
import { expectClose, fixturePath, readFixture } from './testing/fixtures';
import { temporaryDirectory } from './testing/temporaryDirectory';

/** Specs that keep every token, by every method that can. */
const KEEP_ALL = [
  'fastv:layer=1,keep=all',
  'fastv:layer=1,keep=all,score=columnSum',
  'fastv:layer=1,keep=all,score=lastQueryNoRotary',
  'visionzip:dominant=all,contextual=0',
  'visionzip:dominant=0.5,contextual=0.5',
  'random:keep=all',
  'uniform:keep=all',
  'scope:keep=all',
  'mmr:keep=all',
  'divprune:keep=all',
  'pool:grid=1000',
  'downscale:grid=1000',
  'pyramiddrop:ratio=1',
  'sparsevlm:layer=1,keep=all',
  'uigraph:keep=all',
  'uigraph:threshold=0',
  'visionzip:dominant=all,contextual=0+mmr:keep=all+fastv:layer=1,keep=all',
];

/** Pictures by how they are cut: padded above, two in one prompt, shrunk, two as one square each. */
const PICTURES: readonly (readonly [fixture: string, files: string[]])[] = [
  ['llava-next-clip-llama', ['image-0.png']],
  ['llava-next-clip-llama', ['31x64.png', '97x60.png']],
  ['llava-onevision-siglip-qwen2', ['110x93.png']],
  ['llava-onevision-siglip-qwen2', ['70x45.png', '30x64.png']],
];

describe.each(PICTURES)('reductions of %s on %j', (name, files) => {
  const fixture = readFixture(name);
  const images = files.map((file) => readFileSync(fixturePath('checkpoints', name, 'reference', file)));
  const question = { images, question: fixture.description.question, sampling: { maxTokens: 6 } };
  let model: LlavaModel;
  let unreduced: AnswerResult;

  beforeAll(async () => {
    model = await LlavaModel.open(fixture.directory, { cacheDirectory: temporaryDirectory() });
    unreduced = await ask('none');
  });
  afterAll(() => model.dispose());

  const ask = (reduction: string, reuse = false): Promise<AnswerResult> =>
    model.ask({ ...question, reduction }, { reuse });
  const newlineIds = (result: AnswerResult): Set<number> =>
    new Set(result.trace.images.flatMap(({ newlines }) => (newlines ?? []).map(({ id }) => id)));
  /** Tokens at the decoder that are no newlines, per image. */
  const tokensPerImage = (result: AnswerResult): number[] => {
    const newlines = newlineIds(result);
    return result.trace.images.map(({ firstId }, index, all) => {
      const end = all[index + 1]?.firstId ?? Infinity;
      return result.trace.decoderTokens.filter((id) => id >= firstId && id < end && !newlines.has(id)).length;
    });
  };

  it.each(KEEP_ALL)('%s gives exactly the unreduced answer', async (reduction) => {
    const result = await ask(reduction);
    expect(result.firstStep).toEqual(unreduced.firstStep);
    expect(result.answerTokenIds).toEqual(unreduced.answerTokenIds);
    expect(result.trace.decoderTokens).toEqual(unreduced.trace.decoderTokens);
    expect(result.trace.answer.map((token) => token.attention)).toEqual(
      unreduced.trace.answer.map((token) => token.attention),
    );
    expect(result.costs.prefillMacs).toBe(unreduced.costs.prefillMacs);
    for (const stage of result.trace.stages) expect(stage.dropped).toEqual([]);
  });

  it.each([
    ['visionzip:dominant=13,contextual=4', 17],
    ['visionzip:dominant=2,contextual=1', 3],
    ['visionzip:dominant=1,contextual=9', 10],
    ['random:keep=11', 11],
    ['uniform:keep=7', 7],
    ['scope:keep=9', 9],
    ['mmr:keep=10', 10],
    ['divprune:keep=12', 12],
    ['random:keep=13+mmr:keep=5', 5],
  ])(
    '%s leaves exactly %i tokens of each picture, and a newline where a row has one',
    async (reduction, left) => {
      const result = await ask(reduction);
      const all = unreduced.trace.images.map(({ patches }) => patches);
      expect(tokensPerImage(result)).toEqual(all.map((patches) => Math.min(left, patches)));
      expect(result.costs.imageTokens.perStage.at(-1)).toBe(result.costs.imageTokens.atDecoder);
      const newlines = newlineIds(result);
      expectAccounted(result, newlines);
    },
  );

  it.each([
    ['fastv:layer=1,keep=0.5', 0.5],
    ['fastv:layer=1,keep=9', 9],
    ['sparsevlm:layer=1,keep=0.25', 0.25],
  ])('%s counts newlines as image tokens like any other', async (reduction, keep) => {
    const result = await ask(reduction);
    const { total } = result.costs.imageTokens;
    expect(result.trace.stages[0].received).toEqual(unreduced.trace.decoderTokens);
    expect(result.trace.stages[0].scores!.values).toHaveLength(total);
    expect(result.trace.answer[0].imageTokens).toBe(keep < 1 ? Math.round(keep * total) : keep);
    expectAccounted(result, newlineIds(result));
  });

  it.each(['pool:grid=2', 'downscale:grid=2', 'uigraph', 'pixelprune:threshold=20', 'pyramiddrop'])(
    '%s accounts for every token',
    async (reduction) => {
      const result = await ask(reduction);
      expect(result.costs.imageTokens.atDecoder).toBeLessThanOrEqual(unreduced.costs.imageTokens.total);
      expectAccounted(result, newlineIds(result));
    },
  );

  it('a smaller picture has no details', async () => {
    const result = await ask('downscale:grid=2');
    expect(tokensPerImage(result)).toEqual(images.map(() => 4));
    const tiled = result.trace.images.filter(({ fit }) => fit === 'tiles');
    if (tiled.length > 0) expect(result.costs.imageTokens.atDecoder).toBe(4 * images.length);
  });

  it('refuses LLaMA-VID without its heads', async () => {
    await expect(ask('llamavid')).rejects.toThrow(InputError);
  });

  it('skips the tower for a picture that it knows', async () => {
    const again = await ask('visionzip:dominant=13,contextual=4', true);
    const third = await ask('visionzip:dominant=13,contextual=4', true);
    expect(third.costs.imagesReused).toBe(images.length);
    expect(third.costs.timings.vision).toBe(0);
    // The decoder's part, taken over too, rounds differently in the last bit.
    expectClose(third.firstStep.topLogits, again.firstStep.topLogits);
  });

  /** received = kept + merged sources + dropped; what goes on ascends row by row; newlines stand behind their rows, or are gone with them. */
  function expectAccounted(result: AnswerResult, newlines: ReadonlySet<number>): void {
    const { stages, decoderTokens, images: layouts } = result.trace;
    for (const stage of stages) expectSets(stage);
    const entered = new Set(decoderTokens);
    const rows = rowOfToken(unreduced);
    for (const id of newlines) {
      const alive = decoderTokens.some((token) => rows.get(token) === id && token !== id);
      expect(entered.has(id)).toBe(alive);
    }
    decoderTokens.forEach((id, index) => {
      if (!newlines.has(id)) return;
      expect(rows.get(decoderTokens[index - 1]), `newline ${id}`).toBe(id);
      expect(rows.get(decoderTokens[index + 1])).not.toBe(id);
    });
    expect(layouts).toEqual(
      unreduced.trace.images.map((layout, index) =>
        // A shrunk picture reaches beyond itself.
        ({
          ...layout,
          tiles: layouts[index].tiles,
          ...(layouts[index].newlines ? { newlines: layouts[index].newlines } : {}),
        }),
      ),
    );
  }

  function expectSets({ received, kept, merged, dropped }: TraceStage): void {
    const after = [...kept, ...merged.flatMap(({ sources }) => sources), ...dropped];
    expect(after.toSorted((a, b) => a - b)).toEqual(received.toSorted((a, b) => a - b));
    expect(new Set(received).size).toBe(received.length);
  }

  /** For every token of an unreduced prompt the newline that ends its row. */
  function rowOfToken(result: AnswerResult): Map<number, number> {
    const newlines = newlineIds(result);
    const rows = new Map<number, number>();
    for (const { fit, firstId, patches, tiles } of result.trace.images) {
      const first = fit === 'tiles' ? firstId + tiles[0].rows * tiles[0].columns : firstId;
      let row: number[] = [];
      for (const id of result.trace.decoderTokens) {
        if (newlines.has(id)) {
          for (const token of row) rows.set(token, id);
          row = [];
        } else if (id >= first && id < firstId + patches) row.push(id);
      }
    }
    return rows;
  }
});

describe('a strip so thin that its details are cut away with the padding', () => {
  const name = 'llava-next-clip-llama';
  const images = [readFileSync(fixturePath('checkpoints', name, 'reference', '2x130.png'))];
  let model: LlavaModel;
  let unreduced: AnswerResult;

  beforeAll(async () => {
    model = await LlavaModel.open(readFixture(name).directory, { cacheDirectory: temporaryDirectory() });
    unreduced = await ask('none');
  });
  afterAll(() => model.dispose());

  const ask = (reduction: string): Promise<AnswerResult> =>
    model.ask({ images, question: 'What?', sampling: { maxTokens: 3 }, reduction }, { reuse: false });

  it.each(KEEP_ALL)('%s gives exactly the unreduced answer', async (reduction) => {
    const result = await ask(reduction);
    expect(result.firstStep).toEqual(unreduced.firstStep);
    expect(result.trace.decoderTokens).toEqual(unreduced.trace.decoderTokens);
  });

  it.each([
    ['visionzip:dominant=3,contextual=2', 5],
    ['scope:keep=4', 4],
    ['mmr:keep=6', 6],
    ['divprune:keep=1+fastv:layer=1,keep=all', 1],
    ['downscale:grid=2', 4],
  ])('%s keeps the newlines of the empty rows, behind everything else', async (reduction, left) => {
    const [{ newlines = [], patches }] = unreduced.trace.images;
    expect(patches).toBe(16);
    expect(newlines.length).toBeGreaterThan(0);
    const { decoderTokens } = (await ask(reduction)).trace;
    expect(decoderTokens).toHaveLength(left + newlines.length);
    expect(decoderTokens.slice(left)).toEqual(newlines.map(({ id }) => id));
  });
});
