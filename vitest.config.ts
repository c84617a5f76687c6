import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['server/**/*.test.ts', 'webview/**/*.test.ts', 'client/**/*.test.ts', 'test/**/*.test.ts', 'bench/**/*.test.ts'],
    exclude: ['test/e2e/**', 'node_modules/**'],
    // onnxruntime-node blocks its thread and must not be unloaded with a worker: one forked process per file.
    pool: 'forks',
    testTimeout: 60_000,
  },
});
