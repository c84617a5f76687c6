import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { AttentionAnalysis, TypeShares } from '../../protocol';
import { Decoding, type Prompt } from '../decoding';
import { CancelledError } from '../errors';
import { generate } from '../generate';
import { LlavaModel } from '../model';
import type { Reduction } from '../reduction/reduction';
import { CHECKPOINT_FIXTURES, type Fixture, fixtureImage, readFixture } from '../testing/fixtures';
import { temporaryDirectory } from '../testing/temporaryDirectory';
import type { AnalysisQuestion } from './analyzeQuestion';
import { TOKEN_TYPES } from './attentionShares';
import { logProbability, measureImageRemoval } from './imageRemoval';

const ANSWER_TOKENS = 32;

describe.each(CHECKPOINT_FIXTURES)('the analysis of a question to %s', (name) => {
  let fixture: Fixture;
  let model: LlavaModel;
  let question: AnalysisQuestion;
  let analysis: AttentionAnalysis;

  beforeAll(async () => {
    fixture = readFixture(name);
    model = await LlavaModel.open(fixture.directory, { cacheDirectory: temporaryDirectory() });
    const { description } = fixture;
    question = {
      images: description.images.map((_, index) => fixtureImage(fixture, index)),
      question: description.question,
      system: description.system ?? undefined,
      fit: 'crop',
      maxTokens: ANSWER_TOKENS,
    };
    analysis = await model.analyze(question);
  });
  afterAll(() => model.dispose());

  /** Attention mass by type, straight from a reference row over `keys` positions. */
  function referenceShares(row: ArrayLike<number>): Record<keyof TypeShares, number> {
    const ids = fixture.description.promptIds;
    const { imageTokenIndex } = model.checkpoint.config;
    const firstImage = ids.indexOf(imageTokenIndex);
    const sums = { system: 0, image: 0, instruction: 0, output: 0 };
    Array.from(row).forEach((value, key) => {
      if (key >= ids.length) sums.output += value;
      else if (ids[key] === imageTokenIndex) sums.image += value;
      else if (key < firstImage) sums.system += value;
      else sums.instruction += value;
    });
    return sums;
  }

  it('shares of every layer at prefill are those of transformers', () => {
    const { data, shape } = fixture.tensors.attention_last_query;
    const [layers, keys] = shape;
    expect(analysis.layers).toHaveLength(layers);
    for (let layer = 0; layer < layers; layer++) {
      const expected = referenceShares(data.subarray(layer * keys, (layer + 1) * keys));
      for (const type of TOKEN_TYPES) {
        expect(Math.abs(analysis.layers[layer][type].share - expected[type])).toBeLessThan(1e-4);
      }
      expect(analysis.imageShares[0][layer]).toBe(analysis.layers[layer].image.share);
    }
  });

  it.each([1, 8, 31])('shares at step %i are those of transformers', (step) => {
    const { data, shape } = fixture.tensors[`attention_step_${step}`];
    const [layers, heads, keys] = shape;
    const expected = { system: 0, image: 0, instruction: 0, output: 0 };
    for (let row = 0; row < layers * heads; row++) {
      const shares = referenceShares(data.subarray(row * keys, (row + 1) * keys));
      for (const type of TOKEN_TYPES) expected[type] += shares[type] / (layers * heads);
    }
    for (const type of TOKEN_TYPES) {
      expect(Math.abs(analysis.steps[step][type].share - expected[type])).toBeLessThan(1e-4);
    }
    expect(analysis.steps[step].output.tokens).toBe(step);
  });

  it('shares of the layers through the answer are the means of those of its tokens', () => {
    const { answerLayers, imageShares, steps } = analysis;
    const mean = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
    expect(answerLayers).toHaveLength(analysis.layers.length);
    answerLayers.forEach(({ image, output }, layer) => {
      expect(image.share).toBeCloseTo(mean(imageShares.map((shares) => shares[layer])), 6);
      expect(output.tokens).toBeCloseTo((ANSWER_TOKENS - 1) / 2, 9);
    });
    for (const type of TOKEN_TYPES) {
      const share = mean(answerLayers.map((shares) => shares[type].share));
      expect(share).toBeCloseTo(mean(steps.map((shares) => shares[type].share)), 6);
    }
  });

  it('shares sum to 1 in every layer and at every step', () => {
    expect(analysis.steps).toHaveLength(ANSWER_TOKENS);
    for (const shares of [...analysis.layers, ...analysis.answerLayers, ...analysis.steps]) {
      expect(TOKEN_TYPES.reduce((sum, type) => sum + shares[type].share, 0)).toBeCloseTo(1, 5);
    }
  });

  it('tower attention is the reference row of CLS, or what is received, for every image', () => {
    const { hasClassToken, numAttentionHeads } = model.checkpoint.config.vision;
    const tensor = hasClassToken ? fixture.tensors.class_attention : fixture.tensors.received_attention;
    const images = fixture.description.images.length;
    expect(analysis.vision).toHaveLength(images);
    analysis.vision.forEach(({ kind, shares, sorted, layer }, image) => {
      expect(kind).toBe(hasClassToken ? 'class' : 'received');
      expect(shares.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 5);
      expect(shares.toSorted((a, b) => b - a)).toEqual(sorted);
      // The deepest of several feature layers.
      const states = model.checkpoint.config.visionFeatureLayer.map((entry) =>
        entry < 0 ? model.checkpoint.config.vision.numHiddenLayers + 1 + entry : entry,
      );
      expect(layer).toBe(Math.max(...states));
      const state = states.indexOf(layer);
      const tokens = tensor.shape.at(-1)!;
      const first = hasClassToken ? 1 : 0;
      const heads = hasClassToken ? numAttentionHeads : 1;
      const expected = new Array<number>(tokens - first).fill(0);
      for (let head = 0; head < heads; head++) {
        const start = ((state * images + image) * heads + head) * tokens;
        expected.forEach((_, patch) => (expected[patch] += tensor.data[start + first + patch]));
      }
      const total = expected.reduce((sum, value) => sum + value, 0);
      expected.forEach((value, patch) => expect(Math.abs(shares[patch] - value / total)).toBeLessThan(1e-4));
    });
  });

  it('with nothing removed the answer is as likely as the reference logits make it', () => {
    const vocabulary = model.checkpoint.config.text.vocabSize;
    const { data } = fixture.tensors.answer_logits;
    let expected = 0;
    fixture.description.answerIds.forEach((id, index) => {
      const row = Array.from(data.subarray(index * vocabulary, (index + 1) * vocabulary));
      const highest = Math.max(...row);
      expected +=
        row[id] - highest - Math.log(row.reduce((sum, logit) => sum + Math.exp(logit - highest), 0));
    });
    const unreduced = analysis.removal.at(-1)!;
    expect(unreduced.layer).toBe(model.checkpoint.config.text.numHiddenLayers);
    expect(Math.abs(unreduced.logLikelihood - expected) / ANSWER_TOKENS).toBeLessThan(1e-3);
    expect(unreduced.firstChange).toBeUndefined();
    expect(analysis.answerTokens.map(({ id }) => id)).toEqual(fixture.description.answerIds);
  });

  it('removal before a layer is what a reduction that keeps nothing there does, token by token', async () => {
    const prompt = await promptOf(model, question);
    const answerIds = analysis.answerTokens.map(({ id }) => id);
    const { text } = model.checkpoint.config;
    for (let layer = 1; layer < text.numHiddenLayers; layer++) {
      const decoding = decodingWith(model, keepsNoneBefore(layer));
      let output = await decoding.prefill(prompt);
      let logLikelihood = 0;
      let firstChange: number | undefined;
      for (const [index, id] of answerIds.entries()) {
        logLikelihood += logProbability(output.logits, id);
        if (output.logits.indexOf(Math.max(...output.logits)) !== id) firstChange ??= index;
        if (index < answerIds.length - 1) output = await decoding.step(id);
      }
      const point = analysis.removal[layer];
      expect(point.layer).toBe(layer);
      expect(Math.abs(point.logLikelihood - logLikelihood) / ANSWER_TOKENS).toBeLessThan(1e-3);
      expect(point.firstChange?.index).toBe(firstChange);
    }
  });

  it('removal from layer 0 on leaves nothing of the picture', async () => {
    const prompt = await promptOf(model, question);
    const answerIds = analysis.answerTokens.map(({ id }) => id);
    const other: Prompt = { ...prompt, hidden: { ...prompt.hidden, data: prompt.hidden.data.slice() } };
    prompt.labels.forEach((label, row) => {
      const { columns } = prompt.hidden;
      if (label >= 0) other.hidden.data.subarray(row * columns, (row + 1) * columns).reverse();
    });
    const [own, others] = [
      await measureImageRemoval(model, prompt, answerIds),
      await measureImageRemoval(model, other, answerIds),
    ];
    expect(others[0]).toEqual(own[0]);
    expect(others.at(-1)!.logLikelihood).not.toBeCloseTo(own.at(-1)!.logLikelihood, 3);
    expect(own).toEqual(analysis.removal);
  });
});

describe('an analysis', () => {
  const fixture = readFixture('clip-llama');
  const question: AnalysisQuestion = {
    images: [fixtureImage(fixture, 0)],
    question: fixture.description.question,
    maxTokens: 6,
  };
  let model: LlavaModel;
  beforeAll(async () => {
    model = await LlavaModel.open(fixture.directory, { cacheDirectory: temporaryDirectory() });
  });
  afterAll(() => model.dispose());

  it('reports every stage, can be cancelled at each of them, and leaves the model as it was', async () => {
    const stages: string[] = [];
    const fractions: number[] = [];
    const whole = await model.analyze(question, {
      onProgress: ({ stage, fraction }) => {
        stages.push(stage);
        if (fraction !== undefined) fractions.push(fraction);
      },
    });
    expect([...new Set(stages)]).toEqual(['image', 'vision', 'prefill', 'answer', 'without the image']);
    expect(fractions).toEqual(fractions.toSorted((a, b) => a - b));
    expect(fractions.at(-1)).toBe(1);
    for (let stop = 0; stop < stages.length - 1; stop++) {
      const cancellation = new AbortController();
      let seen = 0;
      const onProgress = (): void => {
        if (seen++ === stop) cancellation.abort();
      };
      const run = model.analyze(question, { signal: cancellation.signal, onProgress });
      await expect(run).rejects.toThrow(CancelledError);
    }
    const again = await model.analyze(question);
    expect({ ...again, milliseconds: 0 }).toEqual({ ...whole, milliseconds: 0 });
  });

  it('survives JSON', async () => {
    const analysis = await model.analyze(question);
    expect(JSON.parse(JSON.stringify(analysis))).toEqual(analysis);
  });
});

describe('log-probability', () => {
  it('is exact where it can be said by hand, and does not overflow', () => {
    expect(logProbability(Float32Array.of(0, 0, 0, 0), 2)).toBeCloseTo(Math.log(1 / 4), 12);
    expect(logProbability(Float32Array.of(Math.log(3), 0), 0)).toBeCloseTo(Math.log(3 / 4), 6);
    expect(logProbability(Float32Array.of(1000, 998), 1)).toBeCloseTo(-2 - Math.log1p(Math.exp(-2)), 9);
  });
});

async function promptOf(model: LlavaModel, question: AnalysisQuestion): Promise<Prompt> {
  let prompt: Prompt | undefined;
  await generate(
    model,
    { ...question, sampling: { maxTokens: 1 } },
    { onPrompt: (entered) => (prompt = entered) },
  );
  return prompt!;
}

/** The same removal as a reduction like any other. */
function keepsNoneBefore(layer: number): Reduction {
  return {
    id: 'none-left',
    spec: `none-left:layer=${layer}`,
    layerBoundaries: () => [{ layer, score: 'lastQuery' }],
    atLayer: () => ({ tokens: [] }),
  };
}

function decodingWith(model: LlavaModel, reduction: Reduction): Decoding {
  const { text, vision } = model.checkpoint.config;
  return new Decoding(
    {
      text,
      sessions: model.sessions,
      reductions: [reduction],
      shape: { layers: text.numHiddenLayers, hasClassToken: vision.hasClassToken, imageTokens: 0 },
      signal: undefined,
      stages: [],
      contextId: 0,
      onSelectionTime: () => undefined,
    },
    ANSWER_TOKENS,
  );
}
