import path from 'node:path';
import type { Engine } from './engine';
import { serveEngine } from './serve';
import { watchParent } from './watchdog';

/*
 * The inference process: the only program of the editor that loads onnxruntime and sharp. The language server forks it
 * (child.ts) and talks to it through messages.ts.
 */

/** Longer side of a picture for the editor, in pixels: more than any view shows at once. */
const MAX_PICTURE_SIDE = 2048;

/** The engine is loaded with the first call that needs it: a failing native library is then an answer, not a riddle. */
const engine: Engine = {
  async open({ directory, plan, precision, cacheDirectory }, options) {
    const { LlavaModel } = await import('../llava/model');
    const model = await LlavaModel.open(directory, { plan, precision, cacheDirectory, ...options });
    return {
      summary: model.summary,
      device: model.device,
      precision: model.precision,
      ask: (question, askOptions) => model.ask(question, askOptions),
      analyze: (question, analysisOptions) => model.analyze(question, analysisOptions),
    };
  },
  async testDevice({ plan, onlyIfFaster }, { signal, onProgress }) {
    const { selfTest } = await import('../llava/runtime/selfTest');
    return selfTest(plan, {
      onlyIfFaster,
      signal,
      onProgress: (fraction) => onProgress({ stage: 'device', fraction }),
    });
  },
  async export(order) {
    const { exportAnswer } = await import('../features/exportAnswer');
    return exportAnswer(order, path.join(__dirname, 'webview.js'));
  },
  async picture({ image, limits }) {
    const { toPng } = await import('../llava/vision/decode');
    return toPng(image, MAX_PICTURE_SIDE, limits);
  },
};

if (watchParent(__filename)) serveEngine(engine);
