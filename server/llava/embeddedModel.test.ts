import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { LlavaModel } from './model';
import { fixturePath } from './testing/fixtures';

const ROOT = path.join(__dirname, '..', '..');
const MODEL = process.env.FOVEA_TEST_MODEL ?? path.join(ROOT, 'model');
const FIXTURE = process.env.FOVEA_TEST_MODEL_FIXTURE ?? fixturePath('model.json');

/** As in parity.test.ts: of the largest logit, in fp32 against fp32. */
const TOLERANCE = 2e-4;
const END_OF_ANSWER = 2;

/** [token id, logit], highest first. */
type TopLogits = readonly (readonly [number, number])[];

/** Written by training/fovea_training/parity.py. */
interface Fixture {
  readonly hashes: Readonly<Record<string, string>>;
  readonly screens: readonly {
    readonly image: string;
    readonly question: string;
    readonly answerIds: readonly number[];
    readonly firstStep: TopLogits;
    readonly llamavid: Readonly<Record<string, TopLogits>>;
    readonly dyrate: Readonly<Record<string, number>>;
  }[];
}

describe('the embedded model', () => {
  const { hashes, screens } = JSON.parse(readFileSync(FIXTURE, 'utf8')) as Fixture;
  const imageOf = (name: string) => readFileSync(path.join(ROOT, 'bench', 'data', 'heldout', name));
  let model: LlavaModel;

  beforeAll(async () => {
    model = await LlavaModel.open(MODEL);
  });
  afterAll(() => model.dispose());

  it('is the one that the reference was computed from, heads included', () => {
    for (const [name, hash] of Object.entries(hashes)) {
      expect(
        createHash('sha256')
          .update(readFileSync(path.join(MODEL, name)))
          .digest('hex'),
        name,
      ).toBe(hash);
    }
    expect(Object.keys(hashes)).toContain('heads/llamavid.safetensors');
    expect(new Set(screens.map(({ image }) => image)).size).toBe(20);
  });

  it('carries both variants of DyRate for the same three or more weights', () => {
    const weights = (variant: string) =>
      model.checkpoint.heads.dyRate.filter((head) => head.variant === variant).map(({ lambda }) => lambda);
    expect(weights('gumbel').length).toBeGreaterThanOrEqual(3);
    expect(weights('expectation')).toEqual(weights('gumbel'));
  });

  it.each(screens)('answers like transformers: $question ($image)', async (screen) => {
    const images = [imageOf(screen.image)];
    const { question } = screen;
    const result = await model.ask({ images, question, sampling: { maxTokens: 32 } });
    const ids = screen.answerIds.filter((id) => id !== END_OF_ANSWER);
    expect(result.answerTokenIds.filter((id) => id !== END_OF_ANSWER)).toEqual(ids);
    expectTop(result.firstStep, screen.firstStep);

    for (const [grid, expected] of Object.entries(screen.llamavid)) {
      const reduction = `llamavid:grid=${grid}`;
      const reduced = await model.ask({ images, question, reduction, sampling: { maxTokens: 1 } });
      expect(reduced.costs.imageTokens.atDecoder).toBe(1 + Number(grid) ** 2);
      expectTop(reduced.firstStep, expected);
    }

    if (result.answerTokenIds.length < 3) return; // DyRate drops nothing before the second answer token
    const entered = result.costs.imageTokens.atDecoder;
    for (const [head, rate] of Object.entries(screen.dyrate)) {
      const [, variant, lambda] = head.split('-');
      const reduction = `dyrate:variant=${variant},lambda=${lambda}`;
      const reduced = await model.ask({ images, question, reduction, sampling: { maxTokens: 2 } });
      const first = reduced.trace.stages.find(({ place }) => place.at === 'step' && place.step === 1);
      const kept = first?.kept.length ?? entered;
      expect(kept, reduction).toBe(entered - Math.round((entered * rate) / 8));
    }
  });

  function expectTop(
    { topTokenIds, topLogits }: { topTokenIds: readonly number[]; topLogits: readonly number[] },
    expected: TopLogits,
  ): void {
    const scale = Math.max(...expected.map(([, logit]) => Math.abs(logit)));
    for (const [id, logit] of expected) {
      const at = topTokenIds.indexOf(id);
      expect(at).toBeGreaterThanOrEqual(0);
      expect(Math.abs(topLogits[at] - logit)).toBeLessThanOrEqual(TOLERANCE * scale);
    }
  }
});
