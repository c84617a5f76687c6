import { ModelError } from '../errors';
import type { PreprocessorConfig } from './checkpoint';
import type { LlavaConfig } from './config';
import { parsePinpoints } from './parseConfig';
import { invalidFile } from './readJson';

type Fields = Readonly<Record<string, unknown>>;
type Triple = readonly [number, number, number];

/** Defaults of transformers' image processors: CLIP's, which all but SigLIP's share, and SigLIP's. */
const CLIP_MEAN: Triple = [0.48145466, 0.4578275, 0.40821073];
const CLIP_STD: Triple = [0.26862954, 0.26130258, 0.27577711];
const SIGLIP_MEAN: Triple = [0.5, 0.5, 0.5];
const SIGLIP_STD: Triple = [0.5, 0.5, 0.5];
const BICUBIC = 3;

/**
 * Reads preprocessor_config.json, or the `image_processor` part of processor_config.json (transformers 5).
 *
 * @param json undefined where the checkpoint has neither: then the class defaults at the tower's size
 * @param file for messages
 * Fields that the file leaves out have the defaults of the processor that it names, whatever the tower is.
 *
 * @throws ModelError `model.file-invalid`, `model.unsupported-preprocessing`, or `model.preprocessor-size` when the
 *   processor makes images (or tiles) of another size than the tower takes.
 */
export function parsePreprocessor(
  json: Fields | undefined,
  { vision, anyres, modelType }: Pick<LlavaConfig, 'vision' | 'anyres' | 'modelType'>,
  file: string,
): PreprocessorConfig {
  const fields = json ?? {};
  const named = fields.image_processor_type ?? fields.feature_extractor_type;
  const processor = typeof named === 'string' ? named : '';
  const siglip = modelType === 'llava' && processorKind(processor, vision) === 'siglip';
  const flag = (key: string, fallback: boolean): boolean => {
    const value = fields[key] ?? fallback;
    if (typeof value !== 'boolean')
      throw invalidFile(file, `"${key}" is ${JSON.stringify(value)}, not true or false.`);
    return value;
  };
  if (!flag('do_resize', true)) throw unsupported('no resizing (do_resize: false)', 'do_resize: true');

  const resize = parseSize(fields.size, 'size', file);
  // The overview of a tiled model is squeezed to the square and its tiles have that size already: nothing is cropped.
  const crops = !anyres && flag('do_center_crop', !siglip);
  const crop = parseSize(fields.crop_size, 'crop_size', file) ?? { square: vision.imageSize };
  // Without a size at all the class default would be 224, whatever the tower: the tower's own size is the only one that works.
  const own = resize ?? (siglip ? { square: vision.imageSize } : { shortestEdge: vision.imageSize });
  // Tiled models squeeze to a square of the shortest edge.
  const size: Size = anyres && own.shortestEdge !== undefined ? { square: own.shortestEdge } : own;
  const shortestEdge = size.shortestEdge;
  if (shortestEdge !== undefined && !crops)
    throw unsupported(
      'resizing by the shortest edge without a center crop',
      'a center crop, or a square size',
    );
  const side =
    shortestEdge !== undefined ? crop.square : crops ? Math.min(size.square!, crop.square!) : size.square;
  if (
    side !== vision.imageSize ||
    (shortestEdge !== undefined && shortestEdge < side) ||
    ((crops || (anyres && fields.crop_size)) && crop.square !== side)
  )
    throw new ModelError({
      code: 'model.preprocessor-size',
      message: `${file} does not make images of ${vision.imageSize} x ${vision.imageSize} pixels.`,
      why: `The vision tower takes exactly this size, but the file says ${JSON.stringify({ size: fields.size, crop_size: fields.crop_size })}.`,
      nextStep: 'Use the preprocessor file that belongs to this checkpoint.',
    });

  const pinpoints = fields.image_grid_pinpoints ?? undefined;
  if (anyres && pinpoints !== undefined) {
    const parsed = parsePinpoints(pinpoints, vision.imageSize);
    if (JSON.stringify(parsed) !== JSON.stringify(anyres.pinpoints))
      throw new ModelError({
        code: 'model.preprocessor-size',
        message: `${file} cuts pictures into other tiles than config.json expects.`,
        why: 'Their image_grid_pinpoints differ.',
        nextStep: 'Use the preprocessor file that belongs to this checkpoint.',
      });
  }

  const normalizes = flag('do_normalize', true);
  const resample = fields.resample ?? BICUBIC;
  if (resample !== 2 && resample !== 3)
    throw unsupported(`resampling filter ${JSON.stringify(resample)}`, '2 (bilinear), 3 (bicubic)');
  const rescaleFactor = flag('do_rescale', true) ? (fields.rescale_factor ?? 1 / 255) : 1;
  if (typeof rescaleFactor !== 'number' || !(rescaleFactor > 0) || !Number.isFinite(rescaleFactor))
    throw invalidFile(file, `"rescale_factor" is ${JSON.stringify(rescaleFactor)}, not a number above 0.`);
  const mean = parseTriple(fields.image_mean, siglip ? SIGLIP_MEAN : CLIP_MEAN, 'image_mean', file);
  const std = parseTriple(fields.image_std, siglip ? SIGLIP_STD : CLIP_STD, 'image_std', file);
  if (std.some((value) => value <= 0))
    throw invalidFile(file, '"image_std" has a value that is not above 0.');
  return {
    size: side,
    rescaleFactor,
    mean: normalizes ? mean : [0, 0, 0],
    std: normalizes ? std : [1, 1, 1],
    resample,
    shortestEdge,
    padsToSquare: processor.startsWith('LlavaImageProcessor') && flag('do_pad', false),
    // The integer part, as LLaVA's expand2square takes it.
    background: [Math.trunc(mean[0] * 255), Math.trunc(mean[1] * 255), Math.trunc(mean[2] * 255)],
  };
}

/** By name (with or without "Fast" and the like behind it); files of unknown processors are read as the tower's own. */
function processorKind(name: string, vision: LlavaConfig['vision']): 'clip' | 'siglip' {
  if (/^siglip/i.test(name)) return 'siglip';
  if (/^(clip|llava)/i.test(name)) return 'clip';
  return vision.hasClassToken ? 'clip' : 'siglip';
}

type Size = { shortestEdge: number; square?: undefined } | { square: number; shortestEdge?: undefined };

/** Sizes in all the ways that they are written: a number, {shortest_edge}, {height, width}. */
function parseSize(value: unknown, key: string, file: string): Size | undefined {
  if (value === undefined || value === null) return undefined;
  const side = (number: unknown): number => {
    if (typeof number !== 'number' || !Number.isInteger(number) || number < 1)
      throw invalidFile(
        file,
        `"${key}" has the size ${JSON.stringify(number)}, not a whole number from 1 up.`,
      );
    return number;
  };
  // A bare number is the short side for `size` (default_to_square is false), a square for `crop_size`.
  if (typeof value === 'number')
    return key === 'size' ? { shortestEdge: side(value) } : { square: side(value) };
  if (typeof value === 'object' && !Array.isArray(value)) {
    const fields = value as Fields;
    if (fields.longest_edge !== undefined && fields.longest_edge !== null)
      throw unsupported(`"${key}" with a longest_edge`, 'shortest_edge, or height and width');
    if (fields.shortest_edge !== undefined && fields.shortest_edge !== null)
      return { shortestEdge: side(fields.shortest_edge) };
    if (side(fields.height) === side(fields.width)) return { square: side(fields.height) };
    throw unsupported(`"${key}" that is not a square`, 'squares');
  }
  throw invalidFile(file, `"${key}" is ${JSON.stringify(value)}.`);
}

function parseTriple(value: unknown, fallback: Triple, key: string, file: string): Triple {
  const numbers = value ?? fallback;
  if (
    !Array.isArray(numbers) ||
    numbers.length !== 3 ||
    !numbers.every((number) => typeof number === 'number' && Number.isFinite(number))
  )
    throw invalidFile(file, `"${key}" is ${JSON.stringify(value)}, not three numbers.`);
  return numbers as unknown as Triple;
}

function unsupported(what: string, supported: string): ModelError {
  return new ModelError({
    code: 'model.unsupported-preprocessing',
    message: `The checkpoint prepares images in a way that Fovea cannot follow: ${what}.`,
    why: `Supported: ${supported}.`,
    nextStep: 'Choose a LLaVA checkpoint with a CLIP or SigLIP image processor.',
  });
}
