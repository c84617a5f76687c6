import { rmSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { DecoderGraph } from '../graph/decoder';
import { copyCheckpoint } from '../checkpoint/testing';
import { LlavaModel } from '../model';
import { fixtureImage, readFixture } from '../testing/fixtures';
import { temporaryDirectory } from '../testing/temporaryDirectory';

/** One question after the other with different cuts: what one leaves in memory must not change the next one's answer. */
const REDUCTIONS = [
  'none',
  'fastv:layer=2,keep=0.5',
  'none',
  'sparsevlm:keep=0.5',
  'fixedrate',
  'fastv:layer=1,keep=9',
  'fastv:layer=3,keep=0.25',
  'none',
];

const fixture = readFixture('clip-llama');
const cacheDirectory = temporaryDirectory();

async function answer(
  model: LlavaModel,
  reduction: string,
): Promise<{ ids: number[]; logits: Float32Array[] }> {
  const logits: Float32Array[] = [];
  const { answerTokenIds } = await model.ask(
    {
      images: [fixtureImage(fixture, 0)],
      question: fixture.description.question,
      reduction,
      sampling: { maxTokens: 5 },
    },
    { onLogits: (row) => logits.push(row.slice()), reuse: false },
  );
  return { ids: answerTokenIds, logits };
}

describe('a decoder whose sessions have copies of their weights', () => {
  let model: LlavaModel;
  beforeAll(async () => {
    model = await LlavaModel.open(fixture.directory, { precision: 'q4', cacheDirectory });
  });
  afterAll(() => model.dispose());

  it('answers every question as a fresh one does, and has every layer in memory once', async () => {
    const cuts = new Set<number>();
    for (const reduction of REDUCTIONS) {
      const here = await answer(model, reduction);
      const fresh = await LlavaModel.open(fixture.directory, { precision: 'q4', cacheDirectory });
      expect(here, reduction).toEqual(await answer(fresh, reduction));
      await fresh.dispose();

      const parts = model.sessions.loadedParts;
      const layers = model.checkpoint.config.text.numHiddenLayers;
      for (let layer = 0; layer < layers; layer++) {
        const holding = parts.filter(({ from, to }) => from <= layer && layer < to);
        expect(holding.length).toBeGreaterThan(0);
        // With and without the score of a boundary, over the same layers.
        expect(new Set(holding.map(({ from, to }) => `${from}-${to}`)).size).toBe(1);
        expect(holding.filter(({ score }) => !score).length).toBe(1);
      }
      expect(parts.filter(({ head }) => head !== 'none').length).toBe(1);
      for (const { from } of parts) cuts.add(from);
    }
    // The cuts add up: nothing that was cut is put together again.
    expect([...cuts].sort()).toEqual([0, 1, 2, 3]);
  });

  it('keeps its sessions from question to question', async () => {
    await answer(model, 'none');
    const before = await Promise.all(model.sessions.loadedParts.map((part) => model.sessions.decoder(part)));
    await answer(model, 'fastv:layer=2,keep=0.5');
    const after = await Promise.all(model.sessions.loadedParts.map((part) => model.sessions.decoder(part)));
    expect(new Set(after)).toEqual(new Set(before));
  });
});

describe('a decoder whose weights are mapped', () => {
  it('runs a part as it is', async () => {
    const model = await LlavaModel.open(fixture.directory, { precision: 'fp32', cacheDirectory });
    const part: DecoderGraph = { from: 0, to: 4, past: true, head: 'last', attention: 'mean' };
    model.sessions.pieces({ ...part, to: 2, head: 'none' });
    expect(model.sessions.pieces(part)).toEqual([part]);
    await model.dispose();
  });
});

describe('converted weights whose files are gone', () => {
  it('are made again when a further session needs them', async () => {
    const folder = temporaryDirectory();
    const model = await LlavaModel.open(fixture.directory, { precision: 'q4', cacheDirectory: folder });
    const expected = [await answer(model, 'fastv:layer=2,keep=0.5'), await answer(model, 'none')];
    await model.dispose();
    const again = await LlavaModel.open(fixture.directory, { precision: 'q4', cacheDirectory: folder });
    rmSync(path.join(folder, again.checkpoint.hash), { recursive: true });
    expect(await answer(again, 'fastv:layer=2,keep=0.5')).toEqual(expected[0]);
    rmSync(path.join(folder, again.checkpoint.hash), { recursive: true });
    // Another cut: other sessions.
    const first = await answer(again, 'fastv:layer=1,keep=0.5');
    await again.dispose();
    const fresh = await LlavaModel.open(fixture.directory, { precision: 'q4', cacheDirectory: folder });
    expect(first).toEqual(await answer(fresh, 'fastv:layer=1,keep=0.5'));
    await fresh.dispose();
  });

  it('are missed by name where they cannot be made', async () => {
    const source = copyCheckpoint('clip-llama', path.join(temporaryDirectory(), 'checkpoint'));
    const model = await LlavaModel.open(source, { precision: 'q4', cacheDirectory: temporaryDirectory() });
    rmSync(path.join(source, 'model.safetensors'));
    const error = await answer(model, 'none').catch((thrown: unknown) => thrown);
    await model.dispose();
    expect(error).toMatchObject({
      code: 'model.weights-lost',
      why: expect.stringContaining('model.safetensors'),
    });
  });
});
