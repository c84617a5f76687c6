/**
 * `npm run bench:gpu`: the whole engine on a graphics card over WebGPU, with random weights in the shapes of real models: correctness
 * against the CPU, time to the first token with and without reduction, decode rate, memory. Writes docs/results/gpu.json and gpu.md.
 *
 *   node dist/gpu.js [--models qwen-0.5b:fp32,llama-7b:q4] [--cache FOLDER] [--out FOLDER] [--rounds N] [--quick]
 *
 * `--cache` keeps the random checkpoints (16 GB with a 7B model). On an adapter that is slower than the CPU nothing is written unless
 * `--out` says where: those are not a graphics card's figures. `--quick` runs everything once on a tiny model and tests no device first.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';

import { machineDevices } from '../server/cli/openModel';
import { explain } from '../server/inference/devices';
import { type Precision, PRECISIONS } from '../server/llava/checkpoint/precision';
import { LlavaModel } from '../server/llava/model';
import { CPU_PLAN, type DevicePlan } from '../server/llava/runtime/device';
import { relativeError } from '../server/llava/runtime/selfTest';
import { ROOT } from './evaluationSet';
import { screenshot } from './performance/engineStages';
import { codeHash, describeMachine, privateBytes } from './performance/machine';
import { median } from './performance/statistics';
import { DECODERS, writeRandomCheckpoint } from './randomCheckpoint';

const REDUCTIONS = ['none', 'fastv:layer=2,keep=0.5', 'visionzip:dominant=54,contextual=10'];

/** One model under one reduction on one device. */
interface Run {
  readonly reduction: string;
  /** Medians, in milliseconds. */
  readonly firstToken: number;
  readonly prefill: number;
  /** First token of a further question about the image, whose keys and values are still on the device. */
  readonly followUp: number;
  readonly tokensPerSecond: number;
  readonly cacheBytes: number;
  /** Of the first answer token's logits, against the CPU's: largest difference over largest magnitude. 0 for the CPU itself. */
  readonly error: number;
  /** Answer tokens until the greedy answers part, of those that were asked for. */
  readonly sameTokens: string;
}

interface ModelRuns {
  readonly model: string;
  readonly precision: Precision;
  readonly device: string;
  readonly attention: string;
  readonly loadMilliseconds: number;
  readonly privateBytes: number | undefined;
  /** What nvidia-smi says of this process; undefined without it. */
  readonly deviceBytes: number | undefined;
  readonly runs: readonly Run[];
}

interface GpuResults {
  readonly command: string;
  readonly machine: string;
  readonly code: string;
  readonly selfTest: string;
  readonly models: readonly ModelRuns[];
}

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
      models: { type: 'string' },
      cache: { type: 'string', default: path.join(tmpdir(), 'fovea-bench') },
      out: { type: 'string' },
      rounds: { type: 'string', default: '5' },
      quick: { type: 'boolean', default: false },
    },
  });
  const { plan, selfTest, faster } = values.quick ? untested() : await tested();
  console.log(selfTest);
  const options: Options = {
    models: modelsOf(
      values.models ?? (values.quick ? 'tiny:fp32,tiny:q4' : 'qwen-0.5b:fp32,qwen-0.5b:q4,llama-7b:q4'),
    ),
    cache: values.cache,
    rounds: values.quick ? 1 : Number(values.rounds),
    tokens: values.quick ? 3 : 32,
    tower: values.quick ? 'tiny' : 'clip-l-336',
  };
  const models: ModelRuns[] = [];
  for (const { name, precision } of options.models)
    models.push(...(await measure(name, precision, plan, options)));
  const results: GpuResults = {
    command: ['npm run bench:gpu --', ...process.argv.slice(2)].join(' '),
    machine: describeMachine(),
    code: codeHash(),
    selfTest,
    models,
  };
  const page = render(results);
  console.log(page);
  const folder = values.out ?? (faster ? path.join(ROOT, 'docs', 'results') : undefined);
  if (folder === undefined)
    return console.log('Nothing was written: these are not the figures of a graphics card.');
  mkdirSync(folder, { recursive: true });
  writeFileSync(path.join(folder, 'gpu.json'), `${JSON.stringify(results, undefined, 2)}\n`);
  writeFileSync(path.join(folder, 'gpu.md'), page);
}

interface TestedDevice {
  readonly plan: DevicePlan;
  readonly selfTest: string;
  readonly faster: boolean;
}

async function tested(): Promise<TestedDevice> {
  const devices = machineDevices();
  const { plan, note } = await devices.choose('webgpu', { signal: new AbortController().signal });
  const verdicts = (await devices.known()).flatMap(({ device, attention, tested: found }) =>
    device === 'webgpu' && found ? [{ attention, verdict: found.verdict }] : [],
  );
  const lines = verdicts.map(
    ({ attention, verdict }) => `webgpu, ${attention} attention: ${explain(verdict)}.`,
  );
  const faster = verdicts.some(({ verdict }) => verdict.outcome === 'passed' && verdict.speedup > 1);
  return { plan, selfTest: [...lines, note ?? ''].join(' ').trim(), faster };
}

function untested(): TestedDevice {
  return {
    plan: { device: 'webgpu', attention: 'plain' },
    selfTest: 'webgpu was not tested.',
    faster: false,
  };
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

/** One model on the CPU and on the device, one after the other: two of them would not fit into memory. */
async function measure(
  name: keyof typeof DECODERS,
  precision: Precision,
  plan: DevicePlan,
  options: Options,
): Promise<ModelRuns[]> {
  const directory = path.join(options.cache, `${name}-${options.tower}`);
  if (!existsSync(path.join(directory, 'complete'))) {
    writeRandomCheckpoint(directory, { decoder: name, tower: options.tower, dtype: 'BF16' });
    // Written last, so that an interrupted run does not leave half a checkpoint behind.
    writeFileSync(path.join(directory, 'complete'), '');
  }
  const reference = new Map<string, Answered>();
  const results: ModelRuns[] = [];
  for (const device of [CPU_PLAN, plan]) {
    const model = await LlavaModel.open(directory, {
      plan: device,
      precision,
      cacheDirectory: options.cache,
    });
    try {
      const runs: Run[] = [];
      let load = 0;
      for (const reduction of REDUCTIONS) {
        // The first question loads and compiles; the CPU is asked only for what is right, and once for its time.
        const first = await answer(model, reduction, options.tokens);
        load += first.load;
        const timed: Answered[] = [];
        const rounds = device === CPU_PLAN ? 1 : options.rounds;
        for (let round = 0; round < rounds; round++)
          timed.push(await answer(model, reduction, options.tokens));
        if (device === CPU_PLAN) reference.set(reduction, first);
        const followUps: Answered[] = [];
        await answer(model, reduction, 1, 'What came before?');
        for (let round = 0; round < rounds; round++)
          followUps.push(await answer(model, reduction, 1, 'What does the dialog say?'));
        runs.push(summarize(reduction, timed, followUps, reference.get(reduction)!));
      }
      results.push({
        model: name,
        precision,
        device: device.device,
        attention: device.attention,
        loadMilliseconds: load,
        privateBytes: privateBytes('self'),
        deviceBytes: device === CPU_PLAN ? undefined : deviceBytes(),
        runs,
      });
    } finally {
      await model.dispose();
    }
  }
  return results;
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

function render({ command, machine, code, selfTest, models }: GpuResults): string {
  const rows = models.flatMap((model) =>
    model.runs.map((run) =>
      [
        `${model.model}, ${model.precision}`,
        `${model.device}${model.attention === 'fused' ? ' (fused attention)' : ''}`,
        run.reduction,
        `${run.firstToken.toFixed(0)} ms`,
        `${run.prefill.toFixed(0)} ms`,
        `${run.followUp.toFixed(0)} ms`,
        run.tokensPerSecond.toFixed(1),
        megabytes(run.cacheBytes),
        run.error.toExponential(1),
        run.sameTokens,
        `${megabytes(model.privateBytes)} / ${megabytes(model.deviceBytes)}`,
      ].join(' | '),
    ),
  );
  return `# On a graphics card

Made by \`${command}\` on: ${machine}. Sources \`${code}\`. ${selfTest}

Random weights in the shapes of real models. "Error" is the largest difference of the first token's logits from the CPU's over their largest
magnitude; with 4-bit weights the CPU multiplies by activations of 8 bits, so that the two differ by about a hundredth. "Second question" is the time
to the first token of a further question about the same image.

| model | device | reduction | first token | prefill | second question | tokens/s | cache | error | same tokens | private / device memory |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
${rows.map((row) => `| ${row} |`).join('\n')}
`;
}

function megabytes(bytes: number | undefined): string {
  return bytes === undefined ? '-' : `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
}

void main();
