import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';

import { ROOT } from '../evaluationSet';
import type { FirstTokenPeer } from './firstTokenPeer';
import type { PerformanceResults } from './results';
import type { Summary, Times } from './statistics';
import { renderTargets } from './targets';

const results = JSON.parse(
  readFileSync(path.join(ROOT, 'docs', 'results', 'performance.json'), 'utf8'),
) as PerformanceResults;

const always = (value: number): Summary => ({ median: value, minimum: value, maximum: value, runs: 1 });
const both = (value: number): Times => ({ wall: always(value), cpu: always(2 * value) });

const peer: FirstTokenPeer = {
  ...{ title: 'a model', measuredAt: '', command: '', code: '', threads: 2, candidates: [] },
  ...{ tower: 'F16', decoder: 'Q4_0', load: always(1) },
  ...{ preparation: both(10), encode: both(1000), prefill: both(990), firstToken: both(2000) },
  ours: [
    { precision: 'q4', reduction: 'none', firstToken: both(900), share: both(0.45) },
    { precision: 'fp32', reduction: 'none', firstToken: both(1000), share: both(0.5) },
    { precision: 'q4', reduction: 'uniform:keep=64', firstToken: both(820), share: both(0.41) },
  ],
  agreement: { imageTokens: 575, difference: 1e-4, answerTokens: 24, sameAnswer: true },
};

/** Stage, aim, fastest run, processor time, verdict and note of the two rows. */
function rowsWith(firstTokenPeer: FirstTokenPeer | undefined): string[][] {
  const table = renderTargets({ ...results, firstTokenPeer }, 2);
  const rows = table.split('\n').map((line) => line.split('|').map((cell) => cell.trim()));
  const first = rows.findIndex(([, stage]) => stage?.includes('llama-mtmd-cli'));
  return rows.slice(first, first + 2).map((row) => row.slice(2, -1));
}

describe('the first token against llama-mtmd-cli', () => {
  it('is the share of its time, with and without reduction', () => {
    expect(rowsWith(peer).map((row) => row.slice(0, 4))).toEqual([
      ['≤ 0.5 x', '0.45 x', '0.45 x', 'must'],
      ['≤ 0.4 x', '0.41 x', '0.41 x', 'no'],
    ]);
  });

  it.each([
    [undefined, /--mtmd/],
    [{ ...peer, load: always(4) }, /shared machine/],
    [{ ...peer, agreement: { ...peer.agreement, sameAnswer: false } }, /not compute the same/],
    [{ ...peer, agreement: { ...peer.agreement, difference: 0.1 } }, /not compute the same/],
  ])('is not measured where nothing can be said: %#', (given, why) => {
    for (const [, measured, , verdict, note] of rowsWith(given)) {
      expect([measured, verdict]).toEqual(['–', 'not measured']);
      expect(note).toMatch(why);
    }
  });
});
