import { afterAll, beforeAll, beforeEach, describe, expect, it, type TestContext, vi } from 'vitest';

import { LlavaModel } from '../../server/llava/model';
import type { AttentionKernel } from '../../server/llava/runtime/device';
import { compareWithCpu, passes } from '../../server/llava/runtime/selfTest';
import { selfTestModels } from '../../server/llava/runtime/selfTestModels';
import {
  askWatching,
  comparableSteps,
  type FixtureAnswer,
  fixtureQuestion,
} from '../../server/llava/testing/askFixture';
import { expectClose, readFixture } from '../../server/llava/testing/fixtures';
import { temporaryDirectory } from '../../server/llava/testing/temporaryDirectory';
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

function ask(model: LlavaModel, reduction: string): Promise<FixtureAnswer> {
  const question = fixtureQuestion(fixture, { fit: 'crop', reduction, sampling: { maxTokens: TOKENS } });
  return askWatching(model, question, { reuse: false });
}

const open = (device: 'cpu' | 'webgpu', precision: 'fp32' | 'q4' = 'fp32'): Promise<LlavaModel> =>
  LlavaModel.open(fixture.directory, {
    plan: { device, attention: 'plain' },
    precision,
    cacheDirectory: temporaryDirectory(),
  });

describe('the whole engine on WebGPU', () => {
  it(
    'answers with 4-bit weights as the CPU does',
    async () => {
      const [cpu, webgpu] = [await open('cpu', 'q4'), await open('webgpu', 'q4')];
      for (const reduction of ['none', 'fastv:layer=1,keep=0.5']) {
        const expected = await ask(cpu, reduction);
        const actual = await ask(webgpu, reduction);
        expect(actual.result).toMatchObject({ device: 'webgpu', precision: 'q4' });
        const comparable = Math.min(comparableSteps(actual, expected), TOKENS);
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

describe('further questions about an image on WebGPU', () => {
  it(
    'take over what is on the device, and are answered as the CPU answers them without',
    async () => {
      const [cpu, webgpu] = [await open('cpu'), await open('webgpu')];
      const all = cpu.checkpoint.config.text.numHiddenLayers;
      // Cuts and scores change from question to question. Where sessions do, everything on the device goes, what was kept too.
      const startedAgain = vi.spyOn(webgpu.sessions, 'startAgain');
      const questions: [reduction: string, layers: number | undefined][] = [
        ['none', undefined],
        ['none', all],
        ['fastv:layer=2,keep=0.5', undefined],
        ['fastv:layer=2,keep=0.4', 2],
        ['sparsevlm:layer=2,keep=5', undefined],
        ['fastv:layer=2,keep=0.5,score=lastQueryNoRotary', undefined],
        ['fastv:layer=1,keep=5', undefined],
        ['fastv:layer=1,keep=0.5', 1],
        ['visionzip:dominant=6,contextual=3', undefined],
        ['visionzip:dominant=6,contextual=3', all],
        ['none', undefined],
        ['none', all],
      ];
      const imagesReused: unknown[] = [];
      for (const [index, [reduction, layers]] of questions.entries()) {
        const question = fixtureQuestion(fixture, {
          question: `${fixture.description.question} ${index}`,
          reduction,
          sampling: { maxTokens: TOKENS },
        });
        const expected = await askWatching(cpu, question, { reuse: false });
        const actual = await askWatching(webgpu, question);
        expect(actual.result.costs.prefixReused?.layers, `${index} ${reduction}`).toBe(layers);
        imagesReused.push(actual.result.costs.imagesReused);
        expect(actual.result.answerTokenIds).toEqual(expected.result.answerTokenIds);
        actual.logits.forEach((row, step) => expectClose(row, expected.logits[step], TOLERANCE));
      }
      // A new cut, two other scores, another cut.
      expect(startedAgain).toHaveBeenCalledTimes(4);
      // Of a device's tower everything is kept, what VisionZip wants too.
      expect(imagesReused).toEqual([0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
      expect(webgpu.prefixes.bytes).toBeGreaterThan(0);
      await cpu.dispose();
      await webgpu.dispose();
      expect(webgpu.prefixes.bytes).toBe(0);
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
