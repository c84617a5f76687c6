import { ModelError, toErrorData } from '../llava/errors';
import type { Engine, OpenedModel } from './engine';
import type { CallName, Calls, FromProcess, ToProcess } from './messages';

/**
 * The child side of the channel: takes calls from the parent and answers them with the engine, until the parent goes
 * away. Calls are few and the parent sends one question at a time, so there is no queue here.
 */
export function serveEngine(engine: Engine): void {
  const running = new Map<number, AbortController>();
  let model: OpenedModel | undefined;

  const send = (message: FromProcess): void => {
    // The parent may be gone already; the disconnect event ends this process then.
    if (process.connected) process.send?.(message, undefined, {}, () => undefined);
  };

  const perform = async (message: ToProcess & { kind: 'call' }, signal: AbortSignal): Promise<unknown> => {
    const { id } = message;
    const onProgress = (progress: { stage: string; fraction?: number }): void =>
      send({ kind: 'progress', id, stage: progress.stage, fraction: progress.fraction });
    switch (message.name) {
      case 'open': {
        model = await engine.open(message.params, { signal, onProgress });
        return {
          summary: model.summary,
          device: model.device,
          precision: model.precision,
        } satisfies Calls['open']['result'];
      }
      case 'ask': {
        if (!model) throw noModel();
        const onToken = (piece: string, index: number): void => send({ kind: 'token', id, piece, index });
        const { reuse, ...question } = message.params;
        return model.ask(question, { signal, onToken, onProgress, reuse });
      }
      case 'analyze':
        if (!model) throw noModel();
        return model.analyze(message.params, { signal, onProgress });
      case 'readAhead':
        if (!model) throw noModel();
        await model.readAhead(message.params, { signal, onProgress });
        return null;
      case 'testDevice':
        return engine.testDevice(message.params, { signal, onProgress });
      case 'export':
        return engine.export(message.params);
      case 'picture':
        return engine.picture(message.params);
    }
  };

  const answer = async (message: ToProcess & { kind: 'call'; name: CallName }): Promise<void> => {
    const controller = new AbortController();
    running.set(message.id, controller);
    try {
      const result = await perform(message, controller.signal);
      send({ kind: 'done', id: message.id, result, memoryBytes: process.memoryUsage.rss() });
    } catch (error) {
      const memoryBytes = process.memoryUsage.rss();
      send({ kind: 'failed', id: message.id, error: toErrorData(error), memoryBytes });
      if (toErrorData(error).kind === 'internal') console.error(error);
    } finally {
      running.delete(message.id);
    }
  };

  process.on('message', (message: ToProcess) => {
    if (message.kind === 'cancel') running.get(message.id)?.abort();
    else void answer(message);
  });
  // Without its parent nobody can use or stop this process.
  process.on('disconnect', () => process.exit(0));
  send({ kind: 'ready' });
}

function noModel(): ModelError {
  return new ModelError({
    code: 'model.not-open',
    message: 'A question came before the model was loaded.',
    why: 'This is a defect in Fovea.',
    nextStep: 'Report it with the log attached.',
  });
}
