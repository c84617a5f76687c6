import { InputError } from '../errors';

/** Outside its own elements an SVG is drawn with pixels of 1/72 inch: libvips' default density. */
const DEFAULT_DENSITY = 72;
/** libvips' bounds on the density. */
const MIN_DENSITY = 1;
const MAX_DENSITY = 100_000;
/** Sides between which an SVG is drawn: an icon gets enough pixels to be seen, a poster no more than a tower can use. */
const MIN_LONG_SIDE = 512;
const MAX_LONG_SIDE = 4096;

/** Whether the file is XML text, and so can only be an SVG. */
export function isXml(bytes: Uint8Array): boolean {
  const start = new TextDecoder('latin1')
    .decode(bytes.subarray(0, 256))
    .replace(/^(\u00ef\u00bb\u00bf|\u00ff\u00fe|\u00fe\u00ff)/, '');
  return /^[\s\0]*</.test(start);
}

/**
 * Refuses an SVG that refers to anything outside itself or could grow while it is parsed. The renderer refuses such
 * references too; this makes the reason visible and does not depend on the renderer's version.
 *
 * The text is judged as text, without an XML parser: what is forbidden is refused wherever it stands, comments included.
 *
 * @throws InputError `image.unsafe-svg`, or `image.unknown-format` for XML that is no SVG
 */
export function checkSvg(bytes: Uint8Array): void {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw unsafe('its text is not UTF-8, so it cannot be examined', error);
  }
  // An XML declaration may name another encoding, in which the same bytes would read differently.
  const encoding = /^\s*<\?xml[^>]*\sencoding\s*=\s*["']([^"']*)["']/.exec(text)?.[1];
  if (encoding !== undefined && !/^(utf-8|us-ascii|ascii)$/i.test(encoding))
    throw unsafe(`its encoding is ${encoding.slice(0, 40)}, not UTF-8`);
  if (text.includes('\0')) throw unsafe('it has NUL characters');
  if (!/<([\w.-]+:)?svg[\s/>]/.test(text))
    throw new InputError({
      code: 'image.unknown-format',
      message: 'The file is not an image that Fovea can read.',
      why: 'It is a text with markup, but not an SVG.',
      nextStep: 'Choose an image file.',
    });
  if (/<!(DOCTYPE|ENTITY)/i.test(text)) throw unsafe('it declares a document type or entities');
  if (/<\?xml-stylesheet/i.test(text)) throw unsafe('it names an external style sheet');
  if (/@import/i.test(text)) throw unsafe('its styles import others');
  if (/<([\w.-]+:)?include[\s/>]/i.test(text)) throw unsafe('it includes other files');

  for (const [, quoted, plain] of text.matchAll(
    /\burl\(\s*(?:(?:"|'|&quot;|&apos;)(.*?)(?:"|'|&quot;|&apos;)|([^)]*))\s*\)/gis,
  )) {
    if (!isInternal(quoted ?? plain)) throw unsafe('its styles refer to something outside');
  }
  // An <a> only says where a click would lead.
  for (const [, element, attributes] of text.matchAll(/<([\w:.-]+)((?:[^<>"']|"[^"]*"|'[^']*')*)>/g)) {
    if (element === 'a' || element === 'svg:a') continue;
    for (const [, double, single] of attributes.matchAll(
      /(?:^|[\s:])(?:href|src)\s*=\s*(?:"([^"]*)"|'([^']*)')/gi,
    )) {
      if (!isInternal(double ?? single))
        throw unsafe(`its <${element.slice(0, 40)}> refers to something outside`);
    }
  }
}

/** A fragment of the same document, or a raster image that is in the text itself. */
function isInternal(reference: string): boolean {
  const target = reference.trim();
  return target === '' || target.startsWith('#') || /^data:image\/(png|jpe?g|gif|webp)[;,]/i.test(target);
}

/** The density at which an SVG of this size (at 72 per inch) gets a useful number of pixels, within `maxPixels`. */
export function svgDensity(size: { width: number; height: number }, maxPixels: number): number {
  const long = Math.max(size.width, size.height);
  const wanted = Math.min(Math.max(long, MIN_LONG_SIDE), MAX_LONG_SIDE, Math.sqrt(maxPixels * 0.99));
  const density = (DEFAULT_DENSITY * wanted) / long;
  if (density < MIN_DENSITY)
    throw new InputError({
      code: 'image.too-large',
      message: 'The image is too large.',
      why: `The SVG claims a size of ${size.width} x ${size.height}.`,
      nextStep: 'Give the SVG a smaller width and height, or a smaller viewBox.',
    });
  return Math.min(density, MAX_DENSITY);
}

function unsafe(why: string, cause?: unknown): InputError {
  return new InputError({
    code: 'image.unsafe-svg',
    message: 'The SVG is refused.',
    why: `For safety: ${why}.`,
    nextStep: 'Export it as PNG with a program that you trust.',
    cause,
  });
}
