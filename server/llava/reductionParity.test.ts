import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { AnswerResult, ImageLayout } from '../protocol';
import { generateFromPixels, type Generation } from './generate';
import { planSquare } from './imagePlan';
import type { PreparedImage } from './imageTokens';
import { LlavaModel } from './model';
import { expectClose, fixturePath, type FixtureTensor, readFixture, readTensors } from './testing/fixtures';
import { temporaryDirectory } from './testing/temporaryDirectory';

interface MergedCase {
  target: number;
  sources: number[];
  weights: number[];
}

interface Case {
  input: number;
  spec: string;
  key: string;
  answerIds: number[];
  kept?: number[];
  promptCacheTokensPerLayer?: number[];
  promptLength?: number;
  images?: ({ unchanged: true } | { classToken: boolean; dominant: number[]; merged: MergedCase[] })[];
}

interface ReductionFixture {
  checkpoint: string;
  inputs: { pixels: string }[];
  cases: Case[];
}

const DIRECTORY = fixturePath('reductions');
const FILES = readdirSync(DIRECTORY).filter((file) => /^model-.*\.json$/.test(file));

/** FastV and VisionZip inside the engine against a float64 LLaVA written from the methods' descriptions alone. */
describe.each(FILES)('%s', (file) => {
  const reference = JSON.parse(readFileSync(path.join(DIRECTORY, file), 'utf8')) as ReductionFixture;
  const tensors = readTensors(path.join(DIRECTORY, file.replace(/json$/, 'safetensors')));
  const fixture = readFixture(reference.checkpoint);
  let model: LlavaModel;

  beforeAll(async () => {
    model = await LlavaModel.open(fixture.directory, { cacheDirectory: temporaryDirectory() });
  });
  afterAll(() => model.dispose());

  it.each(reference.cases.map((entry) => [entry.key, entry] as const))('%s', async (_, entry) => {
    const logits: Float32Array[] = [];
    const result = await run(entry, logits);

    expect(result.answerTokenIds).toEqual(entry.answerIds);
    const expected = tensors[`${entry.key}.logits`];
    if (expected) {
      const [steps, vocabulary] = expected.shape;
      expect(result.firstStep.topLogits[0]).toBeCloseTo(
        Math.max(...expected.data.subarray(0, vocabulary)),
        3,
      );
      for (let step = 0; step < steps; step++) {
        expectClose(logits[step], expected.data.subarray(step * vocabulary, (step + 1) * vocabulary), 2e-4);
      }
    }
    if (entry.kept) checkFastV(result, entry, tensors[`${entry.key}.scores`]);
    if (entry.images) checkVisionZip(result, entry);
  });

  async function run(entry: Case, logits: Float32Array[]): Promise<Generation> {
    const { vision } = model.checkpoint.config;
    const { pixels } = reference.inputs[entry.input];
    const values = pixels === 'reference' ? fixture.tensors.pixel_values : tensors[pixels];
    const size = 3 * vision.imageSize * vision.imageSize;
    let firstId = 0;
    const inputs: PreparedImage[] = fixture.description.images.map((_, index) => {
      const side = vision.imageSize;
      const source = { x: 0, y: 0, width: side, height: side };
      const plan = planSquare(vision, { width: side, height: side, fit: 'crop', source }, firstId);
      firstId = plan.endId;
      const { patches } = plan.layout;
      return {
        plan,
        inputs: [() => values.data.slice(index * size, (index + 1) * size)],
        pixels: [() => ({ data: new Uint8Array(0), patches, patchSize: vision.patchSize })],
      };
    });
    const question = {
      question: fixture.description.question,
      rawPrompt: fixture.description.promptText,
      // The reference writes the whole as the fraction 1; in our specs 1 is one token.
      reduction: entry.spec.replace(/keep=1(?![\d.])/, 'keep=all'),
      sampling: { maxTokens: entry.answerIds.length },
    };
    return generateFromPixels(model, inputs, question, { onLogits: (row) => logits.push(row) });
  }

  function checkFastV(result: Generation, entry: Case, scores: FixtureTensor | undefined): void {
    const stage = result.trace.stages[0];
    const order = result.trace.decoderTokens;
    expect(stage.kept.map((id) => order.indexOf(id))).toEqual(entry.kept);
    if (scores) expectClose(stage.scores!.values, scores.data, 2e-4);
    const left = result.trace.answer[0].imageTokens;
    expect(left).toBe(entry.kept!.length);
    const { numKeyValueHeads, headDim } = model.checkpoint.config.text;
    const rows = entry.promptCacheTokensPerLayer!.reduce((sum, tokens) => sum + tokens, 0);
    expect(result.costs.cacheBytes).toBe(rows * numKeyValueHeads * headDim * 2 * 4);
  }

  function checkVisionZip(result: Generation, entry: Case): void {
    entry.images!.forEach((expected, index) => {
      const stage = result.trace.stages[index];
      const layout: ImageLayout = result.trace.images[index];
      const patch = (id: number): number => id - layout.firstId;
      if ('unchanged' in expected) {
        expect(stage.dropped).toEqual([]);
        expect(stage.merged).toEqual([]);
        return;
      }
      const kept = stage.kept.map(patch);
      const dominant = kept.filter((raster) => raster < layout.patches);
      expect(dominant).toEqual(expected.dominant);
      expect(kept.length - dominant.length).toBe(expected.classToken ? 1 : 0);
      expect(stage.merged.map((token) => sorted(token, patch))).toEqual(
        expected.merged.map((token) => sorted({ ...token, id: token.target }, (raster) => raster)),
      );
    });
  }
});

/** A merged token with its sources ascending and weights rounded, so that two listings can be compared. */
function sorted(
  token: AnswerResult['trace']['stages'][number]['merged'][number],
  patch: (id: number) => number,
): { target: number; parts: [number, string][] } {
  const parts = token.sources.map((source, index): [number, string] => [
    patch(source),
    token.weights[index].toFixed(4),
  ]);
  return { target: patch(token.id), parts: parts.sort((a, b) => a[0] - b[0]) };
}
