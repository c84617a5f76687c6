import { execFileSync } from 'node:child_process';
import { expect, it } from 'vitest';

interface Comparison {
  readonly imageTokens: number;
  readonly memory: { readonly measured: number; readonly predicted: number };
}

// Other systems do not tell a process's private memory; what is predicted is for Linux.
it.runIf(process.platform === 'linux')(
  'memory is what was predicted, for all tiles of a screenshot and for a quarter of their tokens',
  () => {
    const program = ['dist/prediction.js', '--cases', '4,5', '--json'];
    const text = execFileSync(process.execPath, program, {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const [whole, reduced] = JSON.parse(text) as Comparison[];
    expect(whole.imageTokens).toBe(1948);
    expect(reduced.imageTokens).toBeLessThan(500);
    for (const { memory } of [whole, reduced]) {
      expect(memory.predicted).toBeGreaterThan(0.85 * memory.measured);
      expect(memory.predicted).toBeLessThan(1.15 * memory.measured);
    }
  },
  600_000,
);
