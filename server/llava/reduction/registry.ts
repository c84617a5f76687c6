import { fastV } from './fastV';
import { pool } from './pool';
import { random } from './random';
import type { ReductionMethod } from './reduction';
import { uniform } from './uniform';
import { visionZip } from './visionZip';

/** Every method there is, in the order in which help, settings, token view and docs/methods.md list them. */
export const reductionMethods: readonly ReductionMethod[] = [fastV, visionZip, random, uniform, pool];
