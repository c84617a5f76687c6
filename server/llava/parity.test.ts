import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { Checkpoint } from './checkpoint/checkpoint';
import { Decoding, labelRows, type AttentionRow, type Prompt } from './decoding';
import { LlavaModel } from './model';
import { floats, floatTensor, idTensor } from './runtime/session';
import {
  CHECKPOINT_FIXTURES,
  expectClose,
  type Fixture,
  fixtureImage,
  readFixture,
} from './testing/fixtures';
import { temporaryDirectory } from './testing/temporaryDirectory';
import { expandImageTokens, promptIds, renderPrompt } from './text/chatTemplate';

/** Every number the engine computes against HuggingFace transformers in float32 (2e-4 of each tensor's scale). */
describe.each(CHECKPOINT_FIXTURES)('%s equals transformers', (name) => {
  let fixture: Fixture;
  let model: LlavaModel;
  let checkpoint: Checkpoint;

  beforeAll(async () => {
    fixture = readFixture(name);
    model = await LlavaModel.open(fixture.directory, { cacheDirectory: temporaryDirectory() });
    checkpoint = model.checkpoint;
  });
  afterAll(() => model.dispose());

  /** Features of image `index` in the order of the fixture: [tokens, visionDim], CLS first where it is kept. */
  async function towerFeatures(index: number): Promise<Float32Array> {
    const { imageSize, hasClassToken } = checkpoint.config.vision;
    const pixels = fixture.tensors.pixel_values;
    const size = 3 * imageSize * imageSize;
    const session = await model.sessions.vision({ attention: false, keys: false });
    const output = await session.run({
      pixels: floatTensor(pixels.data.slice(index * size, (index + 1) * size), [1, 3, imageSize, imageSize]),
    });
    const features = floats(output.features);
    const drop = hasClassToken && checkpoint.config.visionFeatureSelectStrategy === 'default';
    return drop ? features.subarray(output.features.dims[1]) : features;
  }

  async function projected(index: number): Promise<Float32Array> {
    const features = await towerFeatures(index);
    const width = checkpoint.config.vision.hiddenSize * checkpoint.config.visionFeatureLayer.length;
    const session = await model.sessions.projector();
    const output = await session.run({ features: floatTensor(features, [features.length / width, width]) });
    return floats(output.embeddings);
  }

  /** The prompt as transformers saw it, image tokens from the fixture's pixel values. */
  async function prompt(): Promise<Prompt> {
    const { imageTokenIndex, text } = checkpoint.config;
    const ids = fixture.description.promptIds;
    const session = await model.sessions.embedding();
    const embedded = await session.run({ ids: idTensor(ids.map((id) => (id === imageTokenIndex ? 0 : id))) });
    const data = floats(embedded.hidden);
    const images = await Promise.all(fixture.description.images.map((_, index) => projected(index)));
    const rows = images.flatMap((image) =>
      Array.from({ length: image.length / text.hiddenSize }, (_, row) =>
        image.subarray(row * text.hiddenSize, (row + 1) * text.hiddenSize),
      ),
    );
    let next = 0;
    ids.forEach((id, row) => {
      if (id === imageTokenIndex) data.set(rows[next++], row * text.hiddenSize);
    });
    expect(next).toBe(rows.length);
    return {
      hidden: { data, rows: ids.length, columns: text.hiddenSize },
      labels: labelRows(ids.map((id) => (id === imageTokenIndex ? 'image' : 'text'))),
      imageTokens: rows.map((_, index) => index),
      raster: Int32Array.from(rows, (_, index) => index),
    };
  }

  function decoding(onAttention?: (row: AttentionRow) => void): Decoding {
    const { text, vision } = checkpoint.config;
    return new Decoding(
      {
        text,
        sessions: model.sessions,
        reductions: [],
        shape: { layers: text.numHiddenLayers, hasClassToken: vision.hasClassToken, imageTokens: 0 },
        signal: undefined,
        stages: [],
        contextId: 0,
        onSelectionTime: () => undefined,
        onAttention,
      },
      8,
    );
  }

  it('vision features and projected embeddings', async () => {
    const features = fixture.tensors.vision_features;
    const embeddings = fixture.tensors.projected;
    const images = fixture.description.images.length;
    for (let index = 0; index < images; index++) {
      const part = (tensor: Float32Array): Float32Array =>
        tensor.subarray((index * tensor.length) / images, ((index + 1) * tensor.length) / images);
      expectClose(await towerFeatures(index), part(features.data));
      expectClose(await projected(index), part(embeddings.data));
    }
  });

  it('the signals that reductions look at: CLS or received attention, and keys', async () => {
    const { imageSize, hasClassToken, numAttentionHeads, hiddenSize } = checkpoint.config.vision;
    const session = await model.sessions.vision({ attention: true, keys: true });
    const pixels = fixture.tensors.pixel_values.data.slice(0, 3 * imageSize * imageSize);
    const output = await session.run({ pixels: floatTensor(pixels, [1, 3, imageSize, imageSize]) });
    const keys = fixture.tensors.vision_keys;
    const [layers, images, tokens] = keys.shape;
    // The last of several feature layers (they are listed from deep to shallow or the other way: the deepest counts).
    const states = checkpoint.config.visionFeatureLayer.map((layer) =>
      layer < 0 ? checkpoint.config.vision.numHiddenLayers + 1 + layer : layer,
    );
    const deepest = states.indexOf(Math.max(...states));
    expect(layers).toBe(states.length);

    const size = hiddenSize / numAttentionHeads;
    const expectedKeys = new Float32Array(tokens * size);
    const offset = deepest * images * tokens * hiddenSize;
    for (let token = 0; token < tokens; token++) {
      for (let head = 0; head < numAttentionHeads; head++) {
        for (let i = 0; i < size; i++) {
          expectedKeys[token * size + i] +=
            keys.data[offset + token * hiddenSize + head * size + i] / numAttentionHeads;
        }
      }
    }
    expectClose(floats(output.keys), expectedKeys);

    if (hasClassToken) {
      const rows = fixture.tensors.class_attention;
      const start = deepest * images * numAttentionHeads * tokens;
      const expected = new Float32Array(tokens - 1);
      for (let head = 0; head < numAttentionHeads; head++) {
        for (let token = 1; token < tokens; token++) {
          expected[token - 1] += rows.data[start + head * tokens + token];
        }
      }
      expectClose(floats(output.attention), expected);
    } else {
      const received = fixture.tensors.received_attention;
      const start = deepest * images * tokens;
      expectClose(floats(output.attention), received.data.subarray(start, start + tokens));
    }
  });

  it('prompt ids', () => {
    const { description } = fixture;
    const text = renderPrompt(checkpoint, {
      question: description.question,
      system: description.system ?? undefined,
      images: description.images.length,
    });
    const ids = promptIds(model.tokenizer, text);
    const counts = description.images.map(() => description.imageTokensPerImage);
    expect(expandImageTokens(ids, checkpoint.config.imageTokenIndex, counts)).toEqual(description.promptIds);
  });

  it('all logits of the prompt', async () => {
    const { logits } = await decoding().prefill(await prompt(), 'all');
    expectClose(logits, fixture.tensors.prompt_logits.data);
  });

  it('attention rows of every layer, at prefill and while decoding', async () => {
    const rows: AttentionRow[] = [];
    const run = decoding((row) => rows.push(row));
    await run.prefill(await prompt());
    for (const id of fixture.description.answerIds.slice(0, 31)) await run.step(id);
    const { numHiddenLayers, numAttentionHeads } = checkpoint.config.text;
    const promptLength = fixture.description.promptIds.length;

    const lastQuery = fixture.tensors.attention_last_query.data;
    for (let layer = 0; layer < numHiddenLayers; layer++) {
      const row = rows.find((candidate) => candidate.step === 0 && candidate.layer === layer)!;
      expectClose(row.attention, lastQuery.subarray(layer * promptLength, (layer + 1) * promptLength));
      for (const step of [1, 8, 31]) {
        const { data } = fixture.tensors[`attention_step_${step}`];
        const width = promptLength + step;
        const expected = new Float32Array(width);
        for (let head = 0; head < numAttentionHeads; head++) {
          const start = (layer * numAttentionHeads + head) * width;
          for (let i = 0; i < width; i++) expected[i] += data[start + i] / numAttentionHeads;
        }
        const stepRow = rows.find((candidate) => candidate.step === step && candidate.layer === layer)!;
        expectClose(stepRow.attention, expected);
      }
    }
  });

  it('logits of every answer position from the cache, as from scratch', async () => {
    const run = decoding();
    const start = await prompt();
    let output = await run.prefill(start);
    const vocabulary = checkpoint.config.text.vocabSize;
    const expected = fixture.tensors.answer_logits.data;
    for (let index = 0; index < fixture.description.answerIds.length; index++) {
      expectClose(output.logits, expected.subarray(index * vocabulary, (index + 1) * vocabulary));
      if (index < fixture.description.answerIds.length - 1) {
        output = await run.step(fixture.description.answerIds[index]);
      }
    }
  });

  it('the whole way from image files: 32 greedy tokens', async () => {
    const { description } = fixture;
    const images = description.images.map((_, index) => fixtureImage(fixture, index));
    const result = await model.ask({
      images,
      question: description.question,
      system: description.system ?? undefined,
      fit: 'crop',
      sampling: { maxTokens: 32 },
    });
    expect(result.promptTokenIds).toEqual(description.promptIds);
    expect(result.answerTokenIds).toEqual(description.answerIds);
    expect(result.finish).toBe('length');
  });
});
