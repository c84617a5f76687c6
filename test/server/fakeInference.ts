import { appendFileSync } from 'node:fs';
import type { Engine } from '../../server/inference/engine';
import { serveEngine } from '../../server/inference/serve';
import { watchParent } from '../../server/inference/watchdog';
import { CancelledError, DeviceError, ModelError } from '../../server/llava/errors';
import type { Device } from '../../server/llava/runtime/device';
import type { AnswerResult, AnswerWarning, AttentionAnalysis } from '../../server/protocol';

/**
 * The inference program with a scripted engine: everything of the product around it is real. What it does is written in
 * the question (as JSON, {@link Script}), for other questions in the environment variable FAKE_PLAIN, and for loading in
 * FAKE_OPEN. It notes what happens, one line each, in the file FAKE_LOG.
 */
export interface Script {
  /** Milliseconds before the first piece, in small steps between which it can be cancelled. */
  prefill?: number;
  /** Milliseconds for which the thread is blocked before the first piece, as a run of onnxruntime blocks it. */
  blockPrefill?: number;
  pieces?: string[];
  /** Milliseconds before every piece. */
  perPiece?: number;
  /** Milliseconds for which the thread is blocked before the second piece. */
  blockDecode?: number;
  /** The process kills itself there. */
  crash?: 'prefill' | 'decode';
  /** Only on this device does it crash, or, without `crash`, fail to compute. */
  failsOn?: Device;
  /** It goes on in spite of a cancellation. */
  deaf?: boolean;
  fail?: boolean;
  /** Notes what it was asked with, after "told ". */
  tell?: boolean;
  /** The answer comes with this warning. */
  warning?: AnswerWarning;
}

export interface OpenScript {
  milliseconds?: number;
  block?: number;
  /** Crash with this signal. */
  crash?: NodeJS.Signals;
  fail?: 'device' | 'model';
  /** How the test of each device ends; one that is not here is not offered. */
  devices?: Partial<Record<Device, 'passes' | 'wrong' | 'crashes'>>;
}

const note = (line: string): void => {
  if (process.env.FAKE_LOG) appendFileSync(process.env.FAKE_LOG, `${process.pid} ${line}\n`);
};

const block = (milliseconds: number): void => {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
};

async function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  for (const end = performance.now() + milliseconds; performance.now() < end;) {
    if (signal?.aborted) throw new CancelledError(signal.reason);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  if (signal?.aborted) throw new CancelledError(signal.reason);
}

function die(signal: NodeJS.Signals): never {
  process.kill(process.pid, signal);
  block(60_000);
  throw new Error('unreachable');
}

const engine: Engine = {
  async testDevice({ plan }) {
    note(`test ${plan.device} ${plan.attention}`);
    const { devices = {} } = JSON.parse(process.env.FAKE_OPEN ?? '{}') as OpenScript;
    const outcome = devices[plan.device];
    if (outcome === 'crashes') {
      console.error('the driver said: no');
      die('SIGSEGV');
    }
    return {
      offered: ['cpu', ...Object.keys(devices)],
      speed: outcome && { cpu: 10, device: 2 },
      cases: outcome ? [{ name: 'attention', error: outcome === 'wrong' ? 0.4 : 1e-6, tolerance: 1e-3 }] : [],
    };
  },
  async open({ directory, plan: { device }, precision }, { signal, onProgress }) {
    note(`open ${device}`);
    const script = JSON.parse(process.env.FAKE_OPEN ?? '{}') as OpenScript;
    onProgress({ stage: 'converting', fraction: 0.5 });
    if (script.block) block(script.block);
    if (script.milliseconds) await pause(script.milliseconds, signal);
    if (script.crash) {
      console.error('the driver said: no');
      die(script.crash);
    }
    if (script.fail === 'device') {
      throw new DeviceError({
        code: 'device.unavailable',
        message: `No ${device} here.`,
        nextStep: 'Use the CPU.',
      });
    }
    if (script.fail === 'model') {
      throw new ModelError({ code: 'model.broken', message: 'The model is broken.', nextStep: 'Mend it.' });
    }
    note(`opened ${device}`);
    const summary = { name: 'fake', directory, family: 'fake', parameters: 1, hash: 'fake' };
    return {
      summary,
      device,
      precision: { precision: 'fp32', reason: 'the fake has no weights' },
      async ask(question, { signal, onToken, onProgress }) {
        const text = question.question;
        const plain = JSON.parse(process.env.FAKE_PLAIN ?? '{}') as Script;
        const script = (
          text.startsWith('{') ? JSON.parse(text) : { pieces: ['It shows ', text], ...plain }
        ) as Script;
        const cancel = script.deaf ? undefined : signal;
        note(`ask ${text}`);
        if (script.tell) {
          const { reduction, fit, sampling, limits } = question;
          note(`told ${JSON.stringify({ directory, device, precision, reduction, fit, sampling, limits })}`);
        }
        onProgress({ stage: 'prefill' });
        if (script.blockPrefill) block(script.blockPrefill);
        await pause(script.prefill ?? 0, cancel);
        const fails = (script.failsOn ?? device) === device;
        if (fails && script.crash === 'prefill') die('SIGKILL');
        if (fails && script.failsOn && !script.crash)
          throw new DeviceError({
            code: 'device.run-failed',
            message: 'The computation failed on the device.',
            why: 'Failed to create GPU buffer.',
            nextStep: 'Close other programs.',
          });
        if (script.fail) throw new Error('a defect');
        const pieces = script.pieces ?? ['yes'];
        for (const [index, piece] of pieces.entries()) {
          if (index === 1 && script.blockDecode) block(script.blockDecode);
          await pause(script.perPiece ?? 0, cancel);
          onToken(piece, index);
          if (fails && index === 1 && script.crash === 'decode') die('SIGKILL');
        }
        note(`answered ${text}`);
        const { reduction = 'none', images } = question;
        return { ...answerOf(pieces.join(''), text, reduction, images.length), warning: script.warning };
      },
      async analyze(question, { signal, onProgress }) {
        const script = JSON.parse(question.question) as Script;
        note(`analyze ${question.question}`);
        onProgress({ stage: 'without the image', fraction: 0.5 });
        await pause(script.prefill ?? 0, signal);
        if (script.crash === 'prefill') die('SIGKILL');
        return analysisOf(question.question, question.maxTokens ?? 0);
      },
      // What it does is written in the system text, for want of a question.
      async readAhead({ system = '{}' }, { signal, onProgress }) {
        const script = JSON.parse(system) as Script;
        note(`ahead ${system}`);
        onProgress({ stage: 'ahead' });
        if (script.blockPrefill) block(script.blockPrefill);
        await pause(script.prefill ?? 0, signal);
        note(`read ${system}`);
      },
    };
  },
  picture: ({ image, part }) =>
    Promise.resolve(
      Buffer.from(`picture of ${image.byteLength} bytes${part ? `, part ${JSON.stringify(part)}` : ''}`),
    ),
  export: (order) =>
    Promise.resolve({
      name: `fake.${order.format}`,
      mimeType: 'text/plain',
      data: Buffer.from(`${order.format} of ${order.result.answer}, ${order.images[0].name}`),
    }),
};

/** Tells the longest answer through the number of its tokens. */
function analysisOf(question: string, maxTokens: number): AttentionAnalysis {
  return {
    version: 1,
    question,
    answer: 'yes',
    answerTokens: Array.from({ length: maxTokens }, (_, id) => ({ id, text: 'y' })),
    images: [],
    vision: [],
    layers: [],
    answerLayers: [],
    steps: [],
    imageShares: [],
    removal: [{ layer: 0, logLikelihood: -1 }],
    model: { name: 'fake', directory: '', family: 'fake', parameters: 1, hash: 'fake' },
    device: 'cpu',
    milliseconds: { answer: 1, removal: 1 },
  };
}

function answerOf(answer: string, question: string, reduction: string, images: number): AnswerResult {
  const timings = {
    load: 0,
    decode: 0,
    preprocess: 0,
    vision: 0,
    projector: 0,
    selection: 0,
    prefill: 0,
    generate: 0,
    firstToken: 0,
    total: 0,
  };
  return {
    answer,
    answerTokenIds: [1],
    promptTokenIds: [1],
    firstStep: { topTokenIds: [], topLogits: [] },
    finish: 'stop',
    costs: {
      imageTokens: { total: images, atDecoder: images, perStage: [] },
      cacheBytes: 0,
      prefillMacs: 0,
      prefillMacsUnreduced: 0,
      timings,
    },
    trace: { version: 1, images: [], decoderTokens: [], stages: [], answer: [] },
    model: { name: 'fake', directory: '', family: 'fake', parameters: 1, hash: 'fake' },
    device: 'cpu',
    precision: 'fp32',
    reduction,
    question,
  };
}

if (watchParent(__filename)) {
  note('start');
  process.on('exit', () => note('exit'));
  serveEngine(engine);
}
