import { afterAll, describe, expect, it } from 'vitest';

import { OUTPUT_ROW, SYSTEM_ROW } from './decoderCache';
import { DeviceDecoder } from './deviceDecoder';
import { GraphSessions } from './graphSessions';
import { relativeError } from './selfTest';
import { normalNumbers, selfTestModels } from './selfTestModels';

/*
 * The CPU in a device's place, as in halfPrecision.test.ts: it writes outputs into the tensors it is given, as WebGPU does
 * (test/webgpu has the same on an adapter).
 */

const [, { config, tensors }] = selfTestModels();
const { text } = config;
const sessions = new GraphSessions(config, tensors, { device: 'cpu', attention: 'plain', float: 'float16' });
afterAll(() => sessions.dispose());

const ROWS = 20;
/** Half precision, summed over caches of different lengths. */
const TOLERANCE = 0.01;

/** Reads a prompt and writes tokens; answers with the logits of every token. */
async function decode(decoder: DeviceDecoder, tokens: number): Promise<Float32Array[]> {
  const run = { from: 0, to: text.numHiddenLayers, head: 'last', attention: 'mean' } as const;
  const columns = text.hiddenSize;
  const hidden = { data: normalNumbers(7, ROWS * columns), rows: ROWS, columns };
  const positions = Array.from({ length: ROWS }, (_, row) => row);
  const labels = new Array<number>(ROWS).fill(SYSTEM_ROW);
  const outputs = [await decoder.run(run, { input: hidden, labels, positions })];
  for (let token = 0; token < tokens; token++) {
    const rows = { input: [token], labels: [OUTPUT_ROW], positions: [ROWS + token] };
    outputs.push(await decoder.run(run, rows));
  }
  return outputs.map(({ logits }) => logits!);
}

describe('caches on a device', () => {
  it('grow when an answer becomes longer than was expected, and lose nothing', async () => {
    const tokens = 70;
    const roomy = new DeviceDecoder(text, sessions, ROWS + tokens);
    const tight = new DeviceDecoder(text, sessions, 0);
    const expected = await decode(roomy, tokens);
    const actual = await decode(tight, tokens);
    expect(actual.length).toBe(tokens + 1);
    for (const [step, logits] of actual.entries())
      expect(relativeError(logits, expected[step])).toBeLessThanOrEqual(TOLERANCE);
    expect(tight.cache.layers.map(({ positions }) => positions)).toEqual(
      roomy.cache.layers.map(({ positions }) => positions),
    );
    roomy.dispose();
    tight.dispose();
  });

  it('are written in place while there is room', async () => {
    const decoder = new DeviceDecoder(text, sessions, ROWS + 8);
    await decode(decoder, 0);
    const before = decoder.cache.layers.map(({ tensors: kept }) => kept);
    for (let token = 0; token < 8; token++) {
      const rows = { input: [token], labels: [OUTPUT_ROW], positions: [ROWS + token] };
      await decoder.run({ from: 0, to: text.numHiddenLayers, head: 'last', attention: 'mean' }, rows);
    }
    for (const [layer, { tensors: kept, length, capacity }] of decoder.cache.layers.entries()) {
      expect(kept).toBe(before[layer]);
      expect(length).toBe(ROWS + 8);
      expect(capacity).toBe(ROWS + 8);
    }
    decoder.dispose();
  });

  it('keep the rows of a beginning without a copy, for the next question to go on with', async () => {
    const first = new DeviceDecoder(text, sessions, ROWS + 4);
    const expected = await decode(first, 4);
    const kept = await first.cache.keep(ROWS, text.numHiddenLayers, 'move');
    first.dispose();
    const next = new DeviceDecoder(text, sessions, ROWS + 4);
    next.cache.takeOver(kept, new Array<number>(ROWS).fill(SYSTEM_ROW));
    const run = { from: 0, to: text.numHiddenLayers, head: 'last', attention: 'mean' } as const;
    for (let token = 0; token < 4; token++) {
      const rows = { input: [token], labels: [OUTPUT_ROW], positions: [ROWS + token] };
      expect((await next.run(run, rows)).logits).toEqual(expected[token + 1]);
    }
    next.dispose();
  });

  it('give up image tokens and go on with the others', async () => {
    const decoder = new DeviceDecoder(text, sessions, ROWS + 4);
    const run = { from: 0, to: text.numHiddenLayers, head: 'last', attention: 'mean' } as const;
    const columns = text.hiddenSize;
    const data = normalNumbers(7, ROWS * columns);
    const positions = Array.from({ length: ROWS }, (_, row) => row);
    await decoder.run(run, { input: { data, rows: ROWS, columns }, labels: positions, positions });
    await decoder.cache.dropImageTokens((token) => token % 3 === 0);
    const { logits } = await decoder.run(run, { input: [1], labels: [OUTPUT_ROW], positions: [ROWS] });
    const [layer] = decoder.cache.layers;
    expect(layer.positions).toEqual([...positions.filter((row) => row % 3 === 0), ROWS]);
    expect(layer.capacity).toBe(7 + 4);
    expect(logits!.every(Number.isFinite)).toBe(true);
    decoder.dispose();
  });
});
