import type { SelfTestReport } from '../llava/runtime/selfTest';
import type { AnswerResult, AttentionAnalysis } from '../protocol';
import type {
  DeviceTest,
  EngineAnalysis,
  EngineQuestion,
  EngineReadAhead,
  ExportedFile,
  ExportOrder,
  LoadedModel,
  ModelPlan,
  PictureOrder,
  Progress,
} from './messages';

/**
 * The face of the engine that the inference process needs. The real one is bound in process.ts; tests bind a scripted
 * one to the same {@link serveEngine}, so that everything around the engine is exercised without a model.
 */
export interface Engine {
  open(
    model: ModelPlan,
    options: { signal: AbortSignal; onProgress: (progress: Progress) => void },
  ): Promise<OpenedModel>;
  testDevice(
    test: DeviceTest,
    options: { signal: AbortSignal; onProgress: (progress: Progress) => void },
  ): Promise<SelfTestReport>;
  export(order: ExportOrder): Promise<ExportedFile>;
  picture(order: PictureOrder): Promise<Uint8Array>;
}

export interface OpenedModel extends LoadedModel {
  ask(
    question: EngineQuestion,
    options: {
      signal: AbortSignal;
      onToken: (piece: string, index: number) => void;
      onProgress: (progress: Progress) => void;
      reuse?: boolean;
    },
  ): Promise<AnswerResult>;
  analyze(
    question: EngineAnalysis,
    options: { signal: AbortSignal; onProgress: (progress: Progress) => void },
  ): Promise<AttentionAnalysis>;
  readAhead(
    coming: EngineReadAhead,
    options: { signal: AbortSignal; onProgress: (progress: Progress) => void },
  ): Promise<void>;
}
