import { type Checkpoint, elementCount } from '../checkpoint/checkpoint';
import { decoderBytes, hasByteTower, hasFourBits, type Precision } from '../checkpoint/precision';
import { isDecoderTensor, isTowerMatrix } from '../checkpoint/sidecarPlan';

/** What the weights of a loaded model take of a machine's memory. */
export interface WeightMemory {
  /** Private copies, which the system cannot take back. */
  readonly copiedBytes: number;
  /** Files that are mapped: read from the disk again where memory is short, which then takes its time. */
  readonly mappedBytes: number;
}

/** Quantised weights are rearranged for the processor, with a little beside them: measured with onnxruntime 1.30 on x64. */
const COPY_FACTOR = 1.1;

export function weightMemory(
  { config, tensors }: Pick<Checkpoint, 'config' | 'tensors'>,
  precision: Precision,
): WeightMemory {
  let mappedBytes = 0;
  let towerBytes = 0;
  for (const { name, shape, byteLength } of tensors.values()) {
    if (hasByteTower(precision) && isTowerMatrix({ name, shape })) towerBytes += elementCount(shape);
    else if (!hasFourBits(precision) || !isDecoderTensor(name) || shape.length !== 2)
      mappedBytes += elementCount(shape) * (precision === 'fp16' ? 2 : 4);
    // The codes are read once, when they are copied; the embedding table is mapped as it is.
    else if (name.endsWith('embed_tokens.weight')) mappedBytes += byteLength;
  }
  const decoder = hasFourBits(precision) ? decoderBytes(config, 'q4') : 0;
  return { copiedBytes: COPY_FACTOR * (decoder + towerBytes), mappedBytes };
}
