import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';

import sharp from 'sharp';
import { describe, expect, it } from 'vitest';

import { REAL_SCREENS, readEvaluationSet, SETS } from './evaluationSet';

describe('the real screenshots', () => {
  const { images = [], questions } = readEvaluationSet(REAL_SCREENS);

  it('are as many as promised, within the size that a repository bears', () => {
    expect(images.length).toBeGreaterThanOrEqual(60);
    expect(questions.length).toBeGreaterThanOrEqual(300);
    const bytes = images.map(({ image }) => statSync(path.join(REAL_SCREENS, image)).size);
    expect(bytes.reduce((a, b) => a + b, 0)).toBeLessThan(6e6);
  });

  it('are whole pictures of the stated size', async () => {
    for (const { image, width, height } of images) {
      const { info } = await sharp(path.join(REAL_SCREENS, image))
        .raw()
        .toBuffer({ resolveWithObject: true });
      expect([image, info.width, info.height]).toEqual([image, width, height]);
    }
  });

  it('each name their origin and licence in the notice, and are asked about', () => {
    const notice = readFileSync(path.join(REAL_SCREENS, 'NOTICE.md'), 'utf8');
    for (const { image, origin, licence } of images) {
      expect(notice).toContain(`| ${path.basename(image)} | ${origin} | ${licence} |`);
      expect(questions.filter((question) => question.image === image).length).toBeGreaterThan(2);
    }
    expect(new Set(questions.map(({ image }) => image)).size).toBe(images.length);
  });

  it('ask nothing twice about a picture, and have an answer to everything', () => {
    const asked = questions.map(({ image, question }) => `${image} ${question}`);
    expect(new Set(asked).size).toBe(asked.length);
    for (const { question, answer } of questions) {
      expect(question.trim()).not.toBe('');
      expect(answer.trim()).not.toBe('');
    }
  });

  it('ask what the synthetic sets ask, and little else', () => {
    const known = new Set(readEvaluationSet(SETS.words).questions.map(({ type }) => type));
    const others = questions.filter(({ type }) => !known.has(type));
    expect(others.length).toBeLessThan(0.1 * questions.length);
  });
});
