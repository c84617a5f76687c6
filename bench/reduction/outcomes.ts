import { appendFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

import type { FineText } from '../../server/llava/fineText';
import { mean } from './statistics';

/** What came of one question under one reduction. */
export interface Outcome {
  /** `words`, `letters` or `real`: names of evaluation sets. */
  readonly set: string;
  /** Of the question in its set. */
  readonly question: number;
  readonly spec: string;
  readonly exact: boolean;
  /** Image tokens in the deepest decoder layer, mean over the answer's tokens, and at the last of them. */
  readonly tokens: number;
  readonly left: number;
  readonly answerTokens: number;
  readonly cacheBytes: number;
  readonly prefillMacs: number;
  /** Patches with text-like pixels in the picture, how many of them did not reach the answer, and the share that decides the warning. */
  readonly text: FineText;
}

/** Outcomes on disk, one JSON object a line, appended as they come: a run that was interrupted goes on where it stopped. */
export class OutcomeLog {
  private readonly known = new Map<string, Outcome>();

  constructor(private readonly file: string) {
    mkdirSync(path.dirname(file), { recursive: true });
    if (!existsSync(file)) return;
    const text = readFileSync(file, 'utf8');
    // The last line of an interrupted run may be cut off; its question is asked again.
    if (text !== '' && !text.endsWith('\n')) appendFileSync(file, '\n');
    for (const line of text.split('\n')) {
      const outcome = parseLine(line);
      if (outcome) this.known.set(key(outcome), outcome);
    }
  }

  has(question: Pick<Outcome, 'set' | 'question' | 'spec'>): boolean {
    return this.known.has(key(question));
  }

  add(outcome: Outcome): void {
    this.known.set(key(outcome), outcome);
    appendFileSync(this.file, `${JSON.stringify(outcome)}\n`);
  }

  get all(): Outcome[] {
    return [...this.known.values()];
  }
}

/**
 * Image tokens left at the end of an answer, mean. An answer of one token says nothing about methods that drop while it is written.
 */
export function leftAtEnd(outcomes: readonly Outcome[]): number {
  const longer = outcomes.filter(({ answerTokens }) => answerTokens > 1);
  return mean((longer.length > 0 ? longer : outcomes).map(({ left }) => left));
}

function key({ set, question, spec }: Pick<Outcome, 'set' | 'question' | 'spec'>): string {
  return `${set} ${question} ${spec}`;
}

function parseLine(line: string): Outcome | undefined {
  try {
    return JSON.parse(line) as Outcome;
  } catch {
    return undefined;
  }
}
