import type { AttentionAnalysis, TokenType, TypeShares } from '../../protocol';

export interface SyntheticShape {
  layers?: number;
  answer?: readonly string[];
  patchesPerSide?: number;
  /** From this K on the answer stays. */
  staysFrom?: number;
  images?: number;
}

/** An analysis whose numbers follow from simple formulas, with a picture that is wider than the model's square. */
export function syntheticAnalysis({
  layers = 6,
  answer = ['', 'A', ' save', ' dialog', ''],
  patchesPerSide = 12,
  staysFrom = 3,
  images = 1,
}: SyntheticShape = {}): AttentionAnalysis {
  const patches = patchesPerSide ** 2;
  const counts = { system: 4, image: patches * images, instruction: 9 };
  const shares = (depth: number, step: number): TypeShares => {
    const weights = { system: 2, image: 4 / (1 + depth), instruction: 3, output: step };
    const total = weights.system + weights.image + weights.instruction + weights.output;
    const entry = (type: TokenType, tokens: number) => {
      const share = weights[type] / total;
      return { share, tokens, efficiency: tokens > 0 ? share / tokens : 0 };
    };
    return {
      system: entry('system', counts.system),
      image: entry('image', counts.image),
      instruction: entry('instruction', counts.instruction),
      output: entry('output', step),
    };
  };
  const raw = Array.from({ length: patches }, (_, patch) => Math.exp(3 * Math.sin(patch * 1.7)));
  const total = raw.reduce((sum, value) => sum + value, 0);
  const patchShares = raw.map((value) => value / total);
  const sorted = patchShares.toSorted((a, b) => b - a);
  return {
    version: 1,
    question: 'What is <b>this</b> & "that"?',
    answer: answer.join('').trim(),
    answerTokens: answer.map((text, id) => ({ id, text })),
    images: Array.from({ length: images }, (_, image) => {
      const firstId = image * (patches + 2);
      return {
        width: 400,
        height: 200,
        fit: 'pad' as const,
        modelSize: 336,
        tiles: [
          {
            firstId,
            rows: patchesPerSide,
            columns: patchesPerSide,
            source: { x: 0, y: -100, width: 400, height: 400 },
          },
        ],
        firstId,
        patches,
        classTokenId: firstId + patches,
        contextTokenId: firstId + patches + 1,
      };
    }),
    vision: Array.from({ length: images }, () => ({
      kind: 'class' as const,
      layer: 4,
      layers: 5,
      shares: patchShares,
      sorted,
      top: ([1, 5, 10] as const).map((percent) => {
        const count = Math.max(1, Math.round((percent / 100) * patches));
        return {
          percent,
          patches: count,
          share: sorted.slice(0, count).reduce((sum, value) => sum + value, 0),
        };
      }),
    })),
    layers: Array.from({ length: layers }, (_, layer) => shares(layer, 0)),
    answerLayers: Array.from({ length: layers }, (_, layer) => shares(layer, (answer.length - 1) / 2)),
    steps: answer.map((_, step) => shares(2, step)),
    imageShares: answer.map((_, step) =>
      Array.from({ length: layers }, (_, layer) => shares(layer, step).image.share),
    ),
    removal: Array.from({ length: layers + 1 }, (_, layer) => ({
      layer,
      logLikelihood: -1 - 4 * (1 - layer / layers) ** 2,
      ...(layer < staysFrom ? { firstChange: { index: 1, id: 7, text: ' <no>' } } : {}),
    })),
    model: {
      name: 'tiny',
      directory: '/models/tiny',
      family: 'llava',
      parameters: 3e6,
      hash: 'ab'.repeat(32),
    },
    device: 'cpu',
    milliseconds: { answer: 1200, removal: 800 },
  };
}
