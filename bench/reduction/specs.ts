import { automaticTokens } from '../../server/llava/reduction/automaticBudget';
import type { DyRateHead, TrainedHeads } from '../../server/llava/reduction/trainedHeads';
import { REDUCTIONS } from '../../server/llava/reduction/registry';

/** One reduction at one budget, as the evaluation runs it. */
export interface Entry {
  /** The row of the tables; all budgets and seeds of a method share it. */
  readonly method: string;
  readonly kind: 'method' | 'control' | 'composition' | 'adaptive' | 'alone';
  /** Image tokens that are to be left in the deepest decoder layer; undefined where the picture decides. */
  readonly budget: number | undefined;
  readonly spec: string;
  /** Of a composition: the methods in it, by their names in {@link ALONE}. */
  readonly parts?: readonly PartName[];
  /** Of a composition, once it is known how many tokens it leaves: each of its methods by itself with as many. */
  readonly alone?: readonly AloneEntry[];
}

/** A part of a composition by itself. */
export interface AloneEntry {
  readonly method: PartName;
  readonly budget: number;
  readonly spec: string;
}

/** Tokens left at the end. A method that drops inside the decoder has more in the layers before: its work is counted and shown. */
export const BUDGETS: readonly number[] = [192, 128, 64, 32, 16];

/** The seeds of the control whose luck would otherwise be compared with. */
export const RANDOM_SEEDS: readonly number[] = [1, 2, 3];

/** VisionZip's own proportion: 54 dominant and 10 contextual tokens. */
const CONTEXTUAL = 10 / 64;

const visionZip = (budget: number, merge = ''): string => {
  const contextual = Math.round(budget * CONTEXTUAL);
  return `visionzip:dominant=${budget - contextual},contextual=${contextual}${merge}`;
};

/** The side of the square raster nearest to a number of tokens. */
const side = (budget: number): number => Math.round(Math.sqrt(budget));

/** Rows of the tables: a spec for a number of tokens at the end, of `all` that the unreduced model has. */
const METHODS: readonly [method: string, spec: (budget: number, all: number) => string][] = [
  ['fastv', (budget) => `fastv:layer=2,keep=${budget}`],
  ['fastv noRotary', (budget) => `fastv:layer=2,keep=${budget},score=lastQueryNoRotary`],
  ['visionzip', (budget) => visionZip(budget)],
  ['mmr', (budget) => `mmr:keep=${budget}`],
  ['scope', (budget) => `scope:keep=${budget}`],
  ['divprune', (budget) => `divprune:keep=${budget}`],
  ['pyramiddrop', (budget, all) => `pyramiddrop:ratio=${Number(Math.cbrt(budget / all).toFixed(4))}`],
  ['sparsevlm', (budget) => `sparsevlm:layer=2,keep=${budget}`],
  ['uigraph+mmr', (budget) => `uigraph+mmr:keep=${budget}`],
];

const CONTROLS: readonly [method: string, specs: (budget: number) => readonly string[]][] = [
  ['random', (budget) => RANDOM_SEEDS.map((seed) => `random:keep=${budget},seed=${seed}`)],
  ['uniform', (budget) => [`uniform:keep=${budget}`]],
  ['pool', (budget) => [`pool:grid=${side(budget)}`]],
  ['downscale', (budget) => [`downscale:grid=${side(budget)}`]],
];

/** Choices of a method that the papers leave open, at one budget. */
const VARIANT_BUDGET = 64;
const VARIANTS: readonly [method: string, spec: string][] = [
  ['fastv columnSum', `fastv:layer=2,keep=${VARIANT_BUDGET},score=columnSum`],
  ['visionzip average', visionZip(VARIANT_BUDGET, ',merge=average')],
  ['pixelprune+mmr', `pixelprune+mmr:keep=${VARIANT_BUDGET}`],
];

/** Methods that decide themselves how many tokens a picture needs. */
const ADAPTIVE: readonly string[] = ['uigraph', 'pixelprune'];

/**
 * The parts of compositions by themselves, with a number of tokens left at the end. DyRate's classifier decides itself how many that are; what it does
 * at a number that is given is the control of a fixed rate: the same tokens leave at the same moment.
 */
const ALONE = {
  visionzip: visionZip,
  mmr: (budget: number) => `mmr:keep=${budget}`,
  fastv: (budget: number) => `fastv:layer=2,keep=${budget}`,
  fixedrate: (budget: number) => `fixedrate:keep=${budget}`,
} as const;
export type PartName = keyof typeof ALONE;

/** Methods after one another: before the decoder to twice the budget, inside it to the budget, and by DyRate to what its classifier says. */
const COMPOSED_BUDGETS: readonly number[] = [64, 32, 16];

function compositions(budget: number, heads: readonly DyRateChoice[]): Entry[] {
  const entry = (method: string, parts: readonly PartName[], spec: string): Entry => ({
    method,
    kind: 'composition',
    budget,
    spec,
    parts,
  });
  const fastV = ALONE.fastv(budget);
  return [
    entry('visionzip + fastv', ['visionzip', 'fastv'], `${visionZip(2 * budget)}+${fastV}`),
    entry('mmr + fastv', ['mmr', 'fastv'], `${ALONE.mmr(2 * budget)}+${fastV}`),
    ...strongest(heads).flatMap((head) => [
      entry(
        `visionzip + ${dyRateName(head)}`,
        ['visionzip', 'fixedrate'],
        `${visionZip(budget)}+${dyRateSpec(head)}`,
      ),
      entry(
        `visionzip + fastv + ${dyRateName(head)}`,
        ['visionzip', 'fastv', 'fixedrate'],
        `${visionZip(2 * budget)}+${fastV}+${dyRateSpec(head)}`,
      ),
    ]),
  ];
}

/** A DyRate classifier by its training. */
export type DyRateChoice = Pick<DyRateHead, 'variant' | 'lambda'>;

const dyRateName = ({ variant, lambda }: DyRateChoice): string => `dyrate ${variant} ${lambda}`;
const dyRateSpec = ({ variant, lambda }: DyRateChoice): string =>
  `dyrate:variant=${variant},lambda=${lambda}`;

/** Of each variant the classifier for which a kept token was dearest: one that keeps everything would add nothing to a composition. */
function strongest(heads: readonly DyRateChoice[]): DyRateChoice[] {
  const variants = [...new Set(heads.map(({ variant }) => variant))];
  return variants.map((variant) =>
    heads.filter((head) => head.variant === variant).reduce((a, b) => (b.lambda > a.lambda ? b : a)),
  );
}

/**
 * The list with every composition's parts by themselves behind it, as far as they are not in it yet.
 *
 * @param leftBy how many tokens a composition leaves at the end.
 */
export function withAlone(list: readonly Entry[], leftBy: (spec: string) => number): Entry[] {
  const specs = new Set(list.map(({ spec }) => spec));
  const added: Entry[] = [];
  const composed = list.map((entry): Entry => {
    if (!entry.parts) return entry;
    const budget = Math.max(1, Math.round(leftBy(entry.spec)));
    const alone = entry.parts.map((method) => ({ method, budget, spec: ALONE[method](budget) }));
    for (const { method, spec } of alone) {
      if (specs.has(spec)) continue;
      specs.add(spec);
      added.push({ method, kind: 'alone', budget, spec });
    }
    return { ...entry, alone };
  });
  return [...composed, ...added];
}

/** LLaMA-VID's content cells along a side (the raster's divisors, as it was trained), and the budget that 1 + grid x grid tokens stand with. */
const LLAMA_VID_GRIDS: readonly (readonly [grid: number, budget: number | undefined])[] = [
  [1, undefined],
  [2, undefined],
  [4, 16],
  [6, 32],
  [8, 64],
  [12, 128],
];

/** Heads that a model has or has not: what cannot run is left out, and the results say so. */
export interface AvailableHeads {
  readonly llamaVid: boolean;
  readonly dyRate: readonly DyRateChoice[];
}

export function availableHeads({ llamaVid, dyRate }: TrainedHeads): AvailableHeads {
  return {
    llamaVid: llamaVid !== undefined,
    dyRate: dyRate.map(({ variant, lambda }) => ({ variant, lambda })),
  };
}

/**
 * Everything that is run on every question, VisionZip first: it asks the tower for most, and what the tower said is then there for all.
 *
 * @param all image tokens of the unreduced model.
 */
export function entries(all: number, heads: AvailableHeads): Entry[] {
  const list: Entry[] = [];
  for (const budget of BUDGETS) {
    for (const [method, spec] of METHODS)
      list.push({ method, kind: 'method', budget, spec: spec(budget, all) });
    for (const [method, specs] of CONTROLS) {
      for (const spec of specs(budget)) list.push({ method, kind: 'control', budget, spec });
    }
  }
  for (const [method, spec] of VARIANTS) list.push({ method, kind: 'method', budget: VARIANT_BUDGET, spec });
  for (const spec of ADAPTIVE) list.push({ method: spec, kind: 'adaptive', budget: undefined, spec });
  for (const budget of COMPOSED_BUDGETS) list.push(...compositions(budget, heads.dyRate));
  if (heads.dyRate.length > 0) {
    list.push({ method: 'fixedrate', kind: 'adaptive', budget: undefined, spec: 'fixedrate:keep=50%' });
  }
  for (const head of heads.dyRate) {
    list.push({ method: dyRateName(head), kind: 'adaptive', budget: undefined, spec: dyRateSpec(head) });
  }
  if (heads.llamaVid) {
    for (const [grid, budget] of LLAMA_VID_GRIDS) {
      const method = budget === undefined ? `llamavid, 1 + ${grid * grid} tokens` : 'llamavid';
      const kind = budget === undefined ? 'adaptive' : 'method';
      list.push({ method, kind, budget, spec: `llamavid:grid=${grid}` });
    }
  }
  const first = list.findIndex(({ method }) => method === 'visionzip');
  return [
    list[first],
    { method: 'none', kind: 'method', budget: all, spec: 'none' },
    ...list.toSpliced(first, 1),
  ];
}

/** Registry ids that no entry uses: a method that is in the product and not in the evaluation. */
export function unusedMethods(list: readonly Entry[]): string[] {
  const used = new Set(list.flatMap(({ spec }) => spec.split('+').map((part) => part.split(':')[0])));
  return REDUCTIONS.map(({ description }) => description.id).filter((id) => !used.has(id));
}

/** Rows of `--quick`. */
export const QUICK_METHODS: readonly string[] = ['none', 'fastv', 'visionzip', 'random', 'downscale'];

/** Methods whose budget can be chosen automatically, one of each kind, and controls with the same number of tokens. */
const AUTOMATIC: readonly [method: string, spec: (keep: string) => string][] = [
  ['mmr', (keep) => `mmr:keep=${keep}`],
  ['fastv', (keep) => `fastv:layer=2,keep=${keep}`],
  ['random', (keep) => `random:keep=${keep},seed=1`],
];

/** `keep=auto`, and the same methods with one fixed budget: the mean of what `auto` takes on these pictures. */
export function automaticEntries(pictures: readonly { distinct: number; patches: number }[]): Entry[] {
  const tokens = pictures.map(({ distinct, patches }) => automaticTokens(distinct, patches));
  const mean = Math.round(tokens.reduce((sum, count) => sum + count, 0) / tokens.length);
  return AUTOMATIC.flatMap(([method, spec]): Entry[] => [
    { method: `${method} auto`, kind: 'adaptive', budget: undefined, spec: spec('auto') },
    {
      method: `${method}, fixed at the mean of auto`,
      kind: 'adaptive',
      budget: undefined,
      spec: spec(String(mean)),
    },
  ]);
}
