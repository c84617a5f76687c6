import { readdirSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { ALL_FIXTURES, readFixture } from '../testing/fixtures';
import type { TensorMap, TensorSource } from './checkpoint';
import { featureStates } from './config';
import { checkTensors, expectedTensors } from './expectedTensors';
import { openCheckpoint } from './open';
import { parseConfig } from './parseConfig';
import { readSafetensorsHeader } from './safetensors';
import { canonicalName } from './tensorNames';

describe.each(ALL_FIXTURES)('tensors of %s, as transformers wrote them', (name) => {
  it('are the expected ones, except what no answer depends on', async () => {
    const { directory } = readFixture(name);
    const { config } = await openCheckpoint(directory);
    const written = new Map<string, readonly number[]>();
    for (const file of readdirSync(directory).filter((entry) => entry.endsWith('.safetensors')))
      for (const { name: tensor, shape } of (await readSafetensorsHeader(path.join(directory, file))).tensors)
        written.set(canonicalName(tensor), shape);

    const expected = new Map(expectedTensors(config).map(({ name: tensor, shape }) => [tensor, shape]));
    for (const [tensor, shape] of expected) expect([tensor, written.get(tensor)]).toEqual([tensor, shape]);
    const deepest = Math.max(...featureStates(config));
    for (const tensor of written.keys()) {
      if (expected.has(tensor)) continue;
      const layer = /^model\.vision_tower\.encoder\.layers\.(\d+)\./.exec(tensor)?.[1];
      const unread = /^model\.vision_tower\.(post_layernorm|head)\./.test(tensor);
      expect([tensor, unread || (layer !== undefined && Number(layer) >= deepest)]).toEqual([tensor, true]);
    }
  });
});

describe('expectedTensors', () => {
  const llava = parseConfig({ model_type: 'llava' });
  const names = (config = llava): string[] => expectedTensors(config).map(({ name }) => name);

  it('counts the parameters of llava-1.5-7b that are read', () => {
    const config = { ...llava, text: { ...llava.text, vocabSize: 32064 } };
    const count = expectedTensors(config).reduce(
      (sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1),
      0,
    );
    // 7,063,427,072 in all, less the tower's last layer and its post_layernorm.
    const layer = 4 * (1024 * 1024 + 1024) + 2 * 1024 * 4096 + 4096 + 1024 + 4 * 1024;
    expect(count).toBe(7_063_427_072 - layer - 2 * 1024);
  });

  it('stops at the deepest feature layer, whatever its order in the list', () => {
    const deepest = (visionFeatureLayer: number[]): number =>
      Math.max(
        ...names({ ...llava, visionFeatureLayer }).map((name) =>
          Number(/vision_tower\.encoder\.layers\.(\d+)/.exec(name)?.[1] ?? -1),
        ),
      );
    expect(deepest([-2])).toBe(22);
    expect(deepest([-1])).toBe(23);
    expect(deepest([-1, 3])).toBe(23);
    expect(deepest([0])).toBe(-1);
    expect(deepest([-25])).toBe(-1);
  });

  it('leaves lm_head out where the embeddings are tied', () => {
    expect(names()).toContain('lm_head.weight');
    expect(names({ ...llava, text: { ...llava.text, tieWordEmbeddings: true } })).not.toContain(
      'lm_head.weight',
    );
  });
});

describe('checkTensors', () => {
  const config = parseConfig({ model_type: 'llava', text_config: { num_hidden_layers: 1 } });

  function complete(): Map<string, TensorSource> {
    const rest = { dtype: 'F32', file: 'f', offset: 0, byteLength: 0 } as const;
    return new Map(expectedTensors(config).map(({ name, shape }) => [name, { name, shape, ...rest }]));
  }

  it('accepts what is complete', () => {
    expect(() => checkTensors(config, complete())).not.toThrow();
  });

  it('names any tensor that is missing, and its shape', () => {
    for (const { name, shape } of expectedTensors(config)) {
      const tensors = complete();
      tensors.delete(name);
      expect(() => checkTensors(config, tensors as TensorMap)).toThrow(
        expect.objectContaining({
          code: 'model.tensor-missing',
          message: `The checkpoint has no tensor ${name} of shape [${shape.join(', ')}].`,
        }),
      );
    }
  });

  it('names any tensor of another shape, with both shapes', () => {
    for (const { name, shape } of expectedTensors(config)) {
      for (const wrong of [[...shape, 1], shape.slice(1), shape.map((size) => size + 1)]) {
        const tensors = complete();
        tensors.set(name, { ...tensors.get(name)!, shape: wrong });
        expect(() => checkTensors(config, tensors as TensorMap)).toThrow(
          expect.objectContaining({
            code: 'model.tensor-shape',
            message: `Tensor ${name} has shape [${wrong.join(', ')}], but [${shape.join(', ')}] was expected.`,
          }),
        );
      }
    }
  });
});
