import { FINE_TEXT_WARNING } from '../../server/llava/fineText';
import { type Accuracy, accuracy } from '../accuracy';
import type { Calibration } from './calibration';
import { leftAtEnd, type Outcome } from './outcomes';
import type { Cost, Subject } from './run';
import type { AloneEntry, Entry } from './specs';
import { mean, type Pair, pairedDifference, type PairedDifference } from './statistics';

/** A method at a budget, all its seeds together. */
export interface Row {
  readonly method: string;
  readonly kind: Entry['kind'];
  readonly budget?: number;
  readonly specs: readonly string[];
  /** Mean image tokens in the deepest layer while the answer was written, and at its end. */
  readonly tokens: number;
  readonly left: number;
  readonly all: Accuracy;
  readonly bySet: Readonly<Record<string, Accuracy>>;
  readonly byType: Readonly<Record<string, Readonly<Record<string, Accuracy>>>>;
  /** Against the same questions with all tokens, with random tokens at this budget (every seed), and with a smaller picture at this budget. */
  readonly against: {
    readonly none: PairedDifference;
    readonly random?: PairedDifference;
    readonly downscale?: PairedDifference;
  };
  /** Of a composition: each of its methods by itself with as many tokens left at the end, and the composition's difference to it. */
  readonly alone?: readonly (AloneEntry & {
    readonly all: Accuracy;
    readonly prefillMacs: number;
    readonly difference: PairedDifference;
  })[];
  /** Means over the questions. */
  readonly cacheBytes: number;
  readonly prefillMacs: number;
  /** Milliseconds, medians; random: its first seed. */
  readonly cost: Omit<Cost, 'spec'>;
}

/** How well the warning foresees that an answer about text, right with all tokens, goes wrong. */
export interface WarningQuality {
  readonly rows: number;
  /** Of the answers lost, those that were warned about. */
  readonly recall: Accuracy;
  /** Of the warnings, those where the answer was lost. */
  readonly precision: Accuracy;
  /** Of the answers that stayed right, those that were not warned about. */
  readonly specificity: Accuracy;
  /** Share of answers lost by share of text lost, in tenths. */
  readonly byShare: readonly { readonly from: number; readonly lost: Accuracy }[];
}

export interface ReductionResults {
  readonly model: { name: string; hash: string; parameters: number; weights: string };
  readonly code: string;
  readonly questions: string;
  readonly specs: string;
  readonly device: string;
  readonly pictures: number;
  readonly asked: Readonly<Record<string, number>>;
  readonly rows: readonly Row[];
  /** Of both sets together, and of each. */
  readonly warning: WarningQuality;
  readonly warningBySet: Readonly<Record<string, WarningQuality>>;
  readonly calibration: Calibration;
}

export interface SummaryInput {
  readonly model: ReductionResults['model'];
  readonly code: string;
  readonly questions: string;
  readonly specs: string;
  readonly device: string;
  readonly entries: readonly Entry[];
  readonly subjects: readonly Subject[];
  readonly outcomes: readonly Outcome[];
  readonly costs: readonly Cost[];
  readonly calibration: Calibration;
}

/** Types whose answers are text of the picture. */
export const TEXT_TYPES = new Set(
  'title message buttons highlighted fields field_value which_ticked bar_labels bar_value percent read_all describe tallest shortest terminal_command terminal_passed terminal_failed terminal_file terminal_time read_line display'.split(
    ' ',
  ),
);

/** The pictures that every entry was asked everything about. */
export function askedAbout(
  subjects: readonly Subject[],
  entries: readonly Entry[],
  outcomes: readonly Outcome[],
): Subject[] {
  const known = new Set(outcomes.map(({ set, question, spec }) => key(set, question, spec)));
  return subjects.filter(({ set, questions }) =>
    entries.every(({ spec }) => questions.every(({ index }) => known.has(key(set, index, spec)))),
  );
}

/** What the outcomes say; only pictures that every entry was asked everything about count. */
export function summarize(input: SummaryInput): ReductionResults {
  const { entries, subjects, costs } = input;
  const outcomes = new Map(
    input.outcomes.map((outcome) => [key(outcome.set, outcome.question, outcome.spec), outcome]),
  );
  const complete = askedAbout(subjects, entries, input.outcomes);
  const asked = complete.flatMap(({ set, image, questions }) =>
    questions.map(({ index, question }) => ({ set, index, cluster: `${set} ${image}`, type: question.type })),
  );
  const of = (spec: string): Outcome[] => asked.map(({ set, index }) => outcomes.get(key(set, index, spec))!);
  const pairs = (first: string, second: string): Pair[] => {
    const [a, b] = [of(first), of(second)];
    return asked.map(({ cluster }, at) => ({ cluster, first: a[at].exact, second: b[at].exact }));
  };
  const groups = new Map<string, Entry[]>();
  for (const entry of entries) {
    const name = `${entry.method} ${entry.budget}`;
    groups.set(name, [...(groups.get(name) ?? []), entry]);
  }
  const specsOf = (method: string, budget: number | undefined): string[] =>
    (groups.get(`${method} ${budget}`) ?? []).map(({ spec }) => spec);

  const rows = [...groups.values()].map((group): Row => {
    const [{ method, kind, budget }] = group;
    const specs = group.map(({ spec }) => spec);
    const results = specs.flatMap((spec) =>
      of(spec).map((outcome, at) => ({ ...outcome, type: asked[at].type })),
    );
    const tally = (part: readonly Outcome[]): Accuracy => {
      // Seeds are further draws of the same questions: they sharpen the share, not the number of questions.
      const right = part.filter(({ exact }) => exact).length / specs.length;
      return accuracy({ right, of: part.length / specs.length });
    };
    const sets = [...new Set(asked.map(({ set }) => set))];
    const against = (others: readonly string[]): PairedDifference | undefined =>
      others.length === 0
        ? undefined
        : pairedDifference(specs.flatMap((spec) => others.flatMap((other) => pairs(spec, other))));
    const cost = costs.find(({ spec }) => spec === specs[0]);
    const { vision, selection, prefill, firstToken } = cost ?? {
      vision: 0,
      selection: 0,
      prefill: 0,
      firstToken: 0,
    };
    return {
      method,
      kind,
      budget,
      specs,
      tokens: mean(results.map(({ tokens }) => tokens)),
      left: leftAtEnd(results),
      all: tally(results),
      bySet: Object.fromEntries(
        sets.map((set) => [set, tally(results.filter((result) => result.set === set))]),
      ),
      byType: Object.fromEntries(
        sets.map((set) => {
          const own = results.filter((result) => result.set === set);
          const types = [...new Set(own.map(({ type }) => type))].sort();
          return [
            set,
            Object.fromEntries(
              types.map((type) => [type, tally(own.filter((result) => result.type === type))]),
            ),
          ];
        }),
      ),
      against: {
        none: against(['none'])!,
        random: method === 'random' ? undefined : against(specsOf('random', budget)),
        downscale: method === 'downscale' ? undefined : against(specsOf('downscale', budget)),
      },
      alone: group[0].alone?.map((part) => ({
        ...part,
        all: accuracy({ right: of(part.spec).filter(({ exact }) => exact).length, of: asked.length }),
        prefillMacs: mean(of(part.spec).map(({ prefillMacs }) => prefillMacs)),
        difference: against([part.spec])!,
      })),
      cacheBytes: mean(results.map(({ cacheBytes }) => cacheBytes)),
      prefillMacs: mean(results.map(({ prefillMacs }) => prefillMacs)),
      cost: { vision, selection, prefill, firstToken },
    };
  });

  const full = of('none');
  const reduced = entries.filter(({ spec }) => spec !== 'none').map(({ spec }) => of(spec));
  const aboutText = Object.keys(countBy(asked.map(({ set }) => set))).map((set) => ({
    set,
    answers: reduced.flatMap((outcomes) =>
      outcomes.flatMap((outcome, at) =>
        asked[at].set === set && full[at].exact && TEXT_TYPES.has(asked[at].type)
          ? [{ lost: !outcome.exact, text: outcome.text }]
          : [],
      ),
    ),
  }));

  const { model, code, questions, specs, device, calibration } = input;
  return {
    model,
    code,
    questions,
    specs,
    device,
    pictures: complete.length,
    asked: countBy(asked.map(({ set }) => set)),
    rows,
    warning: warningQuality(aboutText.flatMap((set) => set.answers)),
    warningBySet: Object.fromEntries(aboutText.map(({ set, answers }) => [set, warningQuality(answers)])),
    calibration,
  };
}

/** Of answers about text that were right with all tokens. */
export function warningQuality(results: readonly { lost: boolean; text: Outcome['text'] }[]): WarningQuality {
  const warned = ({ text }: { text: Outcome['text'] }): boolean =>
    text.patches >= FINE_TEXT_WARNING.patches && text.share >= FINE_TEXT_WARNING.share;
  const lost = results.filter((result) => result.lost);
  const stayed = results.filter((result) => !result.lost);
  const share = <Result>(part: readonly Result[], test: (result: Result) => boolean): Accuracy =>
    accuracy({ right: part.filter(test).length, of: part.length });
  const tenths = Array.from({ length: 10 }, (_, tenth) => tenth / 10);
  return {
    rows: results.length,
    recall: share(lost, warned),
    precision: share(results.filter(warned), (result) => result.lost),
    specificity: share(stayed, (result) => !warned(result)),
    byShare: tenths.map((from) => {
      const part = results.filter(({ text }) => {
        return text.share >= from && (text.share < from + 0.1 || from === 0.9);
      });
      return {
        from,
        lost: accuracy({ right: part.filter((result) => result.lost).length, of: part.length }),
      };
    }),
  };
}

function key(set: string, question: number, spec: string): string {
  return `${set} ${question} ${spec}`;
}

function countBy(values: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const value of values) counts[value] = (counts[value] ?? 0) + 1;
  return counts;
}
