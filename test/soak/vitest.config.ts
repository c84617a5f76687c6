import { defineConfig } from 'vitest/config';

/** The long soak: `npm run soak`. Writes docs/results/soak.md. */
export default defineConfig({
  test: { include: ['test/soak/full.soak.ts'], pool: 'forks' },
});
