/** One place of a text that mentions an image, in offsets (UTF-16 code units). */
export interface Mention {
  /** The destination as written, without quotes or brackets: [start, end). */
  start: number;
  end: number;
  /** The whole construct around it. */
  fullStart: number;
  fullEnd: number;
  /** The destination with the language's escapes resolved. */
  destination: string;
  /** Text from the file: untrusted. */
  alt?: string;
  /** How the destination is written: percent-encoded, or as the file system has it. */
  kind: 'url' | 'path';
  /** The construct can only mean an image; otherwise it counts only where it leads to an existing file. */
  certain: boolean;
}

/** Extensions of the formats that are decoded or at least recognised. */
const EXTENSIONS = 'png|apng|jpe?g|jpe|jfif|gif|webp|avif|svg|bmp|tiff?|ico';

/** At the end of a path, before a query or fragment. */
const IMAGE_END = new RegExp(`\\.(?:${EXTENSIONS})(?:[?#][^\\s]*)?$`, 'i');

/** True for a path or URL that ends like an image file, and for `data:image/`. */
export function looksLikeImage(destination: string): boolean {
  return /^data:image\//i.test(destination) || IMAGE_END.test(destination);
}

/** Longest destination that is looked at outside of `data:` URIs: longer ones are no paths. */
export const MAX_PATH = 4096;
