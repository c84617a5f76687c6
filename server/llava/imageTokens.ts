import type { TokenId, TraceStage } from '../protocol';
import type { Checkpoint } from './checkpoint/checkpoint';
import { featureStates, patchesPerSide } from './checkpoint/config';
import type { Matrix } from './matrix';
import type { PatchPixels } from './reduction/patches';
import type {
  EmbeddingsInput,
  Reduction,
  SelectedToken,
  TokenPlane,
  VisionInput,
} from './reduction/reduction';
import { FeatureCache, type TowerOutput } from './featureCache';
import type { VisionSignals } from './graph/visionTower';
import type { ImagePlan, NewlinePlan, TilePlan } from './imagePlan';
import type { GraphSessions } from './runtime/graphSessions';
import { floats, floatTensor, idTensor } from './runtime/session';
import { throwIfCancelled } from './errors';
import { combine } from './reduction/combine';
import type { TextSize } from './textHeight';
import { recordStage } from './trace';

/** An image as the tower takes it, and how its patches become tokens. */
export interface PreparedImage {
  readonly plan: ImagePlan;
  /** Normalised pixels [3, size, size] of every tower input, made when they are needed. */
  readonly inputs: readonly (() => Float32Array)[];
  /** The pixels behind the tokens, one entry per plane, made when they are needed. */
  readonly pixels: readonly (() => PatchPixels)[];
  /** Where a reduction makes the picture smaller: the pixels that its square would have had. */
  readonly unshrunk?: () => PatchPixels;
  /** How high its text is; absent where it has none, or not enough. A reduction that makes the picture smaller does not count. */
  readonly text?: TextSize;
}

/** The image tokens of one image as they enter the decoder. */
export interface ImageTokens {
  /** [tokens, textDim] */
  readonly embeddings: Matrix;
  readonly ids: readonly TokenId[];
  /** How many rows passed the projector. */
  readonly projected: number;
}

/** What encoding one image needs besides the image. */
export interface ImageEncodingContext {
  readonly checkpoint: Checkpoint;
  readonly sessions: GraphSessions;
  readonly reductions: readonly Reduction[];
  /** [question tokens, textDim] */
  readonly questionEmbeddings: Matrix;
  readonly signal: AbortSignal | undefined;
  /** Outputs of earlier questions; undefined computes every time. */
  readonly features: FeatureCache | undefined;
  /** Receives the stages in order. */
  readonly stages: TraceStage[];
  /** Adds milliseconds to a timing. */
  readonly spend: (stage: 'load' | 'vision' | 'projector' | 'selection', milliseconds: number) => void;
  /** Called where the tower's output for the whole image was remembered. */
  readonly onReuse: () => void;
  /** Receives the tower's attention over the patches, by id [patches], where it has a layer to take it from. */
  readonly onAttention?: (attention: Float32Array) => void;
}

/** A token on its way from the tower to the decoder. */
interface PlacedToken {
  readonly id: TokenId;
  readonly tile: TilePlan;
  /** Indices count the tile's patches; the CLS token is behind them. */
  readonly token: SelectedToken;
}

/** Pixels -> tower -> reduction.atVision -> projector -> reduction.atEmbeddings -> newlines. */
export async function encodeImage(image: PreparedImage, context: ImageEncodingContext): Promise<ImageTokens> {
  const { plan } = image;
  const tower = await towerOutputs(image, context);
  throwIfCancelled(context.signal);

  const selected = await selectAtVision(plan, tower, context);
  const projected = await project(inPromptOrder(plan, selected), tower, context);
  let { embeddings } = projected;
  let ids = projected.ids;
  for (const reduction of context.reductions) {
    if (!reduction.atEmbeddings) continue;
    const input: EmbeddingsInput = {
      planes: tokenPlanes(image),
      embeddings,
      raster: Int32Array.from(ids, (id) => rasterIndex(plan, id)),
      importance: importanceOf(ids, plan, tower),
      similarity: await similarityFor(reduction, embeddings, context),
      questionEmbeddings: context.questionEmbeddings,
      signal: context.signal,
    };
    const before = performance.now();
    const selection = reduction.atEmbeddings(input);
    const milliseconds = performance.now() - before;
    context.spend('selection', milliseconds);
    const record = recordStage(
      { at: 'embeddings' },
      reduction,
      ids,
      selection,
      plan.layout.contextTokenId,
      milliseconds,
    );
    addNewlines(record.stage, livingNewlines(plan, ids), livingNewlines(plan, record.ids));
    context.stages.push(record.stage);
    embeddings = combine(embeddings, selection.tokens);
    ids = record.ids;
  }
  return { ...(await withNewlines(plan, embeddings, ids, context)), projected: projected.rows };
}

/** The raster index of a token through all planes of its image, or -1 (CLS, context, newline). */
export function rasterIndex({ layout, raster }: ImagePlan, id: TokenId): number {
  const index = id - layout.firstId;
  return index >= 0 && index < layout.patches ? raster[index] : -1;
}

// ---------------------------------------------------------------------------------------------- vision

/** What of each tile goes on, tile by tile. */
async function selectAtVision(
  plan: ImagePlan,
  tower: TowerView,
  context: ImageEncodingContext,
): Promise<PlacedToken[]> {
  const { checkpoint, reductions } = context;
  const { vision, visionFeatureSelectStrategy } = checkpoint.config;
  const includeClass = vision.hasClassToken && visionFeatureSelectStrategy === 'full';
  const selecting = reductions.filter((reduction) => reduction.atVision);
  if (selecting.length === 0) return plan.tiles.flatMap((tile) => wholeTile(plan, tile, includeClass));
  let selected: PlacedToken[] = [];
  for (const reduction of selecting) {
    const stages: TraceStage[] = [];
    selected = [];
    for (const tile of plan.tiles) {
      throwIfCancelled(context.signal);
      const { stage, tokens } = await selectInTile(reduction, plan, tile, tower, context);
      stages.push(stage);
      selected.push(...tokens);
      // A checkpoint that feeds the CLS token to the decoder keeps it, whatever a method does with the patches.
      if (includeClass && !tokens.some(({ id }) => id === tile.classTokenId))
        selected = [classToken(tile), ...selected];
    }
    const living = livingNewlines(
      plan,
      selected.map(({ id }) => id),
    );
    // A row ends in its last tile, so that is where its newline is told of.
    plan.newlines
      .filter((newline) => !isBare(newline))
      .forEach((newline) => {
        const last = plan.tiles.findLastIndex(({ grid, before }) => {
          const patches = plan.raster.subarray(before, before + grid.rows * grid.columns);
          return patches.some((index) => index >= newline.from && index < newline.to);
        });
        addNewlines(stages[last], [newline.id], living);
      });
    context.stages.push(...stages);
  }
  return selected;
}

async function selectInTile(
  reduction: Reduction,
  plan: ImagePlan,
  tile: TilePlan,
  tower: TowerView,
  context: ImageEncodingContext,
): Promise<{ stage: TraceStage; tokens: PlacedToken[] }> {
  const { vision } = context.checkpoint.config;
  const patches = tile.grid.rows * tile.grid.columns;
  const withClass = reduction.visionNeeds?.classToken === true && vision.hasClassToken;
  const features = tower.features(tile);
  const attention = tower.attention(tile);
  const input: VisionInput = {
    grid: tile.grid,
    tile: {
      index: plan.tiles.indexOf(tile),
      before: tile.before,
      total: plan.layout.patches,
      planes: plan.planes,
    },
    features: withClass ? features : firstRows(features, patches),
    classToken: withClass ? patches : undefined,
    classAttention: vision.hasClassToken ? attention : undefined,
    receivedAttention: vision.hasClassToken ? undefined : attention,
    keys: tower.keys(tile),
    similarity: await similarityFor(reduction, firstRows(features, patches), context),
    questionEmbeddings: context.questionEmbeddings,
    heads: context.checkpoint.heads,
    signal: context.signal,
  };
  const before = performance.now();
  const selection = reduction.atVision!(input);
  const milliseconds = performance.now() - before;
  context.spend('selection', milliseconds);
  // CLS is offered to methods that know it; where they leave it, it was never one of the image tokens.
  const tookClass = selection.tokens.some((token) => token.kind === 'kept' && token.index === patches);
  const ids = patchIds(plan, tile);
  const received = tookClass ? [...ids, tile.classTokenId] : ids;
  const { stage, ids: going } = recordStage(
    { at: 'vision' },
    reduction,
    received,
    selection,
    tile.contextTokenId,
    milliseconds,
  );
  return { stage, tokens: selection.tokens.map((token, index) => ({ id: going[index], tile, token })) };
}

function patchIds({ layout }: ImagePlan, { before, grid }: TilePlan): TokenId[] {
  return Array.from({ length: grid.rows * grid.columns }, (_, index) => layout.firstId + before + index);
}

function wholeTile(plan: ImagePlan, tile: TilePlan, includeClass: boolean): PlacedToken[] {
  const tokens = patchIds(plan, tile).map((id, index): PlacedToken => ({
    id,
    tile,
    token: { kind: 'kept', index },
  }));
  return includeClass ? [classToken(tile), ...tokens] : tokens;
}

function classToken(tile: TilePlan): PlacedToken {
  return {
    id: tile.classTokenId,
    tile,
    token: { kind: 'kept', index: tile.grid.rows * tile.grid.columns },
  };
}

/**
 * The overview's tokens as its method left them; then those of the details that have no place in the picture (CLS, context), then
 * the rest row by row through all tiles, a merged token in its target's place.
 */
function inPromptOrder(plan: ImagePlan, tokens: readonly PlacedToken[]): PlacedToken[] {
  const [overview] = plan.tiles;
  const rank = ({ id }: PlacedToken): number => rasterIndex(plan, id);
  return [
    ...tokens.filter(({ tile }) => tile === overview),
    ...tokens.filter(({ tile }) => tile !== overview).sort((a, b) => rank(a) - rank(b)),
  ];
}

// ---------------------------------------------------------------------------------------------- newlines

/** The newlines whose rows have a token among `ids`, and those of rows that never had one. */
function livingNewlines(plan: ImagePlan, ids: readonly TokenId[]): TokenId[] {
  if (plan.newlines.length === 0) return [];
  const present = new Uint8Array(plan.layout.patches);
  for (const id of ids) {
    const index = rasterIndex(plan, id);
    if (index >= 0) present[index] = 1;
  }
  return plan.newlines
    .filter((newline) => isBare(newline) || present.subarray(newline.from, newline.to).includes(1))
    .map(({ id }) => id);
}

/** Of a strip so thin that all of its details are cut away with the padding: transformers keeps the newlines of its rows. */
function isBare({ from, to }: NewlinePlan): boolean {
  return from === to;
}

/** Writes into a stage what became of newlines; they follow their rows and are not ranked. */
function addNewlines(stage: TraceStage, before: readonly TokenId[], after: readonly TokenId[]): void {
  stage.received.push(...before);
  for (const id of before) (after.includes(id) ? stage.kept : stage.dropped).push(id);
}

/** Puts the newlines behind the last tokens of their rows, and those of rows without tokens behind everything. */
async function withNewlines(
  plan: ImagePlan,
  embeddings: Matrix,
  ids: readonly TokenId[],
  context: ImageEncodingContext,
): Promise<{ embeddings: Matrix; ids: readonly TokenId[] }> {
  if (plan.newlines.length === 0) return { embeddings, ids };
  const raster = ids.map((id) => rasterIndex(plan, id));
  const endings = new Map<number, TokenId>();
  for (const { id, from, to } of plan.newlines) {
    const last = raster.findLastIndex((index) => index >= from && index < to);
    if (last >= 0) endings.set(last, id);
  }
  const bare = plan.newlines.filter(isBare).map(({ id }) => id);
  if (endings.size + bare.length === 0) return { embeddings, ids };
  const session = await context.sessions.newline();
  const output = await session.run({ ids: idTensor([0]) });
  const newline = floats(output.hidden);
  const width = embeddings.columns;
  const data = new Float32Array((ids.length + endings.size + bare.length) * width);
  const woven: TokenId[] = [];
  ids.forEach((id, index) => {
    data.set(embeddings.data.subarray(index * width, (index + 1) * width), woven.length * width);
    woven.push(id);
    const ending = endings.get(index);
    if (ending === undefined) return;
    data.set(newline, woven.length * width);
    woven.push(ending);
  });
  for (const id of bare) {
    data.set(newline, woven.length * width);
    woven.push(id);
  }
  return { embeddings: matrix(data, width), ids: woven };
}

// ---------------------------------------------------------------------------------------------- tower

/** What the tower said about an image, by tile and in the tokens' raster. */
class TowerView {
  private readonly patches: number;

  constructor(
    private readonly outputs: readonly (TowerOutput | undefined)[],
    checkpoint: Checkpoint,
  ) {
    this.patches = patchesPerSide(checkpoint.config.vision) ** 2;
  }

  /** The feature of a patch, by its number through all inputs. */
  patch(number: number): Float32Array {
    const { features } = this.of(Math.floor(number / this.patches));
    return row(features, number % this.patches);
  }

  classFeature({ input }: TilePlan): Float32Array {
    return row(this.of(input).features, this.patches);
  }

  /** Features of a tile's tokens [tokens, visionDim]; the CLS token, where there is one, behind them. */
  features(tile: TilePlan): Matrix {
    const { features } = this.of(tile.input);
    if (!tile.mix) return features;
    const classRows = features.rows - this.patches;
    const mixed = this.mixed(tile, features.columns, ({ features: rows }) => rows, classRows);
    if (classRows > 0) mixed.data.set(this.classFeature(tile), (mixed.rows - 1) * mixed.columns);
    return mixed;
  }

  /** [tokens] */
  attention(tile: TilePlan): Float32Array | undefined {
    const { attention } = this.of(tile.input);
    if (!tile.mix || !attention) return attention;
    return this.mixed(tile, 1, (output) => matrix(output.attention!, 1)).data;
  }

  /** [tokens, headDim] */
  keys(tile: TilePlan): Matrix | undefined {
    const { keys } = this.of(tile.input);
    return tile.mix && keys ? this.mixed(tile, keys.columns, (output) => output.keys!) : keys;
  }

  private of(input: number): TowerOutput {
    const output = this.outputs[input];
    if (!output) throw new Error(`tower input ${input} has no tokens and was not computed`);
    return output;
  }

  private mixed(
    { mix, grid }: TilePlan,
    columns: number,
    rowsOf: (output: TowerOutput) => Matrix,
    extraRows = 0,
  ): Matrix {
    const tokens = grid.rows * grid.columns;
    const data = new Float32Array((tokens + extraRows) * columns);
    const { taps, patches, weights } = mix!;
    let input = -1;
    let source: Float32Array = new Float32Array(0);
    // Thousands of short rows: a view of each would take longer than its numbers.
    for (let tap = 0; tap < patches.length; tap++) {
      const weight = weights[tap];
      if (weight === 0) continue;
      const wanted = Math.floor(patches[tap] / this.patches);
      if (wanted !== input) {
        input = wanted;
        source = rowsOf(this.of(input)).data;
      }
      const from = (patches[tap] % this.patches) * columns;
      const to = Math.floor(tap / taps) * columns;
      for (let i = 0; i < columns; i++) data[to + i] += weight * source[from + i];
    }
    return matrix(data, columns);
  }
}

/** The tower's output for every input of an image that has tokens, computed or remembered. */
async function towerOutputs(image: PreparedImage, context: ImageEncodingContext): Promise<TowerView> {
  const { checkpoint, reductions } = context;
  const hasLayer = Math.max(...featureStates(checkpoint.config)) > 0;
  const wants = (need: 'attention' | 'keys'): boolean =>
    hasLayer && reductions.some((reduction) => reduction.visionNeeds?.[need]);
  const signals = {
    attention: wants('attention') || (hasLayer && context.onAttention !== undefined),
    keys: wants('keys'),
  };
  const outputs: (TowerOutput | undefined)[] = image.inputs.map(() => undefined);
  let computed = 0;
  for (const input of image.plan.inputs) {
    throwIfCancelled(context.signal);
    const remembered = await towerOutput(image.inputs[input](), signals, context);
    outputs[input] = remembered.output;
    if (!remembered.known) computed++;
  }
  if (computed === 0) context.onReuse();
  const view = new TowerView(outputs, checkpoint);
  if (signals.attention && context.onAttention) {
    const attention = new Float32Array(image.plan.layout.patches);
    for (const tile of image.plan.tiles) attention.set(view.attention(tile)!, tile.before);
    context.onAttention(attention);
  }
  return view;
}

async function towerOutput(
  pixels: Float32Array,
  signals: VisionSignals,
  context: ImageEncodingContext,
): Promise<{ output: TowerOutput; known: boolean }> {
  const { features } = context;
  const key = features && FeatureCache.key(pixels);
  const remembered = key === undefined ? undefined : features?.get(key, signals);
  if (remembered) return { output: remembered, known: true };
  const output = await runTower(pixels, signals, context);
  if (key !== undefined) features?.set(key, output);
  return { output, known: false };
}

async function runTower(
  pixels: Float32Array,
  signals: VisionSignals,
  context: ImageEncodingContext,
): Promise<TowerOutput> {
  const { imageSize, hasClassToken } = context.checkpoint.config.vision;
  const beforeLoad = performance.now();
  const session = await context.sessions.vision(signals);
  const before = performance.now();
  context.spend('load', before - beforeLoad);
  const output = await session.run({ pixels: floatTensor(pixels, [1, 3, imageSize, imageSize]) });
  context.spend('vision', performance.now() - before);

  const features = matrix(floats(output.features), output.features.dims[1]);
  const attention = output.attention && floats(output.attention);
  const keys = output.keys && matrix(floats(output.keys), output.keys.dims[1]);
  if (!hasClassToken) return { features, attention, keys };
  // The tower puts CLS first; reductions count patches from 0 and find CLS behind them.
  const patchKeys = keys && matrix(keys.data.subarray(keys.columns), keys.columns);
  return { features: firstRowLast(features), attention, keys: patchKeys };
}

// ---------------------------------------------------------------------------------------------- projector

/** How a token comes from rows that passed the projector. */
type ProjectedToken =
  | { readonly vector: Float32Array }
  | { readonly rows: readonly number[]; readonly weights: readonly number[] };

/**
 * Runs the projector over the features of the tokens. A token that is mixed of several patches (shrunk details) is mixed behind the
 * projector, as the model does it; one that a method merged is merged before it. Tokens that come as vectors are in its output space already.
 */
async function project(
  tokens: readonly PlacedToken[],
  tower: TowerView,
  context: ImageEncodingContext,
): Promise<{ embeddings: Matrix; ids: readonly TokenId[]; rows: number }> {
  const rows: Float32Array[] = [];
  const numbers = new Map<number, number>();
  const patchRow = (patch: number): number => {
    let index = numbers.get(patch);
    if (index === undefined) numbers.set(patch, (index = rows.push(tower.patch(patch)) - 1));
    return index;
  };
  const features = new Map<TilePlan, Matrix>();
  const featuresOf = (tile: TilePlan): Matrix => {
    let known = features.get(tile);
    if (!known) features.set(tile, (known = tower.features(tile)));
    return known;
  };
  const one = (index: number): ProjectedToken => ({ rows: [index], weights: [1] });
  const made = tokens.map(({ tile, token }): ProjectedToken => {
    if (token.kind !== 'kept' && token.vector) return { vector: token.vector };
    if (token.kind !== 'kept') return one(rows.push(combine(featuresOf(tile), [token]).data) - 1);
    const { mix, grid } = tile;
    if (!mix || mix.taps === 1 || token.index === grid.rows * grid.columns)
      return one(rows.push(unmixedFeature(tile, token.index, tower)) - 1);
    const taps = [0, 1, 2, 3].map((tap) => token.index * 4 + tap).filter((tap) => mix.weights[tap] > 0);
    return {
      rows: taps.map((tap) => patchRow(mix.patches[tap])),
      weights: taps.map((tap) => mix.weights[tap]),
    };
  });

  const projected = await runProjector(rows, context);
  const width = context.checkpoint.config.text.hiddenSize;
  const data = new Float32Array(tokens.length * width);
  made.forEach((token, index) => {
    const start = index * width;
    if ('vector' in token) data.set(token.vector, start);
    else if (token.rows.length === 1)
      data.set(projected.subarray(token.rows[0] * width, (token.rows[0] + 1) * width), start);
    else
      token.rows.forEach((from, tap) => {
        for (let i = 0; i < width; i++) data[start + i] += token.weights[tap] * projected[from * width + i];
      });
  });
  return { embeddings: matrix(data, width), ids: tokens.map(({ id }) => id), rows: rows.length };
}

/** The feature of a token that is one patch, or the CLS token. */
function unmixedFeature(tile: TilePlan, index: number, tower: TowerView): Float32Array {
  if (index === tile.grid.rows * tile.grid.columns) return tower.classFeature(tile);
  return tile.mix ? tower.patch(tile.mix.patches[index]) : row(tower.features(tile), index);
}

async function runProjector(
  rows: readonly Float32Array[],
  context: ImageEncodingContext,
): Promise<Float32Array> {
  if (rows.length === 0) return new Float32Array(0);
  const width = rows[0].length;
  const data = new Float32Array(rows.length * width);
  rows.forEach((values, index) => data.set(values, index * width));
  const beforeLoad = performance.now();
  const session = await context.sessions.projector();
  const before = performance.now();
  context.spend('load', before - beforeLoad);
  const output = await session.run({ features: floatTensor(data, [rows.length, width]) });
  context.spend('projector', performance.now() - before);
  return floats(output.embeddings);
}

// ---------------------------------------------------------------------------------------------- rows

/** Cosine similarity of rows [rows, rows] for a method that reads it; its making is part of the selection. */
async function similarityFor(
  reduction: Reduction,
  rows: Matrix,
  context: ImageEncodingContext,
): Promise<Matrix | undefined> {
  if (!reduction.wantsSimilarity || rows.rows === 0) return undefined;
  const session = await context.sessions.similarity();
  const before = performance.now();
  const output = await session.run({ rows: floatTensor(rows.data, [rows.rows, rows.columns]) });
  context.spend('selection', performance.now() - before);
  return matrix(floats(output.similarity), rows.rows);
}

/** The rasters of an image; their pixels are made when they are asked for. */
export function tokenPlanes({ plan, pixels }: PreparedImage): TokenPlane[] {
  return plan.planes.map(({ rows, columns, first }, index) => {
    let made: PatchPixels | undefined;
    return {
      rows,
      columns,
      first,
      get pixels() {
        return (made ??= pixels[index]());
      },
    };
  });
}

function importanceOf(
  ids: readonly TokenId[],
  { tiles, layout }: ImagePlan,
  tower: TowerView,
): Float32Array | undefined {
  const attention = new Float32Array(layout.patches);
  for (const tile of tiles) {
    const values = tower.attention(tile);
    if (!values) return undefined;
    attention.set(values, tile.before);
  }
  const highest = attention.reduce((a, b) => Math.max(a, b), 0);
  // A CLS or context token has no score of its own; it ranks with the most important patch.
  return Float32Array.from(ids, (id) => {
    const index = id - layout.firstId;
    return index < layout.patches ? attention[index] : highest;
  });
}

function matrix(data: Float32Array, columns: number): Matrix {
  return { data, rows: data.length / columns, columns };
}

function row({ data, columns }: Matrix, index: number): Float32Array {
  return data.subarray(index * columns, (index + 1) * columns);
}

function firstRows(source: Matrix, rows: number): Matrix {
  return rows === source.rows
    ? source
    : matrix(source.data.subarray(0, rows * source.columns), source.columns);
}

function firstRowLast(source: Matrix): Matrix {
  const data = new Float32Array(source.data.length);
  data.set(source.data.subarray(source.columns));
  data.set(source.data.subarray(0, source.columns), data.length - source.columns);
  return matrix(data, source.columns);
}
