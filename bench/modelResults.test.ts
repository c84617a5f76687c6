import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

import { describe, expect, it } from 'vitest';

import { openCheckpoint } from '../server/llava/checkpoint/open';
import { hashQuestions, readEvaluationSet, ROOT, SETS } from './evaluationSet';
import { drawDyRate } from './dyRateStudy';
import { learningCurves } from './learningCurves';
import { drawCurve, type ModelResults, renderModelResults } from './modelResults';

const RESULTS = path.join(ROOT, 'docs', 'results');

describe('docs/results/model', () => {
  const results = JSON.parse(readFileSync(path.join(RESULTS, 'model.json'), 'utf8')) as ModelResults;

  it('was measured on this model and these questions (npm run eval:model makes it again)', async () => {
    expect(results.model.hash).toBe((await openCheckpoint(path.join(ROOT, 'model'))).hash);
    expect(results.questions).toBe(hashQuestions());
  });

  it('says in words and picture what was measured', () => {
    expect(readFileSync(path.join(RESULTS, 'model.md'), 'utf8')).toBe(renderModelResults(results));
    expect(readFileSync(path.join(RESULTS, 'model-tokens.svg'), 'utf8')).toBe(drawCurve(results));
    expect(readFileSync(path.join(RESULTS, 'model-dyrate.svg'), 'utf8')).toBe(drawDyRate(results.dyRate));
  });

  it('draws the learning curves that the training wrote', () => {
    for (const { stage, svg } of learningCurves())
      expect(readFileSync(path.join(RESULTS, `model-learning-${stage}.svg`), 'utf8')).toBe(svg);
  });

  it('adds up', () => {
    for (const set of [results.words, results.letters, results.otherWords]) {
      const types = Object.values(set.byType);
      expect(types.reduce((sum, { right }) => sum + right, 0)).toBe(set.all.right);
      expect(types.reduce((sum, { of }) => sum + of, 0)).toBe(set.all.of);
    }
  });
});

it.each(Object.entries(SETS))('the set %s is complete', (_, folder) => {
  const { questions } = readEvaluationSet(folder);
  expect(questions.length).toBeGreaterThan(0);
  for (const { image, question, otherWords, answer } of questions) {
    expect(existsSync(path.join(folder, image))).toBe(true);
    expect(question.trim()).not.toBe('');
    expect(otherWords?.trim()).not.toBe('');
    expect(otherWords).not.toBe(question);
    expect(answer.trim()).not.toBe('');
  }
});
