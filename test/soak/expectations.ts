import { expect } from 'vitest';
import { canListProcesses } from './processes';
import { largest } from './report';
import type { SoakReport } from './soak';

/** Far above what they need (about 150 and 350 MB), far below what a leak reaches in hundreds of questions. */
const SERVER_BYTES = 400e6;
const INFERENCE_BYTES = 900e6;

/** What holds for every soak, however long. */
export function expectUnharmed(report: SoakReport): void {
  expect(report.wrong).toEqual([]);
  expect(report.unexpected).toEqual([]);
  expect(report.answered + report.cancelled).toBe(report.questions);
  expect(report.cacheDamaged).toBe(0);
  expect(report.orphans).toBe(0);
  // A tie is rare; more of them would be differences of another kind.
  expect(report.ties).toBeLessThanOrEqual(report.answered / 50);
  if (!canListProcesses) return;
  expect(largest(report.memory, 'server')).toBeLessThan(SERVER_BYTES);
  expect(largest(report.memory, 'inference')).toBeLessThan(INFERENCE_BYTES);
}
