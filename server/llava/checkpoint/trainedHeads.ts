import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ModelError, throwIfCancelled } from '../errors';
import type {
  DyRateHead,
  DyRateVariant,
  Linear,
  LlamaVidHead,
  TrainedHeads,
} from '../reduction/trainedHeads';
import type { LlavaConfig } from './config';
import { readSafetensorsHeader, type SafetensorsHeader } from './safetensors';

/** Heads are small; this bounds what a hostile file can claim. */
const MAX_HEAD_BYTES = 64 * 1024 * 1024;

/**
 * Reads the heads of trained reductions that lie in the folder `heads` of a checkpoint: fp32 safetensors files whose metadata says what they are
 * (`method`: `dyrate` with `variant`, `lambda` and `profile`, or `llamavid`). Files of other methods are left alone.
 *
 * @returns the heads, and what the files hold (headers and data), for the checkpoint's hash.
 * @throws ModelError naming the file and the fault: a head that does not fit the checkpoint would compute nonsense.
 */
export async function readTrainedHeads(
  directory: string,
  config: LlavaConfig,
  signal?: AbortSignal,
): Promise<{ heads: TrainedHeads; files: readonly Uint8Array[] }> {
  const folder = join(directory, 'heads');
  const dyRate: DyRateHead[] = [];
  let llamaVid: LlamaVidHead | undefined;
  const files: Uint8Array[] = [];
  for (const name of await headFiles(folder)) {
    throwIfCancelled(signal);
    const head = await HeadFile.read(join(folder, name), `heads/${name}`);
    files.push(head.headerBytes, head.bytes);
    if (head.metadata.method === 'dyrate') dyRate.push(dyRateHead(head, config));
    if (head.metadata.method === 'llamavid') llamaVid = llamaVidHead(head, config);
  }
  return { heads: { dyRate, llamaVid }, files };
}

async function headFiles(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).filter((name) => name.endsWith('.safetensors')).sort();
  } catch {
    // Most checkpoints have no such folder.
    return [];
  }
}

function dyRateHead(file: HeadFile, { text }: LlavaConfig): DyRateHead {
  const { variant } = file.metadata;
  const lambda = Number(file.metadata.lambda);
  const profile = Number(file.metadata.profile);
  if (variant !== 'gumbel' && variant !== 'expectation')
    throw file.fault('its metadata names no known variant');
  if (!(lambda >= 0) || !Number.isInteger(profile) || profile < 1)
    throw file.fault('its metadata lacks lambda or profile');
  const hidden = file.linear('fc1', undefined, text.numAttentionHeads * (4 + profile));
  return {
    variant: variant satisfies DyRateVariant,
    lambda,
    profile,
    hidden,
    rates: file.linear('fc2', undefined, hidden.weight.rows),
  };
}

function llamaVidHead(file: HeadFile, { text, vision }: LlavaConfig): LlamaVidHead {
  const textDim = text.hiddenSize;
  const visionDim = vision.hiddenSize;
  const first = file.linear('linear_1', undefined, visionDim);
  return {
    queries: file.matrix('queries', undefined, textDim),
    textKey: file.linear('text_k_proj', textDim, textDim),
    textValue: file.linear('text_v_proj', textDim, textDim),
    query: file.linear('q_proj', visionDim, textDim),
    key: file.linear('k_proj', visionDim, visionDim),
    featureNorm: {
      weight: file.matrix('feature_norm.weight', 1, visionDim).data,
      bias: file.matrix('feature_norm.bias', 1, visionDim).data,
    },
    context: file.linear('context_projector', textDim, visionDim),
    content: [first, file.linear('linear_2', textDim, first.weight.rows)],
  };
}

/** The tensors of one head, checked as they are asked for. */
class HeadFile {
  private constructor(
    private readonly name: string,
    private readonly header: SafetensorsHeader,
    readonly bytes: Uint8Array,
  ) {}

  static async read(file: string, name: string): Promise<HeadFile> {
    const header = await readSafetensorsHeader(file, { name });
    const length = header.fileSize - header.dataOffset;
    if (length > MAX_HEAD_BYTES) throw faultOf(name, `it has ${length} bytes; heads are small`);
    const bytes = new Uint8Array(length);
    const handle = await open(file, 'r');
    try {
      let done = 0;
      while (done < length) {
        const { bytesRead } = await handle.read(bytes, done, length - done, header.dataOffset + done);
        if (bytesRead === 0) throw faultOf(name, 'it became shorter while it was read');
        done += bytesRead;
      }
    } finally {
      await handle.close();
    }
    return new HeadFile(name, header, bytes);
  }

  get metadata(): Readonly<Record<string, string>> {
    return this.header.metadata;
  }

  get headerBytes(): Uint8Array {
    return this.header.headerBytes;
  }

  linear(name: string, rows: number | undefined, columns: number): Linear {
    const weight = this.matrix(`${name}.weight`, rows, columns);
    return { weight, bias: this.matrix(`${name}.bias`, 1, weight.rows).data };
  }

  /** @param rows undefined takes what there is. */
  matrix(
    name: string,
    rows: number | undefined,
    columns: number,
  ): { data: Float32Array; rows: number; columns: number } {
    const entry = this.header.tensors.find((tensor) => tensor.name === name);
    if (!entry) throw this.fault(`it has no tensor "${name}"`);
    if (entry.dtype !== 'F32') throw this.fault(`"${name}" is of type ${entry.dtype}, and F32 is read`);
    const [ownRows, ownColumns] = entry.shape.length === 1 ? [1, entry.shape[0]] : entry.shape;
    if (entry.shape.length > 2 || ownColumns !== columns || (rows !== undefined && ownRows !== rows)) {
      throw this.fault(
        `"${name}" has the shape [${entry.shape.join(', ')}], and this checkpoint needs ${rows ?? 'any'} x ${columns}`,
      );
    }
    // Copied: the bytes of a tensor need not lie at a multiple of four.
    const data = new Float32Array(this.bytes.slice(entry.begin, entry.end).buffer);
    if (!data.every(Number.isFinite)) throw this.fault(`"${name}" holds values that are not finite`);
    return { data, rows: ownRows, columns };
  }

  fault(why: string): ModelError {
    return faultOf(this.name, why);
  }
}

function faultOf(name: string, why: string): ModelError {
  return new ModelError({
    code: 'model.bad-head',
    message: `The trained head ${name} cannot be used.`,
    why: `${why[0].toUpperCase()}${why.slice(1)}.`,
    nextStep: 'Remove the file, or put the one back that was trained for this checkpoint.',
  });
}
