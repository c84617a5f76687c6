import { readFileSync } from 'node:fs';
import path from 'node:path';

import { describe, expect, it } from 'vitest';

import { openCheckpoint } from '../../server/llava/checkpoint/open';
import { AUTOMATIC_BUDGET } from '../../server/llava/reduction/automaticBudget';
import { ROOT } from '../evaluationSet';
import { ACCEPTABLE_LOSS } from './calibration';
import { questionsHash, weightsHash } from './inputs';
import { drawCurves, renderReport } from './report';
import { availableHeads, entries, unusedMethods, type Entry } from './specs';
import type { ReductionResults } from './summary';

const FOLDER = path.join(ROOT, 'docs', 'results');
const read = (file: string): string => readFileSync(path.join(FOLDER, file), 'utf8');

describe('docs/results/reduction', () => {
  const results = JSON.parse(read('reduction.json')) as ReductionResults;
  const specs = results.rows.flatMap((row) => row.specs);

  it('was measured on this model, these questions and these reductions (npm run eval makes it again)', async () => {
    expect(results.model.weights).toBe(await weightsHash(path.join(ROOT, 'model')));
    expect(results.questions).toBe(questionsHash());
    const full = results.rows.find(({ method }) => method === 'none')!;
    const { heads } = await openCheckpoint(path.join(ROOT, 'model'));
    const meant: Entry[] = entries(full.budget!, availableHeads(heads));
    expect(specs).toEqual(expect.arrayContaining(meant.map(({ spec }) => spec)));
  });

  it('has every method of the registry', () => {
    const asked = specs.map((spec): Entry => ({ method: '', kind: 'method', budget: undefined, spec }));
    expect(unusedMethods(asked)).toEqual([]);
  });

  it('says in words and pictures what was measured', () => {
    expect(read('reduction.md')).toBe(renderReport(results));
    for (const [file, svg] of Object.entries(drawCurves(results))) expect(read(file)).toBe(svg);
  });

  it('is the evaluation that the automatic budget was chosen by', () => {
    const { chosen, reached } = results.calibration;
    expect({ ratio: chosen.parameter, minimum: chosen.minimum }).toEqual(AUTOMATIC_BUDGET);
    expect(chosen.accuracy).toBeGreaterThanOrEqual(reached - ACCEPTABLE_LOSS);
  });

  it('compares every composition with its methods by themselves at the same number of tokens left', () => {
    const composed = results.rows.filter(({ kind }) => kind === 'composition');
    expect(composed.length).toBeGreaterThan(0);
    for (const { method, left, alone } of composed) {
      expect(alone!.length, method).toBeGreaterThan(1);
      for (const part of alone!) {
        expect(part.budget).toBe(Math.max(1, Math.round(left)));
        const row = results.rows.find(({ specs }) => specs.includes(part.spec))!;
        expect(part.all).toEqual(row.all);
      }
    }
  });

  it('adds up, and every budget was met', () => {
    const asked = Object.values(results.asked).reduce((a, b) => a + b, 0);
    for (const row of results.rows) {
      expect(row.all.of).toBe(asked);
      const sets = Object.values(row.bySet);
      expect(sets.reduce((sum, { right }) => sum + right, 0)).toBeCloseTo(row.all.right, 6);
      const types = Object.values(row.byType).flatMap((byType) => Object.values(byType));
      expect(types.reduce((sum, { of }) => sum + of, 0)).toBeCloseTo(asked, 6);
      // Square rasters cannot be cut into any number of cells; a context token is one more; small screens have fewer areas.
      const exact =
        row.budget !== undefined &&
        !/^(pool|downscale|llamavid|uigraph|pixelprune|.*dyrate)/.test(row.method);
      if (exact) expect(Math.abs(row.left - row.budget!), row.method).toBeLessThan(0.51);
    }
  });
});
