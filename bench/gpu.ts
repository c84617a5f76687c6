/**
 * `npm run bench:gpu`: the whole engine on a graphics card, with random weights in the shapes of real models: correctness
 * against the CPU, time to the first token with and without reduction, decode rate, memory. Writes docs/results/gpu.json and gpu.md.
 *
 *   node dist/gpu.js [--devices webgpu,cuda] [--models qwen-0.5b:fp32,llama-7b:q4] [--cache FOLDER] [--out FOLDER] [--rounds N] [--transformers PYTHON] [--quick]
 *
 * `--transformers` is a Python with torch for the card and HuggingFace transformers, which then answers about the same checkpoints in bf16
 * (bench/performance/transformersPeer.py). `--cache` keeps the random checkpoints (16 GB with a 7B model). On an adapter that is slower than the CPU nothing is written unless
 * `--out` says where: those are not a graphics card's figures. `--quick` runs everything once on a tiny model and tests no device first.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';

import { machineDevices } from '../server/cli/openModel';
import { explain, WITH_HALF_PRECISION } from '../server/inference/devices';
import { computesInHalf, type Precision, PRECISIONS } from '../server/llava/checkpoint/precision';
import { LlavaModel } from '../server/llava/model';
import { CPU_PLAN, type Device, DEVICE_CHOICES, type DevicePlan } from '../server/llava/runtime/device';
import { relativeError } from '../server/llava/runtime/selfTest';
import { ROOT } from './evaluationSet';
import { screenshot } from './performance/engineStages';
import {
  type GpuResults,
  type ModelRuns,
  type PeerRun,
  renderGpuResults,
  type Run,
} from './performance/gpuResults';
import { codeHash, describeMachine, privateBytes } from './performance/machine';
import { median } from './performance/statistics';
import { DECODERS, writeRandomCheckpoint } from './randomCheckpoint';

const REDUCTIONS = ['none', 'fastv:layer=2,keep=0.5', 'visionzip:dominant=54,contextual=10'];

interface Options {
  readonly models: readonly { readonly name: keyof typeof DECODERS; readonly precision: Precision }[];
  readonly cache: string;
  readonly rounds: number;
  readonly tokens: number;
  readonly tower: 'tiny' | 'clip-l-336';
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      devices: { type: 'string', default: 'webgpu' },
      models: { type: 'string' },
      cache: { type: 'string', default: path.join(tmpdir(), 'fovea-bench') },
      out: { type: 'string' },
      rounds: { type: 'string', default: '5' },
      transformers: { type: 'string' },
      quick: { type: 'boolean', default: false },
    },
  });
  const options: Options = {
    models: modelsOf(
      values.models ??
        (values.quick
          ? 'tiny:fp32,tiny:q4'
          : 'qwen-0.5b:fp32,qwen-0.5b:fp16,qwen-0.5b:q4,qwen-0.5b:q4f16,llama-7b:q4,llama-7b:q4f16'),
    ),
    cache: values.cache,
    rounds: values.quick ? 1 : Number(values.rounds),
    tokens: values.quick ? 3 : 32,
    tower: values.quick ? 'tiny' : 'clip-l-336',
  };
  const asked = values.devices.split(',').map(deviceOf);
  const { plans, selfTest, faster } = values.quick ? untested(asked) : await tested(asked, options.models);
  console.log(selfTest);
  const folder = values.out ?? (faster ? path.join(ROOT, 'docs', 'results') : undefined);
  const models: ModelRuns[] = [];
  const peers: PeerRun[] = [];
  const references = new Map<string, Reference>();
  for (const { name, precision } of options.models) {
    const directory = checkpoint(name, options);
    for (const { full, half } of plans) {
      const plan = computesInHalf(precision) ? half : full;
      if (plan) models.push(...(await measure(name, directory, precision, plan, references, options)));
    }
    if (values.transformers !== undefined && !peers.some(({ model }) => model === name))
      peers.push({ model: name, ...peer(values.transformers, directory, options.tokens) });
    const results: GpuResults = {
      command: ['npm run bench:gpu --', ...process.argv.slice(2)].join(' '),
      machine: describeMachine(),
      code: codeHash(),
      selfTest,
      models,
      peers,
    };
    console.log(renderGpuResults(results));
    // After every model, since the next one may be too large for the card.
    if (folder !== undefined) write(folder, results);
  }
  if (folder === undefined) console.log('Nothing was written: these are not the figures of a graphics card.');
}

function write(folder: string, results: GpuResults): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(path.join(folder, 'gpu.json'), `${JSON.stringify(results, undefined, 2)}\n`);
  writeFileSync(path.join(folder, 'gpu.md'), renderGpuResults(results));
}

interface DevicePlans {
  readonly full: DevicePlan;
  /** Undefined where the device does not compute in half precision, or no model wants it. */
  readonly half: DevicePlan | undefined;
}

interface TestedDevices {
  readonly plans: readonly DevicePlans[];
  readonly selfTest: string;
  readonly faster: boolean;
}

function deviceOf(text: string): Device {
  const found = DEVICE_CHOICES.find((choice) => choice === text);
  if (!found || found === 'auto' || found === 'cpu')
    throw new Error(`"${text}" is no device of a graphics card.`);
  return found;
}

async function tested(asked: readonly Device[], models: Options['models']): Promise<TestedDevices> {
  const devices = machineDevices();
  const choose = async (device: Device, precision: Precision): Promise<DevicePlan> =>
    (await devices.choose(device, { signal: new AbortController().signal, precision })).plan;
  const plans: DevicePlans[] = [];
  for (const device of asked) {
    const wanted =
      WITH_HALF_PRECISION.includes(device) && models.some(({ precision }) => computesInHalf(precision));
    plans.push({
      full: await choose(device, 'fp32'),
      half: wanted ? await choose(device, 'fp16') : undefined,
    });
  }
  const verdicts = (await devices.known()).flatMap(({ device, attention, float, tested: found }) =>
    asked.includes(device) && found ? [{ device, attention, float, verdict: found.verdict }] : [],
  );
  const lines = verdicts.map(
    ({ device, attention, float, verdict }) =>
      `${device}, ${attention} attention${float === 'float16' ? ' in half precision' : ''}: ${explain(verdict)}.`,
  );
  const faster = verdicts.some(({ verdict }) => verdict.outcome === 'passed' && verdict.speedup > 1);
  return { plans, selfTest: lines.join(' '), faster };
}

function untested(asked: readonly Device[]): TestedDevices {
  const plans = asked.map((device): DevicePlans => {
    const full: DevicePlan = { device, attention: 'plain' };
    return { full, half: full };
  });
  return { plans, selfTest: `${asked.join(', ')}: not tested.`, faster: false };
}

function modelsOf(text: string): Options['models'] {
  return text.split(',').map((entry) => {
    const [name, precision] = entry.split(':');
    if (!Object.hasOwn(DECODERS, name))
      throw new Error(`There is no model "${name}": ${Object.keys(DECODERS).join(', ')}.`);
    const found = PRECISIONS.find((candidate) => candidate === precision);
    if (!found)
      throw new Error(`"${entry}" needs a precision: ${PRECISIONS.join(' or ')}, as in ${name}:q4.`);
    return { name: name as keyof typeof DECODERS, precision: found };
  });
}

/** The folder of a random checkpoint, written when it is not there. */
function checkpoint(name: keyof typeof DECODERS, { cache, tower }: Options): string {
  const directory = path.join(cache, `${name}-${tower}`);
  if (!existsSync(path.join(directory, 'complete'))) {
    writeRandomCheckpoint(directory, { decoder: name, tower, dtype: 'BF16' });
    // Written last, so that an interrupted run does not leave half a checkpoint behind.
    writeFileSync(path.join(directory, 'complete'), '');
  }
  return directory;
}

/** What the CPU answers, by reduction. */
type Reference = ReadonlyMap<string, Answered>;

/** What a user of the CPU would choose instead, and what the device's logits are compared with. */
const ON_CPU: Record<Precision, Precision> = {
  fp32: 'fp32',
  fp16: 'fp32',
  q4: 'q4',
  q4f16: 'q4',
  q4q8: 'q4q8',
};

/** One model on the CPU, unless it has been asked already, and on the device; one after the other, since two would not fit into memory. */
async function measure(
  name: keyof typeof DECODERS,
  directory: string,
  precision: Precision,
  plan: DevicePlan,
  references: Map<string, Reference>,
  options: Options,
): Promise<ModelRuns[]> {
  const key = `${name}:${ON_CPU[precision]}`;
  const known = references.get(key);
  const results: ModelRuns[] = [];
  if (!known) {
    const { runs, first } = await measureOn(CPU_PLAN, name, directory, ON_CPU[precision], undefined, options);
    references.set(key, first);
    results.push(runs);
  }
  results.push((await measureOn(plan, name, directory, precision, references.get(key), options)).runs);
  return results;
}

async function measureOn(
  plan: DevicePlan,
  name: string,
  directory: string,
  precision: Precision,
  reference: Reference | undefined,
  options: Options,
): Promise<{ runs: ModelRuns; first: Reference }> {
  const model = await LlavaModel.open(directory, { plan, precision, cacheDirectory: options.cache });
  try {
    const runs: Run[] = [];
    const firsts = new Map<string, Answered>();
    let load = 0;
    for (const reduction of REDUCTIONS) {
      // The first question loads and compiles; the CPU is asked for what is right, and once for its time.
      const first = await answer(model, reduction, options.tokens);
      firsts.set(reduction, first);
      load += first.load;
      const timed: Answered[] = [];
      const followUps: Answered[] = [];
      const rounds = reference ? options.rounds : 1;
      for (let round = 0; round < rounds; round++) timed.push(await answer(model, reduction, options.tokens));
      await answer(model, reduction, 1, 'What came before?');
      for (let round = 0; round < rounds; round++)
        followUps.push(await answer(model, reduction, 1, 'What does the dialog say?'));
      runs.push(summarize(reduction, timed, followUps, (reference ?? firsts).get(reduction)!));
    }
    const measured: ModelRuns = {
      model: name,
      precision,
      device: plan.device,
      attention: plan.attention,
      loadMilliseconds: load,
      privateBytes: privateBytes('self'),
      deviceBytes: plan === CPU_PLAN ? undefined : deviceBytes(),
      runs,
    };
    return { runs: measured, first: firsts };
  } finally {
    await model.dispose();
  }
}

function peer(python: string, directory: string, tokens: number): Omit<PeerRun, 'model'> {
  const script = path.join(ROOT, 'bench', 'performance', 'transformersPeer.py');
  const output = execFileSync(python, [script, directory, String(tokens)], { encoding: 'utf8' });
  return JSON.parse(output.trim().split('\n').at(-1)!) as Omit<PeerRun, 'model'>;
}

interface Answered {
  readonly load: number;
  readonly firstToken: number;
  readonly prefill: number;
  readonly generate: number;
  readonly ids: readonly number[];
  readonly logits: Float32Array;
  readonly cacheBytes: number;
}

/** @param followUp asked as a further question, which may use what earlier ones left; by default everything is computed. */
async function answer(
  model: LlavaModel,
  reduction: string,
  maxTokens: number,
  followUp?: string,
): Promise<Answered> {
  let logits: Float32Array | undefined;
  const { answerTokenIds: ids, costs } = await model.ask(
    {
      images: [await screenshot(1)],
      question: followUp ?? 'What does the dialog say?',
      reduction,
      sampling: { maxTokens },
    },
    { reuse: followUp !== undefined, onLogits: (row) => (logits ??= row.slice()) },
  );
  const { load, firstToken, prefill, generate } = costs.timings;
  return { load, firstToken, prefill, generate, ids, logits: logits!, cacheBytes: costs.cacheBytes };
}

function summarize(
  reduction: string,
  timed: readonly Answered[],
  followUps: readonly Answered[],
  reference: Answered,
): Run {
  const [last] = timed.slice(-1);
  const parts = last.ids.findIndex((id, index) => id !== reference.ids[index]);
  return {
    reduction,
    firstToken: median(timed.map(({ firstToken }) => firstToken)),
    prefill: median(timed.map(({ prefill }) => prefill)),
    followUp: median(followUps.map(({ firstToken }) => firstToken)),
    tokensPerSecond: median(timed.map(({ ids, generate }) => (1000 * (ids.length - 1)) / generate)),
    cacheBytes: last.cacheBytes,
    error: relativeError(last.logits, reference.logits),
    sameTokens: `${parts < 0 ? last.ids.length : parts} of ${reference.ids.length}`,
  };
}

/** Bytes of the graphics card's memory that this process uses, where NVIDIA's tool is there to ask. */
function deviceBytes(): number | undefined {
  try {
    const query = ['--query-compute-apps=pid,used_memory', '--format=csv,noheader,nounits'];
    const lines = execFileSync('nvidia-smi', query, { encoding: 'utf8', timeout: 10_000 }).split('\n');
    const own = lines.map((line) => line.split(',')).find(([pid]) => Number(pid) === process.pid);
    return own && Number(own[1]) * 2 ** 20;
  } catch {
    return undefined;
  }
}

void main();
