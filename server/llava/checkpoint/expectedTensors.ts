import { ModelError } from '../errors';
import type { TensorMap } from './checkpoint';
import { featureStates, type LlavaConfig } from './config';

export const IMAGE_NEWLINE = 'model.image_newline';

/** A tensor that the engine cannot do without. */
export interface ExpectedTensor {
  readonly name: string;
  readonly shape: readonly number[];
}

/**
 * Every tensor that the engine reads, with its shape, in the order of the computation. Tower layers after the deepest
 * feature layer, the tower's `post_layernorm` and SigLIP's pooling head are not read, so they are not expected.
 */
export function expectedTensors(config: LlavaConfig): ExpectedTensor[] {
  return [
    ...towerTensors(config),
    ...projectorTensors(config),
    ...newlineTensors(config),
    ...decoderTensors(config),
  ];
}

function towerTensors(config: LlavaConfig): ExpectedTensor[] {
  const { vision } = config;
  const tower = 'model.vision_tower';
  const dim = vision.hiddenSize;
  const inner = vision.intermediateSize;
  const positions = Math.floor(vision.imageSize / vision.patchSize) ** 2 + (vision.hasClassToken ? 1 : 0);
  const tensors: ExpectedTensor[] = [];
  if (vision.hasClassToken) tensors.push({ name: `${tower}.embeddings.class_embedding`, shape: [dim] });
  tensors.push({
    name: `${tower}.embeddings.patch_embedding.weight`,
    shape: [dim, 3, vision.patchSize, vision.patchSize],
  });
  if (!vision.hasClassToken) tensors.push({ name: `${tower}.embeddings.patch_embedding.bias`, shape: [dim] });
  tensors.push({ name: `${tower}.embeddings.position_embedding.weight`, shape: [positions, dim] });
  // "layrnorm" is how CLIP's code spells it.
  if (vision.hasClassToken) tensors.push(...norm(`${tower}.pre_layrnorm`, dim));

  const layers = Math.max(...featureStates(config));
  for (let layer = 0; layer < layers; layer++) {
    const prefix = `${tower}.encoder.layers.${layer}`;
    tensors.push(...norm(`${prefix}.layer_norm1`, dim));
    for (const projection of ['q_proj', 'k_proj', 'v_proj', 'out_proj'])
      tensors.push(...linear(`${prefix}.self_attn.${projection}`, dim, dim, true));
    tensors.push(...norm(`${prefix}.layer_norm2`, dim));
    tensors.push(...linear(`${prefix}.mlp.fc1`, inner, dim, true));
    tensors.push(...linear(`${prefix}.mlp.fc2`, dim, inner, true));
  }
  return tensors;
}

function projectorTensors(config: LlavaConfig): ExpectedTensor[] {
  const features = config.vision.hiddenSize * config.visionFeatureLayer.length;
  const dim = config.text.hiddenSize;
  const projector = 'model.multi_modal_projector';
  return [
    ...linear(`${projector}.linear_1`, dim, features, config.projectorBias),
    ...linear(`${projector}.linear_2`, dim, dim, config.projectorBias),
  ];
}

/** The token that ends a row of tiles. */
function newlineTensors({ anyres, text }: LlavaConfig): ExpectedTensor[] {
  return anyres ? [{ name: IMAGE_NEWLINE, shape: [text.hiddenSize] }] : [];
}

function decoderTensors(config: LlavaConfig): ExpectedTensor[] {
  const { text } = config;
  const decoder = 'model.language_model';
  const dim = text.hiddenSize;
  const queries = text.numAttentionHeads * text.headDim;
  const keys = text.numKeyValueHeads * text.headDim;
  const tensors: ExpectedTensor[] = [
    { name: `${decoder}.embed_tokens.weight`, shape: [text.vocabSize, dim] },
  ];
  for (let layer = 0; layer < text.numHiddenLayers; layer++) {
    const prefix = `${decoder}.layers.${layer}`;
    tensors.push({ name: `${prefix}.input_layernorm.weight`, shape: [dim] });
    tensors.push(...linear(`${prefix}.self_attn.q_proj`, queries, dim, text.qkvBias));
    tensors.push(...linear(`${prefix}.self_attn.k_proj`, keys, dim, text.qkvBias));
    tensors.push(...linear(`${prefix}.self_attn.v_proj`, keys, dim, text.qkvBias));
    tensors.push(...linear(`${prefix}.self_attn.o_proj`, dim, queries, text.outputBias));
    tensors.push({ name: `${prefix}.post_attention_layernorm.weight`, shape: [dim] });
    for (const projection of ['gate_proj', 'up_proj'])
      tensors.push(...linear(`${prefix}.mlp.${projection}`, text.intermediateSize, dim, text.mlpBias));
    tensors.push(...linear(`${prefix}.mlp.down_proj`, dim, text.intermediateSize, text.mlpBias));
  }
  tensors.push({ name: `${decoder}.norm.weight`, shape: [dim] });
  if (!text.tieWordEmbeddings) tensors.push({ name: 'lm_head.weight', shape: [text.vocabSize, dim] });
  return tensors;
}

function norm(prefix: string, dim: number): ExpectedTensor[] {
  return [
    { name: `${prefix}.weight`, shape: [dim] },
    { name: `${prefix}.bias`, shape: [dim] },
  ];
}

/** A HuggingFace linear layer: weight [out, in], bias [out]. */
function linear(prefix: string, out: number, input: number, bias: boolean): ExpectedTensor[] {
  const weight = { name: `${prefix}.weight`, shape: [out, input] };
  return bias ? [weight, { name: `${prefix}.bias`, shape: [out] }] : [weight];
}

/**
 * Checks that the checkpoint has every expected tensor in the expected shape.
 * @throws ModelError `model.tensor-missing` or `model.tensor-shape`, naming the first such tensor and how many there are.
 */
export function checkTensors(config: LlavaConfig, tensors: TensorMap): void {
  const expected = expectedTensors(config);
  const missing = expected.filter(({ name }) => !tensors.has(name));
  if (missing.length > 0)
    throw new ModelError({
      code: 'model.tensor-missing',
      message: `The checkpoint has no tensor ${missing[0].name} of shape ${describe(missing[0].shape)}.`,
      why:
        missing.length === 1
          ? 'Its config.json says that this tensor exists.'
          : `${missing.length} of ${expected.length} tensors that its config.json promises are missing.`,
      nextStep:
        'Download the checkpoint again; if that does not help, its config.json belongs to another model.',
    });
  for (const { name, shape } of expected) {
    const found = tensors.get(name)!.shape;
    if (found.length === shape.length && found.every((size, i) => size === shape[i])) continue;
    throw new ModelError({
      code: 'model.tensor-shape',
      message: `Tensor ${name} has shape ${describe(found)}, but ${describe(shape)} was expected.`,
      why: 'The sizes in config.json and the weights contradict each other.',
      nextStep: 'Use a checkpoint whose config.json belongs to its weights.',
    });
  }
}

function describe(shape: readonly number[]): string {
  return `[${shape.join(', ')}]`;
}
