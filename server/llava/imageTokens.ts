import type { ImageLayout, TokenId, TraceStage } from '../protocol';
import type { Checkpoint } from './checkpoint/checkpoint';
import { featureStates } from './checkpoint/config';
import type { Reduction, SelectedToken, Matrix, VisionInput, EmbeddingsInput } from './reduction/reduction';
import { FeatureCache, type TowerOutput } from './featureCache';
import type { VisionSignals } from './graph/visionTower';
import type { GraphSessions } from './runtime/graphSessions';
import { floats, floatTensor } from './runtime/session';
import { throwIfCancelled } from './errors';
import { combine } from './reduction/combine';
import { recordStage } from './trace';
import type { PreprocessedImage } from './vision/preprocess';

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
  /** Called where the tower's output was remembered. */
  readonly onReuse: () => void;
  /** Receives the tower's attention over the patches [patches], where it has a layer to take it from. */
  readonly onAttention?: (attention: Float32Array) => void;
}

/** Pixels -> tower -> reduction.atVision -> projector -> reduction.atEmbeddings. */
export async function encodeImage(
  image: PreprocessedImage,
  layout: ImageLayout,
  context: ImageEncodingContext,
): Promise<ImageTokens> {
  const { checkpoint, reductions, signal } = context;
  const vision = checkpoint.config.vision;
  const tower = await towerOutput(image, context);
  throwIfCancelled(signal);

  const grid = { rows: layout.tiles[0].rows, columns: layout.tiles[0].columns };
  const { pixels } = image;
  const { patches } = layout;
  const classToken = vision.hasClassToken ? patches : undefined;
  const includeClass = vision.hasClassToken && checkpoint.config.visionFeatureSelectStrategy === 'full';

  const patchIds = Array.from({ length: patches }, (_, index) => layout.firstId + index);
  let ids = includeClass ? [layout.classTokenId, ...patchIds] : patchIds;
  let tokens = patchTokens(patches, includeClass);

  for (const reduction of reductions) {
    if (!reduction.atVision) continue;
    const withClass = reduction.visionNeeds?.classToken === true && classToken !== undefined;
    const input: VisionInput = {
      grid,
      features: withClass ? tower.features : firstRows(tower.features, patches),
      classToken: withClass ? classToken : undefined,
      classAttention: vision.hasClassToken ? tower.attention : undefined,
      receivedAttention: vision.hasClassToken ? undefined : tower.attention,
      keys: tower.keys,
      similarity: await similarityFor(reduction, firstRows(tower.features, patches), context),
      pixels,
      questionEmbeddings: context.questionEmbeddings,
      heads: checkpoint.heads,
      signal,
    };
    const before = performance.now();
    const selection = reduction.atVision(input);
    // CLS is offered to methods that know it; where they leave it, it was never one of the image tokens.
    const tookClass = selection.tokens.some((token) => token.kind === 'kept' && token.index === patches);
    const received = tookClass ? [...patchIds, layout.classTokenId] : patchIds;
    const milliseconds = performance.now() - before;
    context.spend('selection', milliseconds);
    const record = recordStage(
      { at: 'vision' },
      reduction,
      received,
      selection,
      layout.contextTokenId,
      milliseconds,
    );
    context.stages.push(record.stage);
    tokens = selection.tokens;
    ids = record.ids;
    // A checkpoint that feeds the CLS token to the decoder keeps it, whatever a method does with the patches.
    if (includeClass && !ids.includes(layout.classTokenId)) {
      tokens = [{ kind: 'kept', index: patches }, ...tokens];
      ids = [layout.classTokenId, ...ids];
    }
  }

  let embeddings = await project(tower.features, tokens, context);
  const projected = tokens.filter(passesProjector).length;
  for (const reduction of reductions) {
    if (!reduction.atEmbeddings) continue;
    const input: EmbeddingsInput = {
      grid,
      embeddings,
      raster: Int32Array.from(ids, (id) => (id < layout.firstId + patches ? id - layout.firstId : -1)),
      importance: tower.attention && importanceOf(ids, layout, tower.attention),
      similarity: await similarityFor(reduction, embeddings, context),
      pixels,
      questionEmbeddings: context.questionEmbeddings,
      signal,
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
      layout.contextTokenId,
      milliseconds,
    );
    context.stages.push(record.stage);
    embeddings = combine(embeddings, selection.tokens);
    ids = record.ids;
  }
  return { embeddings, ids, projected };
}

/** Cosine similarity of rows [rows, rows] for a method that reads it; its making is part of the selection. */
async function similarityFor(
  reduction: Reduction,
  rows: Matrix,
  context: ImageEncodingContext,
): Promise<Matrix | undefined> {
  if (!reduction.wantsSimilarity) return undefined;
  const session = await context.sessions.similarity();
  const before = performance.now();
  const output = await session.run({ rows: floatTensor(rows.data, [rows.rows, rows.columns]) });
  context.spend('selection', performance.now() - before);
  return matrix(floats(output.similarity), rows.rows);
}

function patchTokens(patches: number, includeClass: boolean): readonly SelectedToken[] {
  const tokens: SelectedToken[] = includeClass ? [{ kind: 'kept', index: patches }] : [];
  for (let index = 0; index < patches; index++) tokens.push({ kind: 'kept', index });
  return tokens;
}

/** The tower's output for an image, computed or remembered. */
async function towerOutput(image: PreprocessedImage, context: ImageEncodingContext): Promise<TowerOutput> {
  const { checkpoint, reductions, features } = context;
  const hasLayer = Math.max(...featureStates(checkpoint.config)) > 0;
  const wants = (need: 'attention' | 'keys'): boolean =>
    hasLayer && reductions.some((reduction) => reduction.visionNeeds?.[need]);
  const signals = {
    attention: wants('attention') || (hasLayer && context.onAttention !== undefined),
    keys: wants('keys'),
  };
  const key = features && FeatureCache.key(image.pixelValues);
  const remembered = key === undefined ? undefined : features?.get(key, signals);
  if (remembered) context.onReuse();
  const tower = remembered ?? (await runTower(image, signals, context));
  if (key !== undefined && !remembered) features?.set(key, tower);
  if (tower.attention) context.onAttention?.(tower.attention);
  return tower;
}

async function runTower(
  image: PreprocessedImage,
  signals: VisionSignals,
  context: ImageEncodingContext,
): Promise<TowerOutput> {
  const { imageSize, hasClassToken } = context.checkpoint.config.vision;
  const beforeLoad = performance.now();
  const session = await context.sessions.vision(signals);
  const before = performance.now();
  context.spend('load', before - beforeLoad);
  const output = await session.run({ pixels: floatTensor(image.pixelValues, [1, 3, imageSize, imageSize]) });
  context.spend('vision', performance.now() - before);

  const features = matrix(floats(output.features), output.features.dims[1]);
  const attention = output.attention && floats(output.attention);
  const keys = output.keys && matrix(floats(output.keys), output.keys.dims[1]);
  if (!hasClassToken) return { features, attention, keys };
  // The tower puts CLS first; reductions count patches from 0 and find CLS behind them.
  const patchKeys = keys && matrix(keys.data.subarray(keys.columns), keys.columns);
  return { features: firstRowLast(features), attention, keys: patchKeys };
}

/** The token in the decoder's embedding space, where its method made it itself. */
function vectorOf(token: SelectedToken): Float32Array | undefined {
  return token.kind === 'kept' ? undefined : token.vector;
}

function passesProjector(token: SelectedToken): boolean {
  return vectorOf(token) === undefined;
}

/** Runs the projector over the selected features; tokens that come as vectors are in its output space already and skip it. */
async function project(
  features: Matrix,
  tokens: readonly SelectedToken[],
  context: ImageEncodingContext,
): Promise<Matrix> {
  const textDim = context.checkpoint.config.text.hiddenSize;
  const rows = combine(features, tokens.filter(passesProjector));
  const embeddings = new Float32Array(tokens.length * textDim);
  let projected: Float32Array = new Float32Array(0);
  if (rows.rows > 0) {
    const beforeLoad = performance.now();
    const session = await context.sessions.projector();
    const before = performance.now();
    context.spend('load', before - beforeLoad);
    const output = await session.run({ features: floatTensor(rows.data, [rows.rows, rows.columns]) });
    context.spend('projector', performance.now() - before);
    projected = floats(output.embeddings);
  }
  let next = 0;
  tokens.forEach((token, row) => {
    const source = vectorOf(token) ?? projected.subarray(next * textDim, ++next * textDim);
    embeddings.set(source, row * textDim);
  });
  return matrix(embeddings, textDim);
}

function importanceOf(ids: readonly TokenId[], layout: ImageLayout, attention: Float32Array): Float32Array {
  const highest = attention.reduce((a, b) => Math.max(a, b), 0);
  // A CLS or context token has no score of its own; it ranks with the most important patch.
  return Float32Array.from(ids, (id) => {
    const raster = id - layout.firstId;
    return raster < layout.patches ? attention[raster] : highest;
  });
}

function matrix(data: Float32Array, columns: number): Matrix {
  return { data, rows: data.length / columns, columns };
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
