import { existsSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

import { openCheckpoint } from '../../server/llava/checkpoint/open';
import type { Precision } from '../../server/llava/checkpoint/precision';
import { labelRows } from '../../server/llava/decoding';
import { embed } from '../../server/llava/prompt';
import { LlavaModel } from '../../server/llava/model';
import { Clock, type Lap } from './clock';
import { writeDecoderGguf } from './gguf';
import { plainDecoding } from './plainDecoding';
import type { Shape } from './shapes';
import { alternate, median, pairedLaps, summarizeLaps, type Times } from './statistics';

/** Another program on the same shapes, in turn with ours. */
export interface PeerRun {
  readonly shape: string;
  readonly program: string;
  /** How it holds the weights, and how ours does. */
  readonly weights: string;
  readonly prefill: Times;
  /** Theirs / ours, run by run. */
  readonly prefillRatio: Times;
  readonly decode: Times;
  readonly decodeRatio: Times;
}

export interface PeerResults {
  readonly runs: readonly PeerRun[];
  readonly missing: readonly { readonly program: string; readonly why: string }[];
}

/** What of node-llama-cpp is used (its own types come with it, and it is not among our dependencies). */
interface NodeLlamaCpp {
  getLlama(options: { gpu: false; build: 'never'; logLevel: 'error'; maxThreads: number }): Promise<{
    dispose(): Promise<void>;
    loadModel(options: { modelPath: string }): Promise<{
      createContext(options: { contextSize: number; batchSize: number; threads: number }): Promise<{
        getSequence(): {
          clearHistory(): Promise<void>;
          evaluate(tokens: number[], options: { temperature: number }): AsyncGenerator<number, void>;
        };
      }>;
    }>;
  }>;
}

const PROMPT_TOKENS = 600;

export interface PeerOptions {
  /** Folder with `node_modules` of the other programs; undefined: none is measured. */
  readonly folder: string | undefined;
  readonly directory: string;
  readonly shape: Shape;
  readonly rounds: number;
  readonly cacheDirectory: string;
  readonly threads: number;
}

const TRANSFORMERS_JS = {
  program: 'transformers.js',
  why: 'Its decode loop is the control above: the whole cache goes through the same onnxruntime at every step. Its own loader would need an ONNX export of the random weights.',
};

/** The text side: a prompt of 600 tokens, then one token at a time. */
export async function measurePeers(options: PeerOptions): Promise<PeerResults> {
  const { folder, directory, shape, rounds, cacheDirectory, threads } = options;
  const program = folder === undefined ? undefined : await loadNodeLlamaCpp(folder);
  if (!program) {
    const why = 'It is not installed; give --peers a folder with its node_modules.';
    return { runs: [], missing: [{ program: 'node-llama-cpp', why }, TRANSFORMERS_JS] };
  }
  const checkpoint = await openCheckpoint(directory);
  const file = path.join(directory, 'llama-Q4_0.gguf');
  if (!existsSync(file)) writeDecoderGguf(checkpoint, file, 'Q4_0');
  const llama = await program.getLlama({
    gpu: false,
    build: 'never',
    logLevel: 'error',
    maxThreads: threads,
  });
  const loaded = await llama.loadModel({ modelPath: file });
  const context = await loaded.createContext({ contextSize: 1024, batchSize: 512, threads });
  const sequence = context.getSequence();
  const ids = Array.from({ length: PROMPT_TOKENS }, (_, index) => 1 + (index % 50));

  const precisions: Precision[] = ['q4', 'fp32'];
  const models = await Promise.all(
    precisions.map((precision) => LlavaModel.open(directory, { cacheDirectory, precision })),
  );
  const steps = shape.decodeSteps;
  const rows = await alternate(
    {
      peer: async () => {
        await sequence.clearHistory();
        // An answer of its own choosing, so that it computes the vocabulary's projection as we do.
        const answer = sequence.evaluate(ids, { temperature: 0 });
        const next = async (): Promise<void> => void (await answer.next());
        const laps = await timed(next, next, steps);
        await answer.return();
        return laps;
      },
      ...Object.fromEntries(
        models.map((model, index) => [precisions[index], () => timedDecoding(model, ids, steps)]),
      ),
    },
    rounds,
  );
  for (const model of models) await model.dispose();
  await llama.dispose();
  return {
    runs: precisions.map((precision) => ({
      shape: shape.title,
      program: 'node-llama-cpp',
      weights: `Q4_0, vocabulary Q8_0, ${threads === 1 ? '1 thread' : `${threads} threads`}; ours ${precision}`,
      prefill: summarizeLaps(rows.peer.prefill),
      prefillRatio: pairedLaps(rows.peer.prefill, rows[precision].prefill),
      decode: summarizeLaps(rows.peer.step),
      decodeRatio: pairedLaps(rows.peer.step, rows[precision].step),
    })),
    missing: [TRANSFORMERS_JS],
  };
}

async function timedDecoding(
  model: LlavaModel,
  ids: readonly number[],
  steps: number,
): Promise<Record<string, Lap>> {
  const decoding = plainDecoding(model, { imageTokens: 0, capacity: ids.length + steps });
  return timed(
    async () => {
      await decoding.prefill({
        hidden: await embed(model, ids),
        labels: labelRows(ids.map(() => 'text')),
        imageTokens: [],
        raster: new Int32Array(0),
      });
    },
    async () => void (await decoding.step(1)),
    steps,
  );
}

async function timed(
  prefill: () => Promise<void>,
  step: () => Promise<void>,
  steps: number,
): Promise<Record<string, Lap>> {
  const clock = new Clock();
  await prefill();
  const first = clock.lap();
  const laps: Lap[] = [];
  for (let index = 0; index < steps; index++) {
    await step();
    laps.push(clock.lap());
  }
  const step50 = { wall: median(laps.map(({ wall }) => wall)), cpu: median(laps.map(({ cpu }) => cpu)) };
  return { prefill: first, step: step50 };
}

async function loadNodeLlamaCpp(folder: string): Promise<NodeLlamaCpp | undefined> {
  const entry = path.join(folder, 'node_modules', 'node-llama-cpp', 'dist', 'index.js');
  if (!existsSync(entry)) return undefined;
  return (await import(pathToFileURL(entry).href)) as NodeLlamaCpp;
}
