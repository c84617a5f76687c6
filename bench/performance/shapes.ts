import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { ROOT } from '../evaluationSet';
import { type RandomCheckpoint, writeRandomCheckpoint } from '../randomCheckpoint';

/** A model to measure. Random weights in a real model's shape are as fast and as large as the real ones. */
export interface Shape {
  readonly title: string;
  /** Undefined: the embedded model. */
  readonly random?: RandomCheckpoint;
  /** Counted rounds; the slower the fewer. */
  readonly rounds: number;
  /** Answer tokens that are timed in every round. */
  readonly decodeSteps: number;
}

export const SHAPES: Record<string, Shape> = {
  embedded: { title: 'embedded model (fovea-nano, 4.7 M)', rounds: 9, decodeSteps: 24 },
  smol: {
    title: 'ViT-L/14-336 + SmolLM2-135M',
    random: { decoder: 'smol', tower: 'clip-l-336' },
    rounds: 5,
    decodeSteps: 16,
  },
  'qwen-0.5b': {
    title: 'ViT-L/14-336 + Qwen2-0.5B',
    random: { decoder: 'qwen-0.5b', tower: 'clip-l-336' },
    rounds: 3,
    decodeSteps: 12,
  },
  '7b-short': {
    title: 'ViT-L/14-336 + Llama-7B, 4 of its 32 layers',
    random: { decoder: 'llama-7b', tower: 'clip-l-336', layers: 4, dtype: 'BF16' },
    rounds: 2,
    decodeSteps: 8,
  },
  /** The text side alone: the tower is next to nothing. For its memory. */
  'smol-text': {
    title: 'SmolLM2-135M without a tower to speak of',
    random: { decoder: 'smol', tower: 'tiny' },
    rounds: 7,
    decodeSteps: 8,
  },
  /** For whether another program computes the same: its answers depend on all of its weights. */
  agreement: {
    title: 'small random model',
    random: { decoder: 'small', tower: 'tiny', untied: true },
    rounds: 1,
    decodeSteps: 2,
  },
  /** For a smoke run: every stage, nothing of interest. */
  tiny: {
    title: 'tiny random model',
    random: { decoder: 'tiny', tower: 'tiny', layers: 3 },
    rounds: 1,
    decodeSteps: 2,
  },
};

export function shapeOf(name: string): Shape {
  if (!Object.hasOwn(SHAPES, name))
    throw new Error(`There is no shape "${name}"; choose from ${Object.keys(SHAPES).join(', ')}.`);
  return SHAPES[name];
}

/** The folder of the shape's checkpoint, made where it is missing. */
export function checkpointOf(name: string, cache: string): string {
  const { random } = shapeOf(name);
  if (!random) return path.join(ROOT, 'model');
  const folder = path.join(cache, name);
  if (!existsSync(path.join(folder, 'complete'))) {
    writeRandomCheckpoint(folder, random);
    // Written last, so that an interrupted run does not leave half a checkpoint behind.
    writeFileSync(path.join(folder, 'complete'), '');
  }
  return folder;
}
