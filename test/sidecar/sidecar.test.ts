import { fork } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { build } from 'esbuild';
import { beforeAll, describe, expect, it } from 'vitest';

import { writeRandomCheckpoint } from '../../bench/randomCheckpoint';
import { openCheckpoint } from '../../server/llava/checkpoint/open';
import { prepareWeights } from '../../server/llava/checkpoint/sidecar';
import { CancelledError } from '../../server/llava/errors';
import { temporaryDirectory } from '../../server/llava/testing/temporaryDirectory';

/*
 * The conversion with the real threads, and in processes that are killed. What comes out is compared with what one thread
 * makes without disturbance.
 */

const scratch = temporaryDirectory();
const checkpointFolder = path.join(scratch, 'checkpoint');
const programs = path.join(scratch, 'programs');
const worker = path.join(programs, 'worker.js');
const converter = path.join(programs, 'convert.js');
const MAX_FILE_BYTES = 1_500_000;

let expected: Map<string, Buffer>;
let folders = 0;
const freshFolder = (): string => path.join(scratch, `cache-${folders++}`);

/** File name -> content of a finished sidecar; nothing else may lie beside it. */
function sidecar(cacheDirectory: string): Map<string, Buffer> {
  const [hash, ...others] = readdirSync(cacheDirectory);
  expect(others).toEqual([]);
  const folder = path.join(cacheDirectory, hash);
  return new Map(
    readdirSync(folder)
      .sort()
      .map((name) => [name, readFileSync(path.join(folder, name))]),
  );
}

function expectSame(actual: Map<string, Buffer>): void {
  expect([...actual.keys()]).toEqual([...expected.keys()]);
  for (const [name, bytes] of expected) expect(actual.get(name)!.equals(bytes), name).toBe(true);
}

/** Runs the conversion in a process; kills it once it has reported this share. Answers whether it was killed. */
async function convertAndKill(cacheDirectory: string, share: number): Promise<boolean> {
  const child = fork(converter, [checkpointFolder, cacheDirectory, worker], { execArgv: [] });
  child.on('message', (done) => {
    if (Number(done) >= share) child.kill('SIGKILL');
  });
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve) =>
    child.once('exit', (...end) => resolve(end)),
  );
  if (signal === null) expect(code).toBe(0);
  return signal !== null;
}

function finished(cacheDirectory: string): number {
  return existsSync(cacheDirectory)
    ? readdirSync(path.join(cacheDirectory, readdirSync(cacheDirectory)[0])).filter((name) =>
        name.startsWith('weights-'),
      ).length
    : 0;
}

beforeAll(async () => {
  const options = {
    bundle: true,
    platform: 'node',
    target: 'node20',
    logLevel: 'error',
  } as const;
  const entryPoints = {
    convert: path.join(__dirname, 'convert.ts'),
    worker: path.join(__dirname, '..', '..', 'server', 'llava', 'checkpoint', 'sidecarWorker.ts'),
  };
  await build({ ...options, entryPoints, outdir: programs });
  writeRandomCheckpoint(checkpointFolder, {
    decoder: 'smol',
    tower: 'tiny',
    layers: 3,
    dtype: 'BF16',
    maxShardBytes: 20_000_000,
  });
  const cacheDirectory = freshFolder();
  await prepareWeights(await openCheckpoint(checkpointFolder), 'q4', {
    cacheDirectory,
    maxFileBytes: MAX_FILE_BYTES,
    cores: 1,
  });
  expected = sidecar(cacheDirectory);
});

it('the sidecar has many files, and reports its progress to the end', async () => {
  expect(expected.size).toBeGreaterThan(6);
  const shares: number[] = [];
  const checkpoint = await openCheckpoint(checkpointFolder);
  const cacheDirectory = freshFolder();
  await prepareWeights(checkpoint, 'q4', {
    cacheDirectory,
    workerProgram: worker,
    cores: 3,
    maxFileBytes: MAX_FILE_BYTES,
    onProgress: (share) => shares.push(share),
  });
  expectSame(sidecar(cacheDirectory));
  expect(shares).toEqual(shares.toSorted((a, b) => a - b));
  expect(shares.at(-1)).toBe(1);
});

describe('a process that is killed', () => {
  it.each([0, 0.3, 0.9])(
    'after the share %d leaves what is finished, and the next one goes on',
    async (share) => {
      const cacheDirectory = freshFolder();
      expect(await convertAndKill(cacheDirectory, share)).toBe(true);
      const kept = finished(cacheDirectory);
      const shares: number[] = [];
      const options = { cacheDirectory, maxFileBytes: MAX_FILE_BYTES };
      await prepareWeights(await openCheckpoint(checkpointFolder), 'q4', {
        ...options,
        onProgress: (done) => shares.push(done),
      });
      expectSame(sidecar(cacheDirectory));
      // What was kept was not made again.
      if (kept > 1) expect(shares[0]).toBeGreaterThan(0.01);
    },
  );

  it('again and again comes to the end', async () => {
    const cacheDirectory = freshFolder();
    let killed = 0;
    for (let share = 0.25; await convertAndKill(cacheDirectory, share); share += 0.25) killed++;
    expect(killed).toBeGreaterThan(1);
    expectSame(sidecar(cacheDirectory));
  });
});

describe('cancelling the threads', () => {
  it('ends them, and keeps what is finished', async () => {
    const cacheDirectory = freshFolder();
    const controller = new AbortController();
    const checkpoint = await openCheckpoint(checkpointFolder);
    const options = {
      cacheDirectory,
      workerProgram: worker,
      cores: 2,
      maxFileBytes: MAX_FILE_BYTES,
    };
    const work = prepareWeights(checkpoint, 'q4', {
      ...options,
      signal: controller.signal,
      onProgress: (share) => {
        if (share > 0.4) controller.abort();
      },
    });
    await expect(work).rejects.toThrow(CancelledError);
    const left = sidecar(cacheDirectory);
    expect(left.size).toBeGreaterThan(0);
    expect(left.size).toBeLessThan(expected.size);
    for (const [name, bytes] of left) expect(expected.get(name)!.equals(bytes)).toBe(true);
    await prepareWeights(checkpoint, 'q4', options);
    expectSame(sidecar(cacheDirectory));
  });
});

describe('a weight that is not a number', () => {
  it('is reported with its tensor by the threads too', async () => {
    const folder = path.join(scratch, 'broken');
    writeRandomCheckpoint(folder, { decoder: 'smol', tower: 'tiny', layers: 2 });
    const checkpoint = await openCheckpoint(folder);
    const name = 'model.language_model.layers.1.mlp.up_proj.weight';
    const tensor = checkpoint.tensors.get(name)!;
    const { open } = await import('node:fs/promises');
    const handle = await open(tensor.file, 'r+');
    await handle.write(new Uint8Array(Float32Array.of(NaN).buffer), 0, 4, tensor.offset + 4 * (576 * 7 + 3));
    await handle.close();
    const work = prepareWeights(checkpoint, 'q4', {
      cacheDirectory: freshFolder(),
      workerProgram: worker,
      cores: 2,
      maxFileBytes: MAX_FILE_BYTES,
    });
    await expect(work).rejects.toMatchObject({
      code: 'model.weights-not-finite',
      why: `${name} is not a finite number in row 7, column 3.`,
    });
  });
});
