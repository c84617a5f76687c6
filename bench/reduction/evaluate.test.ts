import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

import { afterAll, beforeAll, expect, it } from 'vitest';

import { ROOT } from '../evaluationSet';
import { evaluateReductions } from './evaluate';
import type { Outcome } from './outcomes';
import type { ReductionResults } from './summary';

const execute = promisify(execFile);
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'fovea-eval-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function run(): Promise<{
  results: ReductionResults;
  report: string;
  outcomes: Outcome[];
  log: string;
}> {
  const output = path.join(folder, 'results');
  await evaluateReductions({
    model: path.join(ROOT, 'model'),
    words: 1,
    real: 1,
    calibration: 2,
    costs: 1,
    processes: 1,
    quick: true,
    output,
    log: path.join(folder, 'log'),
  });
  const [file] = await readdir(path.join(folder, 'log'));
  const log = path.join(folder, 'log', file);
  const lines = (await readFile(log, 'utf8')).trim().split('\n');
  return {
    results: JSON.parse(await readFile(path.join(output, 'reduction.json'), 'utf8')) as ReductionResults,
    report: await readFile(path.join(output, 'reduction.md'), 'utf8'),
    outcomes: lines.flatMap((line) => (line.endsWith('}}') ? [JSON.parse(line) as Outcome] : [])),
    log,
  };
}

/** What must not depend on the time that things took. */
const timeless = ({ rows, ...rest }: ReductionResults) => ({
  ...rest,
  rows: rows.map((row) => ({ ...row, cost: undefined })),
});

it('evaluates a few reductions, and goes on where it was interrupted', { timeout: 600_000 }, async () => {
  const first = await run();
  const { results, report, outcomes } = first;
  expect(results.pictures).toBe(2);
  expect(results.asked).toEqual({ 'held-out words': 2, real: 2 });
  expect(results.rows.map(({ method }) => method).sort()).toEqual([
    'downscale',
    'fastv',
    'none',
    'random',
    'visionzip',
  ]);
  for (const row of results.rows) {
    expect(row.tokens).toBe(row.budget);
    expect(row.all.of).toBe(4);
    expect(row.cacheBytes).toBeGreaterThan(0);
  }
  const macs = (method: string): number => results.rows.find((row) => row.method === method)!.prefillMacs;
  expect(macs('visionzip')).toBeLessThan(macs('fastv'));
  expect(macs('fastv')).toBeLessThan(macs('none'));
  expect(report).toContain('# Reductions compared');

  // As if the process had been killed while it wrote.
  const text = await readFile(first.log, 'utf8');
  await writeFile(first.log, text.slice(0, Math.floor(text.length / 2)));
  const second = await run();
  expect(second.outcomes).toHaveLength(outcomes.length);
  expect(timeless(second.results)).toEqual(timeless(results));
});

it('comes to the same when several processes ask', { timeout: 600_000 }, async () => {
  const { results } = await run();
  const output = path.join(folder, 'together');
  const options = { words: 1, real: 1, calibration: 2, costs: 1, processes: 2, output, log: output };
  const flags = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
  await execute(process.execPath, [path.join(ROOT, 'dist', 'evaluateReductions.js'), '--quick', ...flags]);
  const text = await readFile(path.join(output, 'reduction.json'), 'utf8');
  expect(timeless(JSON.parse(text) as ReductionResults)).toEqual(timeless(results));
});
