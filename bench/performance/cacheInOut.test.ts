import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { prepareWeights } from '../../server/llava/checkpoint/sidecar';
import { Decoding, labelRows } from '../../server/llava/decoding';
import { embed } from '../../server/llava/prompt';
import { LlavaModel } from '../../server/llava/model';
import { expectClose } from '../../server/llava/testing/fixtures';
import { temporaryDirectory } from '../../server/llava/testing/temporaryDirectory';
import { openCacheInOut } from './cacheInOut';
import { checkpointOf } from './shapes';

describe.each(['embedded', 'tiny'])('the control decoder of the model "%s"', (name) => {
  let model: LlavaModel;
  beforeAll(async () => {
    const directory = checkpointOf(name, temporaryDirectory());
    model = await LlavaModel.open(directory, { cacheDirectory: temporaryDirectory() });
  });
  afterAll(() => model.dispose());

  it('computes what the engine computes, so that their times can be compared', async () => {
    const { text } = model.checkpoint.config;
    const tensors = await prepareWeights(model.checkpoint, 'fp32', { cacheDirectory: temporaryDirectory() });
    const control = (await openCacheInOut(text, tensors))();
    const ids = Array.from({ length: 40 }, (_, index) => (index * 7) % text.vocabSize);
    const decoding = new Decoding(
      {
        text,
        sessions: model.sessions,
        reductions: [],
        shape: { layers: text.numHiddenLayers, hasClassToken: true, imageTokens: 0 },
        signal: undefined,
        stages: [],
        contextId: 0,
        onSelectionTime: () => undefined,
      },
      64,
    );
    const { logits } = await decoding.prefill({
      hidden: await embed(model, ids),
      labels: labelRows(ids.map(() => 'text')),
      imageTokens: [],
      raster: new Int32Array(0),
    });
    expectClose(await control.feed(ids), logits);
    for (const id of [3, 1, 4, 1, 5]) expectClose(await control.feed([id]), (await decoding.step(id)).logits);
    expect(logits.length).toBe(text.vocabSize);
  });
});
