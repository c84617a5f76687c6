import { readFile } from 'node:fs/promises';
import path from 'node:path';

import type { LlavaModel } from '../../server/llava/model';
import { AUTOMATIC_BUDGET, automaticTokens } from '../../server/llava/reduction/automaticBudget';
import { distinctPatches } from '../../server/llava/reduction/distinctPatches';
import { decodeImage } from '../../server/llava/vision/decode';
import { preprocessImage } from '../../server/llava/vision/preprocess';
import type { Outcome } from './outcomes';
import type { Subject } from './run';
import { mean } from './statistics';

/** The method that the automatic budget is chosen for. */
export const CARRIER = 'mmr';
/** Budgets at which the calibration asks; a rule's number of tokens is rounded down to one of them, which flatters no rule. */
export const LADDER: readonly number[] = [16, 32, 48, 64, 96, 128, 192, 288, 400];
/**
 * Accuracy that an automatic budget may cost, on the calibration's questions, against the best that the method reaches at any fixed
 * budget. Against all tokens nothing would be acceptable to a model that minds the renumbering of positions, which any dropping before
 * the decoder brings, however little is dropped (the embedded model did, until it was trained with both): that loss is reported beside it.
 */
export const ACCEPTABLE_LOSS = 0.01;

/** What was measured of a picture. */
export interface PictureFacts {
  readonly patches: number;
  readonly distinct: number;
  /** Share of the tower's attention, highest first, cumulated [patches]. */
  readonly mass: readonly number[];
}

export interface RuleResult {
  readonly rule: 'distinct' | 'attention' | 'fixed';
  /** Ratio to the distinct patches, share of the attention, or number of tokens. */
  readonly parameter: number;
  readonly minimum: number;
  readonly accuracy: number;
  readonly tokens: number;
}

export interface Calibration {
  readonly questions: number;
  readonly full: number;
  /** The best fixed budget below all tokens. */
  readonly reached: number;
  /** The best of each kind: fewest tokens within the acceptable loss. */
  readonly best: readonly RuleResult[];
  /** The rule in the engine, on the same questions. */
  readonly chosen: RuleResult;
}

export async function pictureFacts(model: LlavaModel, { folder, image }: Subject): Promise<PictureFacts> {
  const { checkpoint } = model;
  const bytes = await readFile(path.join(folder, image));
  const decoded = await decodeImage(bytes);
  const { patchSize, imageSize } = checkpoint.config.vision;
  const side = Math.floor(imageSize / patchSize);
  const pixels = preprocessImage(decoded, checkpoint.preprocessor, 'pad', patchSize).pixels();
  const { trace } = await model.ask({
    images: [bytes],
    question: '?',
    reduction: `${CARRIER}:keep=16`,
    sampling: { maxTokens: 1 },
  });
  const scores = (trace.stages[0].scores?.values ?? []).toSorted((a, b) => b - a);
  const total = scores.reduce((a, b) => a + b, 0);
  let sum = 0;
  return {
    patches: side * side,
    distinct: distinctPatches({ rows: side, columns: side, pixels }),
    mass: scores.map((score) => (sum += score) / total),
  };
}

const MINIMA = [16, 32, 48, 64, 96, 128];

/** Tries rules on the outcomes at the ladder's budgets. */
export function calibrate(
  outcomes: readonly Outcome[],
  subjects: readonly Subject[],
  facts: ReadonlyMap<string, PictureFacts>,
  ladder: readonly number[] = LADDER,
): Calibration {
  const exact = new Map(
    outcomes.map((entry) => [`${entry.set} ${entry.question} ${entry.spec}`, entry.exact]),
  );
  const asked = subjects.flatMap(({ set, image, questions }) =>
    questions.map(({ index }) => ({ set, index, facts: facts.get(`${set} ${image}`)! })),
  );
  const rightAt = (set: string, index: number, tokens: number, all: number): boolean => {
    const step = tokens >= all ? undefined : (ladder.findLast((budget) => budget <= tokens) ?? ladder[0]);
    const spec = step === undefined ? 'none' : `${CARRIER}:keep=${step}`;
    return exact.get(`${set} ${index} ${spec}`) ?? false;
  };
  const full = mean(asked.map(({ set, index }) => Number(rightAt(set, index, Infinity, 0))));
  const evaluate = (
    rule: RuleResult['rule'],
    parameter: number,
    minimum: number,
    tokensOf: (facts: PictureFacts) => number,
  ): RuleResult => {
    const results = asked.map(({ set, index, facts: picture }) => {
      const tokens = Math.min(picture.patches, Math.max(minimum, Math.round(tokensOf(picture))));
      return { tokens, right: rightAt(set, index, tokens, picture.patches) };
    });
    return {
      rule,
      parameter,
      minimum,
      accuracy: mean(results.map(({ right }) => Number(right))),
      tokens: mean(results.map(({ tokens }) => tokens)),
    };
  };
  const fixed = ladder.map((budget) => evaluate('fixed', budget, budget, () => budget));
  const distinct = MINIMA.flatMap((minimum) =>
    [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1, 1.2, 1.5, 2, 2.5, 3].map((ratio) =>
      evaluate('distinct', ratio, minimum, (picture) => ratio * picture.distinct),
    ),
  );
  const attention = MINIMA.flatMap((minimum) =>
    [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98].map((share) =>
      evaluate('attention', share, minimum, ({ mass }) => 1 + mass.findIndex((value) => value >= share)),
    ),
  );
  const reached = Math.max(...fixed.map(({ accuracy }) => accuracy));
  const best = [fixed, distinct, attention].flatMap((rules) => {
    const acceptable = rules.filter(({ accuracy }) => accuracy >= reached - ACCEPTABLE_LOSS);
    // Of rules that take as many tokens here, the one that takes more where a picture holds more.
    return acceptable.sort((a, b) => a.tokens - b.tokens || b.parameter - a.parameter).slice(0, 1);
  });
  const { ratio, minimum } = AUTOMATIC_BUDGET;
  const chosen = evaluate('distinct', ratio, minimum, ({ distinct: count, patches }) =>
    automaticTokens(count, patches),
  );
  return { questions: asked.length, full, reached, best, chosen };
}
