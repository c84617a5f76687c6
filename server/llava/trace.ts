import type { MergedToken, ReductionTrace, StagePlace, TokenId, TraceStage } from '../protocol';
import type { Reduction, Selection } from './reduction/reduction';

/** Digits that survive in a trace: enough for any picture or ranking, a third of the JSON of full doubles. */
const TRACE_DIGITS = 5;

/**
 * Writes down what a selection did.
 *
 * @param received ids of the tokens that the hook saw, in its order.
 * @returns the stage, and the ids that go on, in order. A merged token goes on under the id of its target, a
 * context token under `contextId`.
 */
export function recordStage(
  place: StagePlace,
  reduction: Reduction,
  received: readonly TokenId[],
  selection: Selection,
  contextId: TokenId,
  milliseconds: number,
): { stage: TraceStage; ids: TokenId[] } {
  const kept: TokenId[] = [];
  const merged: MergedToken[] = [];
  const ids: TokenId[] = [];
  const gone = new Set(received);
  for (const token of selection.tokens) {
    if (token.kind === 'kept') {
      const id = received[token.index];
      kept.push(id);
      ids.push(id);
      gone.delete(id);
    } else if (token.kind === 'merged') {
      const id = received[token.target];
      const sources = Array.from(token.sources, (source) => received[source]);
      merged.push({ id, sources, weights: rounded(token.weights) });
      ids.push(id);
      for (const source of sources) gone.delete(source);
    } else {
      merged.push({ id: contextId, sources: [...received], weights: rounded(token.weights) });
      ids.push(contextId);
    }
  }
  const stage: TraceStage = {
    place,
    method: reduction.id,
    spec: reduction.spec,
    received: [...received],
    kept,
    merged,
    dropped: received.filter((id) => gone.has(id)),
    milliseconds,
  };
  if (selection.scores) {
    stage.scores = { name: selection.scores.name, values: rounded(selection.scores.values) };
  }
  const notes = [reduction.automatic?.reason, selection.note].filter((note) => note !== undefined);
  if (notes.length > 0) stage.note = notes.join(' ');
  return { stage, ids };
}

/** How many image tokens there are after each stage, those included that the stage did not look at (other tiles, other images). */
export function tokensAfterStages({
  images,
  stages,
  decoderTokens,
}: Pick<ReductionTrace, 'images' | 'stages' | 'decoderTokens'>): number[] {
  const alive = new Set<TokenId>();
  const entered = new Set(decoderTokens);
  const chosen = new Set(stages.flatMap(({ place, kept }) => (place.at === 'vision' ? kept : [])));
  for (const { firstId, patches, classTokenId, newlines = [] } of images) {
    for (let patch = 0; patch < patches; patch++) alive.add(firstId + patch);
    for (const { id } of newlines) alive.add(id);
    // A CLS token that no method chose is one that the checkpoint always feeds to its decoder.
    if (entered.has(classTokenId) && !chosen.has(classTokenId)) alive.add(classTokenId);
  }
  // A step chooses among all that the first layers still hold: what was dropped before a later layer does not come back by it.
  const gone = new Set<TokenId>();
  return stages.map(({ received, kept, merged, dropped }) => {
    for (const id of received) alive.delete(id);
    for (const id of kept) if (!gone.has(id)) alive.add(id);
    for (const id of dropped) gone.add(id);
    for (const { id } of merged) alive.add(id);
    return alive.size;
  });
}

/** Numbers as a trace stores them. */
export function rounded(values: ArrayLike<number>): number[] {
  return Array.from(values, (value) => Number(value.toPrecision(TRACE_DIGITS)));
}
