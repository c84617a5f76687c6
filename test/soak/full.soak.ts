import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { describeMachine } from '../../bench/performance/machine';
import { expectUnharmed } from './expectations';
import { renderSoak } from './report';
import { runSoak } from './soak';

const FILE = path.resolve(__dirname, '../../docs/results/soak.md');

it('500 questions over 50 images', { timeout: 4 * 3600 * 1000 }, async () => {
  const report = await runSoak({
    questions: 500,
    images: 50,
    seed: 1,
    onProgress: (line) => process.stderr.write(`${line}\n`),
  });
  writeFileSync(FILE, renderSoak(report, describeMachine()));
  expectUnharmed(report);
  expect(report.kills).toBeGreaterThan(0);
  expect(report.cacheChecked).toBeGreaterThan(0);
});
