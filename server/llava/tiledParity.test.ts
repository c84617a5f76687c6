import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { Prompt } from './decoding';
import { prepareImages } from './prompt';
import { LlavaModel } from './model';
import { expectClose, fixturePath, readFixture, readPictureCases, TILED_FIXTURES } from './testing/fixtures';
import { temporaryDirectory } from './testing/temporaryDirectory';
import { decodePrompt } from './testing/decodePrompt';

/** Tiled models against HuggingFace transformers in float32 (2e-4 of each tensor's scale), for pictures of many shapes. */
describe.each(TILED_FIXTURES)('%s equals transformers', (name) => {
  const fixture = readFixture(name);
  const pictures = readPictureCases(name);
  const main = {
    name: 'the fixture image',
    files: ['image-0.png'],
    tiles: [fixture.tensors.pixel_values.shape[0]],
    promptIds: fixture.description.promptIds,
    answerIds: fixture.description.answerIds,
    packed: fixture.tensors.packed.data,
    logits: fixture.tensors.prompt_logits,
  };
  const cases = [
    main,
    ...pictures.cases.map((entry) => ({
      ...entry,
      files: entry.images,
      packed: pictures.tensors[`${entry.name}.packed`].data,
      logits: pictures.tensors[`${entry.name}.logits`],
    })),
  ];
  const read = (file: string): Uint8Array =>
    readFileSync(fixturePath('checkpoints', name, 'reference', file));
  let model: LlavaModel;

  beforeAll(async () => {
    model = await LlavaModel.open(fixture.directory, { cacheDirectory: temporaryDirectory() });
  });
  afterAll(() => model.dispose());

  it.each(pictures.cases)('tiles and their pixels: $name', async ({ name: key, images, tiles }) => {
    const { std, mean } = model.checkpoint.preprocessor;
    const prepared = await prepareImages(model.checkpoint, images.map(read));
    expect(prepared.map(({ inputs }) => inputs.length)).toEqual(tiles);
    const expected = pictures.tensors[`${key}.pixels`];
    const made = prepared.flatMap(({ inputs }) => inputs.map((pixels) => pixels()));
    expect(made).toHaveLength(expected.shape[0]);
    const [, , side] = expected.shape;
    const area = side * side;
    let worst = 0;
    made.forEach((values, tile) => {
      expect(values).toHaveLength(3 * area);
      values.forEach((value, i) => {
        const channel = Math.floor(i / area);
        const byte = (value * std[channel] + mean[channel]) * 255;
        worst = Math.max(worst, Math.abs(byte - expected.data[tile * 3 * area + i]));
      });
    });
    // The allowance is for undoing the normalisation in float32: every byte is the same.
    expect(worst).toBeLessThan(1e-3);
  });

  it.each(cases)('tokens, prompt, logits and answer: $name', async (entry) => {
    let entered: Prompt | undefined;
    const result = await model.ask(
      {
        images: entry.files.map(read),
        question: fixture.description.question,
        sampling: { maxTokens: entry.answerIds.length },
      },
      { onPrompt: (prompt) => (entered = prompt) },
    );
    const prompt = entered!;
    expect(result.promptTokenIds).toEqual(entry.promptIds);
    const { columns, data } = prompt.hidden;
    const imageRows = prompt.labels.flatMap((label, row) => (label >= 0 ? [row] : []));
    expectClose(
      imageRows.flatMap((row) => [...data.subarray(row * columns, (row + 1) * columns)]),
      entry.packed,
    );
    const logits = await decodePrompt(model, prompt);
    const expected = entry.logits.data;
    expectClose(logits.subarray(logits.length - expected.length), expected);
    expect(result.answerTokenIds).toEqual(entry.answerIds);
  });
});
