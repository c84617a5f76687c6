import { existsSync } from 'node:fs';
import type { TensorMap } from '../checkpoint/checkpoint';
import type { LlavaConfig } from '../checkpoint/config';
import { ModelError } from '../errors';
import { emitDecoder, emitEmbedding, type DecoderGraph } from '../graph/decoder';
import {
  type DevicePiece,
  emitAllocation,
  emitDevicePiece,
  emitGather,
  emitJoin,
} from '../graph/deviceDecoder';
import { emitNewline } from '../graph/newline';
import type { FloatType, GraphTarget, OnnxModel } from '../graph/onnx';
import { emitProjector } from '../graph/projector';
import { emitSimilarity } from '../graph/similarity';
import { emitVisionTower, type VisionSignals } from '../graph/visionTower';
import type { Device, DevicePlan } from './device';
import { DeviceTensors, type OutputPlaces, Session } from './session';

/** Devices whose memory onnxruntime-node can keep tensors in between two runs. */
const KEEPING: readonly Device[] = ['webgpu'];

/**
 * The sessions of one model on one device, made when first needed and kept: one per shape of question (which signals
 * of the tower, where the decoder is cut). All of them map the same weight files, so a further session costs little.
 *
 * Quantised weights are the exception: a session has a copy of them, rearranged for the processor. So that every layer is
 * in memory once, the decoder is then run in pieces, which prefill and steps share ({@link pieces}), and a session goes
 * when another one takes over its layers. So do all sessions on a device with memory of its own, and a tower there has
 * one session that reports everything.
 */
export class GraphSessions {
  private readonly sessions = new Map<string, { readonly made: Promise<Session>; readonly device: Device }>();
  /** The decoder's parts among them, by the same keys. */
  private readonly parts = new Map<string, DecoderGraph>();
  /** Layers before which a question has cut the decoder, where pieces are shared. */
  private readonly cuts = new Set<number>();
  private readonly copiesWeights: boolean;
  /** What the sessions of pieces on a device report, by their first layer. */
  private readonly devicePieces = new Map<number, DevicePiece>();
  private readonly left = new DeviceTensors();

  constructor(
    private readonly config: LlavaConfig,
    private readonly tensors: TensorMap,
    readonly plan: DevicePlan,
    /** Makes converted weights again whose files are gone: the folder may be deleted at any time. */
    private readonly restoreWeights?: () => Promise<unknown>,
  ) {
    const rearranged = [...tensors.values()].some(({ quantization }) => quantization);
    this.copiesWeights = rearranged || (this.device !== 'cpu' && !this.keepsDataOnDevice);
  }

  get device(): Device {
    return this.plan.device;
  }

  /** What graphs on the device compute in; hidden states between them are float32. */
  get float(): FloatType {
    return this.plan.float ?? 'float32';
  }

  /** What graphs on the device are made for. */
  private get target(): GraphTarget {
    return { float: this.float, onDevice: this.keepsDataOnDevice };
  }

  vision(signals: VisionSignals): Promise<Session> {
    const reported = this.device === 'cpu' ? signals : { attention: true, keys: true };
    return this.get(`vision ${JSON.stringify(reported)}`, () =>
      emitVisionTower(this.config, this.tensors, reported, this.target),
    );
  }

  projector(): Promise<Session> {
    return this.get('projector', () => emitProjector(this.config, this.tensors, this.target));
  }

  /** On the CPU everywhere: it reads a few rows of a table that a device would have to hold a copy of. */
  embedding(): Promise<Session> {
    return this.get('embedding', () => emitEmbedding(this.config.text, this.tensors), 'cpu');
  }

  newline(): Promise<Session> {
    return this.get('newline', () => emitNewline(this.config.text, this.tensors), 'cpu');
  }

  /** On the CPU everywhere: its result is needed here, and is larger than what it is computed from. */
  similarity(): Promise<Session> {
    return this.get('similarity', emitSimilarity, 'cpu');
  }

  /** Whether caches and hidden states stay on the device between two runs, as graphs in half precision expect on every device. */
  get keepsDataOnDevice(): boolean {
    return KEEPING.includes(this.device) || this.float === 'float16';
  }

  /**
   * The graphs that compute a part of the decoder one after the other: the part itself; or, where sessions have copies of
   * their weights, pieces that serve with and without a past, cut wherever a question has cut before.
   */
  pieces(part: DecoderGraph): DecoderGraph[] {
    if (!this.copiesWeights) return [part];
    const { from, to, score, ...rest } = part;
    return this.cut(from, to).map((piece): DecoderGraph => {
      const graph = { ...rest, ...piece, past: true };
      return piece.to === to ? { ...graph, ...(score ? { score } : {}) } : { ...graph, head: 'none' };
    });
  }

  /**
   * For caches in this process's memory: on the CPU, or on a device that cannot keep them. Where it can, its memory is for
   * {@link devicePiece}, and what works on rows in this process (the analysis of an answer) does so on the CPU.
   */
  async decoder(part: DecoderGraph): Promise<Session> {
    const key = `decoder ${JSON.stringify(part)}`;
    if (this.copiesWeights) await this.makeRoom(key, part);
    this.parts.set(key, part);
    const emit = (): OnnxModel => emitDecoder(this.config.text, this.tensors, part);
    return this.get(key, emit, this.keepsDataOnDevice ? 'cpu' : this.device);
  }

  /** Decoder sessions in memory. */
  get loadedParts(): readonly DecoderGraph[] {
    return [...this.parts].filter(([key]) => this.sessions.has(key)).map(([, part]) => part);
  }

  private async makeRoom(key: string, part: DecoderGraph): Promise<void> {
    for (const [otherKey, other] of [...this.parts]) {
      const sameHead = other.head !== 'none' && part.head !== 'none';
      if (otherKey === key || !(overlap(other, part) || sameHead) || differInScore(other, part)) continue;
      this.parts.delete(otherKey);
      await this.drop(otherKey);
    }
  }

  /** The pieces that make up layers [from, to) on a device, cut wherever a question has cut before. */
  cut(from: number, to: number): LayerRange[] {
    for (const layer of [from, to]) this.cuts.add(layer);
    const ends = [...this.cuts].filter((layer) => layer > from && layer <= to).sort((a, b) => a - b);
    return ends.map((end, index) => ({ from: index === 0 ? from : ends[index - 1], to: end }));
  }

  /** Whether layers of these pieces are in sessions on a device that will not do for them. */
  replaces(pieces: readonly DevicePiece[]): boolean {
    if (this.device === 'cpu') return false;
    const known = [...this.devicePieces.values()];
    return pieces.some((piece) => known.some((other) => overlap(other, piece) && !serves(other, piece)));
  }

  /**
   * Gives up everything on the device, tensors included. onnxruntime's WebGPU (1.30) frees the weights of a session only when the last session is
   * released, and tensors have to go before that.
   */
  async startAgain(): Promise<void> {
    this.devicePieces.clear();
    this.left.dispose();
    for (const [key, { device }] of [...this.sessions]) if (device !== 'cpu') await this.drop(key);
  }

  /**
   * The session of a piece on a device, and what it reports. A session there holds a copy of its weights, so no layer is in
   * two of them: one that also reports a score will do, so that prompt and answer share it; otherwise the new one replaces it.
   */
  async devicePiece(wanted: DevicePiece): Promise<{ session: Session; piece: DevicePiece }> {
    const known = this.devicePieces.get(wanted.from);
    const piece = known && serves(known, wanted) ? known : wanted;
    for (const other of [...this.devicePieces.values()]) {
      if (other === piece || !overlap(other, piece)) continue;
      this.devicePieces.delete(other.from);
      await this.drop(`piece ${other.from}`);
    }
    this.devicePieces.set(piece.from, piece);
    const emit = (): OnnxModel =>
      emitDevicePiece(this.config.text, this.tensors, piece, this.plan.attention, this.target);
    return { session: await this.get(`piece ${piece.from}`, emit), piece };
  }

  /** Puts hidden states on the device one below the other. */
  join(): Promise<Session> {
    return this.get('join', emitJoin, this.device, { rows: 'gpu-buffer' });
  }

  /** Chooses rows of hidden states, and leaves them on the device. */
  gatherRows(): Promise<Session> {
    return this.gather(1, 2, 'float32');
  }

  /** Chooses rows of so many keys and values, and leaves them on the device. */
  gatherCaches(tensors: number): Promise<Session> {
    return this.gather(tensors, 4, this.float);
  }

  /** Memory for hidden states. */
  allocateRows(): Promise<Session> {
    return this.allocation(1, 2, 'float32');
  }

  /** Memory for so many keys and values. */
  allocateCaches(tensors: number): Promise<Session> {
    return this.allocation(tensors, 4, this.float);
  }

  private gather(tensors: number, rank: number, float: FloatType): Promise<Session> {
    const emit = (): OnnxModel => emitGather(tensors, rank, float);
    return this.get(`gather ${tensors} of ${rank}`, emit, this.device, onDevice('chosen', tensors));
  }

  private allocation(tensors: number, rank: number, float: FloatType): Promise<Session> {
    const emit = (): OnnxModel => emitAllocation(tensors, rank, float);
    return this.get(`allocation ${tensors} of ${rank}`, emit, this.device, onDevice('made', tensors));
  }

  async dispose(): Promise<void> {
    await this.startAgain();
    this.parts.clear();
    for (const key of [...this.sessions.keys()]) await this.drop(key);
  }

  private get(
    key: string,
    emit: () => OnnxModel,
    device = this.device,
    places?: OutputPlaces,
  ): Promise<Session> {
    const known = this.sessions.get(key);
    if (known) return known.made;
    const made = this.create(emit(), device, places);
    this.sessions.set(key, { made, device });
    // A failure is not kept: the next question may find the memory that this one lacked.
    made.catch(() => this.sessions.delete(key));
    return made;
  }

  private async create(model: OnnxModel, device: Device, places?: OutputPlaces): Promise<Session> {
    try {
      return await Session.create(model, device, places, this.left);
    } catch (error) {
      if (!this.restoreWeights || this.lostFiles().length === 0) throw error;
      await this.restoreWeights().catch(() => undefined);
      const [lost] = this.lostFiles();
      if (lost !== undefined) throw weightsLost(lost, error);
      return Session.create(model, device, places, this.left);
    }
  }

  /** Files of weights that were there when the model was opened. */
  private lostFiles(): string[] {
    const files = new Set(Array.from(this.tensors.values(), ({ file }) => file));
    return [...files].filter((file) => file !== '' && !existsSync(file));
  }

  private async drop(key: string): Promise<void> {
    const session = this.sessions.get(key);
    this.sessions.delete(key);
    await session?.made.then(
      (made) => made.dispose(),
      () => undefined,
    );
  }
}

function onDevice(output: string, count: number): OutputPlaces {
  return Object.fromEntries(
    Array.from({ length: count }, (_, index) => [`${output}.${index}`, 'gpu-buffer']),
  );
}

function weightsLost(file: string, cause: unknown): ModelError {
  return new ModelError({
    code: 'model.weights-lost',
    message: "The model's weights are gone.",
    why: `${file} was there when the model was opened, and cannot be made again.`,
    nextStep: 'Check the folder of the model, or get it again, and restart the inference process.',
    cause,
  });
}

/** Layers [from, to). */
interface LayerRange {
  readonly from: number;
  readonly to: number;
}

function overlap(a: LayerRange, b: LayerRange): boolean {
  return a.from < b.to && b.from < a.to;
}

/** Whether a session for the same layers reports all that is wanted. */
function serves(known: DevicePiece, wanted: DevicePiece): boolean {
  const sameScore = wanted.score === undefined || known.score === wanted.score;
  return (
    known.to === wanted.to && known.head === wanted.head && known.attention === wanted.attention && sameScore
  );
}

/** A question needs both: the score when the prompt is read, and none when tokens follow. Such layers are few. */
function differInScore(a: DecoderGraph, b: DecoderGraph): boolean {
  return a.from === b.from && a.to === b.to && a.head === b.head && a.attention === b.attention;
}
