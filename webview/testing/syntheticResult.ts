/**
 * Made-up answers for tests and for looking at the token view: realistic in shape, and consistent as a real trace is
 * (received = kept + merged sources + dropped at every stage). Deterministic: the same options give the same result.
 */
import type {
  AnswerResult,
  AnswerTokenTrace,
  ImageLayout,
  MergedToken,
  ReductionDescription,
  ReductionTrace,
  TileLayout,
  TokenId,
  TraceStage,
} from '../../server/protocol';

export interface SyntheticOptions {
  /** `pad` and `crop`: one square of `side` x `side` patches; `tiles`: an overview and 2 x 2 details of it. */
  fit?: 'pad' | 'crop' | 'tiles';
  /** Patches along the side of a tower input: 8, 24 or, with tiles, 24 (2,880 patches in all). */
  side?: number;
  width?: number;
  height?: number;
  /** VisionZip's dominant (CLS included) and contextual tokens per tower input; absent = no VisionZip. */
  visionzip?: { dominant: number; contextual: number };
  /** FastV's layer and kept fraction; absent = no FastV. */
  fastv?: { layer: number; keep: number };
  question?: string;
  /** Pieces of text, one per answer token. */
  pieces?: string[];
  modelName?: string;
  seed?: number;
}

const PIECES = [
  'It', ' shows', ' a', ' settings', ' dialog', ' with', ' a', ' red', ' error', ' message', ':', ' "', 'Conn', 'ection',
  ' refused', '"', '.', ' The', ' but', 'ton', ' says', ' Retry', '.', '',
]; // prettier-ignore

export function syntheticResult(options: SyntheticOptions = {}): AnswerResult {
  const { fit = 'pad', side = 24, width = 1920, height = 1080, seed = 1 } = options;
  const random = randomNumbers(seed);
  const layout = syntheticLayout(fit, side, width, height);
  const stages: TraceStage[] = [];
  let alive = range(layout.firstId, layout.patches);
  const relevance = new Map(alive.map((id) => [id, relevanceOf(layout, id, random)]));
  const total = alive.length + (layout.newlines?.length ?? 0);

  if (options.visionzip) {
    alive = layout.tiles.flatMap((tile) => {
      const stage = visionZipStage(tile, layout, relevance, options.visionzip!);
      stages.push(stage);
      return [...stage.kept, ...stage.merged.map(({ id }) => id)];
    });
  }
  const newlines = (layout.newlines ?? []).map(({ id }) => id);
  alive = [...alive, ...newlines];
  const decoderTokens = alive;
  if (options.fastv) {
    const stage = fastVStage(alive, relevance, options.fastv, random);
    stages.push(stage);
    alive = stage.kept;
  }
  const pieces = options.pieces ?? PIECES;
  const kept = new Set(alive);
  const answer = pieces.map((text, index): AnswerTokenTrace => {
    const center = { x: width * (0.2 + 0.6 * random()), y: height * (0.2 + 0.6 * random()) };
    const attention = decoderTokens.map((id) => {
      const { x, y } = patchCenter(layout, id);
      const distance = Math.hypot((x - center.x) / width, (y - center.y) / height);
      const strength = (Math.exp(-40 * distance * distance) + 0.05 * random()) * (relevance.get(id) ?? 0.5);
      return round(kept.has(id) ? strength / decoderTokens.length : 0);
    });
    return {
      id: 100 + index,
      text,
      imageTokens: alive.length,
      cacheBytes: (alive.length + 40 + index) * 24_576,
      milliseconds: round(21 + 4 * random()),
      attention,
    };
  });
  const trace: ReductionTrace = { version: 1, images: [layout], decoderTokens, stages, answer };
  const share = decoderTokens.length / total;
  const prefill = 40 + 1400 * (total / 576) * share;
  return {
    answer: pieces.join('').trim(),
    answerTokenIds: answer.map(({ id }) => id),
    promptTokenIds: [1, 2, 3, ...decoderTokens.map(() => 32_000), 4, 5],
    firstStep: { topTokenIds: range(100, 20), topLogits: range(0, 20).map((index) => 20 - index) },
    finish: 'stop',
    costs: {
      imageTokens: {
        total,
        atDecoder: decoderTokens.length,
        perStage: stages.map(({ kept: k, merged }) => k.length + merged.length),
      },
      cacheBytes: (alive.length + 40) * 24_576,
      prefillMacs: 2.1e10 + 1.1e11 * share * (total / 576),
      prefillMacsUnreduced: 2.1e10 + 1.1e11 * (total / 576),
      timings: {
        load: 812,
        decode: 14,
        preprocess: 9,
        vision: 96,
        projector: 4,
        selection: stages.length === 0 ? 0 : 2.4,
        prefill,
        generate: pieces.length * 22,
        firstToken: 130 + prefill,
        total: 130 + prefill + pieces.length * 22,
      },
    },
    trace,
    model: {
      name: options.modelName ?? 'fovea-nano',
      directory: 'model',
      family: 'LLaVA, CLIP + Llama',
      parameters: 24_500_000,
      hash: '9f2c4e7a1b3d5f60'.repeat(4),
    },
    device: 'cpu',
    precision: 'fp32',
    reduction:
      [options.visionzip && visionZipSpec(options.visionzip), options.fastv && fastVSpec(options.fastv)]
        .filter(Boolean)
        .join('+') || 'none',
    question: options.question ?? 'What does this screenshot show, and what went wrong?',
  };
}

/** The named sizes that tests and pictures use. */
export const SYNTHETIC = {
  tokens64: (): AnswerResult => syntheticResult({ side: 8, visionzip: { dominant: 12, contextual: 4 } }),
  tokens576: (): AnswerResult =>
    syntheticResult({ visionzip: { dominant: 108, contextual: 20 }, fastv: { layer: 2, keep: 0.5 } }),
  tokens576Crop: (): AnswerResult =>
    syntheticResult({ fit: 'crop', fastv: { layer: 2, keep: 0.25 }, seed: 2 }),
  tokens2880: (): AnswerResult =>
    syntheticResult({
      fit: 'tiles',
      visionzip: { dominant: 108, contextual: 20 },
      fastv: { layer: 3, keep: 0.5 },
      seed: 3,
    }),
  allTokens: (): AnswerResult => syntheticResult({}),
} as const;

/** Descriptions as the engine's registry gives them, for the controls. */
export const SYNTHETIC_METHODS: ReductionDescription[] = [
  {
    id: 'fastv',
    name: 'FastV',
    summary: 'Drops the image tokens that the last position hardly attends to, inside the decoder.',
    details: 'Drops the image tokens that the last position hardly attends to, inside the decoder.',
    paper: 'arXiv 2403.06764',
    places: ['layer'],
    needs: [],
    control: false,
    parameters: [
      { name: 'layer', type: 'integer', minimum: 1, maximum: 200, default: 2, description: 'Before which decoder layer tokens are dropped.' },
      { name: 'keep', type: 'budget', minimum: 0, default: '0.5', description: 'How many image tokens go on.' },
      { name: 'score', type: 'choice', choices: ['lastQuery', 'columnSum'], default: 'lastQuery', description: 'What tokens are ranked by.' },
    ],
  },
  {
    id: 'visionzip',
    name: 'VisionZip',
    summary: 'Keeps the patches that the vision tower looks at and merges the rest by similarity.',
    details: 'Keeps the patches that the vision tower looks at and merges the rest by similarity.',
    paper: 'arXiv 2412.04467',
    places: ['vision'],
    needs: [],
    control: false,
    parameters: [
      { name: 'dominant', type: 'budget', minimum: 1, default: '54', description: 'Tokens kept as they are.' },
      { name: 'contextual', type: 'budget', minimum: 0, default: '10', description: 'Tokens that the rest merges into.' },
      { name: 'merge', type: 'choice', choices: ['sum', 'average'], default: 'sum', description: 'How patches merge.' },
    ],
  },
  {
    id: 'random',
    name: 'Random',
    summary: 'Keeps patches at random.',
    details: 'Keeps patches at random.',
    places: ['vision'],
    needs: [],
    control: true,
    parameters: [
      { name: 'keep', type: 'budget', minimum: 1, default: '64', description: 'How many patches go on.' },
      { name: 'seed', type: 'integer', minimum: 0, maximum: 4_294_967_295, default: 1, description: 'Other seeds keep other patches.' },
    ],
  },
]; // prettier-ignore

/** How the picture's tower inputs lie over it. */
export function syntheticLayout(
  fit: 'pad' | 'crop' | 'tiles',
  side: number,
  width: number,
  height: number,
): ImageLayout {
  const longest = Math.max(width, height);
  const shortest = Math.min(width, height);
  const square = (size: number): TileLayout['source'] => ({
    x: (width - size) / 2,
    y: (height - size) / 2,
    width: size,
    height: size,
  });
  const patches = side * side;
  const tile = (index: number, source: TileLayout['source']): TileLayout => ({
    firstId: index * patches,
    rows: side,
    columns: side,
    source,
  });
  const padded = square(longest);
  const half = padded.width / 2;
  const tiles =
    fit === 'tiles'
      ? [
          tile(0, { x: 0, y: 0, width, height }),
          ...[0, 1, 2, 3].map((i) =>
            tile(i + 1, {
              x: padded.x + (i % 2) * half,
              y: padded.y + Math.floor(i / 2) * half,
              width: half,
              height: half,
            }),
          ),
        ]
      : [tile(0, fit === 'pad' ? padded : square(shortest))];
  const all = tiles.length * patches;
  const cell = padded.width / (2 * side);
  const newlines =
    fit === 'tiles'
      ? Array.from({ length: 2 * side }, (_, row) => ({
          id: all + 2 + row,
          row: { x: padded.x, y: padded.y + row * cell, width: padded.width, height: cell },
        }))
      : undefined;
  return {
    width,
    height,
    fit,
    modelSize: side * 14,
    tiles,
    firstId: 0,
    patches: all,
    classTokenId: all,
    contextTokenId: all + 1,
    ...(newlines ? { newlines } : {}),
  };
}

/** Seeded numbers in [0, 1): mulberry32. */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

function visionZipStage(
  tile: TileLayout,
  layout: ImageLayout,
  relevance: ReadonlyMap<TokenId, number>,
  { dominant, contextual }: { dominant: number; contextual: number },
): TraceStage {
  const ids = range(tile.firstId, tile.rows * tile.columns);
  // The tower's CLS token belongs to the image, so only the first tower input brings it.
  const first = tile === layout.tiles[0];
  const best = top(ids, relevance, dominant - (first ? 1 : 0));
  const rest = ids.filter((id) => !best.has(id));
  const step = Math.floor(rest.length / contextual);
  const targets = range(0, contextual).map((index) => rest[index * step]);
  const groups = new Map(targets.map((id) => [id, [id]]));
  for (const id of rest) {
    if (groups.has(id)) continue;
    const { x, y } = patchCenter(layout, id);
    let nearest = targets[0];
    let least = Infinity;
    for (const target of targets) {
      const other = patchCenter(layout, target);
      const distance =
        Math.hypot(other.x - x, other.y - y) +
        200 * Math.abs((relevance.get(target) ?? 0) - (relevance.get(id) ?? 0));
      if (distance < least) [nearest, least] = [target, distance];
    }
    groups.get(nearest)?.push(id);
  }
  const merged: MergedToken[] = [...groups].map(([id, sources]) => ({
    id,
    sources,
    weights: sources.map((source) => (source === id ? 1 : round(1 / Math.max(1, sources.length - 1)))),
  }));
  const kept = ids.filter((id) => best.has(id));
  return {
    place: { at: 'vision' },
    method: 'visionzip',
    spec: visionZipSpec({ dominant, contextual }),
    received: first ? [...ids, layout.classTokenId] : ids,
    kept: first ? [layout.classTokenId, ...kept] : kept,
    merged,
    dropped: [],
    scores: {
      name: 'CLS attention',
      values: [
        ...ids.map((id) => round((relevance.get(id) ?? 0) / ids.length)),
        ...(first ? [round(1)] : []),
      ],
    },
    milliseconds: 1.7,
  };
}

function fastVStage(
  received: TokenId[],
  relevance: ReadonlyMap<TokenId, number>,
  { layer, keep }: { layer: number; keep: number },
  random: () => number,
): TraceStage {
  const scores = new Map(
    received.map((id, index) => [
      id,
      ((relevance.get(id) ?? 0.3) * random() + (0.3 * index) / received.length) / received.length,
    ]),
  );
  const best = top(received, scores, Math.round(received.length * keep));
  return {
    place: { at: 'layer', layer },
    method: 'fastv',
    spec: fastVSpec({ layer, keep }),
    received,
    kept: received.filter((id) => best.has(id)),
    merged: [],
    dropped: received.filter((id) => !best.has(id)),
    scores: {
      name: 'attention of the last position',
      values: received.map((id) => round(scores.get(id) ?? 0)),
    },
    milliseconds: 0.2,
  };
}

function visionZipSpec({ dominant, contextual }: { dominant: number; contextual: number }): string {
  return `visionzip:dominant=${dominant},contextual=${contextual}`;
}

function fastVSpec({ layer, keep }: { layer: number; keep: number }): string {
  return `fastv:layer=${layer},keep=${keep}`;
}

/** Padding is dull; the picture has a few interesting places. */
function relevanceOf(layout: ImageLayout, id: TokenId, random: () => number): number {
  const { x, y } = patchCenter(layout, id);
  if (x < 0 || y < 0 || x > layout.width || y > layout.height) return 0.02 * random();
  const spots = [
    [0.5, 0.42, 9],
    [0.5, 0.62, 30],
    [0.16, 0.2, 40],
    [0.75, 0.12, 60],
  ];
  const near = spots.map(([sx, sy, sharpness]) =>
    Math.exp(-sharpness * ((x / layout.width - sx) ** 2 + (y / layout.height - sy) ** 2)),
  );
  return 0.1 + 0.6 * Math.max(...near) * (0.5 + 0.5 * random()) + 0.2 * random();
}

function patchCenter(layout: ImageLayout, id: TokenId): { x: number; y: number } {
  const tile = layout.tiles.find(
    ({ firstId, rows, columns }) => id >= firstId && id < firstId + rows * columns,
  );
  if (!tile) return { x: layout.width / 2, y: layout.height / 2 };
  const raster = id - tile.firstId;
  return {
    x: tile.source.x + ((raster % tile.columns) + 0.5) * (tile.source.width / tile.columns),
    y: tile.source.y + (Math.floor(raster / tile.columns) + 0.5) * (tile.source.height / tile.rows),
  };
}

function top(ids: readonly TokenId[], scores: ReadonlyMap<TokenId, number>, count: number): Set<TokenId> {
  return new Set([...ids].sort((a, b) => (scores.get(b) ?? 0) - (scores.get(a) ?? 0)).slice(0, count));
}

function range(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, index) => first + index);
}

function round(value: number): number {
  return Number(value.toPrecision(5));
}
