import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';

import { mulberry32 } from '../mulberry32';
import { temporaryDirectory } from '../testing/temporaryDirectory';
import { openCheckpoint } from './open';
import { copyCheckpoint, modelError, safetensorsBytes } from './testing';

const PROFILE = 4;

/** A safetensors file of fp32 tensors with random values. */
function headFile(
  metadata: Record<string, string>,
  shapes: Readonly<Record<string, readonly number[]>>,
  change: (values: Float32Array) => void = () => undefined,
): Buffer {
  const next = mulberry32(1);
  const header: Record<string, unknown> = { __metadata__: metadata };
  let end = 0;
  const parts = Object.entries(shapes).map(([name, shape]) => {
    const values = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, next);
    change(values);
    const begin = end;
    end += values.byteLength;
    header[name] = { dtype: 'F32', shape, data_offsets: [begin, end] };
    return Buffer.from(values.buffer);
  });
  return safetensorsBytes(header, Buffer.concat(parts));
}

describe('heads of trained reductions beside a checkpoint', () => {
  const scratch = temporaryDirectory();
  let copies = 0;
  const next = () => path.join(scratch, String(copies++));
  let directory: string;
  let heads: number;
  let textDim: number;
  let visionDim: number;

  beforeEach(async () => {
    directory = copyCheckpoint('clip-llama', next());
    const { text, vision } = (await openCheckpoint(directory)).config;
    heads = text.numAttentionHeads;
    textDim = text.hiddenSize;
    visionDim = vision.hiddenSize;
    mkdirSync(path.join(directory, 'heads'));
  });

  const put = (name: string, bytes: Buffer) => writeFileSync(path.join(directory, 'heads', name), bytes);
  const dyRateShapes = (): Record<string, readonly number[]> => ({
    'fc1.weight': [6, heads * (4 + PROFILE)],
    'fc1.bias': [6],
    'fc2.weight': [8, 6],
    'fc2.bias': [8],
  });
  const dyRate = { method: 'dyrate', variant: 'gumbel', lambda: '0.3', profile: String(PROFILE) };
  const llamaVidShapes = (): Record<string, readonly number[]> => ({
    queries: [3, textDim],
    'text_k_proj.weight': [textDim, textDim],
    'text_k_proj.bias': [textDim],
    'text_v_proj.weight': [textDim, textDim],
    'text_v_proj.bias': [textDim],
    'q_proj.weight': [visionDim, textDim],
    'q_proj.bias': [visionDim],
    'k_proj.weight': [visionDim, visionDim],
    'k_proj.bias': [visionDim],
    'feature_norm.weight': [visionDim],
    'feature_norm.bias': [visionDim],
    'context_projector.weight': [textDim, visionDim],
    'context_projector.bias': [textDim],
    'linear_1.weight': [textDim, visionDim],
    'linear_1.bias': [textDim],
    'linear_2.weight': [textDim, textDim],
    'linear_2.bias': [textDim],
  });

  it('are none where there is no folder, and files of other methods are left alone', async () => {
    const plain = await openCheckpoint(copyCheckpoint('clip-llama', next()));
    expect(plain.heads).toEqual({ dyRate: [], llamaVid: undefined });
    put('other.safetensors', headFile({ method: 'something-else' }, { a: [2] }));
    put('notes.txt', Buffer.from('not a head'));
    expect((await openCheckpoint(directory)).heads.dyRate).toEqual([]);
  });

  it('are read with their values, also where a tensor lies at an odd offset', async () => {
    // A header of any length puts the data anywhere.
    put('a.safetensors', headFile({ ...dyRate, note: 'x' }, dyRateShapes()));
    put('b.safetensors', headFile({ method: 'llamavid' }, llamaVidShapes()));
    const found = (await openCheckpoint(directory)).heads;
    const random = mulberry32(1);
    const first = Array.from({ length: 6 * heads * (4 + PROFILE) }, () => Math.fround(random()));
    expect(found.dyRate).toHaveLength(1);
    expect(found.dyRate[0]).toMatchObject({ variant: 'gumbel', lambda: 0.3, profile: PROFILE });
    expect([...found.dyRate[0].hidden.weight.data]).toEqual(first);
    expect(found.dyRate[0].rates.weight).toMatchObject({ rows: 8, columns: 6 });
    expect(found.llamaVid?.queries).toMatchObject({ rows: 3, columns: textDim });
    expect(found.llamaVid?.content[1].weight).toMatchObject({ rows: textDim, columns: textDim });
  });

  it('change the hash of the checkpoint, since they change answers', async () => {
    const without = (await openCheckpoint(directory)).hash;
    put('a.safetensors', headFile(dyRate, dyRateShapes()));
    const withHead = (await openCheckpoint(directory)).hash;
    put(
      'a.safetensors',
      headFile(dyRate, dyRateShapes(), (values) => {
        values[0] += 1;
      }),
    );
    expect(new Set([without, withHead, (await openCheckpoint(directory)).hash]).size).toBe(3);
  });

  it.each([
    ['of another checkpoint', dyRate, { 'fc1.weight': [6, 1000] }, /fc1.weight.*shape/],
    ['with a part missing', dyRate, { 'fc2.bias': undefined }, /no tensor "fc2.bias"/],
    ['of an unknown variant', { ...dyRate, variant: 'other' }, {}, /variant/],
    ['without its profile', { ...dyRate, profile: 'many' }, {}, /profile/],
    ['of three dimensions', dyRate, { 'fc2.weight': [2, 4, 6] }, /shape/],
  ] as const)('%s is refused by name', async (_, metadata, changed, why) => {
    const shapes = Object.entries({ ...dyRateShapes(), ...changed }).filter(
      ([, shape]) => shape !== undefined,
    );
    put(
      'bad.safetensors',
      headFile({ ...metadata }, Object.fromEntries(shapes) as Record<string, readonly number[]>),
    );
    const error = await modelError(openCheckpoint(directory));
    expect(error.code).toBe('model.bad-head');
    expect(error.message).toContain('heads/bad.safetensors');
    expect(error.why).toMatch(why);
  });

  it('with values that are not finite, or cut off at any length, is refused', async () => {
    put(
      'bad.safetensors',
      headFile(dyRate, dyRateShapes(), (values) => {
        values[values.length - 1] = NaN;
      }),
    );
    expect((await modelError(openCheckpoint(directory))).why).toMatch(/not finite/);
    const whole = headFile(dyRate, dyRateShapes());
    for (let length = 0; length < whole.length; length += 97) {
      put('bad.safetensors', whole.subarray(0, length));
      await modelError(openCheckpoint(directory));
    }
  });
});
