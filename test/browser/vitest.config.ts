import { defineConfig } from 'vitest/config';

/** The token view in a real browser: `npm run test:browser`. */
export default defineConfig({
  test: {
    include: ['test/browser/**/*.browser.ts'],
    pool: 'forks',
    // Whatever else the machine does. What passes only at the second try is marked in the output.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    retry: 1,
  },
});
