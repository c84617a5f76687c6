/**
 * Checkpoints name their tensors in three generations (transformers before 4.52, 4.52 to 4.x, 5.x). The engine knows
 * only the last one, "canonical": what `LlavaForConditionalGeneration.state_dict()` has in memory in transformers 5.
 *
 *   files on the hub        language_model.model.layers.*        vision_tower.vision_model.encoder.*        language_model.lm_head
 *   in memory since 4.52    model.language_model.layers.*        model.vision_tower.vision_model.encoder.*  lm_head
 *   canonical (5.x)         model.language_model.layers.*        model.vision_tower.encoder.*               lm_head
 */
const RENAMINGS: readonly (readonly [prefix: string, canonical: string])[] = [
  ['language_model.lm_head.', 'lm_head.'],
  ['language_model.model.', 'model.language_model.'],
  // As `LlavaModel` without a head is saved.
  ['language_model.', 'model.language_model.'],
  ['model.vision_tower.vision_model.', 'model.vision_tower.'],
  ['vision_tower.vision_model.', 'model.vision_tower.'],
  ['vision_tower.', 'model.vision_tower.'],
  ['multi_modal_projector.', 'model.multi_modal_projector.'],
  ['image_newline', 'model.image_newline'],
];

/** The canonical name of a tensor of any generation. A name that no generation knows is returned as it is. */
export function canonicalName(name: string): string {
  const renaming = RENAMINGS.find(([prefix]) => name.startsWith(prefix));
  return renaming ? renaming[1] + name.slice(renaming[0].length) : name;
}
