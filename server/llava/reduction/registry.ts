import { divPrune } from './divPrune';
import { downscale } from './downscale';
import { dyRate } from './dyRate';
import { fastV } from './fastV';
import { fixedRate } from './fixedRate';
import { llamaVid } from './llamaVid';
import { mmr } from './mmr';
import { pixelPrune } from './pixelPrune';
import { pool } from './pool';
import { pyramidDrop } from './pyramidDrop';
import { random } from './random';
import type { ReductionMethod } from './reduction';
import { scope } from './scope';
import { sparseVlm } from './sparseVlm';
import { uiGraph } from './uiGraph';
import { uniform } from './uniform';
import { visionZip } from './visionZip';

/** Every method there is, in the order in which help, settings, token view and docs/methods.md list them. */
export const REDUCTIONS: readonly ReductionMethod[] = [
  fastV,
  visionZip,
  dyRate,
  llamaVid,
  mmr,
  scope,
  divPrune,
  pyramidDrop,
  sparseVlm,
  uiGraph,
  pixelPrune,
  random,
  uniform,
  pool,
  downscale,
  fixedRate,
];
