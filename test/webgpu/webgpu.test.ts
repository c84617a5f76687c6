import { afterAll, beforeAll, beforeEach, describe, expect, it, type TestContext } from 'vitest';

import { LlavaModel } from '../../server/llava/model';
import type { AttentionKernel } from '../../server/llava/runtime/device';
import { compareWithCpu, passes } from '../../server/llava/runtime/selfTest';
import { selfTestModels } from '../../server/llava/runtime/selfTestModels';
import { expectClose, fixtureImage, readFixture } from '../../server/llava/testing/fixtures';
import { temporaryDirectory } from '../../server/llava/testing/temporaryDirectory';
import type { AnswerResult } from '../../server/protocol';
import { type Adapter, findAdapter } from './adapter';

/*
 * The whole engine on WebGPU, on the system's adapter or on one in software. Where there is none, these tests are skipped and
 * say why.
 */

/** Software adapters are slow. */
const LIMIT_MS = 600_000;
/** Of an output's scale. The engine on the CPU is held to 2e-4; another device adds up in another order. */
const TOLERANCE = 1e-3;
/** With 4-bit weights the CPU rounds activations to 8 bits, in every layer. */
const FOUR_BIT_TOLERANCE = 0.05;
const TOKENS = 6;

let adapter: Adapter;
let missing: string | undefined;
const environment = { ...process.env };

beforeAll(async () => {
  const found = await findAdapter();
  if (typeof found === 'string') {
    missing = found;
    console.warn(`WebGPU tests are skipped: ${found}`);
    return;
  }
  adapter = found;
  console.warn(`WebGPU tests run on ${adapter.name}`);
  // The Vulkan loader reads it when the first session is made.
  Object.assign(process.env, adapter.environment);
}, LIMIT_MS);
beforeEach((context: TestContext) => context.skip(missing !== undefined, missing));
afterAll(() => {
  process.env = environment;
});

const fixture = readFixture('clip-llama');

interface Answer {
  readonly result: AnswerResult;
  readonly logits: readonly Float32Array[];
}

async function ask(model: LlavaModel, reduction: string): Promise<Answer> {
  const logits: Float32Array[] = [];
  const { description } = fixture;
  const result = await model.ask(
    {
      images: description.images.map((_, index) => fixtureImage(fixture, index)),
      question: description.question,
      system: description.system ?? undefined,
      fit: 'crop',
      reduction,
      sampling: { maxTokens: TOKENS },
    },
    { onLogits: (row) => logits.push(row.slice()), reuse: false },
  );
  return { result, logits };
}

describe('the whole engine on WebGPU', () => {
  const open = (device: 'cpu' | 'webgpu', precision: 'fp32' | 'q4' = 'fp32'): Promise<LlavaModel> =>
    LlavaModel.open(fixture.directory, {
      plan: { device, attention: 'plain' },
      precision,
      cacheDirectory: temporaryDirectory(),
    });

  it(
    'answers with 4-bit weights as the CPU does',
    async () => {
      const [cpu, webgpu] = [await open('cpu', 'q4'), await open('webgpu', 'q4')];
      for (const reduction of ['none', 'fastv:layer=1,keep=0.5']) {
        const expected = await ask(cpu, reduction);
        const actual = await ask(webgpu, reduction);
        expect(actual.result).toMatchObject({ device: 'webgpu', precision: 'q4' });
        // Behind a token that is a tie the answers may be two different ones.
        const parts = actual.result.answerTokenIds.findIndex(
          (id, index) => id !== expected.result.answerTokenIds[index],
        );
        const comparable = parts < 0 ? TOKENS : parts + 1;
        for (let step = 0; step < comparable; step++)
          expectClose(actual.logits[step], expected.logits[step], FOUR_BIT_TOLERANCE);
      }
      await cpu.dispose();
      await webgpu.dispose();
    },
    LIMIT_MS,
  );

  it(
    'answers as transformers does, and with reductions as the CPU does',
    async () => {
      const [cpu, webgpu] = [await open('cpu'), await open('webgpu')];
      // In this order a later question cuts the decoder that an earlier one has left whole on the device.
      for (const reduction of [
        'none',
        'fastv:layer=2,keep=0.5',
        'visionzip:dominant=6,contextual=3',
        'visionzip:dominant=9,contextual=4+fastv:layer=1,keep=5',
        'none',
      ]) {
        const expected = await ask(cpu, reduction);
        const actual = await ask(webgpu, reduction);
        expect(actual.result.device).toBe('webgpu');
        expect(actual.result.answerTokenIds).toEqual(expected.result.answerTokenIds);
        expect(actual.result.costs.imageTokens).toEqual(expected.result.costs.imageTokens);
        expect(actual.result.costs.cacheBytes).toBe(expected.result.costs.cacheBytes);
        expect(actual.result.trace.stages.map(({ kept }) => kept)).toEqual(
          expected.result.trace.stages.map(({ kept }) => kept),
        );
        expect(actual.logits).toHaveLength(TOKENS);
        actual.logits.forEach((row, step) => expectClose(row, expected.logits[step], TOLERANCE));
        if (reduction !== 'none') continue;
        expect(actual.result.answerTokenIds).toEqual(fixture.description.answerIds.slice(0, TOKENS));
        const { data, shape } = fixture.tensors.answer_logits;
        actual.logits.forEach((row, step) =>
          expectClose(row, data.subarray(step * shape[1], (step + 1) * shape[1]), TOLERANCE),
        );
      }
      await cpu.dispose();
      await webgpu.dispose();
    },
    LIMIT_MS,
  );
});

describe('a second question about an image on WebGPU', () => {
  it(
    'is answered as the CPU answers it, whatever is left of the first one',
    async () => {
      const { directory } = readFixture('clip-llama');
      const answers = await Promise.all(
        (['cpu', 'webgpu'] as const).map(async (device) => {
          const model = await LlavaModel.open(directory, { plan: { device, attention: 'plain' } });
          const told = [];
          for (const question of ['What is this?', 'And which colour has it?', 'What is this?']) {
            const images = [fixtureImage(fixture, 0)];
            const { answerTokenIds, costs } = await model.ask({
              ...{ images, question, reduction: 'fastv:layer=2,keep=0.5' },
              sampling: { maxTokens: TOKENS },
            });
            told.push({ answerTokenIds, imagesReused: costs.imagesReused });
          }
          await model.dispose();
          return told;
        }),
      );
      expect(answers[1]).toEqual(answers[0]);
      expect(answers[1].map(({ imagesReused }) => imagesReused)).toEqual([0, 1, 1]);
    },
    LIMIT_MS,
  );
});

describe('the self-test on WebGPU', () => {
  const [large, , windowed] = selfTestModels();
  const compare = (model: typeof large, attention: AttentionKernel, rows: readonly number[]) =>
    compareWithCpu(model, { device: 'webgpu', attention }, { rows });

  it(
    'finds plain attention right: with cache, reductions, chunks and a sliding window',
    async () => {
      const cases = await compare(windowed, 'plain', [97]);
      expect(cases.length).toBeGreaterThan(5);
      expect(cases.filter((entry) => !passes(entry))).toEqual([]);
    },
    LIMIT_MS,
  );

  it(
    'finds the fused kernel wrong where it is: on SwiftShader',
    async (context) => {
      context.skip(!adapter.name.includes('SwiftShader'), `what ${adapter.name} computes is not known`);
      const cases = await compare(large, 'fused', [64]);
      expect(cases.filter((entry) => !passes(entry)).map(({ name }) => name)).toContainEqual(
        expect.stringContaining('attention over the prompt'),
      );
    },
    LIMIT_MS,
  );
});
