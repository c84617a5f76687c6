import { statSync } from 'node:fs';
import path from 'node:path';

import { describe, expect, it } from 'vitest';

import { predictQuestion } from '../llava/analysis/prediction';
import { weightMemory } from '../llava/analysis/weightMemory';
import { expectedTensors } from '../llava/checkpoint/expectedTensors';
import { openCheckpoint } from '../llava/checkpoint/open';
import { parseConfig } from '../llava/checkpoint/parseConfig';
import { sidecarBytes } from '../llava/checkpoint/sidecar';
import {
  CATALOGUE,
  catalogueEntry,
  conversionBytes,
  EMBEDDED_MODEL,
  memoryNeeded,
  unsupported,
} from './catalogue';
import { isRepositoryId } from './fileNames';

/** Four bits and, per block of 32, a scale. */
const BYTES_PER_Q4_WEIGHT = 0.625;

const onTheHub = CATALOGUE.filter(({ repository }) => repository !== undefined);

describe('the catalogue', () => {
  it('has the embedded model first, as it is', async () => {
    const [first] = CATALOGUE;
    expect(first.name).toBe(EMBEDDED_MODEL);
    const folder = path.join(__dirname, '..', '..', 'model');
    const checkpoint = await openCheckpoint(folder);
    expect(first.parameters / checkpoint.parameters).toBeCloseTo(1, 1);
    expect(first.bytes / statSync(path.join(folder, 'model.safetensors')).size).toBeCloseTo(1, 1);
    expect(unsupported(first.config)).toBeUndefined();
  });

  it('has names and repositories that are distinct and well formed', () => {
    expect(new Set(CATALOGUE.map(({ name }) => name)).size).toBe(CATALOGUE.length);
    expect(onTheHub.every(({ repository }) => isRepositoryId(repository!))).toBe(true);
    // A name must never be taken for a hub id.
    expect(CATALOGUE.some(({ name }) => isRepositoryId(name))).toBe(false);
    for (const entry of onTheHub) {
      expect(catalogueEntry(entry.name)).toBe(entry);
      expect(catalogueEntry(entry.repository!)).toBe(entry);
    }
  });

  it.each(
    onTheHub
      .filter(({ config }) => unsupported(config) === undefined)
      .map((entry) => [entry.name, entry] as const),
  )('has the size of %s as its architecture makes it', (_, entry) => {
    const tensors = expectedTensors(parseConfig(entry.config));
    const parameters = tensors.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
    expect(entry.parameters / parameters).toBeGreaterThan(0.99);
    expect(entry.parameters / parameters).toBeLessThan(1.01);
    expect(entry.bytes / (parameters * 2)).toBeGreaterThan(0.99);
    expect(entry.bytes / (parameters * 2)).toBeLessThan(1.01);
  });

  it.each(onTheHub.map((entry) => [entry.name, entry] as const))('has a plausible size of %s', (_, entry) => {
    expect(entry.bytes / (entry.parameters * 2)).toBeGreaterThan(0.98);
    expect(entry.bytes / (entry.parameters * 2)).toBeLessThan(1.02);
    // On a machine that is large enough for all of them the larger ones are quantised all the same.
    expect(memoryNeeded(entry, 256e9)).toBeGreaterThan(entry.parameters * BYTES_PER_Q4_WEIGHT);
    expect(memoryNeeded(entry, 256e9)).toBeLessThan(entry.parameters * 4 + 3e9);
    expect(conversionBytes(entry, 256e9)).toBeGreaterThan(entry.parameters * BYTES_PER_Q4_WEIGHT * 0.7);
    expect(conversionBytes(entry, 256e9)).toBeLessThan(entry.parameters * 4);
  });

  it('counts the long cache and the tiles of a model that cuts pictures', () => {
    const tiled = catalogueEntry('llava-v1.6-mistral-7b')!;
    const single = { ...tiled, config: { ...tiled.config, model_type: 'llava' } };
    // 1948 tokens instead of 576: keys and values of 8 heads of 128 in 32 layers, float32.
    const cache = (1948 - 576) * 32 * 2 * 8 * 128 * 4;
    expect(memoryNeeded(tiled, 256e9) - memoryNeeded(single, 256e9)).toBeGreaterThan(cache);
  });

  it('says what inspecting the model says that is here', async () => {
    const checkpoint = await openCheckpoint(path.join(__dirname, '..', '..', 'model'));
    const question = { image: { width: 1920, height: 1080 }, textTokens: 32, answerTokens: 256 };
    const inspected =
      weightMemory(checkpoint, 'fp32').mappedBytes +
      predictQuestion(checkpoint, 'fp32', question).memoryBytes;
    const { total } = await sidecarBytes(checkpoint, 'fp32', '');
    // Its files hold a last layer of the tower too, which nobody reads.
    for (const ratio of [
      memoryNeeded(CATALOGUE[0], 16e9) / inspected,
      conversionBytes(CATALOGUE[0], 16e9) / total,
    ]) {
      expect(ratio).toBeGreaterThan(0.9);
      expect(ratio).toBeLessThan(1.01);
    }
  });

  it('leaves it to the engine what can run', () => {
    expect(unsupported({ model_type: 'llava_of_the_future' })?.code).toMatch(/^model\.unsupported/);
    expect(unsupported(undefined)).toBeDefined();
  });
});
