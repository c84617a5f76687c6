import type { ReductionParameter } from './reduction';

/** Parameters that several methods have. */

export const LAYER = {
  name: 'layer',
  type: 'integer',
  minimum: 1,
  maximum: 1000,
  default: 2,
  description: 'The decoder layer before which tokens are dropped, counted from 0.',
} as const satisfies ReductionParameter;

const KEEP = { name: 'keep', type: 'budget', minimum: 1, auto: true } as const;

/** Of methods inside the decoder. */
export const KEEP_IN_DECODER = {
  ...KEEP,
  default: '0.5',
  description: 'How many image tokens go on; a fraction is of the image tokens that entered the decoder.',
} as const satisfies ReductionParameter;

/** Of methods on what the projector has made. */
export const KEEP_TOKENS = {
  ...KEEP,
  default: '64',
  description: 'How many image tokens go on; a fraction is of the tokens that arrive.',
} as const satisfies ReductionParameter;

/** Of methods on the tower's output. */
export const KEEP_PATCHES = {
  ...KEEP,
  default: '64',
  description: 'How many patches go on; a fraction is of the patches.',
} as const satisfies ReductionParameter;
