import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { countFates, fatesAfter } from '../traceView/fates';
import { LlavaModel } from './model';
import { fixtureImage, readFixture } from './testing/fixtures';
import { temporaryDirectory } from './testing/temporaryDirectory';

describe('tokens after each stage', () => {
  const fixture = readFixture('clip-llama');
  let model: LlavaModel;

  beforeAll(async () => {
    model = await LlavaModel.open(fixture.directory, { cacheDirectory: temporaryDirectory() });
  });
  afterAll(() => model.dispose());

  it.each([
    'fastv:layer=1,keep=3+fixedrate:keep=20',
    'visionzip:dominant=12,contextual=3+pyramiddrop:ratio=0.5+fixedrate:keep=5',
    'mmr:keep=9+fastv:layer=2,keep=4+fixedrate:keep=2',
  ])('%s: as many as the token view draws, and never more than before', async (reduction) => {
    const { trace, costs } = await model.ask({
      images: [fixtureImage(fixture, 0)],
      question: fixture.description.question,
      fit: 'crop',
      reduction,
      sampling: { maxTokens: 3 },
    });
    const { perStage, total } = costs.imageTokens;
    expect(trace.stages.at(-1)!.place.at).toBe('step');
    expect(perStage).toEqual(trace.stages.map((_, index) => countFates(fatesAfter(trace, index + 1)).alive));
    expect([total, ...perStage]).toEqual([total, ...perStage].toSorted((a, b) => b - a));
  });
});
