import type { TensorMap } from '../checkpoint/checkpoint';
import type { LlavaConfig } from '../checkpoint/config';
import { emitDecoder, emitEmbedding, type DecoderGraph } from '../graph/decoder';
import { emitNewline } from '../graph/newline';
import type { OnnxModel } from '../graph/onnx';
import { emitProjector } from '../graph/projector';
import { emitSimilarity } from '../graph/similarity';
import { emitVisionTower, type VisionSignals } from '../graph/visionTower';
import type { Device, DevicePlan } from './device';
import { Session } from './session';

/**
 * The sessions of one model on one device, made when first needed and kept: one per shape of question (which signals
 * of the tower, where the decoder is cut). All of them map the same weight files, so a further session costs little.
 *
 * Quantised weights are the exception: a session has a copy of them, rearranged for the processor. So that every layer is
 * in memory once, the decoder is then run in pieces, which prefill and steps share ({@link pieces}), and a session goes
 * when another one takes over its layers.
 */
export class GraphSessions {
  private readonly sessions = new Map<string, Promise<Session>>();
  /** The decoder's parts among them, by the same keys. */
  private readonly parts = new Map<string, DecoderGraph>();
  /** Layers before which a question has cut the decoder. */
  private readonly cuts = new Set<number>();
  private readonly copiesWeights: boolean;

  constructor(
    private readonly config: LlavaConfig,
    private readonly tensors: TensorMap,
    readonly plan: DevicePlan,
  ) {
    this.copiesWeights = [...tensors.values()].some(({ quantization }) => quantization);
  }

  get device(): Device {
    return this.plan.device;
  }

  vision(signals: VisionSignals): Promise<Session> {
    return this.get(`vision ${JSON.stringify(signals)}`, () =>
      emitVisionTower(this.config, this.tensors, signals),
    );
  }

  projector(): Promise<Session> {
    return this.get('projector', () => emitProjector(this.config, this.tensors));
  }

  embedding(): Promise<Session> {
    return this.get('embedding', () => emitEmbedding(this.config.text, this.tensors));
  }

  newline(): Promise<Session> {
    return this.get('newline', () => emitNewline(this.config.text, this.tensors));
  }

  similarity(): Promise<Session> {
    return this.get('similarity', emitSimilarity);
  }

  /**
   * The graphs that compute a part of the decoder one after the other: the part itself; or, where sessions have copies of
   * their weights, pieces that serve with and without a past, from `hidden` rows, cut wherever a question has cut before.
   */
  pieces(part: DecoderGraph): DecoderGraph[] {
    if (!this.copiesWeights) return [part];
    const { from, to, score, ...rest } = part;
    for (const layer of [from, to]) this.cuts.add(layer);
    const ends = [...this.cuts].filter((layer) => layer > from && layer <= to).sort((a, b) => a - b);
    return ends.map((end, index): DecoderGraph => {
      const start = index === 0 ? from : ends[index - 1];
      const piece = { ...rest, from: start, to: end, past: true, embed: false };
      return end === to ? { ...piece, ...(score ? { score } : {}) } : { ...piece, head: 'none' };
    });
  }

  async decoder(part: DecoderGraph): Promise<Session> {
    const key = `decoder ${JSON.stringify(part)}`;
    if (this.copiesWeights) await this.makeRoom(key, part);
    this.parts.set(key, part);
    return this.get(key, () => emitDecoder(this.config.text, this.tensors, part));
  }

  /** Decoder sessions in memory. */
  get loadedParts(): readonly DecoderGraph[] {
    return [...this.parts].filter(([key]) => this.sessions.has(key)).map(([, part]) => part);
  }

  private async makeRoom(key: string, part: DecoderGraph): Promise<void> {
    for (const [otherKey, other] of [...this.parts]) {
      const overlap = other.from < part.to && part.from < other.to;
      const sameHead = other.head !== 'none' && part.head !== 'none';
      if (otherKey === key || !(overlap || sameHead) || differInScore(other, part)) continue;
      const session = this.sessions.get(otherKey);
      this.sessions.delete(otherKey);
      this.parts.delete(otherKey);
      await session?.then(
        (made) => made.dispose(),
        () => undefined,
      );
    }
  }

  async dispose(): Promise<void> {
    const sessions = await Promise.allSettled(this.sessions.values());
    this.sessions.clear();
    this.parts.clear();
    for (const session of sessions) if (session.status === 'fulfilled') await session.value.dispose();
  }

  private get(key: string, emit: () => OnnxModel): Promise<Session> {
    let session = this.sessions.get(key);
    if (!session) {
      session = Session.create(emit(), this.device);
      this.sessions.set(key, session);
      // A failure is not kept: the next question may find the memory that this one lacked.
      session.catch(() => this.sessions.delete(key));
    }
    return session;
  }
}

/** A question needs both: the score when the prompt is read, and none when tokens follow. Such layers are few. */
function differInScore(a: DecoderGraph, b: DecoderGraph): boolean {
  return a.from === b.from && a.to === b.to && a.head === b.head && a.attention === b.attention;
}
