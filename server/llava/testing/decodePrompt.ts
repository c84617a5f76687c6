import { Decoding, type Prompt } from '../decoding';
import type { LlavaModel } from '../model';

/** The logits of every position of a prompt [rows, vocabulary], without reduction. */
export async function decodePrompt(model: LlavaModel, prompt: Prompt): Promise<Float32Array> {
  const { text, vision } = model.checkpoint.config;
  const decoding = new Decoding(
    {
      text,
      sessions: model.sessions,
      reductions: [],
      shape: { layers: text.numHiddenLayers, hasClassToken: vision.hasClassToken, imageTokens: 0 },
      signal: undefined,
      stages: [],
      contextId: 0,
      onSelectionTime: () => undefined,
    },
    8,
  );
  return (await decoding.prefill(prompt, 'all')).logits;
}
