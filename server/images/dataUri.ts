import { ImageError } from './errors';

/**
 * The bytes of a `data:` URI (RFC 2397), base64 or percent-encoded. What it says about its type is not believed: the
 * format comes from the bytes.
 *
 * @param limit most bytes that are decoded.
 * @throws ImageError
 */
export function decodeDataUri(uri: string, limit: number): Uint8Array {
  const match = /^data:([^,]*),/is.exec(uri);
  if (!match) throw ImageError.badDataUri('It has no comma between its type and its data.');
  const data = uri.slice(match[0].length);
  // A base64 byte takes 4/3 characters, a percent-encoded one up to 3.
  if (data.length > limit * 3 + 4) throw ImageError.tooLarge('data: URI', data.length, limit);
  const bytes = /;\s*base64\s*$/i.test(match[1]) ? decodeBase64(data) : decodePercent(data);
  if (bytes.length === 0) throw ImageError.badDataUri('Its data is empty.');
  if (bytes.length > limit) throw ImageError.tooLarge('data: URI', bytes.length, limit);
  return bytes;
}

/** @throws ImageError where the text is not base64 (white space is allowed, URL-safe letters too). */
export function decodeBase64(text: string): Uint8Array {
  const clean = (text.includes('%') ? decodeURIComponentOrSame(text) : text).replace(/\s+/g, '');
  if (!/^[A-Za-z0-9+/_-]*={0,2}$/.test(clean)) throw ImageError.badDataUri('Its data is not base64.');
  return Buffer.from(clean, 'base64');
}

function decodePercent(text: string): Uint8Array {
  const bytes = Buffer.from(text, 'utf8');
  const out = Buffer.alloc(bytes.length);
  let length = 0;
  for (let i = 0; i < bytes.length; i++) {
    const hex = bytes[i] === 0x25 ? /^[0-9a-f]{2}$/i.exec(bytes.toString('latin1', i + 1, i + 3)) : null;
    out[length++] = hex ? Number.parseInt(hex[0], 16) : bytes[i];
    if (hex) i += 2;
  }
  return out.subarray(0, length);
}

function decodeURIComponentOrSame(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
