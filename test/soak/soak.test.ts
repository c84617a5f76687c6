import { expect, it } from 'vitest';
import { expectUnharmed } from './expectations';
import { runSoak } from './soak';

// The long one is `npm run soak`.
it('survives cancels, kills and changes of settings', { timeout: 300_000 }, async () => {
  // With so few questions some cancel must come before its answer, on a fast machine too.
  const report = await runSoak({ questions: 36, images: 6, seed: 3, cancelWithin: 40 });
  expectUnharmed(report);
  expect(report.cancelled + report.cancelledTooLate).toBeGreaterThan(0);
  expect(report.settingChanges).toBeGreaterThan(0);
  expect(report.answered).toBeGreaterThan(20);
});
