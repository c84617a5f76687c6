import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { type AttentionRow, Decoding, type DecoderOutput, type Prompt } from './decoding';
import { LlavaModel } from './model';
import { parseReduction } from './reduction/parse';
import { expectClose, fixtureImage, readFixture } from './testing/fixtures';
import { temporaryDirectory } from './testing/temporaryDirectory';

/** What a long prompt's memory depends on: it goes through the decoder in chunks, and nothing but rounding may change. */
describe.each(['clip-llama', 'siglip-qwen2', 'llava-next-clip-mistral'])(
  'a prompt of %s in chunks',
  (name) => {
    const fixture = readFixture(name);
    let model: LlavaModel;
    let prompt: Prompt;

    beforeAll(async () => {
      model = await LlavaModel.open(fixture.directory, { cacheDirectory: temporaryDirectory() });
      const question = {
        images: [fixtureImage(fixture, 0)],
        question: fixture.description.question,
        sampling: { maxTokens: 1 },
      };
      await model.ask(question, { onPrompt: (entered) => (prompt = entered) });
    });
    afterAll(() => model.dispose());

    interface Run {
      readonly outputs: DecoderOutput[];
      readonly rows: AttentionRow[];
      readonly stages: { kept: readonly number[]; scores: readonly number[] }[];
      readonly lengths: number[];
    }

    /** A prefill and three steps. @param rows of a chunk, at most */
    async function run(spec: string, rows: number): Promise<Run> {
      const { text, vision } = model.checkpoint.config;
      const attention: AttentionRow[] = [];
      const stages: ConstructorParameters<typeof Decoding>[0]['stages'] = [];
      const decoding = new Decoding(
        {
          text,
          sessions: model.sessions,
          reductions: parseReduction(spec),
          shape: { layers: text.numHiddenLayers, hasClassToken: vision.hasClassToken, imageTokens: 0 },
          signal: undefined,
          stages,
          contextId: -1,
          onSelectionTime: () => undefined,
          onAttention: (row) => attention.push(row),
          chunks: { wholeBytes: 0, chunkRows: rows },
        },
        prompt.labels.length + 8,
      );
      await decoding.prepare(prompt);
      const outputs = [await decoding.prefill(prompt)];
      for (const id of fixture.description.answerIds.slice(0, 3)) outputs.push(await decoding.step(id));
      return {
        outputs,
        rows: attention,
        stages: stages.map(({ kept, scores }) => ({ kept, scores: scores?.values ?? [] })),
        lengths: decoding.cache.layers.map(({ length }) => length),
      };
    }

    it.each([
      'none',
      'fastv:layer=1,keep=0.5',
      'fastv:layer=2,keep=0.25,score=columnSum',
      'fastv:layer=1,keep=0.5,score=lastQueryNoRotary',
      'sparsevlm:layer=1,keep=0.5',
      'pyramiddrop',
    ])('%s', async (spec) => {
      const whole = await run(spec, Infinity);
      for (const rows of [1, 7, 40]) {
        const chunked = await run(spec, rows);
        expect(chunked.lengths).toEqual(whole.lengths);
        expect(chunked.stages.map(({ kept }) => kept)).toEqual(whole.stages.map(({ kept }) => kept));
        whole.stages.forEach(({ scores }, index) => expectClose(chunked.stages[index].scores, scores));
        whole.outputs.forEach(({ logits, imageAttention }, index) => {
          expectClose(chunked.outputs[index].logits, logits);
          expectClose(chunked.outputs[index].imageAttention, imageAttention);
        });
        expect(chunked.rows.map(({ step, layer }) => [step, layer])).toEqual(
          whole.rows.map(({ step, layer }) => [step, layer]),
        );
        whole.rows.forEach(({ attention, labels }, index) => {
          expect(chunked.rows[index].labels).toEqual(labels);
          expectClose(chunked.rows[index].attention, attention);
        });
      }
    });
  },
);
