import { basename } from 'node:path';
import { ModelError, throwIfCancelled } from '../errors';
import { firstDuplicateKey } from './duplicateKeys';
import { openRegularFile } from './regularFile';

/**
 * Reads and verifies the header of a safetensors file: 8 bytes length (little endian), that many bytes of JSON, then the
 * data of all tensors without a gap. Nothing of the data is read. A file that passes can be memory-mapped safely: every
 * tensor lies inside it (a mapping that reaches past the end of its file kills the process with SIGBUS).
 *
 * Format: https://github.com/huggingface/safetensors#format
 */
export interface SafetensorsHeader {
  /** In the order of their data. */
  readonly tensors: readonly SafetensorsEntry[];
  /** Where the data starts in the file, in bytes; `begin` and `end` count from here. */
  readonly dataOffset: number;
  readonly metadata: Readonly<Record<string, string>>;
  readonly fileSize: number;
  readonly modifiedMs: number;
  /** The header as it lies in the file. */
  readonly headerBytes: Uint8Array;
}

export interface SafetensorsEntry {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

/** The format allows 100 MB; the largest real headers are a few MB. Bounds the memory that a hostile file can claim. */
export const MAX_HEADER_BYTES = 25 * 1024 * 1024;
/** Dimensions beyond this have no use and overflow products. */
const MAX_DIMENSION = 2 ** 32;

/** Bits per element of every dtype that the format knows (safetensors 0.6). */
const DTYPE_BITS: Readonly<Record<string, number>> = {
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  BOOL: 8,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  U16: 16,
  I16: 16,
  F16: 16,
  BF16: 16,
  U32: 32,
  I32: 32,
  F32: 32,
  U64: 64,
  I64: 64,
  F64: 64,
  C64: 64,
};

/**
 * @param file path of a regular file; symlinks are followed.
 * @throws ModelError `model.missing-shard`, `model.unreadable`, or one of `model.safetensors-*` (truncated, trailing,
 *   header-too-large, header-invalid, duplicate, dtype, shape, offset, overlap, hole).
 */
export async function readSafetensorsHeader(
  file: string,
  options: {
    signal?: AbortSignal;
    /** What messages call the file; its real name may be a hash (HuggingFace cache). */
    name?: string;
  } = {},
): Promise<SafetensorsHeader> {
  throwIfCancelled(options.signal);
  const name = options.name ?? basename(file);
  let handle;
  try {
    handle = await openRegularFile(file);
  } catch (error) {
    throw unreadable(name, file, error);
  }
  try {
    const stat = await handle.stat();
    const fileSize = stat.size;
    if (fileSize < 8)
      throw damaged(name, 'truncated', `it has ${fileSize} bytes, too few even for the length of its header`);
    const prefix = new Uint8Array(8);
    await readFully(handle, prefix, 0, name);
    const headerLength = Number(new DataView(prefix.buffer).getBigUint64(0, true));
    if (headerLength > MAX_HEADER_BYTES)
      throw damaged(
        name,
        'header-too-large',
        `its header claims ${headerLength} bytes; at most ${MAX_HEADER_BYTES} are accepted`,
      );
    if (8 + headerLength > fileSize)
      throw damaged(
        name,
        'truncated',
        `its header needs ${8 + headerLength} bytes, but the file has ${fileSize}`,
      );
    const headerBytes = new Uint8Array(headerLength);
    await readFully(handle, headerBytes, 8, name);
    throwIfCancelled(options.signal);
    const { tensors, metadata } = parseHeader(headerBytes, name, fileSize - 8 - headerLength);
    return {
      tensors,
      metadata,
      dataOffset: 8 + headerLength,
      fileSize,
      modifiedMs: stat.mtimeMs,
      headerBytes,
    };
  } finally {
    await handle.close();
  }
}

/** A read may return fewer bytes than asked for; a file that shrinks meanwhile is truncated. */
async function readFully(
  handle: {
    read(
      buffer: Uint8Array,
      offset: number,
      length: number,
      position: number,
    ): Promise<{ bytesRead: number }>;
  },
  buffer: Uint8Array,
  position: number,
  name: string,
): Promise<void> {
  let done = 0;
  while (done < buffer.length) {
    const { bytesRead } = await handle.read(buffer, done, buffer.length - done, position + done);
    if (bytesRead === 0) throw damaged(name, 'truncated', 'it became shorter while it was read');
    done += bytesRead;
  }
}

function parseHeader(
  bytes: Uint8Array,
  file: string,
  dataLength: number,
): { tensors: SafetensorsEntry[]; metadata: Record<string, string> } {
  // 0x7b: the format wants the JSON to start at once; spaces may only follow it.
  if (bytes[0] !== 0x7b) throw damaged(file, 'header-invalid', 'its header is not a JSON object');
  let text: string;
  let json: Record<string, unknown>;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    json = JSON.parse(text) as Record<string, unknown>;
  } catch (error) {
    throw damaged(file, 'header-invalid', 'its header is not valid JSON', error);
  }
  const duplicate = firstDuplicateKey(text);
  if (duplicate !== undefined)
    throw damaged(file, 'duplicate', `its header has "${shorten(duplicate)}" twice`);

  const tensors: SafetensorsEntry[] = [];
  let metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(json)) {
    if (name === '__metadata__') metadata = parseMetadata(value, file);
    else tensors.push(parseEntry(name, value, file));
  }
  tensors.sort((a, b) => a.begin - b.begin || a.end - b.end);
  checkLayout(tensors, file, dataLength);
  return { tensors, metadata };
}

function parseMetadata(value: unknown, file: string): Record<string, string> {
  if (!isObject(value) || Object.values(value).some((entry) => typeof entry !== 'string'))
    throw damaged(file, 'header-invalid', 'its __metadata__ is not a table of texts');
  return value as Record<string, string>;
}

function parseEntry(name: string, value: unknown, file: string): SafetensorsEntry {
  const tensor = `tensor "${shorten(name)}"`;
  if (!isObject(value)) throw damaged(file, 'header-invalid', `${tensor} is not described by an object`);
  const { dtype, shape, data_offsets: offsets } = value;
  const bits = typeof dtype === 'string' && Object.hasOwn(DTYPE_BITS, dtype) ? DTYPE_BITS[dtype] : undefined;
  if (bits === undefined)
    throw damaged(
      file,
      'dtype',
      `${tensor} has the unknown element type ${shorten(JSON.stringify(dtype) ?? 'none')}`,
    );
  if (!Array.isArray(shape) || !shape.every((size) => isCount(size) && size <= MAX_DIMENSION))
    throw damaged(
      file,
      'shape',
      `${tensor} has the impossible shape ${shorten(JSON.stringify(shape) ?? 'none')}`,
    );
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount) || offsets[0] > offsets[1])
    throw damaged(
      file,
      'offset',
      `${tensor} has the impossible offsets ${shorten(JSON.stringify(offsets) ?? 'none')}`,
    );
  const [begin, end] = offsets as [number, number];
  // NaN, equal to nothing, once a product of many dimensions overflows.
  const elements = (shape as number[]).reduce(
    (product, size) => (Number.isSafeInteger(product * size) ? product * size : NaN),
    1,
  );
  if ((elements * bits) / 8 !== end - begin)
    throw damaged(
      file,
      'shape',
      `${tensor} of type ${String(dtype)} and shape ${JSON.stringify(shape)} cannot take ${end - begin} bytes`,
    );
  return { name, dtype: dtype as string, shape: shape as number[], begin, end };
}

/** The data must be one unbroken row of tensors that ends where the file ends. @param tensors sorted by offset */
function checkLayout(tensors: readonly SafetensorsEntry[], file: string, dataLength: number): void {
  let position = 0;
  for (const { name, begin, end } of tensors) {
    if (begin < position)
      throw damaged(file, 'overlap', `tensor "${shorten(name)}" overlaps the one before it`);
    if (begin > position)
      throw damaged(
        file,
        'hole',
        `${begin - position} bytes before tensor "${shorten(name)}" belong to no tensor`,
      );
    position = end;
  }
  if (position > dataLength)
    throw damaged(
      file,
      'truncated',
      `its tensors need ${position} bytes, but ${dataLength} follow the header`,
    );
  if (position < dataLength)
    throw damaged(
      file,
      'trailing',
      `${dataLength - position} bytes after the last tensor belong to no tensor`,
    );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

/** Names come from the file and may be megabytes long. */
function shorten(text: string): string {
  return text.length <= 120 ? text : `${text.slice(0, 117)}...`;
}

function damaged(file: string, fault: string, why: string, cause?: unknown): ModelError {
  return new ModelError({
    code: `model.safetensors-${fault}`,
    message: `The weights file ${file} cannot be used.`,
    why: `${why[0].toUpperCase()}${why.slice(1)}.`,
    nextStep: 'Delete the file and download it again.',
    cause,
  });
}

function unreadable(name: string, file: string, error: unknown): ModelError {
  const code = (error as NodeJS.ErrnoException).code;
  const missing = code === 'ENOENT' || code === 'ENOTDIR';
  return new ModelError({
    code: missing ? 'model.missing-shard' : 'model.unreadable',
    message: missing ? `The weights file ${name} is missing.` : `The weights file ${name} cannot be read.`,
    why: missing ? `There is no file ${file}.` : (error as Error).message,
    nextStep: missing ? 'Download the checkpoint completely.' : 'Check the rights of the file and the disk.',
    cause: error,
  });
}
