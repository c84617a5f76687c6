import os from 'node:os';
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
/**
 * Longer side of a part, in pixels, which a model is asked about: the largest grid of tiles that a model looks at has 2304 (OneVision, 6 x 384), so
 * that nothing which a model could see is lost before it scales the part itself. Far larger ones would only be slow to send.
 */
const MAX_PART_SIDE = 4096;

/**
 * How far this process steps back behind the editor and its servers: its threads take every core, and whoever wants to know
 * what is under the mouse shall not wait for them. Windows knows classes only; 10 is its "below normal".
 */
const STEP_BACK = process.platform === 'win32' ? os.constants.priority.PRIORITY_BELOW_NORMAL : 5;

function stepBack(): void {
  try {
    os.setPriority(Math.min(os.getPriority() + STEP_BACK, os.constants.priority.PRIORITY_LOW));
  } catch {
    // Some containers forbid it; then it is as important as everything else.
  }
}

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
      readAhead: (coming, readOptions) => model.readAhead(coming, readOptions),
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
  async picture({ image, part, limits }) {
    const { toPng } = await import('../llava/vision/decode');
    return toPng(image, part ? MAX_PART_SIDE : MAX_PICTURE_SIDE, limits, part);
  },
};

if (watchParent(__filename)) {
  stepBack(); // before the engine makes its threads, which inherit it
  serveEngine(engine);
}
