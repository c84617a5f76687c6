import type { Reporter, TestModule } from 'vitest/node';

/** Ends a run with one plain line of counts, for programs that read the output. */
export default class SummaryReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const counts = { passed: 0, failed: 0, skipped: 0, pending: 0 };
    for (const module of modules) {
      for (const test of module.children.allTests()) counts[test.result().state]++;
      // A file that cannot be loaded has no tests to fail.
      if (module.errors().length > 0) counts.failed++;
    }
    // After the default reporter's own summary.
    process.once('exit', () => {
      process.stdout.write(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped\n`);
    });
  }
}
