import { statSync } from 'node:fs';
import path from 'node:path';

import { describe, expect, it } from 'vitest';

import { expectedTensors } from '../llava/checkpoint/expectedTensors';
import { openCheckpoint } from '../llava/checkpoint/open';
import { parseConfig } from '../llava/checkpoint/parseConfig';
import {
  CATALOGUE,
  catalogueEntry,
  conversionBytes,
  EMBEDDED_MODEL,
  memoryNeeded,
  unsupported,
} from './catalogue';
import { isRepositoryId } from './fileNames';

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
    expect(memoryNeeded(entry)).toBeGreaterThan(entry.parameters * 4);
    expect(conversionBytes(entry)).toBe(entry.parameters * 4);
  });

  it('leaves it to the engine what can run', () => {
    expect(unsupported({ model_type: 'llava_of_the_future' })?.code).toMatch(/^model\.unsupported/);
    expect(unsupported(undefined)).toBeDefined();
  });
});
