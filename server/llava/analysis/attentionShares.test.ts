import { describe, expect, it } from 'vitest';
import { INSTRUCTION_ROW, OUTPUT_ROW, type RowLabel, SYSTEM_ROW } from '../runtime/decoderCache';
import type { TypeShares } from '../../protocol';
import {
  patchConcentration,
  type PlacedRow,
  sharesByLayer,
  sharesByStep,
  TOKEN_TYPES,
  typeShares,
} from './attentionShares';

const LABELS: RowLabel[] = [SYSTEM_ROW, 0, 1, 2, 3, INSTRUCTION_ROW, INSTRUCTION_ROW];

/** A softmax over seeded logits. */
function softmax(count: number, seed: number): Float32Array {
  const raw = Array.from({ length: count }, (_, index) => Math.exp(Math.sin(seed * 12.9 + index * 78.2) * 3));
  const total = raw.reduce((sum, value) => sum + value, 0);
  return Float32Array.from(raw, (value) => value / total);
}

/** Rows of a run: the answer grows by one token a step. */
function run(layers: number, steps: number): PlacedRow[] {
  const rows: PlacedRow[] = [];
  for (let step = 0; step < steps; step++) {
    const labels = [...LABELS, ...new Array<RowLabel>(step).fill(OUTPUT_ROW)];
    for (let layer = 0; layer < layers; layer++) {
      rows.push({ layer, step, labels, attention: softmax(labels.length, layer * 31 + step + 1) });
    }
  }
  return rows;
}

const total = (shares: TypeShares) => TOKEN_TYPES.reduce((sum, type) => sum + shares[type].share, 0);

describe('attention by token type', () => {
  it('adds up the mass, counts the tokens and divides one by the other', () => {
    const attention = [0.5, 0.05, 0.05, 0.1, 0.1, 0.15, 0.05];
    const shares = typeShares({ attention, labels: LABELS });
    expect(shares.system).toEqual({ share: 0.5, tokens: 1, efficiency: 0.5 });
    expect(shares.image.share).toBeCloseTo(0.3, 12);
    expect(shares.image.tokens).toBe(4);
    expect(shares.image.efficiency).toBeCloseTo(0.075, 12);
    expect(shares.instruction.share).toBeCloseTo(0.2, 12);
    expect(shares.output).toEqual({ share: 0, tokens: 0, efficiency: 0 });
  });

  it('sums to 1 in every layer and at every step', () => {
    const rows = run(5, 4);
    expect(sharesByLayer(rows)).toHaveLength(5);
    expect(sharesByStep(rows)).toHaveLength(4);
    for (const shares of [...sharesByLayer(rows), ...sharesByStep(rows)])
      expect(total(shares)).toBeCloseTo(1, 6);
  });

  it('averages a layer over the steps and a step over the layers', () => {
    const rows = run(3, 2);
    const image = (layer: number, step: number) =>
      typeShares(rows.find((row) => row.layer === layer && row.step === step)!).image;
    for (let layer = 0; layer < 3; layer++) {
      const { share, efficiency } = sharesByLayer(rows)[layer].image;
      expect(share).toBeCloseTo((image(layer, 0).share + image(layer, 1).share) / 2, 12);
      expect(efficiency).toBeCloseTo((image(layer, 0).efficiency + image(layer, 1).efficiency) / 2, 12);
    }
    for (let step = 0; step < 2; step++) {
      const mean = [0, 1, 2].reduce((sum, layer) => sum + image(layer, step).share, 0) / 3;
      expect(sharesByStep(rows)[step].image.share).toBeCloseTo(mean, 12);
      expect(sharesByStep(rows)[step].output.tokens).toBe(step);
    }
  });

  it('averages the attention per token over the steps that have tokens of the type', () => {
    const rows = run(1, 3);
    const [, second, third] = rows.map((row) => typeShares(row).output);
    const { share, tokens, efficiency } = sharesByLayer(rows)[0].output;
    expect(share).toBeCloseTo((second.share + third.share) / 3, 12);
    expect(tokens).toBe(1);
    expect(efficiency).toBeCloseTo((second.share + third.share / 2) / 2, 12);
  });

  it('follows a layer whose image tokens were dropped', () => {
    const rows: PlacedRow[] = [
      { layer: 0, step: 0, labels: LABELS, attention: softmax(7, 1) },
      { layer: 1, step: 0, labels: [SYSTEM_ROW, 2, INSTRUCTION_ROW], attention: [0.25, 0.25, 0.5] },
    ];
    expect(sharesByLayer(rows)[1].image).toEqual({ share: 0.25, tokens: 1, efficiency: 0.25 });
  });

  it('has no holes where only deep layers were recorded', () => {
    const rows = run(3, 1).filter(({ layer }) => layer === 2);
    const shares = sharesByLayer(rows);
    expect(shares).toHaveLength(3);
    expect(total(shares[0])).toBe(0);
    expect(total(shares[2])).toBeCloseTo(1, 6);
  });
});

describe('concentration of the patches', () => {
  it('sorts the shares and says what the highest hold', () => {
    const attention = new Float32Array(100).fill(1);
    attention[40] = 50;
    for (const patch of [1, 2, 3, 4]) attention[patch] = 10;
    const { shares, sorted, top } = patchConcentration(attention);
    const all = 50 + 4 * 10 + 95;
    expect(shares).toEqual(Array.from(attention, (value) => value / all));
    expect(sorted.slice(0, 6)).toEqual([50, 10, 10, 10, 10, 1].map((value) => value / all));
    expect(sorted.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 12);
    expect(top.map(({ percent, patches }) => [percent, patches])).toEqual([
      [1, 1],
      [5, 5],
      [10, 10],
    ]);
    const held = [50, 90, 95].map((value) => value / all);
    top.forEach(({ share }, index) => expect(share).toBeCloseTo(held[index], 12));
  });

  it('is even for even attention, whatever its scale', () => {
    for (const scale of [0.001, 1, 16]) {
      const { top } = patchConcentration(new Float32Array(576).fill(scale));
      for (const { share, patches } of top) expect(share).toBeCloseTo(patches / 576, 6);
      expect(top.map(({ patches }) => patches)).toEqual([6, 29, 58]);
    }
  });

  it('counts at least one patch, and gives no number for nothing', () => {
    expect(patchConcentration([3]).top[0]).toEqual({ percent: 1, patches: 1, share: 1 });
    expect(patchConcentration([0, 0]).sorted).toEqual([0, 0]);
  });

  it('leaves what it was given as it was', () => {
    const attention = Float32Array.of(1, 3, 2);
    patchConcentration(attention);
    expect([...attention]).toEqual([1, 3, 2]);
  });
});
