import { Decoding } from '../../server/llava/decoding';
import type { LlavaModel } from '../../server/llava/model';

/** The decoder of a model with nothing around it: no reduction, nothing taken over from earlier prompts. */
export function plainDecoding(
  { checkpoint: { config }, sessions }: LlavaModel,
  { imageTokens, capacity }: { imageTokens: number; capacity: number },
): Decoding {
  const { text, vision } = config;
  return new Decoding(
    {
      text,
      sessions,
      reductions: [],
      shape: { layers: text.numHiddenLayers, hasClassToken: vision.hasClassToken, imageTokens },
      signal: undefined,
      stages: [],
      contextId: 0,
      onSelectionTime: () => undefined,
    },
    capacity,
  );
}
