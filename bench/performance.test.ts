import { execFile } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

import { REDUCTIONS } from '../server/llava/reduction/registry';
import { temporaryDirectory } from '../server/llava/testing/temporaryDirectory';
import { ROOT } from './evaluationSet';
import { renderPerformance } from './performance/renderResults';
import type { PerformanceResults } from './performance/results';

const RESULTS = path.join(ROOT, 'docs', 'results');
const read = (folder: string): PerformanceResults =>
  JSON.parse(readFileSync(path.join(folder, 'performance.json'), 'utf8')) as PerformanceResults;
const text = (folder: string): string => readFileSync(path.join(folder, 'performance.md'), 'utf8');

/** How fast anything was is not asserted: this machine has other things to do. */
describe('npm run bench', () => {
  it('measures every stage', { timeout: 180_000 }, async () => {
    const folder = temporaryDirectory();
    const program = path.join(ROOT, 'dist', 'performance.js');
    if (!existsSync(program)) throw new Error('dist/performance.js is missing: run "npm run build" first.');
    const measure = (...options: string[]): Promise<unknown> =>
      promisify(execFile)(process.execPath, [
        program,
        ...['--quick', ...options, '--out', folder, '--cache', folder],
      ]);
    await measure();
    const results = read(folder);
    const [run] = results.engine;
    for (const stage of [run.encode, run.prefill, run.decode, run.decodePruned]) {
      expect(stage.macs).toBeGreaterThan(0);
      for (const { median, minimum, maximum } of [stage.time.wall, stage.time.cpu, stage.ofPeak]) {
        expect(minimum).toBeGreaterThan(0);
        expect(median).toBeGreaterThanOrEqual(minimum);
        expect(maximum).toBeGreaterThanOrEqual(median);
      }
    }
    expect(run.speedups.map(({ expected }) => expected).every((factor) => factor > 1)).toBe(true);
    expect(results.coldStart.firstToken.minimum).toBeGreaterThan(results.coldStart.node.minimum);
    expect(text(folder)).toBe(renderPerformance(results));

    // Further shapes stand beside what is there; the same one is replaced.
    const other = { ...run, shape: 'elsewhere', title: 'measured earlier' };
    writeFileSync(
      path.join(folder, 'performance.json'),
      JSON.stringify({ ...results, engine: [run, other], others: { ...results.others, code: 'earlier' } }),
    );
    await measure('--shapes', 'tiny');
    const again = read(folder);
    expect(again.engine.map(({ shape }) => shape)).toEqual(['tiny', 'elsewhere']);
    expect(again.engine[0].measuredAt > run.measuredAt).toBe(true);
    expect(again.engine[0].command).toBe('npm run bench -- --quick --shapes tiny');
    expect(again.engine[1]).toEqual(other);
    expect(again.others.code).toBe('earlier');
  });

  it('measures the selection of every method that chooses before the answer and needs no trained head', () => {
    const measured = new Set(read(RESULTS).engine[0].selections.map(({ spec }) => spec.split(/[:+]/)[0]));
    const all = REDUCTIONS.filter(
      ({ description }) =>
        !description.needs.includes('heads') && description.places.some((place) => place !== 'step'),
    );
    for (const { description } of all) expect([...measured]).toContain(description.id);
  });

  it('has written what docs/results/performance.md says', () => {
    expect(text(RESULTS)).toBe(renderPerformance(read(RESULTS)));
  });
});
