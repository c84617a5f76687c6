import { spawn } from 'node:child_process';
import path from 'node:path';

import { MEMORY_OPTIONS } from '../../server/inference/memoryOptions';
import type { Precision } from '../../server/llava/checkpoint/precision';
import { LlavaModel } from '../../server/llava/model';
import { ROOT } from '../evaluationSet';
import { screenshot } from './engineStages';
import { privateBytes } from './machine';
import { summarize, type Summary } from './statistics';

const COMMAND_LINE = path.join(ROOT, 'dist', 'cli.js');

export interface ColdStart {
  /** Milliseconds from the start of a process to the first token that it prints. */
  readonly firstToken: Summary;
  /** The same process with nothing to do: what Node itself takes. */
  readonly node: Summary;
}

/** `fovea ask` in a new process, until the first piece of the answer comes out. Files are in the system's cache. */
export async function measureColdStart(directory: string, image: string, rounds: number): Promise<ColdStart> {
  const firstToken: number[] = [];
  const node: number[] = [];
  for (let round = 0; round <= rounds; round++) {
    const ask = ['ask', image, 'What is the title?', '--model', directory, '--max-tokens', '4'];
    const answered = await untilOutput([COMMAND_LINE, ...ask]);
    const started = await untilOutput(['-e', 'process.stdout.write("x")']);
    // The first one reads the files from the disk.
    if (round === 0) continue;
    firstToken.push(answered);
    node.push(started);
  }
  return { firstToken: summarize(firstToken), node: summarize(node) };
}

/** Milliseconds until a program of Node writes to its output; waits for its end. */
async function untilOutput(args: readonly string[]): Promise<number> {
  const before = performance.now();
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let first: number | undefined;
  let errors = '';
  child.stdout.on('data', () => (first ??= performance.now() - before));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  if (code !== 0 || first === undefined) throw new Error(`${args.join(' ')} ended with ${code}: ${errors}`);
  return first;
}

export interface Memory {
  /** Private bytes of a process that has loaded the model, has answered once, and has answered about eight images. */
  readonly loaded: number;
  readonly answered: number;
  readonly afterEight: number;
}

export interface MemoryOptions {
  readonly cacheDirectory: string;
  readonly precision: Precision;
}

/** In this process: call it in a new one ({@link measureMemory}). Undefined where the system does not tell. */
export async function memoryOfThisProcess(
  directory: string,
  { cacheDirectory, precision }: MemoryOptions,
): Promise<Memory | undefined> {
  const model = await LlavaModel.open(directory, { cacheDirectory, precision });
  const loaded = privateBytes('self');
  const after: (number | undefined)[] = [];
  for (let seed = 0; seed < 8; seed++) {
    const images = [await screenshot(seed)];
    await model.ask({ images, question: 'What is the title?', sampling: { maxTokens: 8 } });
    after.push(privateBytes('self'));
  }
  if (loaded === undefined || after[0] === undefined || after[7] === undefined) return undefined;
  return { loaded, answered: after[0], afterEight: after[7] };
}

/**
 * A process started as the inference process is.
 *
 * @param program this benchmark, which answers `--memory DIRECTORY` with one line of JSON.
 */
export async function measureMemory(
  program: string,
  directory: string,
  { cacheDirectory, precision }: MemoryOptions,
): Promise<Memory | undefined> {
  const args = [program, '--memory', directory, '--precision', precision, '--cache', cacheDirectory];
  const child = spawn(process.execPath, [...MEMORY_OPTIONS.execArgv, ...args], {
    env: { ...process.env, ...MEMORY_OPTIONS.env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => (text += part));
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  if (code !== 0) throw new Error(`the memory measurement ended with ${code}`);
  return (JSON.parse(text) as { memory?: Memory }).memory;
}
