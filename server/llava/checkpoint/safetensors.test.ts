import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { CancelledError, ModelError } from '../errors';
import { mulberry32 } from '../mulberry32';
import { temporaryDirectory } from '../testing/temporaryDirectory';
import { MAX_HEADER_BYTES, readSafetensorsHeader, type SafetensorsHeader } from './safetensors';
import { modelError, safetensorsBytes } from './testing';

const directory = temporaryDirectory();
let count = 0;

function write(bytes: Uint8Array): string {
  const file = path.join(directory, `weights-${count++}.safetensors`);
  writeFileSync(file, bytes);
  return file;
}

const read = (bytes: Uint8Array): Promise<SafetensorsHeader> => readSafetensorsHeader(write(bytes));

const GOOD = {
  __metadata__: { format: 'pt' },
  b: { dtype: 'F16', shape: [2, 3], data_offsets: [8, 20] },
  a: { dtype: 'F32', shape: [2], data_offsets: [0, 8] },
  empty: { dtype: 'I64', shape: [0, 5], data_offsets: [20, 20] },
  scalar: { dtype: 'BF16', shape: [], data_offsets: [20, 22] },
};
const GOOD_BYTES = 22;

describe('a good file', () => {
  it('gives its tensors in the order of their data', async () => {
    const bytes = safetensorsBytes(GOOD, GOOD_BYTES);
    const header = await read(bytes);
    expect(header.tensors).toEqual([
      { name: 'a', dtype: 'F32', shape: [2], begin: 0, end: 8 },
      { name: 'b', dtype: 'F16', shape: [2, 3], begin: 8, end: 20 },
      { name: 'empty', dtype: 'I64', shape: [0, 5], begin: 20, end: 20 },
      { name: 'scalar', dtype: 'BF16', shape: [], begin: 20, end: 22 },
    ]);
    expect(header.metadata).toEqual({ format: 'pt' });
    expect(header.dataOffset).toBe(bytes.length - GOOD_BYTES);
    expect(header.fileSize).toBe(bytes.length);
  });

  it('may have spaces after its header, and no tensors', async () => {
    expect((await read(safetensorsBytes(`${JSON.stringify(GOOD)}     `, GOOD_BYTES))).tensors).toHaveLength(
      4,
    );
    expect((await read(safetensorsBytes({}, 0))).tensors).toEqual([]);
  });

  it('may have a tensor named like a property of every object', async () => {
    const header = await read(
      safetensorsBytes(
        '{"__proto__":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"constructor":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}',
        2,
      ),
    );
    expect(header.tensors.map(({ name }) => name)).toEqual(['__proto__', 'constructor']);
  });

  it('may have elements smaller than a byte', async () => {
    const header = await read(
      safetensorsBytes({ q: { dtype: 'F4', shape: [3, 2], data_offsets: [0, 3] } }, 3),
    );
    expect(header.tensors).toHaveLength(1);
  });
});

/** One tensor with something wrong. */
function one(fields: object, data = 8): Buffer {
  return safetensorsBytes({ a: { dtype: 'F32', shape: [2], data_offsets: [0, 8], ...fields } }, data);
}

describe('a file that lies', () => {
  it.each([
    ['an offset past the end', 'truncated', one({ shape: [4], data_offsets: [0, 16] })],
    ['less data than it says', 'truncated', one({}, 7)],
    ['more data than it says', 'trailing', one({}, 9)],
    [
      'tensors that overlap',
      'overlap',
      safetensorsBytes(
        {
          a: { dtype: 'U8', shape: [6], data_offsets: [0, 6] },
          b: { dtype: 'U8', shape: [6], data_offsets: [4, 10] },
        },
        10,
      ),
    ],
    [
      'the same data twice',
      'overlap',
      safetensorsBytes(
        {
          a: { dtype: 'U8', shape: [6], data_offsets: [0, 6] },
          b: { dtype: 'U8', shape: [6], data_offsets: [0, 6] },
        },
        6,
      ),
    ],
    ['a hole before the first tensor', 'hole', one({ data_offsets: [4, 12] }, 12)],
    [
      'a hole between tensors',
      'hole',
      safetensorsBytes(
        {
          a: { dtype: 'U8', shape: [2], data_offsets: [0, 2] },
          b: { dtype: 'U8', shape: [2], data_offsets: [3, 5] },
        },
        5,
      ),
    ],
    [
      'a name twice',
      'duplicate',
      safetensorsBytes(
        '{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}',
        2,
      ),
    ],
    [
      'a name twice, once in disguise',
      'duplicate',
      safetensorsBytes(
        '{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"\\u0061":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}',
        2,
      ),
    ],
    [
      'a field twice',
      'duplicate',
      safetensorsBytes('{"a":{"dtype":"U8","shape":[2],"shape":[2],"data_offsets":[0,2]}}', 2),
    ],
    ['a shape that does not fit its bytes', 'shape', one({ shape: [3] })],
    ['a negative size', 'shape', one({ shape: [-2] })],
    ['a fractional size', 'shape', one({ shape: [2.5] })],
    ['a size beyond 2^32', 'shape', one({ shape: [2 ** 32 + 1, 0], data_offsets: [0, 0] }, 0)],
    ['sizes whose product overflows', 'shape', one({ shape: [2 ** 32, 2 ** 32, 2 ** 32] })],
    ['a shape that is none', 'shape', one({ shape: '2' })],
    ['no shape', 'shape', one({ shape: undefined })],
    ['an unknown element type', 'dtype', one({ dtype: 'F128' })],
    ['an element type of every object', 'dtype', one({ dtype: 'constructor' })],
    ['no element type', 'dtype', one({ dtype: undefined })],
    ['offsets in the wrong order', 'offset', one({ data_offsets: [8, 0] })],
    ['negative offsets', 'offset', one({ data_offsets: [-8, 0] })],
    ['a fractional offset', 'offset', one({ data_offsets: [0.5, 8.5] })],
    ['an offset beyond exact numbers', 'offset', one({ data_offsets: [2 ** 60, 2 ** 60 + 8] })],
    ['three offsets', 'offset', one({ data_offsets: [0, 8, 16] })],
    ['a tensor that is no object', 'header-invalid', safetensorsBytes({ a: [1] }, 0)],
    ['metadata that is no table of texts', 'header-invalid', safetensorsBytes({ __metadata__: { a: 1 } }, 0)],
    ['a header that is a list', 'header-invalid', safetensorsBytes('[]', 0)],
    ['a header that is no JSON', 'header-invalid', safetensorsBytes('{"a":', 0)],
    ['a header that begins with a space', 'header-invalid', safetensorsBytes(' {}', 0)],
    ['a header that is no UTF-8', 'header-invalid', Buffer.from([3, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0xff, 0x7d])],
    ['no header', 'header-invalid', Buffer.alloc(8)],
  ])('with %s', async (_, fault, bytes) => {
    expect((await modelError(read(bytes))).code).toBe(`model.safetensors-${fault}`);
  });

  it('with a huge header, which is not even allocated', async () => {
    for (const length of [BigInt(MAX_HEADER_BYTES) + 1n, 2n ** 53n, 2n ** 64n - 1n]) {
      const bytes = Buffer.alloc(64);
      bytes.writeBigUInt64LE(length);
      expect((await modelError(read(bytes))).code).toBe('model.safetensors-header-too-large');
    }
  });

  it('with a header longer than the file', async () => {
    const bytes = Buffer.alloc(64);
    bytes.writeBigUInt64LE(57n);
    expect((await modelError(read(bytes))).code).toBe('model.safetensors-truncated');
  });

  it('is named as the user knows it', async () => {
    const error = await modelError(
      readSafetensorsHeader(write(one({}, 7)), { name: 'model-00002-of-00003.safetensors' }),
    );
    expect(error.message).toContain('model-00002-of-00003.safetensors');
  });
});

describe('fuzzing', () => {
  const bytes = safetensorsBytes(GOOD, GOOD_BYTES);

  /** Whatever is accepted lies inside the file: that is what keeps a mapping from killing the process. */
  async function accepts(candidate: Uint8Array): Promise<boolean> {
    let header: SafetensorsHeader;
    try {
      header = await read(candidate);
    } catch (error) {
      expect(error).toBeInstanceOf(ModelError);
      return false;
    }
    for (const { begin, end } of header.tensors) {
      expect(begin).toBeGreaterThanOrEqual(0);
      expect(end).toBeGreaterThanOrEqual(begin);
      expect(header.dataOffset + end).toBeLessThanOrEqual(candidate.length);
    }
    return true;
  }

  it('refuses a file that was cut off at any byte', async () => {
    for (let length = 0; length < bytes.length; length++) {
      const error = await modelError(read(bytes.subarray(0, length)));
      expect(error.code).toBe('model.safetensors-truncated');
    }
    expect(await accepts(bytes)).toBe(true);
  });

  it('never accepts a tensor outside the file, whatever bytes are changed', async () => {
    const random = mulberry32(99);
    let accepted = 0;
    const rounds = 1500;
    for (let round = 0; round < rounds; round++) {
      const changed = Buffer.from(bytes);
      for (let changes = 1 + Math.floor(random() * 3); changes > 0; changes--)
        changed[Math.floor(random() * (bytes.length - GOOD_BYTES))] =
          random() < 0.5 ? 0x30 + Math.floor(random() * 10) : Math.floor(random() * 256);
      if (await accepts(changed)) accepted++;
    }
    // Changes inside names are harmless; most others are not.
    expect(accepted).toBeGreaterThan(0);
    expect(accepted).toBeLessThan(rounds / 2);
  });
});

describe('a path that is no weights file', () => {
  it('names a missing file', async () => {
    const error = await modelError(readSafetensorsHeader(path.join(directory, 'absent.safetensors')));
    expect(error.code).toBe('model.missing-shard');
    expect(error.message).toContain('absent.safetensors');
  });

  it('refuses a folder', async () => {
    const folder = path.join(directory, 'folder.safetensors');
    mkdirSync(folder);
    expect((await modelError(readSafetensorsHeader(folder))).code).toMatch(/^model\./);
  });

  it('stops when cancelled', async () => {
    const file = write(safetensorsBytes(GOOD, GOOD_BYTES));
    await expect(readSafetensorsHeader(file, { signal: AbortSignal.abort() })).rejects.toThrow(
      CancelledError,
    );
  });
});
