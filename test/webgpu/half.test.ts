import { afterAll, beforeAll, beforeEach, describe, expect, it, type TestContext } from 'vitest';

import { LlavaModel } from '../../server/llava/model';
import { compareWithCpu, HALF_TOLERANCE, passes } from '../../server/llava/runtime/selfTest';
import { selfTestModels } from '../../server/llava/runtime/selfTestModels';
import { askWatching, expectCloseLogits, fixtureQuestion } from '../../server/llava/testing/askFixture';
import { readFixture } from '../../server/llava/testing/fixtures';
import { temporaryDirectory } from '../../server/llava/testing/temporaryDirectory';
import { findAdapter } from './adapter';

/*
 * Half precision on WebGPU. SwiftShader has none, so these tests have an adapter of their own, and a process of their own: the
 * Vulkan loader is told once which one to take.
 */

const LIMIT_MS = 600_000;
/** Of an output's scale: five times what was found on lavapipe. Greedy tokens have to be the same. */
const TOLERANCE = 0.02;
/** With 4-bit weights the CPU computes with activations of 8 bits (0.05), and lavapipe sums them in half precision as well. */
const QUANTIZED_TOLERANCE = HALF_TOLERANCE;
const TOKENS = 5;

let missing: string | undefined;
const environment = { ...process.env };

beforeAll(async () => {
  const found = await findAdapter('float16');
  if (typeof found === 'string') {
    missing = found;
    console.warn(`Tests of half precision are skipped: ${found}`);
    return;
  }
  console.warn(`Tests of half precision run on ${found.name}`);
  Object.assign(process.env, found.environment);
}, LIMIT_MS);
beforeEach((context: TestContext) => context.skip(missing !== undefined, missing));
afterAll(() => {
  process.env = environment;
});

describe('half precision on WebGPU', () => {
  it(
    'passes the self-test: cache, reductions, chunks',
    async () => {
      const [, shared] = selfTestModels();
      const plan = { device: 'webgpu', attention: 'plain', float: 'float16' } as const;
      const cases = await compareWithCpu(shared, plan, { rows: [64] });
      expect(cases.length).toBeGreaterThan(5);
      expect(cases.filter((entry) => !passes(entry))).toEqual([]);
    },
    LIMIT_MS,
  );

  it.each([
    ['fp16', 'fp32', TOLERANCE],
    ['q4f16', 'q4', QUANTIZED_TOLERANCE],
  ] as const)(
    'answers with %s as the CPU does with %s, with caches of half the size',
    async (precision, reference, tolerance) => {
      const fixture = readFixture('clip-llama');
      const open = (device: 'cpu' | 'webgpu'): Promise<LlavaModel> =>
        LlavaModel.open(fixture.directory, {
          plan: { device, attention: 'plain' },
          precision: device === 'cpu' ? reference : precision,
          cacheDirectory: temporaryDirectory(),
        });
      const [cpu, webgpu] = [await open('cpu'), await open('webgpu')];
      for (const reduction of ['none', 'fastv:layer=2,keep=0.5', 'visionzip:dominant=6,contextual=3']) {
        const question = fixtureQuestion(fixture, {
          fit: 'crop',
          reduction,
          sampling: { maxTokens: TOKENS },
        });
        const expected = await askWatching(cpu, question, { reuse: false });
        const actual = await askWatching(webgpu, question, { reuse: false });
        expect(actual.result).toMatchObject({ device: 'webgpu', precision });
        expect(actual.result.costs.cacheBytes).toBe(expected.result.costs.cacheBytes / 2);
        expectCloseLogits(actual, expected, tolerance, 2);
      }
      await cpu.dispose();
      await webgpu.dispose();
    },
    LIMIT_MS,
  );
});
