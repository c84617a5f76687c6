import { InputError } from '../llava/errors';

/** An image that cannot be used as it is mentioned; `code` starts with `image.`. */
export class ImageError extends InputError {
  static notFound(name: string): ImageError {
    return new ImageError({
      code: 'image.not-found',
      message: `The image ${quote(name)} does not exist.`,
      nextStep: 'Check the path; it is read relative to the file that mentions it.',
    });
  }

  static outsideWorkspace(name: string): ImageError {
    return new ImageError({
      code: 'image.outside-workspace',
      message: `The image ${quote(name)} lies outside the workspace.`,
      why: 'A text in a workspace must not make Fovea read other files of this machine.',
      nextStep: 'Copy the image into the workspace, or choose it yourself with "Fovea: Ask About Image...".',
    });
  }

  static refusedPath(name: string, why: string): ImageError {
    return new ImageError({
      code: 'image.refused-path',
      message: `The path ${quote(name)} is not opened.`,
      why,
      nextStep: 'Mention the image with a plain path inside the workspace.',
    });
  }

  static unsupportedScheme(scheme: string): ImageError {
    return new ImageError({
      code: 'image.unsupported-scheme',
      message: `Images are not read from "${scheme}:" addresses.`,
      nextStep: 'Use a file of the workspace or a data: URI.',
    });
  }

  static unreadable(name: string, cause: unknown): ImageError {
    return new ImageError({
      code: 'image.unreadable',
      message: `The image ${quote(name)} could not be read.`,
      why: cause instanceof Error ? cause.message : String(cause),
      nextStep: 'Check its permissions, and that its disk is there.',
      cause,
    });
  }

  static tooLarge(name: string, bytes: number, limit: number): ImageError {
    return new ImageError({
      code: 'image.too-large',
      message: `The file ${quote(name)} has ${megabytes(bytes)} MB; at most ${megabytes(limit)} MB are read.`,
      nextStep: 'Use a smaller image.',
    });
  }

  static tooManyPixels(name: string, megapixels: number, limit: number): ImageError {
    return new ImageError({
      code: 'image.too-many-pixels',
      message: `The image ${quote(name)} has ${Number(megapixels.toPrecision(3))} megapixels; at most ${limit} are decoded.`,
      why: 'A small file can unpack to more pixels than the memory holds.',
      nextStep: 'Use a smaller image, or raise fovea.image.maxMegapixels.',
    });
  }

  static empty(name: string): ImageError {
    return new ImageError({
      code: 'image.empty',
      message: `The image file ${quote(name)} is empty.`,
      nextStep: 'Save or download the image again.',
    });
  }

  static notAnImage(name: string): ImageError {
    return new ImageError({
      code: 'image.unknown-format',
      message: `${quote(name)} is not an image in a format that Fovea knows.`,
      nextStep: 'Use PNG, JPEG, WebP, GIF, AVIF, TIFF or SVG.',
    });
  }

  static damaged(name: string, what: string): ImageError {
    return new ImageError({
      code: 'image.damaged',
      message: `The header of the image ${quote(name)} is damaged.`,
      why: what,
      nextStep: 'Export or download the image again.',
    });
  }

  static badDataUri(why: string): ImageError {
    return new ImageError({
      code: 'image.bad-data-uri',
      message: 'The data: URI does not contain an image.',
      why,
      nextStep: 'Check that it was copied whole.',
    });
  }

  /** Somebody sent a request that is not what the protocol says. */
  static badSource(why: string): ImageError {
    return new ImageError({
      code: 'image.bad-source',
      message: 'The request names no image.',
      why,
      nextStep: 'Send a file: or data: URI, or the file in base64.',
    });
  }
}

function quote(name: string): string {
  const shown = name.length > 120 ? `${name.slice(0, 117)}...` : name;
  return JSON.stringify(shown);
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}
