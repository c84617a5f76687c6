import type { MergedToken, ReductionTrace, StagePlace, TokenId } from '../protocol';

/**
 * What has become of a token at one point of its way:
 * - `kept`: goes on as it is.
 * - `carrier`: goes on as the merged token of itself and others.
 * - `merged`: lives on inside another token.
 * - `dropped`: gone, also when the token it had merged into is gone.
 * - `absent`: never became an image token (a patch of nothing but padding, for models that leave these out).
 */
export type TokenState = 'kept' | 'carrier' | 'merged' | 'dropped' | 'absent';

export interface Fate {
  state: TokenState;
  /** Index into `trace.stages` of what made it so; undefined for tokens that no stage touched. */
  stage?: number;
  /** The merged token that it became part of, with its weight there. */
  into?: TokenId;
  weight?: number;
  /** For a carrier: all that it carries. */
  carries?: MergedToken;
}

/** A point on the way of the image tokens, for the stage bar. Points are in the order of time. */
export interface TimelinePoint {
  kind: 'tower' | 'stage' | 'projector' | 'answer';
  /** Image tokens that go on from here. */
  tokens: number;
  /** How many of `trace.stages` have happened. */
  stages: number;
  /** For `stage`: where, and the method. */
  place?: StagePlace;
  method?: string;
  /** For `answer`: index into `trace.answer`. */
  answer?: number;
}

/** All ids that were image tokens at any time; everything else of an image's block is `absent`. */
export function presentTokens(trace: ReductionTrace): Set<TokenId> {
  const present = new Set(trace.decoderTokens);
  for (const stage of trace.stages) {
    for (const id of stage.received) present.add(id);
    for (const { sources } of stage.merged) for (const id of sources) present.add(id);
  }
  return present;
}

/** What has become of every token after the first `stages` stages. Ids that are not in the map are `absent`. */
export function fatesAfter(trace: ReductionTrace, stages: number): Map<TokenId, Fate> {
  const fates = new Map<TokenId, Fate>();
  for (const id of presentTokens(trace)) fates.set(id, { state: 'kept' });
  const contextIds = new Set(
    trace.images.flatMap(({ contextTokenId, tiles }) => [
      contextTokenId,
      ...tiles.flatMap((tile) => tile.contextTokenId ?? []),
    ]),
  );
  // A context token comes into being at the stage that made it.
  for (const id of contextIds) fates.delete(id);
  for (const [index, stage] of trace.stages.slice(0, stages).entries()) {
    for (const id of stage.dropped) fates.set(id, { state: 'dropped', stage: index });
    // A context token summarises all patches; what else became of a patch says more about it.
    const merges = [...stage.merged].sort(
      (a, b) => Number(contextIds.has(b.id)) - Number(contextIds.has(a.id)),
    );
    for (const merged of merges) {
      for (const [i, id] of merged.sources.entries()) {
        if (id === merged.id || (contextIds.has(merged.id) && stage.kept.includes(id))) continue;
        fates.set(id, { state: 'merged', stage: index, into: merged.id, weight: merged.weights[i] });
      }
    }
    for (const merged of merges) fates.set(merged.id, { state: 'carrier', stage: index, carries: merged });
    for (const id of stage.kept) {
      const before = fates.get(id);
      if (before === undefined || before.state === 'kept') fates.set(id, { state: 'kept', stage: index });
    }
  }
  for (const [id, fate] of fates) {
    if (fate.state !== 'merged') continue;
    const end = fates.get(carrierOf(fates, id));
    if (end?.state === 'dropped') fates.set(id, { ...fate, state: 'dropped', stage: end.stage });
  }
  return fates;
}

/** The token that a token lives on in: itself, or the last of the chain of tokens it merged into. */
export function carrierOf(fates: ReadonlyMap<TokenId, Fate>, id: TokenId): TokenId {
  const seen = new Set<TokenId>();
  let current = id;
  for (;;) {
    const into = fates.get(current)?.into;
    // A damaged trace may merge in a circle.
    if (into === undefined || seen.has(into)) return current;
    seen.add(into);
    current = into;
  }
}

/** How many tokens are in each state; `alive` is what the next stage receives. */
export function countFates(
  fates: ReadonlyMap<TokenId, Fate>,
): Record<Exclude<TokenState, 'absent'> | 'alive', number> {
  const counts = { kept: 0, carrier: 0, merged: 0, dropped: 0, alive: 0 };
  for (const { state } of fates.values()) {
    if (state === 'absent') continue;
    counts[state] += 1;
    if (state === 'kept' || state === 'carrier') counts.alive += 1;
  }
  return counts;
}

/** The points of the stage bar: vision tower, its reductions, projector, the decoder's reductions, every answer token. */
export function timelineOf(trace: ReductionTrace): TimelinePoint[] {
  const special = new Set(
    trace.images.flatMap(({ classTokenId, contextTokenId, tiles, newlines = [] }) => [
      classTokenId,
      contextTokenId,
      ...tiles.flatMap((tile) => [tile.classTokenId ?? [], tile.contextTokenId ?? []].flat()),
      ...newlines.map(({ id }) => id),
    ]),
  );
  let patches = 0;
  for (const id of presentTokens(trace)) if (!special.has(id)) patches += 1;
  const points: TimelinePoint[] = [{ kind: 'tower', tokens: patches, stages: 0 }];
  let projected = false;
  const project = (stages: number): void => {
    if (!projected)
      points.push({ kind: 'projector', tokens: countFates(fatesAfter(trace, stages)).alive, stages });
    projected = true;
  };
  let done = 0;
  while (done < trace.stages.length && trace.stages[done].place.at !== 'step') {
    const { place, method, spec } = trace.stages[done];
    if (place.at !== 'vision') project(done);
    // Tiled models reduce each tile by itself: one point for all tiles.
    let end = done + 1;
    while (end < trace.stages.length && samePoint(trace.stages[end], place, spec)) end += 1;
    done = end;
    const { alive } = countFates(fatesAfter(trace, done));
    points.push({ kind: 'stage', tokens: done === 0 ? patches : alive, stages: done, place, method });
  }
  project(done);
  for (const [answer, token] of trace.answer.entries()) {
    // Step s is what happened before answer token s+1 was computed; the first one comes out of prefill.
    while (done < trace.stages.length && stepOf(trace.stages[done].place) < answer) done += 1;
    points.push({ kind: 'answer', tokens: token.imageTokens, stages: done, answer });
  }
  return points;
}

/** The point whose map answers "what did the decoder use": the last one before the answer. */
export function lastPointBeforeAnswer(points: readonly TimelinePoint[]): number {
  return points.findLastIndex((point) => point.kind !== 'answer');
}

function samePoint(stage: { place: StagePlace; spec: string }, place: StagePlace, spec: string): boolean {
  return stage.spec === spec && JSON.stringify(stage.place) === JSON.stringify(place);
}

function stepOf(place: StagePlace): number {
  return place.at === 'step' ? place.step : -1;
}
