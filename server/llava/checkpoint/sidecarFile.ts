import { createHash, type Hash } from 'node:crypto';
import type * as nodeFileSystem from 'node:fs/promises';
import { basename } from 'node:path';
import { ModelError, throwIfCancelled } from '../errors';
import type { TensorSource } from './checkpoint';
import { LARGEST_FLOAT16, narrowFloat16, widenBfloat16, widenFloat16 } from './halfPrecision';
import { NotFiniteError, quantizeRows, quantizedSizes, turnRows } from './quantize';
import { type Conversion, NO_CHECKSUM, type SidecarFile } from './sidecarPlan';

/** The file system calls that the sidecar makes; tests put faults in. */
export type SidecarFileSystem = Pick<
  typeof nodeFileSystem,
  'mkdir' | 'open' | 'readdir' | 'rename' | 'rm' | 'rmdir' | 'stat' | 'statfs' | 'utimes'
>;

type FileHandle = nodeFileSystem.FileHandle;

/** Numbers that are converted at a time: bounds memory, and the time until a cancellation is noticed. */
const CHUNK = 1024 * 1024;

export interface WriteOptions {
  readonly files: Pick<SidecarFileSystem, 'open'>;
  readonly signal?: AbortSignal;
  /** Called with the bytes written since the last call. */
  readonly onBytes?: (bytes: number) => void;
}

/**
 * Makes one file of the sidecar, synced to disk. Memory: buffers of a few MB, and the scales of one matrix.
 *
 * @param path a file that does not exist yet
 * @throws ModelError `model.weights-not-finite`, `model.weights-too-large`, `model.safetensors-truncated`; CancelledError; errors of the file system
 */
export async function writeSidecarFile(
  path: string,
  file: SidecarFile,
  { files, signal, onBytes }: WriteOptions,
): Promise<void> {
  const handle = await files.open(path, 'wx');
  try {
    const output = new Output(handle, onBytes);
    await output.write(file.header);
    const content = output.startChecksum();
    for (const conversion of file.conversions) {
      const inputs = conversion.sources.map((source) => new Input(source, files, signal));
      if (conversion.kind === 'quantized') await writeQuantized(conversion, inputs, output);
      else if (conversion.kind === 'turned') await writeTurned(conversion, inputs[0], output);
      else if (conversion.kind === 'float16') await writeFloat16(inputs, output);
      else await writeFloat32(inputs, output);
    }
    const header = Buffer.from(file.header);
    header.write(content.digest('hex'), header.indexOf(NO_CHECKSUM), 'latin1');
    await output.writeAt(header, 0);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function writeFloat32(inputs: readonly Input[], output: Output): Promise<void> {
  for (const input of inputs)
    await input.read(CHUNK, (values) =>
      output.write(new Uint8Array(values.buffer, values.byteOffset, values.byteLength)),
    );
}

async function writeFloat16(inputs: readonly Input[], output: Output): Promise<void> {
  for (const input of inputs) {
    let done = 0;
    await input.read(CHUNK, async (values) => {
      const tooLarge = values.findIndex(
        (value) => Number.isFinite(value) && Math.abs(value) > LARGEST_FLOAT16,
      );
      if (tooLarge >= 0) throw tooLargeForHalf(input.source, values[tooLarge], done + tooLarge);
      const halves = new Uint16Array(values.length);
      narrowFloat16(new Uint32Array(values.buffer, values.byteOffset, values.length), halves);
      await output.write(new Uint8Array(halves.buffer));
      done += values.length;
    });
  }
}

async function writeQuantized(
  { name, bits, sources }: Conversion & { kind: 'quantized' },
  inputs: readonly Input[],
  output: Output,
): Promise<void> {
  const columns = sources[0].shape[1];
  const rows = sources.reduce((sum, { shape }) => sum + shape[0], 0);
  const all = quantizedSizes(rows, columns, bits);
  const scales = new Float32Array(all.scales);
  const zeroPoints = new Uint8Array(all.zeroPoints);
  const rowsAtATime = Math.max(1, Math.floor(CHUNK / columns));
  const values = new Uint8Array(quantizedSizes(rowsAtATime, columns, bits).values);
  let row = 0;
  for (const input of inputs) {
    const first = row;
    await input.read(rowsAtATime * columns, async (chunk) => {
      const count = chunk.length / columns;
      const part = quantizedSizes(count, columns, bits);
      const before = quantizedSizes(row, columns, bits);
      const target = {
        values: values.subarray(0, part.values),
        scales: scales.subarray(before.scales, before.scales + part.scales),
        zeroPoints: zeroPoints.subarray(before.zeroPoints, before.zeroPoints + part.zeroPoints),
      };
      try {
        quantizeRows(chunk, columns, bits, target);
      } catch (error) {
        if (!(error instanceof NotFiniteError)) throw error;
        throw notFinite(input.source, row - first + Math.floor(error.index / columns), error.index % columns);
      }
      row += count;
      await output.write(target.values);
    });
  }
  if (row !== rows) throw new Error(`${name}: ${row} rows instead of ${rows}`);
  await output.write(new Uint8Array(scales.buffer));
  await output.write(zeroPoints);
}

async function writeTurned(
  { sources: [{ shape }] }: Conversion & { kind: 'turned' },
  input: Input,
  output: Output,
): Promise<void> {
  const [rows, columns] = shape;
  const codes = new Int8Array(rows * columns);
  const scales = new Float32Array(rows);
  let row = 0;
  await input.read(Math.max(1, Math.floor(CHUNK / columns)) * columns, (chunk) => {
    try {
      turnRows(chunk, columns, { codes, scales, firstRow: row });
    } catch (error) {
      if (!(error instanceof NotFiniteError)) throw error;
      throw notFinite(input.source, row + Math.floor(error.index / columns), error.index % columns);
    }
    row += chunk.length / columns;
  });
  await output.write(new Uint8Array(codes.buffer));
  await output.write(new Uint8Array(scales.buffer));
}

function tooLargeForHalf({ name, file }: TensorSource, value: number, index: number): ModelError {
  return new ModelError({
    code: 'model.weights-too-large',
    message: `The weights in ${basename(file)} cannot be converted to half precision.`,
    why: `Number ${index} of ${name} is ${value}; half precision ends at ${LARGEST_FLOAT16}.`,
    nextStep: 'Use another precision: fp32 or q4.',
  });
}

function notFinite({ name, file }: TensorSource, row: number, column: number): ModelError {
  return new ModelError({
    code: 'model.weights-not-finite',
    message: `The weights in ${basename(file)} cannot be converted to fewer bits.`,
    why: `${name} is not a finite number in row ${row}, column ${column}.`,
    nextStep: 'Download the file again. If it stays so, use the precision fp32.',
  });
}

/** Writes from front to back. */
class Output {
  private position = 0;
  private hash: Hash | undefined;

  constructor(
    private readonly handle: FileHandle,
    private readonly onBytes: ((bytes: number) => void) | undefined,
  ) {}

  /** SHA-256 of what is written from now on. */
  startChecksum(): Hash {
    this.hash = createHash('sha256');
    return this.hash;
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.hash?.update(bytes);
    await this.writeAt(bytes, this.position);
    this.position += bytes.length;
    this.onBytes?.(bytes.length);
  }

  async writeAt(bytes: Uint8Array, position: number): Promise<void> {
    for (let done = 0; done < bytes.length;) {
      const { bytesWritten } = await this.handle.write(bytes, done, bytes.length - done, position + done);
      done += bytesWritten;
    }
  }
}

/** Reads a tensor as float32 numbers. */
class Input {
  constructor(
    readonly source: TensorSource,
    private readonly files: Pick<SidecarFileSystem, 'open'>,
    private readonly signal: AbortSignal | undefined,
  ) {}

  /** Hands out `count` numbers at a time; the array is used again for the next ones. */
  async read(count: number, use: (values: Float32Array) => Promise<void> | void): Promise<void> {
    const { dtype, file, offset, byteLength } = this.source;
    const size = dtype === 'F32' ? 4 : 2;
    const all = byteLength / size;
    const values = new Float32Array(Math.min(count, all));
    const halves = new Uint16Array(dtype === 'F32' ? 0 : values.length);
    const handle = await this.files.open(file, 'r');
    try {
      for (let done = 0; done < all;) {
        throwIfCancelled(this.signal);
        const length = Math.min(count, all - done);
        const into = new Uint8Array(dtype === 'F32' ? values.buffer : halves.buffer, 0, length * size);
        await readAll(handle, into, offset + done * size, file);
        if (dtype !== 'F32') {
          const widen = dtype === 'BF16' ? widenBfloat16 : widenFloat16;
          widen(halves.subarray(0, length), new Uint32Array(values.buffer));
        }
        await use(values.subarray(0, length));
        done += length;
      }
    } finally {
      await handle.close();
    }
  }
}

async function readAll(handle: FileHandle, into: Uint8Array, position: number, file: string): Promise<void> {
  for (let done = 0; done < into.length;) {
    const { bytesRead } = await handle.read(into, done, into.length - done, position + done);
    if (bytesRead === 0)
      throw new ModelError({
        code: 'model.safetensors-truncated',
        message: `The weights file ${basename(file)} cannot be used.`,
        why: 'It became shorter while it was converted.',
        nextStep: 'Delete the file and download it again.',
      });
    done += bytesRead;
  }
}
