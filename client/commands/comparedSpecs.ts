import type { ReductionDescription } from '../../server/protocol';

/** The budget that a method has by itself. */
export const OWN_BUDGET = '';

/** Budgets that a comparison offers, as a spec has them; a share, so that they mean something for every model. */
export const COMPARED_BUDGETS: readonly string[] = [OWN_BUDGET, 'auto', '50%', '25%', '11%', '5%'];

/** Whether the method takes a number of tokens to be left of a picture. */
export function takesBudget(method: ReductionDescription): boolean {
  return budgetParameters(method).length > 0;
}

/**
 * What a comparison asks: every chosen spec, and those that are methods and take a budget with each of the budgets.
 *
 * @param chosen specs or ids of methods.
 */
export function comparedSpecs(
  chosen: readonly string[],
  budgets: readonly string[],
  methods: readonly ReductionDescription[],
): string[] {
  const specs = chosen.flatMap((spec) => {
    const method = methods.find(({ id }) => id === spec);
    const parameters = method ? budgetParameters(method) : [];
    if (parameters.length === 0) return [spec];
    return budgets.map((budget) =>
      budget === OWN_BUDGET ? spec : `${spec}:${budgeted(parameters, budget).join(',')}`,
    );
  });
  return [...new Set(specs)];
}

type BudgetParameter = Extract<ReductionDescription['parameters'][number], { type: 'budget' }>;

/** Budgets of the whole picture, or parts of one; others are of its areas or of a part of the tokens. */
function budgetParameters({ parameters }: ReductionDescription): BudgetParameter[] {
  return parameters.filter(
    (parameter): parameter is BudgetParameter =>
      parameter.type === 'budget' && (parameter.auto === true || parameter.share !== undefined),
  );
}

/** `name=value` of the parameters that a budget of the whole picture sets; where it is automatic, the others keep what they have by themselves. */
function budgeted(parameters: readonly BudgetParameter[], budget: string): string[] {
  if (budget === 'auto') return parameters.filter(({ auto }) => auto).map(({ name }) => `${name}=${budget}`);
  return parameters.map(
    ({ name, share }) => `${name}=${share === undefined ? budget : partOf(budget, share)}`,
  );
}

/** A part of a percentage, to the hundredth: less than a token of 3000. */
function partOf(percentage: string, share: number): string {
  return `${Number((Number.parseFloat(percentage) * share).toFixed(2))}%`;
}
