import { expect, it } from 'vitest';
import { decoderBytes } from '../checkpoint/precision';
import { openCheckpoint } from '../checkpoint/open';
import { readFixture } from '../testing/fixtures';
import { weightMemory } from './weightMemory';

it('fp32 maps every weight, whatever its precision was, and copies none', async () => {
  const checkpoint = await openCheckpoint(readFixture('clip-llama-llama3-bfloat16').directory);
  expect(weightMemory(checkpoint, 'fp32')).toEqual({
    copiedBytes: 0,
    mappedBytes: 4 * checkpoint.parameters,
  });
});

it('q4 copies the codes, and maps the decoder no more but for its table, which stays as it is', async () => {
  const checkpoint = await openCheckpoint(readFixture('clip-llama-llama3-bfloat16').directory);
  const { copiedBytes, mappedBytes } = weightMemory(checkpoint, 'q4');
  expect(copiedBytes).toBeGreaterThan(decoderBytes(checkpoint.config, 'q4'));
  const { text } = checkpoint.config;
  const matrices = decoderBytes(checkpoint.config, 'fp32') / 4;
  const table = text.vocabSize * text.hiddenSize;
  const others = checkpoint.parameters - matrices - (text.tieWordEmbeddings ? 0 : table);
  expect(mappedBytes).toBe(4 * others + 2 * table);
});
