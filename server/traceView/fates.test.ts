import { describe, expect, it } from 'vitest';
import { SYNTHETIC, syntheticLayout } from '../../webview/testing/syntheticResult';
import type { ReductionTrace, TraceStage } from '../protocol';
import { carrierOf, countFates, fatesAfter, lastPointBeforeAnswer, timelineOf } from './fates';

const results = Object.entries(SYNTHETIC).map(([name, make]) => [name, make()] as const);

describe('fatesAfter', () => {
  it.each(results)('leaves as many tokens alive as the run counted (%s)', (_, { trace, costs }) => {
    expect(countFates(fatesAfter(trace, trace.stages.length)).alive).toBe(trace.answer[0].imageTokens);
    expect(trace.decoderTokens).toHaveLength(costs.imageTokens.atDecoder);
  });

  it.each(results)('gives every patch exactly one state at every stage (%s)', (_, { trace }) => {
    const [image] = trace.images;
    for (let stages = 0; stages <= trace.stages.length; stages += 1) {
      const fates = fatesAfter(trace, stages);
      const { kept, carrier, merged, dropped } = countFates(fates);
      const special = Number(fates.has(image.classTokenId)) + (image.newlines?.length ?? 0);
      expect(kept + carrier + merged + dropped - special).toBe(image.patches);
    }
  });

  it('says of a merged token where it lives on, and with what weight', () => {
    const trace = traceOf([
      stage({
        received: [0, 1, 2, 3],
        kept: [3],
        merged: [{ id: 0, sources: [0, 1, 2], weights: [1, 0.25, 0.75] }],
      }),
    ]);
    const fates = fatesAfter(trace, 1);
    expect(fates.get(0)).toMatchObject({ state: 'carrier', carries: { sources: [0, 1, 2] } });
    expect(fates.get(1)).toEqual({ state: 'merged', stage: 0, into: 0, weight: 0.25 });
    expect(fates.get(3)).toEqual({ state: 'kept', stage: 0 });
    expect(carrierOf(fates, 2)).toBe(0);
  });

  it('counts what merged into a token as dropped when that token is dropped later', () => {
    const trace = traceOf([
      stage({ received: [0, 1, 2, 3], kept: [2, 3], merged: [{ id: 0, sources: [0, 1], weights: [1, 1] }] }),
      stage({ received: [2, 3, 0], kept: [2, 3], dropped: [0], place: { at: 'layer', layer: 2 } }),
    ]);
    expect(fatesAfter(trace, 1).get(1)?.state).toBe('merged');
    expect(fatesAfter(trace, 2).get(1)).toMatchObject({ state: 'dropped', into: 0, stage: 1 });
  });

  it('shows what pooling made of patches, not that a context token summarised them too', () => {
    const context = traceOf([]).images[0].contextTokenId;
    const trace = traceOf([
      stage({
        received: [0, 1, 2, 3],
        merged: [
          { id: context, sources: [0, 1, 2, 3], weights: [0.1, 0.2, 0.3, 0.4] },
          { id: 0, sources: [0, 1], weights: [0.5, 0.5] },
        ],
        dropped: [],
      }),
    ]);
    const fates = fatesAfter(trace, 1);
    expect(fates.get(1)).toMatchObject({ state: 'merged', into: 0 });
    expect(fates.get(0)?.state).toBe('carrier');
    expect(fates.get(3)).toMatchObject({ state: 'merged', into: context });
    expect(fates.get(context)?.state).toBe('carrier');
    expect(fatesAfter(trace, 0).has(context)).toBe(false);
  });

  it('knows no fate for patches that never became tokens', () => {
    const trace = { ...traceOf([]), decoderTokens: [1, 2] };
    const fates = fatesAfter(trace, 0);
    expect([...fates.keys()]).toEqual([1, 2]);
  });

  it('ends for a damaged trace in which tokens merge in a circle', () => {
    const trace = traceOf([
      stage({ received: [0, 1], merged: [{ id: 0, sources: [1], weights: [1] }] }),
      stage({ received: [0, 1], merged: [{ id: 1, sources: [0], weights: [1] }] }),
    ]);
    expect([0, 1]).toContain(carrierOf(fatesAfter(trace, 2), 0));
  });
});

describe('timelineOf', () => {
  it('goes from the tower over the reductions and the projector to every answer token', () => {
    const { trace } = SYNTHETIC.tokens576();
    const points = timelineOf(trace);
    expect(points.slice(0, 4).map(({ kind, tokens }) => [kind, tokens])).toEqual([
      ['tower', 576],
      ['stage', 128],
      ['projector', 128],
      ['stage', 64],
    ]);
    expect(points.slice(4)).toHaveLength(trace.answer.length);
    expect(points[lastPointBeforeAnswer(points)]).toMatchObject({ method: 'fastv', tokens: 64 });
  });

  it('makes one point of the stages of all tiles', () => {
    const { trace } = SYNTHETIC.tokens2880();
    expect(trace.stages).toHaveLength(6);
    const points = timelineOf(trace).filter(({ kind }) => kind !== 'answer');
    expect(points.map(({ kind, stages, tokens }) => [kind, stages, tokens])).toEqual([
      ['tower', 0, 2880],
      ['stage', 5, 688],
      ['projector', 5, 688],
      ['stage', 6, 344],
    ]);
  });

  it('has tower, projector and answer when nothing was reduced', () => {
    const points = timelineOf(SYNTHETIC.allTokens().trace);
    expect(points.slice(0, 3).map(({ kind }) => kind)).toEqual(['tower', 'projector', 'answer']);
    expect(points.every(({ tokens }) => tokens === 576)).toBe(true);
  });

  it('applies a step only to the answer tokens after it', () => {
    const drop = (step: number, dropped: number): TraceStage =>
      stage({
        place: { at: 'step', step },
        received: [0, 1, 2, 3].filter((id) => id >= dropped),
        kept: [0, 1, 2, 3].filter((id) => id > dropped),
        dropped: [dropped],
        method: 'dyrate',
      });
    const answer = [4, 3, 2].map((imageTokens, id) => ({
      id,
      text: 'a',
      imageTokens,
      cacheBytes: 1,
      milliseconds: 1,
      attention: [0, 0, 0, 0],
    }));
    const trace = { ...traceOf([drop(0, 0), drop(1, 1)]), answer };
    expect(
      timelineOf(trace)
        .filter(({ kind }) => kind === 'answer')
        .map(({ stages }) => stages),
    ).toEqual([0, 1, 2]);
  });
});

function stage(part: Partial<TraceStage>): TraceStage {
  return {
    place: { at: 'vision' },
    method: 'm',
    spec: 'm',
    received: [],
    kept: [],
    merged: [],
    dropped: [],
    milliseconds: 0,
    ...part,
  };
}

/** Four patches. */
function traceOf(stages: TraceStage[]): ReductionTrace {
  return {
    version: 1,
    images: [syntheticLayout('pad', 2, 100, 100)],
    decoderTokens: [0, 1, 2, 3],
    stages,
    answer: [],
  };
}
