import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import * as nodeFileSystem from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { CancelledError } from '../errors';
import { mulberry32 } from '../mulberry32';
import { readFixture, readTensors } from '../testing/fixtures';
import { temporaryDirectory } from '../testing/temporaryDirectory';
import type { Checkpoint, TensorMap } from './checkpoint';
import { openCheckpoint } from './open';
import { readSafetensorsHeader } from './safetensors';
import { prepareWeights } from './sidecar';
import type { SidecarFileSystem } from './sidecarFile';
import { copyCheckpoint, modelError, safetensorsBytes } from './testing';

const scratch = temporaryDirectory();
let folders = 0;
const freshFolder = (): string => path.join(scratch, `cache-${folders++}`);

const half = (): Promise<Checkpoint> => openCheckpoint(readFixture('siglip-qwen2-float16').directory);
const brain = (): Promise<Checkpoint> => openCheckpoint(readFixture('clip-llama-llama3-bfloat16').directory);

/** A tensor's numbers, read from the file that the map names. */
function numbers(tensors: TensorMap, name: string): Float32Array {
  const { file, offset, byteLength, dtype } = tensors.get(name)!;
  expect(dtype).toBe('F32');
  const bytes = readFileSync(file).subarray(offset, offset + byteLength);
  return new Float32Array(new Uint8Array(bytes).buffer);
}

/** The number that float16 (5 exponent bits) or bfloat16 (8) bits mean. */
function widen(bits: number, exponentBits: 5 | 8): number {
  const mantissaBits = 15 - exponentBits;
  const mantissa = bits % 2 ** mantissaBits;
  const exponent = (bits >> mantissaBits) % 2 ** exponentBits;
  const bias = 2 ** (exponentBits - 1) - 1;
  const sign = bits >> 15 ? -1 : 1;
  if (exponent === 0) return sign * mantissa * 2 ** (1 - bias - mantissaBits);
  return sign * (1 + mantissa / 2 ** mantissaBits) * 2 ** (exponent - bias);
}

/** As bytes: quicker than comparing number by number, and NaN and -0 count. */
function expectSame(actual: Float32Array, expected: Float32Array): void {
  const bytes = (data: Float32Array): Uint8Array =>
    new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  expect(Buffer.compare(bytes(actual), bytes(expected))).toBe(0);
}

/** Everything under a folder, by relative path. */
function listing(folder: string): string[] {
  return existsSync(folder) ? (readdirSync(folder, { recursive: true }) as string[]).sort() : [];
}

describe('a float32 checkpoint', () => {
  it('needs no sidecar', async () => {
    const checkpoint = await openCheckpoint(readFixture('clip-llama').directory);
    const cacheDirectory = freshFolder();
    expect(await prepareWeights(checkpoint, 'fp32', { cacheDirectory })).toBe(checkpoint.tensors);
    expect(existsSync(cacheDirectory)).toBe(false);
  });
});

describe('half precision', () => {
  it('is read as it lies there, and made from other numbers by rounding', async () => {
    const cacheDirectory = freshFolder();
    const asItIs = await half();
    expect(await prepareWeights(asItIs, 'fp16', { cacheDirectory })).toBe(asItIs.tensors);
    for (const checkpoint of [await brain(), await openCheckpoint(readFixture('clip-llama').directory)]) {
      const tensors = await prepareWeights(checkpoint, 'fp16', { cacheDirectory });
      const float32 = await prepareWeights(checkpoint, 'fp32', { cacheDirectory });
      for (const [name, { dtype, shape, file, offset, byteLength }] of tensors) {
        expect([dtype, shape]).toEqual(['F16', checkpoint.tensors.get(name)!.shape]);
        const bytes = readFileSync(file).subarray(offset, offset + byteLength);
        const bits = new Uint16Array(new Uint8Array(bytes).buffer);
        numbers(float32, name).forEach((value, index) => {
          const error = Math.abs(widen(bits[index], 5) - value);
          // Half of the last of 11 bits, or of the smallest number that there is.
          if (error > Math.max(Math.abs(value) * 2 ** -11, 2 ** -25))
            expect.fail(`${name}[${index}]: ${value}`);
        });
      }
    }
  });

  it('refuses weights that it cannot hold', async () => {
    const directory = path.join(scratch, 'large');
    copyCheckpoint('clip-llama', directory);
    const { tensors } = await openCheckpoint(directory);
    const { name, file, offset } = tensors.get('model.language_model.norm.weight')!;
    const bytes = readFileSync(file);
    bytes.writeFloatLE(70_000, offset);
    writeFileSync(file, bytes);
    const error = await modelError(
      prepareWeights(await openCheckpoint(directory), 'fp16', { cacheDirectory: freshFolder() }),
    );
    expect(error).toMatchObject({ code: 'model.weights-too-large', why: expect.stringContaining(name) });
  });
});

describe.each([
  ['float16', half, 5],
  ['bfloat16', brain, 8],
] as const)('a %s checkpoint', (_, open, exponentBits) => {
  it('is converted exactly, in aligned and valid safetensors files', async () => {
    const checkpoint = await open();
    const cacheDirectory = freshFolder();
    const tensors = await prepareWeights(checkpoint, 'fp32', { cacheDirectory, maxFileBytes: 200_000 });
    expect([...tensors.keys()].sort()).toEqual([...checkpoint.tensors.keys()].sort());
    for (const [name, source] of checkpoint.tensors) {
      expect(tensors.get(name)!.shape).toEqual(source.shape);
      if (source.dtype === 'F32') continue;
      const bytes = readFileSync(source.file).subarray(source.offset, source.offset + source.byteLength);
      const bits = new Uint16Array(new Uint8Array(bytes).buffer);
      expectSame(
        numbers(tensors, name),
        Float32Array.from(bits, (value) => widen(value, exponentBits)),
      );
    }
    const folder = path.join(cacheDirectory, checkpoint.hash);
    const files = listing(folder);
    expect(files.length).toBeGreaterThan(2);
    expect(files.filter((file) => !/^weights-[0-9a-f]{24}\.safetensors$/.test(file))).toEqual([]);
    for (const file of files) {
      const header = await readSafetensorsHeader(path.join(folder, file));
      expect(header.dataOffset % 64).toBe(0);
      const misaligned = header.tensors.findIndex(({ begin }) => begin % 64 !== 0);
      // Only behind the first tensor of odd size, and those stand last.
      if (misaligned > 0)
        for (const { begin, end } of header.tensors.slice(misaligned - 1))
          expect((end - begin) % 64).not.toBe(0);
      // An independent reader sees the same.
      for (const [name, { data }] of Object.entries(readTensors(path.join(folder, file))))
        expectSame(numbers(tensors, name), data);
    }
  });

  it('is converted once', async () => {
    const checkpoint = await open();
    const cacheDirectory = freshFolder();
    const progress: number[] = [];
    const first = await prepareWeights(checkpoint, 'fp32', {
      cacheDirectory,
      onProgress: (share) => progress.push(share),
    });
    expect(progress.length).toBeGreaterThan(0);
    expect(progress).toEqual(progress.toSorted((a, b) => a - b));
    expect(progress.at(-1)).toBeGreaterThan(0.9);
    expect(progress.at(-1)).toBeLessThanOrEqual(1);
    const file = first.get('model.language_model.norm.weight')!.file;
    const inode = statSync(file).ino;
    const again: number[] = [];
    expect(
      await prepareWeights(checkpoint, 'fp32', { cacheDirectory, onProgress: (share) => again.push(share) }),
    ).toEqual(first);
    expect(again).toEqual([]);
    expect(statSync(file).ino).toBe(inode);
  });
});

describe('a large tensor', () => {
  it('is converted in pieces without losing one', async () => {
    const random = mulberry32(1);
    // Three read buffers and a bit.
    const count = 6_500_001;
    const bits = Uint16Array.from({ length: count }, () => Math.floor(random() * 0x7c00));
    const file = path.join(scratch, 'large.safetensors');
    const header = { large: { dtype: 'F16', shape: [count], data_offsets: [0, count * 2] } };
    writeFileSync(file, safetensorsBytes(header, new Uint8Array(bits.buffer)));
    const { dataOffset } = await readSafetensorsHeader(file);
    const small = await half();
    const checkpoint: Checkpoint = {
      ...small,
      tensors: new Map([
        ...small.tensors,
        [
          'large',
          { name: 'large', dtype: 'F16', shape: [count], file, offset: dataOffset, byteLength: count * 2 },
        ],
      ]),
    };
    const converted = numbers(
      await prepareWeights(checkpoint, 'fp32', { cacheDirectory: freshFolder() }),
      'large',
    );
    expect(converted.length).toBe(count);
    let wrong = 0;
    for (let i = 0; i < count; i++) if (converted[i] !== widen(bits[i], 5)) wrong++;
    expect(wrong).toBe(0);
  });
});

describe('a sidecar that is not what it should be is made again', () => {
  async function afterDamage(damage: (folder: string, files: string[]) => void): Promise<void> {
    const checkpoint = await half();
    const cacheDirectory = freshFolder();
    const folder = path.join(cacheDirectory, checkpoint.hash);
    const options = { cacheDirectory, maxFileBytes: 200_000 };
    const good = await prepareWeights(checkpoint, 'fp32', options);
    const expected = new Map([...good.keys()].map((name) => [name, numbers(good, name)]));
    const files = listing(folder);
    damage(folder, files);
    const mended = await prepareWeights(checkpoint, 'fp32', options);
    for (const [name, data] of expected) expectSame(numbers(mended, name), data);
    expect(listing(folder)).toEqual(files);
  }

  it.each([1, 7, 8, 100, 2000])('after truncation to %i bytes', (bytes) =>
    afterDamage((folder, files) => truncateSync(path.join(folder, files[1]), bytes)),
  );

  it('after losing its last byte', () =>
    afterDamage((folder, files) => {
      const file = path.join(folder, files[0]);
      truncateSync(file, statSync(file).size - 1);
    }));

  it('without one of its files, as a run that was killed leaves it', () =>
    afterDamage((folder, files) => rmSync(path.join(folder, files[1]))));

  it('with one wrong bit, when the run that is continued finds it', () =>
    afterDamage((folder, files) => {
      const file = path.join(folder, files[0]);
      const bytes = readFileSync(file);
      bytes[bytes.length - 5] ^= 1;
      writeFileSync(file, bytes);
      rmSync(path.join(folder, files[1]));
    }));

  it('beside files of an earlier version of Fovea, which go', () =>
    afterDamage((folder, files) => {
      for (const name of ['weights-f32-00001.safetensors', 'manifest.json']) {
        writeFileSync(path.join(folder, name), 'old');
        utimesSync(path.join(folder, name), 1000, 1000);
      }
      rmSync(path.join(folder, files[0]));
    }));

  it('beside files of another version of Fovea, which uses them: they stay', async () => {
    const checkpoint = await half();
    const cacheDirectory = freshFolder();
    const folder = path.join(cacheDirectory, checkpoint.hash);
    mkdirSync(folder, { recursive: true });
    const used = path.join(folder, `weights-${'0'.repeat(24)}.safetensors`);
    const unused = path.join(folder, `weights-${'1'.repeat(24)}.safetensors`);
    for (const file of [used, unused]) writeFileSync(file, 'of another version');
    utimesSync(unused, 1000, 1000);
    const tensors = await prepareWeights(checkpoint, 'fp32', { cacheDirectory });
    expect([existsSync(used), existsSync(unused)]).toEqual([true, false]);
    // What this version opens is in use for the others, whenever it was made.
    const own = [...tensors.values()].find(({ file }) => file.startsWith(folder))!.file;
    utimesSync(own, 1000, 1000);
    await prepareWeights(checkpoint, 'fp32', { cacheDirectory });
    expect(Date.now() - statSync(own).mtimeMs).toBeLessThan(3600_000);
  });

  it('when the weights were changed since', async () => {
    const folder = copyCheckpoint('siglip-qwen2-float16', path.join(scratch, 'changing'));
    const cacheDirectory = freshFolder();
    const checkpoint = await openCheckpoint(folder);
    const before = await prepareWeights(checkpoint, 'fp32', { cacheDirectory });
    const inode = statSync([...before.values()][0].file).ino;
    utimesSync(path.join(folder, 'model.safetensors'), 1000, 1000);
    const after = await prepareWeights(checkpoint, 'fp32', { cacheDirectory });
    expect(statSync([...after.values()][0].file).ino).not.toBe(inode);
  });
});

describe('leftovers', () => {
  it('of a run that is dead are removed, those of a living one are not', async () => {
    const checkpoint = await half();
    const cacheDirectory = freshFolder();
    const folder = path.join(cacheDirectory, checkpoint.hash);
    let own = '';
    // The name of a partial folder, as a real run makes it.
    const fileSystem: SidecarFileSystem = {
      ...nodeFileSystem,
      rename: async (from, to) => {
        own ||= path.basename(path.dirname(String(from)));
        return nodeFileSystem.rename(from, to);
      },
    };
    await prepareWeights(checkpoint, 'fp32', { cacheDirectory, fileSystem });
    expect(own).toContain(`-${process.pid}-`);
    // Process numbers end at 2^22 on Linux, and no system reaches this one.
    const dead = own.replace(`-${process.pid}-`, '-2147483646-');
    const alive = own.replace(/[0-9a-f]{8}$/, '00000000');
    const foreign = own.replace(/^\.partial-[0-9a-f]{8}/, '.partial-00000000');
    const foreignOld = foreign.replace(/[0-9a-f]{8}$/, '11111111');
    for (const name of [dead, alive, foreign, foreignOld]) {
      mkdirSync(path.join(folder, name));
      writeFileSync(path.join(folder, name, 'weights-00.safetensors'), 'partial');
    }
    for (const old of [
      path.join(folder, foreignOld, 'weights-00.safetensors'),
      path.join(folder, foreignOld),
    ])
      utimesSync(old, 1000, 1000);
    for (const name of readdirSync(folder).filter((file) => file.endsWith('.safetensors')))
      rmSync(path.join(folder, name));
    await prepareWeights(checkpoint, 'fp32', { cacheDirectory });
    expect(listing(folder).filter((name) => /^\.partial-[^/\\]*$/.test(name))).toEqual(
      [alive, foreign].sort(),
    );
  });
});

describe('a full disk', () => {
  /** Fails with ENOSPC once this many bytes are written. */
  function smallDisk(capacity: number): SidecarFileSystem {
    let left = capacity;
    return {
      ...nodeFileSystem,
      open: async (file, flags, mode) => {
        const handle = await nodeFileSystem.open(file, flags, mode);
        const write = handle.write.bind(handle) as (
          bytes: Uint8Array,
          offset: number,
          length: number,
        ) => Promise<{ bytesWritten: number; buffer: Uint8Array }>;
        const limited = async (bytes: Uint8Array, offset: number, length: number) => {
          // As a real disk: the last write is a short one, the next one fails.
          if (left <= 0)
            throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
          const result = await write(bytes, offset, Math.min(length, left));
          left -= result.bytesWritten;
          return result;
        };
        return Object.assign(handle, { write: limited }) as unknown as nodeFileSystem.FileHandle;
      },
    };
  }

  it.each([0, 1, 100, 5000, 60_000])(
    'after %i bytes is reported, and leaves nothing behind',
    async (capacity) => {
      const checkpoint = await half();
      const cacheDirectory = freshFolder();
      const work = prepareWeights(checkpoint, 'fp32', { cacheDirectory, fileSystem: smallDisk(capacity) });
      const error = await modelError(work);
      expect(error.code).toBe('model.disk-full');
      const needed = 1000 * Number(/(\d+) kB are needed/.exec(error.message)?.[1]);
      const halfBytes = [...checkpoint.tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
      // The message rounds to whole kilobytes.
      expect(needed).toBeGreaterThan(2 * halfBytes - 500);
      expect(error.message).toContain(cacheDirectory);
      expect(listing(cacheDirectory)).toEqual([]);
    },
  );

  it('is seen before anything is written, where the system can tell', async () => {
    const checkpoint = await half();
    const cacheDirectory = freshFolder();
    const fileSystem = {
      ...nodeFileSystem,
      statfs: async () => ({ bavail: 10, bsize: 4096 }),
      open: () => expect.fail('something was written'),
    } as unknown as SidecarFileSystem;
    expect((await modelError(prepareWeights(checkpoint, 'fp32', { cacheDirectory, fileSystem }))).code).toBe(
      'model.disk-full',
    );
    expect(listing(cacheDirectory)).toEqual([]);
  });

  it('leaves an older sidecar usable for the next run', async () => {
    const checkpoint = await half();
    const cacheDirectory = freshFolder();
    const good = await prepareWeights(checkpoint, 'fp32', { cacheDirectory });
    const file = [...good.values()][0].file;
    truncateSync(file, 100);
    await modelError(prepareWeights(checkpoint, 'fp32', { cacheDirectory, fileSystem: smallDisk(1000) }));
    const mended = await prepareWeights(checkpoint, 'fp32', { cacheDirectory });
    expect(numbers(mended, 'model.language_model.norm.weight').length).toBeGreaterThan(0);
  });
});

describe('a cache folder that cannot be written', () => {
  it('is reported', async () => {
    const blocked = path.join(scratch, 'blocked');
    writeFileSync(blocked, 'a file, not a folder');
    const error = await modelError(prepareWeights(await half(), 'fp32', { cacheDirectory: blocked }));
    expect(error.code).toBe('model.cache-unwritable');
    expect(error.message).toContain(blocked);
  });
});

describe('cancelling', () => {
  it.each([0, 1, 3, 20])(
    'after %i pieces leaves nothing behind, and the next run succeeds',
    async (pieces) => {
      const checkpoint = await half();
      const cacheDirectory = freshFolder();
      const controller = new AbortController();
      let seen = 0;
      if (pieces === 0) controller.abort();
      const onProgress = (): void => {
        if (++seen === pieces) controller.abort();
      };
      const work = prepareWeights(checkpoint, 'fp32', {
        cacheDirectory,
        signal: controller.signal,
        onProgress,
      });
      await expect(work).rejects.toThrow(CancelledError);
      expect(listing(cacheDirectory)).toEqual([]);
      await prepareWeights(checkpoint, 'fp32', { cacheDirectory });
      expect(listing(path.join(cacheDirectory, checkpoint.hash))).not.toEqual([]);
    },
  );
});

describe('several runs at the same time', () => {
  it('all get the right weights, and leave one sidecar', async () => {
    const checkpoint = await brain();
    const alone = await prepareWeights(checkpoint, 'fp32', { cacheDirectory: freshFolder() });
    const cacheDirectory = freshFolder();
    const controller = new AbortController();
    const runs = await Promise.allSettled(
      Array.from({ length: 6 }, (_, i) =>
        prepareWeights(checkpoint, 'fp32', {
          cacheDirectory,
          // One of them is cancelled in the middle; it must not harm the others.
          signal: i === 3 ? controller.signal : undefined,
          onProgress: i === 3 ? () => controller.abort() : undefined,
        }),
      ),
    );
    expect(runs.map(({ status }) => status)).toEqual(
      runs.map((_, i) => (i === 3 ? 'rejected' : 'fulfilled')),
    );
    for (const run of runs)
      if (run.status === 'fulfilled')
        for (const name of alone.keys()) expectSame(numbers(run.value, name), numbers(alone, name));
    const [folder] = readdirSync(cacheDirectory);
    const files = new Set(Array.from(alone.values(), ({ file }) => path.basename(file)));
    expect(new Set(listing(path.join(cacheDirectory, folder)))).toEqual(
      new Set([...files].filter((file) => file.startsWith('weights-'))),
    );
  });
});
