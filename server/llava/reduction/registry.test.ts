import { describe, expect, it } from 'vitest';
import { parseReduction } from './parse';
import { REDUCTIONS } from './registry';

describe('the registry', () => {
  it('names every method and every parameter once', () => {
    const ids = REDUCTIONS.map(({ description }) => description.id);
    expect(new Set(ids).size).toBe(ids.length);
    for (const { description } of REDUCTIONS) {
      const names = description.parameters.map(({ name }) => name);
      expect(new Set(names).size).toBe(names.length);
    }
  });

  it.each(REDUCTIONS.map(({ description }) => [description.id, description] as const))(
    '%s can be written in a spec, acts where it says, and stays inside its own ranges',
    (id, description) => {
      expect(id).toMatch(/^[a-z][a-z0-9-]*$/);
      expect(description.summary).not.toContain('\n');
      expect(description.details.length).toBeGreaterThan(description.summary.length);
      const [reduction] = parseReduction(id);
      expect(reduction.id).toBe(id);
      const places = [
        reduction.atPixels && 'pixels',
        reduction.atVision && 'vision',
        reduction.atEmbeddings && 'embeddings',
        reduction.atLayer && 'layer',
        reduction.atStep && 'step',
      ].filter((place) => place !== undefined);
      expect(description.places).toEqual(places);
      expect(Boolean(reduction.layerBoundaries)).toBe(Boolean(reduction.atLayer));
      for (const parameter of description.parameters) {
        expect(parameter.name).toMatch(/^[a-z][A-Za-z]*$/);
        if (parameter.type === 'choice') expect(parameter.choices).toContain(parameter.default);
        if (parameter.type === 'integer' || parameter.type === 'number') {
          expect(parameter.minimum).toBeLessThan(parameter.maximum);
          expect(parameter.default).toBeGreaterThanOrEqual(parameter.minimum);
          expect(parameter.default).toBeLessThanOrEqual(parameter.maximum);
        }
      }
    },
  );
});
