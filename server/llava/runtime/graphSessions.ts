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
 */
export class GraphSessions {
  private readonly sessions = new Map<string, Promise<Session>>();

  constructor(
    private readonly config: LlavaConfig,
    private readonly tensors: TensorMap,
    readonly plan: DevicePlan,
  ) {}

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

  decoder(part: DecoderGraph): Promise<Session> {
    return this.get(`decoder ${JSON.stringify(part)}`, () =>
      emitDecoder(this.config.text, this.tensors, part),
    );
  }

  async dispose(): Promise<void> {
    const sessions = await Promise.allSettled(this.sessions.values());
    this.sessions.clear();
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
