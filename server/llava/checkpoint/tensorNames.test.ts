import { describe, expect, it } from 'vitest';
import { canonicalName } from './tensorNames';

describe('canonicalName', () => {
  it.each([
    [
      'language_model.model.layers.3.self_attn.q_proj.weight',
      'model.language_model.layers.3.self_attn.q_proj.weight',
      'model.language_model.layers.3.self_attn.q_proj.weight',
    ],
    [
      'language_model.model.embed_tokens.weight',
      'model.language_model.embed_tokens.weight',
      'model.language_model.embed_tokens.weight',
    ],
    [
      'language_model.model.norm.weight',
      'model.language_model.norm.weight',
      'model.language_model.norm.weight',
    ],
    ['language_model.lm_head.weight', 'lm_head.weight', 'lm_head.weight'],
    [
      'vision_tower.vision_model.encoder.layers.0.mlp.fc1.bias',
      'model.vision_tower.vision_model.encoder.layers.0.mlp.fc1.bias',
      'model.vision_tower.encoder.layers.0.mlp.fc1.bias',
    ],
    [
      'vision_tower.vision_model.pre_layrnorm.weight',
      'model.vision_tower.vision_model.pre_layrnorm.weight',
      'model.vision_tower.pre_layrnorm.weight',
    ],
    [
      'multi_modal_projector.linear_1.weight',
      'model.multi_modal_projector.linear_1.weight',
      'model.multi_modal_projector.linear_1.weight',
    ],
    ['image_newline', 'model.image_newline', 'model.image_newline'],
  ])('maps both older generations of a name to the newest: %s', (hub, inMemory, canonical) => {
    expect(canonicalName(hub)).toBe(canonical);
    expect(canonicalName(inMemory)).toBe(canonical);
    expect(canonicalName(canonical)).toBe(canonical);
  });

  it('maps the names of a model that was saved without its head', () => {
    expect(canonicalName('language_model.layers.0.mlp.up_proj.weight')).toBe(
      'model.language_model.layers.0.mlp.up_proj.weight',
    );
    expect(canonicalName('vision_tower.encoder.layers.0.mlp.fc1.bias')).toBe(
      'model.vision_tower.encoder.layers.0.mlp.fc1.bias',
    );
  });

  it('leaves unknown names as they are', () => {
    for (const name of ['dyrate.classifier.weight', 'lm_head_2.weight', ''])
      expect(canonicalName(name)).toBe(name);
  });
});
