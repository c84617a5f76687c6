import type { TrainedHeads } from '../reduction/trainedHeads';
import type { LlavaConfig } from './config';

/** A tensor as it lies on disk. `file` is a real path (symlinks resolved); bytes [offset, offset + byteLength). */
export interface TensorSource {
  /** Canonical name: the generation of transformers >= 5 (see tensorNames.ts). */
  readonly name: string;
  readonly dtype: 'F32' | 'F16' | 'BF16' | 'U8' | 'I8';
  readonly shape: readonly number[];
  readonly file: string;
  readonly offset: number;
  readonly byteLength: number;
  /** The bytes themselves, for a tensor that lies in no file (then `file` is empty). */
  readonly bytes?: Uint8Array;
  /** Set where the bytes (U8) are codes of a matrix [rows, columns] in blocks (see quantize.ts): [rows, blocks, bytes]. */
  readonly quantization?: Quantization;
  /**
   * Set where the bytes (I8) are a matrix [rows, columns] turned to [columns, rows], as onnxruntime's DynamicQuantizeMatMul reads it: weight =
   * code * scale of its row. [rows]
   */
  readonly rowScales?: TensorSource;
}

/** How many numbers a tensor of this shape holds. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** A tensor that lies in no file. */
export function tensorInMemory(
  name: string,
  dtype: TensorSource['dtype'],
  shape: readonly number[],
  bytes: Uint8Array,
): TensorSource {
  return { name, dtype, shape, file: '', offset: 0, byteLength: bytes.byteLength, bytes };
}

/** Rows [from, from + count) of a matrix or a vector, with the codes' scales and zero points where it is quantised. */
export function someRows(source: TensorSource, from: number, count: number): TensorSource {
  const { quantization } = source;
  const [rows] = source.shape;
  const part = (whole: TensorSource, shape: readonly number[]): TensorSource => {
    const bytesPerRow = whole.byteLength / rows;
    const [start, byteLength] = [from * bytesPerRow, count * bytesPerRow];
    return {
      ...whole,
      name: `${whole.name}[${from}]`,
      shape,
      offset: whole.offset + start,
      byteLength,
      ...(whole.bytes ? { bytes: whole.bytes.subarray(start, start + byteLength) } : {}),
    };
  };
  const values = part(source, [count, ...source.shape.slice(1)]);
  if (!quantization) return values;
  const shared = (whole: TensorSource): TensorSource => part(whole, [(whole.shape[0] / rows) * count]);
  const { scales, zeroPoints } = quantization;
  return {
    ...values,
    quantization: {
      ...quantization,
      scales: shared(scales),
      ...(zeroPoints ? { zeroPoints: shared(zeroPoints) } : {}),
    },
  };
}

export interface Quantization {
  readonly bits: 4 | 8;
  /** Of the matrix; the last block of a row may be filled up. */
  readonly columns: number;
  /** [rows * blocks] */
  readonly scales: TensorSource;
  /** [rows * ceil(blocks / 2)], two to a byte; absent = the middle of the codes. */
  readonly zeroPoints?: TensorSource;
}

/**
 * Canonical name -> tensor: all that the engine needs, checked against the config, and every other tensor of these
 * types. `lm_head.weight` is there exactly when `config.text.tieWordEmbeddings` is false.
 *
 * After sidecar.ts has prepared a precision, quantised matrices stand under the name of the weight they hold, merged ones
 * as `self_attn.qkv_proj.weight` and `mlp.gate_up_proj.weight`, and `lm_head.weight` exists also where it is tied.
 */
export type TensorMap = ReadonlyMap<string, TensorSource>;

export interface PreprocessorConfig {
  /** Side of the square that the tower sees. */
  readonly size: number;
  readonly rescaleFactor: number;
  readonly mean: readonly [number, number, number];
  readonly std: readonly [number, number, number];
  /** PIL's codes: 2 = bilinear, 3 = bicubic. */
  readonly resample: 2 | 3;
  /**
   * What the checkpoint's own processor does with an image that is not square ("crop"): CLIP's scales the short side to
   * this many pixels and cuts a square of `size` out of the middle; undefined = SigLIP's, which squeezes to the square.
   */
  readonly shortestEdge: number | undefined;
  /** The checkpoint's own processor makes a square of the image before anything else ("crop"), as `pad` does. */
  readonly padsToSquare: boolean;
  /** The colour around a padded image, in bytes: the mean, whether or not values are normalised. */
  readonly background: readonly [number, number, number];
}

/** Everything a checkpoint folder says, validated; of tensor data only the small heads of trained reductions are read. */
export interface Checkpoint {
  readonly directory: string;
  /** Folder name, for people. */
  readonly name: string;
  readonly config: LlavaConfig;
  readonly tensors: TensorMap;
  readonly preprocessor: PreprocessorConfig;
  /** Parsed tokenizer.json and tokenizer_config.json. */
  readonly tokenizer: { readonly json: object; readonly config: object };
  /** Jinja source; undefined where the checkpoint has none. */
  readonly chatTemplate: string | undefined;
  /** What generation_config.json says of answers. How sure they are to be (temperature and so on) is the asker's. */
  readonly generation: {
    readonly maxNewTokens: number | undefined;
    readonly eosTokenIds: readonly number[];
    /** 1 = none */
    readonly repetitionPenalty: number;
  };
  /** Heads of trained reductions that lie beside the weights. */
  readonly heads: TrainedHeads;
  readonly parameters: number;
  /**
   * SHA-256 (hex) over config, tensor headers, file sizes and samples of the data: identifies the checkpoint, and is the
   * same for every copy of it.
   */
  readonly hash: string;
}
