/** Converts a checkpoint to 4 bits in a process of its own, which the test may kill: convert <checkpoint> <cache> <worker program>. */
import { openCheckpoint } from '../../server/llava/checkpoint/open';
import { prepareWeights } from '../../server/llava/checkpoint/sidecar';

async function main(): Promise<void> {
  const [, , directory, cacheDirectory, workerProgram] = process.argv;
  const checkpoint = await openCheckpoint(directory);
  await prepareWeights(checkpoint, 'q4', {
    cacheDirectory,
    workerProgram,
    cores: 2,
    maxFileBytes: 1_500_000,
    onProgress: (share) => process.send?.(share),
  });
}

void main();
