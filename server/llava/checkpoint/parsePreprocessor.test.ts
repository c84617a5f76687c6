import { describe, expect, it } from 'vitest';
import { ModelError } from '../errors';
import type { VisionConfig } from './config';
import { parseConfig } from './parseConfig';
import { parsePreprocessor } from './parsePreprocessor';

const clip = parseConfig({ model_type: 'llava' }).vision;
const siglip: VisionConfig = {
  ...clip,
  modelType: 'siglip_vision_model',
  hasClassToken: false,
  imageSize: 384,
};

const parse = (fields: object | undefined, vision = clip) =>
  parsePreprocessor(
    fields as Record<string, unknown> | undefined,
    { vision, anyres: undefined, modelType: 'llava' },
    'preprocessor_config.json',
  );

describe('parsePreprocessor', () => {
  it('reads llava-1.5', () => {
    const fields = {
      crop_size: { height: 336, width: 336 },
      do_center_crop: true,
      do_convert_rgb: true,
      do_normalize: true,
      do_rescale: true,
      do_resize: true,
      image_mean: [0.48145466, 0.4578275, 0.40821073],
      image_processor_type: 'CLIPImageProcessor',
      image_std: [0.26862954, 0.26130258, 0.27577711],
      resample: 3,
      rescale_factor: 0.00392156862745098,
      size: { shortest_edge: 336 },
    };
    expect(parse(fields)).toEqual({
      size: 336,
      rescaleFactor: 1 / 255,
      mean: fields.image_mean,
      std: fields.image_std,
      resample: 3,
      shortestEdge: 336,
      padsToSquare: false,
      background: [122, 116, 104],
    });
  });

  it('takes what is left out from the processor that the file names, not from the tower', () => {
    const size = { height: 384, width: 384 };
    expect(
      parse({ image_processor_type: 'CLIPImageProcessor', size, crop_size: size }, siglip),
    ).toMatchObject({
      shortestEdge: undefined,
      mean: [0.48145466, 0.4578275, 0.40821073],
      std: [0.26862954, 0.26130258, 0.27577711],
    });
    expect(
      parse({ image_processor_type: 'CLIPImageProcessorFast', size: 384, crop_size: 384 }, siglip),
    ).toMatchObject({ shortestEdge: 384 });
    expect(
      parse({ image_processor_type: 'SiglipImageProcessor', size: { height: 336, width: 336 } }),
    ).toMatchObject({ shortestEdge: undefined, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] });
  });

  it("reads do_pad of LLaVA's own processor, which CLIP's does not have", () => {
    const pads = (image_processor_type: string): boolean =>
      parse({ image_processor_type, do_pad: true, size: { shortest_edge: 336 } }).padsToSquare;
    expect(pads('LlavaImageProcessor')).toBe(true);
    expect(pads('CLIPImageProcessor')).toBe(false);
  });

  it('reads SigLIP, which squeezes', () => {
    expect(parse({ size: { height: 384, width: 384 }, image_mean: [0.5, 0.5, 0.5] }, siglip)).toMatchObject({
      size: 384,
      shortestEdge: undefined,
      std: [0.5, 0.5, 0.5],
    });
  });

  it('takes the defaults of the class at the size of the tower, without a file', () => {
    expect(parse(undefined)).toMatchObject({
      size: 336,
      shortestEdge: 336,
      resample: 3,
      rescaleFactor: 1 / 255,
    });
    expect(parse(undefined, siglip)).toMatchObject({
      size: 384,
      shortestEdge: undefined,
      mean: [0.5, 0.5, 0.5],
    });
  });

  it('reads sizes that are numbers', () => {
    expect(parse({ size: 336, crop_size: 336 })).toMatchObject({ size: 336, shortestEdge: 336 });
  });

  it('reads a resize to more than the crop', () => {
    expect(parse({ size: { shortest_edge: 384 }, crop_size: 336 })).toMatchObject({
      size: 336,
      shortestEdge: 384,
    });
  });

  it('switches steps off', () => {
    expect(parse({ do_normalize: false, do_rescale: false })).toMatchObject({
      rescaleFactor: 1,
      mean: [0, 0, 0],
      std: [1, 1, 1],
      background: [122, 116, 104],
    });
  });

  it.each([
    ['model.preprocessor-size', { size: { shortest_edge: 224 }, crop_size: { height: 224, width: 224 } }],
    ['model.preprocessor-size', { size: { shortest_edge: 224 }, crop_size: { height: 336, width: 336 } }],
    ['model.preprocessor-size', { size: { height: 224, width: 224 } }],
    ['model.unsupported-preprocessing', { do_resize: false }],
    ['model.unsupported-preprocessing', { do_center_crop: false }],
    ['model.unsupported-preprocessing', { size: { longest_edge: 336 } }],
    ['model.unsupported-preprocessing', { size: { height: 336, width: 224 } }],
    ['model.unsupported-preprocessing', { resample: 1 }],
    ['model.file-invalid', { size: 'large' }],
    ['model.file-invalid', { size: { shortest_edge: -1 } }],
    ['model.file-invalid', { image_mean: [0.5, 0.5] }],
    ['model.file-invalid', { image_mean: [0.5, 0.5, null] }],
    ['model.file-invalid', { image_std: [0.5, 0, 0.5] }],
    ['model.file-invalid', { rescale_factor: 0 }],
    ['model.file-invalid', { do_normalize: 'yes' }],
  ])('refuses with %s: %j', (code, fields) => {
    expect(() => parse({ size: { shortest_edge: 336 }, ...fields })).toThrow(ModelError);
    expect(() => parse({ size: { shortest_edge: 336 }, ...fields })).toThrow(
      expect.objectContaining({ code }),
    );
  });
});
