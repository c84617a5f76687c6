import type { ReductionDescription } from '../../server/protocol';

/** The budget that a method has by itself. */
export const OWN_BUDGET = '';

/** Budgets that a comparison offers, as a spec has them; a share, so that they mean something for every model. */
export const COMPARED_BUDGETS: readonly string[] = [OWN_BUDGET, 'auto', '50%', '25%', '11%', '5%'];

/** Whether the method takes a number of tokens to be left of a picture. */
export function takesBudget(method: ReductionDescription): boolean {
  return budgetParameter(method) !== undefined;
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
    const parameter = method && budgetParameter(method);
    if (parameter === undefined) return [spec];
    return budgets.map((budget) => (budget === OWN_BUDGET ? spec : `${spec}:${parameter}=${budget}`));
  });
  return [...new Set(specs)];
}

/** A budget that may be automatic is one of the whole picture; others are of its areas or of a part of the tokens. */
function budgetParameter({ parameters }: ReductionDescription): string | undefined {
  return parameters.find((parameter) => parameter.type === 'budget' && parameter.auto)?.name;
}
