import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';

import { ROOT } from '../evaluationSet';
import { type GpuResults, renderGpuResults } from './gpuResults';

const read = (name: string): string => readFileSync(path.join(ROOT, 'docs', 'results', name), 'utf8');
const results = JSON.parse(read('gpu.json')) as GpuResults;

it('the page about graphics cards says what was measured', () => {
  expect(read('gpu.md')).toBe(renderGpuResults(results));
});

it('numbers of a card were right: close to the CPU, and never without a comparison', () => {
  const onCard = results.models.filter(({ device }) => device !== 'cpu');
  expect(onCard.length).toBeGreaterThan(0);
  for (const { model, runs } of onCard) {
    expect(results.models.some((other) => other.device === 'cpu' && other.model === model)).toBe(true);
    // Other reductions choose tokens by numbers that random weights make nearly equal.
    const whole = runs.filter(({ reduction }) => reduction === 'none');
    expect(whole.length).toBe(1);
    for (const { error } of whole) expect(error).toBeLessThan(0.1);
  }
});
