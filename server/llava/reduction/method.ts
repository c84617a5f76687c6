import { formatBudget } from './budget';
import type {
  Budget,
  ParameterValues,
  Reduction,
  ReductionDescription,
  ReductionMethod,
  ReductionParameter,
} from './reduction';

type ValueOf<P extends ReductionParameter> = P extends {
  readonly type: 'choice';
  readonly choices: readonly (infer C)[];
}
  ? C
  : P extends { readonly type: 'budget' }
    ? Budget
    : number;

/** The parameters of a method as an object with their own types. */
export type ValuesOf<P extends readonly ReductionParameter[]> = {
  readonly [Q in P[number] as Q['name']]: ValueOf<Q>;
};

/** What a method does; its identity comes from its description. */
export type ReductionHooks = Omit<Reduction, 'id' | 'spec'>;

/**
 * Makes a registry entry of a description and a function from typed parameter values to hooks.
 * Which hooks there are must not depend on anything but the values.
 */
export function defineMethod<const P extends readonly ReductionParameter[]>(
  description: Omit<ReductionDescription, 'parameters'> & { readonly parameters: P },
  hooks: (values: ValuesOf<P>) => ReductionHooks,
): ReductionMethod {
  return {
    description,
    create: (values) => {
      const reduction: Reduction = {
        id: description.id,
        spec: formatSpec(description, values),
        // The parser made the values from the same list of parameters that the type was made from.
        ...hooks(values as ValuesOf<P>),
      };
      if (!Object.values(values).some(isAutomatic)) return reduction;
      return {
        ...reduction,
        resolve: (automatic) => ({
          ...reduction,
          ...hooks(withTokens(values, automatic.tokens) as ValuesOf<P>),
          automatic,
          resolve: undefined,
        }),
      };
    },
  };
}

function isAutomatic(value: ParameterValues[string]): boolean {
  return typeof value === 'object' && value.kind === 'auto';
}

/** The values with a number of tokens where a budget is automatic. */
function withTokens(values: ParameterValues, tokens: number): ParameterValues {
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [
      name,
      isAutomatic(value) ? { kind: 'tokens', tokens } : value,
    ]),
  );
}

/** Canonical text: the id, every number and budget, and the choices that differ from their defaults, in declared order. */
function formatSpec(description: ReductionDescription, values: ParameterValues): string {
  const parts: string[] = [];
  for (const parameter of description.parameters) {
    const value = values[parameter.name];
    if (parameter.type === 'choice' && value === parameter.default) continue;
    parts.push(`${parameter.name}=${typeof value === 'object' ? formatBudget(value) : String(value)}`);
  }
  return parts.length === 0 ? description.id : `${description.id}:${parts.join(',')}`;
}
