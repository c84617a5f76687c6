import { createHash } from 'node:crypto';
import { type Checkpoint, elementCount, type TensorMap, type TensorSource } from './checkpoint';
import type { LlavaConfig } from './config';
import { hasByteTower, type Precision } from './precision';
import { type Bits, quantizedSizes } from './quantize';

/**
 * What has to be converted so that the engine can run a checkpoint in a precision: a list of files, and which tensors they
 * hold. The same checkpoint and precision give the same plan on every machine.
 */

/** How one tensor of the checkpoint, or several whose rows follow one another, become tensors of the sidecar. */
export type Conversion =
  | {
      /** A copy in float32, or rounded to half precision. */
      readonly kind: 'float32' | 'float16';
      readonly name: string;
      readonly sources: readonly TensorSource[];
    }
  | {
      /** Matrices [rows, columns], one above the other, quantised: `values`, `scales` and `zeroPoints` of `name`. */
      readonly kind: 'quantized';
      readonly name: string;
      readonly bits: Bits;
      readonly sources: readonly TensorSource[];
    }
  | {
      /** A matrix [rows, columns], turned to [columns, rows] in 8 bits, and the scales of its rows. */
      readonly kind: 'turned';
      readonly name: string;
      readonly sources: readonly [TensorSource];
    };

/** One file of the sidecar: made as a whole, by one worker. */
export interface SidecarFile {
  /** Carries a hash of everything that the content depends on: a file that has this name has this content. */
  readonly name: string;
  /** 8 bytes length and the JSON; in the place of the content's checksum stand zeros. */
  readonly header: Uint8Array;
  readonly conversions: readonly Conversion[];
  /** Of the whole file. */
  readonly bytes: number;
}

/** A tensor as it lies in a sidecar file. */
export interface StoredTensor {
  readonly name: string;
  readonly dtype: 'F32' | 'F16' | 'U8' | 'I8';
  readonly shape: readonly number[];
  readonly byteLength: number;
}

/** Part of every file's hash: another way of converting is another file. */
const FORMAT = 'fovea sidecar 2';
export const NO_CHECKSUM = '0'.repeat(64);
/** Enough files to keep all cores busy and to lose little when the process is killed, few enough for 7B (about 100). */
const FILE_BYTES = 64 * 1024 * 1024;
/** Where the data of a file begins is a multiple of this: a cache line, and the widest vector load. */
const ALIGNMENT = 64;

/** Size and time of modification of the checkpoint's files: a checkpoint that was changed is converted again. */
export type SourceStamps = ReadonlyMap<string, string>;

/** @param maxFileBytes a conversion is never split, so a file may be larger */
export function planSidecar(
  checkpoint: Pick<Checkpoint, 'config' | 'tensors'>,
  precision: Precision,
  stamps: SourceStamps,
  maxFileBytes = FILE_BYTES,
): SidecarFile[] {
  const conversions = planConversions(checkpoint, precision);
  const isDecoder = ({ name }: Conversion): boolean => isDecoderTensor(name);
  // Tower and projector get files of their own, which float32 and 4 bits share.
  return [
    ...group(
      conversions.filter((conversion) => !isDecoder(conversion)),
      maxFileBytes,
    ),
    ...group(conversions.filter(isDecoder), maxFileBytes),
  ].map((members) => describeFile(members, stamps));
}

/** The tensors that the engine reads: those of the checkpoint, with what the sidecar has instead of or besides them. */
export function withSidecar(
  tensors: TensorMap,
  plan: readonly SidecarFile[],
  pathOf: (name: string) => string,
): TensorMap {
  const converted = new Map(tensors);
  for (const { name, header, conversions } of plan) {
    const file = pathOf(name);
    let offset = header.length;
    for (const conversion of conversions) {
      const parts = storedTensors(conversion).map((stored): TensorSource => {
        const source = { ...stored, file, offset };
        offset += stored.byteLength;
        return source;
      });
      const [values, scales, zeroPoints] = parts;
      if (conversion.kind === 'turned') converted.set(conversion.name, { ...values, rowScales: scales });
      else if (conversion.kind !== 'quantized') converted.set(conversion.name, values);
      else
        converted.set(conversion.name, {
          ...values,
          quantization: {
            bits: conversion.bits,
            columns: conversion.sources[0].shape[1],
            scales,
            ...(zeroPoints === undefined ? {} : { zeroPoints }),
          },
        });
    }
  }
  return converted;
}

// ---------------------------------------------------------------------------------------------- which tensors

const DECODER = 'model.language_model';
const HEAD = 'lm_head.weight';
const EMBEDDING = `${DECODER}.embed_tokens.weight`;

/** Whether a tensor belongs to the part of the model that is quantised. */
export function isDecoderTensor(name: string): boolean {
  return name.startsWith(`${DECODER}.`) || name === HEAD;
}

function planConversions(
  { tensors, config }: Pick<Checkpoint, 'config' | 'tensors'>,
  precision: Precision,
): Conversion[] {
  if (precision === 'fp16') return [...tensors.values()].filter(({ dtype }) => dtype !== 'F16').map(narrow);
  const widened = [...tensors.values()].filter(({ dtype }) => dtype !== 'F32').map(widen);
  if (precision === 'fp32') return widened;
  const turned = hasByteTower(precision) ? [...tensors.values()].filter(isTowerMatrix) : [];
  return [
    ...turned.map(turn),
    ...widened.filter(({ name, sources: [source] }) => !isDecoderTensor(name) && !turned.includes(source)),
    ...planQuantizedDecoder(config, tensors),
    ...widened.filter(({ name }) => isDecoderTensor(name) && isSmall(tensors.get(name)!)),
  ];
}

/** The matrices of the vision tower's layers. */
export function isTowerMatrix({ name, shape }: Pick<TensorSource, 'name' | 'shape'>): boolean {
  return name.startsWith('model.vision_tower.encoder.layers.') && shape.length === 2;
}

function turn(source: TensorSource): Conversion {
  return { kind: 'turned', name: source.name, sources: [source] };
}

function widen(source: TensorSource): Conversion {
  return { kind: 'float32', name: source.name, sources: [source] };
}

function narrow(source: TensorSource): Conversion {
  return { kind: 'float16', name: source.name, sources: [source] };
}

/** Norms and biases: they stay float32. */
function isSmall({ shape }: TensorSource): boolean {
  return shape.length === 1;
}

/**
 * Query, key and value projections become one matrix, gate and up projections too: fewer, larger products.
 * The embedding table is not converted, since only a few of its rows are read.
 */
function planQuantizedDecoder({ text }: LlavaConfig, tensors: TensorMap): Conversion[] {
  const conversions: Conversion[] = [];
  const linear = (prefix: string, name: string, parts: readonly string[], bias: boolean): void => {
    const sources = (suffix: string): TensorSource[] =>
      parts.map((part) => tensors.get(`${prefix}.${part}.${suffix}`)!);
    conversions.push({
      kind: 'quantized',
      name: `${prefix}.${name}.weight`,
      bits: 4,
      sources: sources('weight'),
    });
    if (bias && parts.length > 1)
      conversions.push({ kind: 'float32', name: `${prefix}.${name}.bias`, sources: sources('bias') });
  };
  for (let layer = 0; layer < text.numHiddenLayers; layer++) {
    const attention = `${DECODER}.layers.${layer}.self_attn`;
    linear(attention, 'qkv_proj', ['q_proj', 'k_proj', 'v_proj'], text.qkvBias);
    linear(attention, 'o_proj', ['o_proj'], text.outputBias);
    const feedForward = `${DECODER}.layers.${layer}.mlp`;
    linear(feedForward, 'gate_up_proj', ['gate_proj', 'up_proj'], text.mlpBias);
    linear(feedForward, 'down_proj', ['down_proj'], text.mlpBias);
  }
  // 8 bits: it decides between words, and is read once per token like everything else.
  const head = tensors.get(text.tieWordEmbeddings ? EMBEDDING : HEAD)!;
  conversions.push({ kind: 'quantized', name: HEAD, bits: 8, sources: [head] });
  return conversions;
}

// ---------------------------------------------------------------------------------------------- the files

/** The tensors that a conversion writes, in the order of their data. */
export function storedTensors({ name, sources, ...conversion }: Conversion): StoredTensor[] {
  const rows = sources.reduce((sum, { shape }) => sum + shape[0], 0);
  if (conversion.kind === 'turned') {
    const [columns] = sources[0].shape.slice(1);
    return [
      {
        name: name.replace(/weight$/, 'qweight'),
        dtype: 'I8',
        shape: [columns, rows],
        byteLength: columns * rows,
      },
      { name: name.replace(/weight$/, 'scales'), dtype: 'F32', shape: [rows], byteLength: rows * 4 },
    ];
  }
  if (conversion.kind !== 'quantized') {
    const shape = sources.length === 1 ? sources[0].shape : [rows, ...sources[0].shape.slice(1)];
    const [dtype, bytes] = conversion.kind === 'float32' ? (['F32', 4] as const) : (['F16', 2] as const);
    return [{ name, dtype, shape, byteLength: elementCount(shape) * bytes }];
  }
  const sizes = quantizedSizes(rows, sources[0].shape[1], conversion.bits);
  const stem = name.replace(/\.weight$/, '');
  const stored: StoredTensor[] = [
    {
      name: `${stem}.qweight`,
      dtype: 'U8',
      shape: [rows, sizes.blocksPerRow, sizes.bytesPerBlock],
      byteLength: sizes.values,
    },
    { name: `${stem}.scales`, dtype: 'F32', shape: [sizes.scales], byteLength: sizes.scales * 4 },
  ];
  if (sizes.zeroPoints > 0)
    stored.push({
      name: `${stem}.qzeros`,
      dtype: 'U8',
      shape: [sizes.zeroPoints],
      byteLength: sizes.zeroPoints,
    });
  return stored;
}

function bytesOf(conversion: Conversion): number {
  return storedTensors(conversion).reduce((sum, { byteLength }) => sum + byteLength, 0);
}

function group(conversions: readonly Conversion[], maxFileBytes: number): Conversion[][] {
  const groups: Conversion[][] = [];
  let room = 0;
  for (const conversion of conversions) {
    const bytes = bytesOf(conversion);
    if (groups.length === 0 || bytes > room) {
      groups.push([]);
      room = maxFileBytes;
    }
    groups.at(-1)!.push(conversion);
    room -= bytes;
  }
  return groups;
}

function describeFile(members: readonly Conversion[], stamps: SourceStamps): SidecarFile {
  // The format allows no gaps: tensors of odd sizes go last, so that all before them are aligned.
  const odd = (conversion: Conversion): number =>
    storedTensors(conversion).every(({ byteLength }) => byteLength % ALIGNMENT === 0) ? 0 : 1;
  const conversions = members.toSorted((a, b) => odd(a) - odd(b));
  const header = makeHeader(conversions.flatMap(storedTensors));
  const hash = createHash('sha256').update(FORMAT).update(header);
  for (const conversion of conversions) {
    const sources = conversion.sources.map(({ file, name, dtype, offset }) => [
      stamps.get(file),
      name,
      dtype,
      offset,
    ]);
    hash.update(JSON.stringify([{ ...conversion, sources }]));
  }
  return {
    name: `weights-${hash.digest('hex').slice(0, 24)}.safetensors`,
    header,
    conversions,
    bytes: conversions.reduce((sum, conversion) => sum + bytesOf(conversion), header.length),
  };
}

function makeHeader(tensors: readonly StoredTensor[]): Uint8Array {
  const entries: [string, object][] = [
    ['__metadata__', { format: 'pt', made_by: FORMAT, sha256: NO_CHECKSUM }],
  ];
  let position = 0;
  for (const { name, dtype, shape, byteLength } of tensors) {
    const end = position + byteLength;
    entries.push([name, { dtype, shape, data_offsets: [position, end] }]);
    position = end;
  }
  const json = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  const total = Math.ceil((8 + json.length) / ALIGNMENT) * ALIGNMENT;
  const header = Buffer.alloc(total, ' ');
  header.writeBigUInt64LE(BigInt(total - 8), 0);
  json.copy(header, 8);
  return header;
}
