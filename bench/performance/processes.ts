import { fork, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import {
  CancellationTokenSource,
  createMessageConnection,
  IPCMessageReader,
  IPCMessageWriter,
} from 'vscode-languageserver/node';

import type { Precision } from '../../server/llava/checkpoint/precision';
import { LlavaModel } from '../../server/llava/model';
import {
  AskRequest,
  ImageFactsRequest,
  type ImageSource,
  type RequestDescription,
  type ServerOptions,
} from '../../server/protocol';
import { ROOT } from '../evaluationSet';
import { screenshot } from './engineStages';
import { privateBytes } from './machine';
import { quantile, summarize, type Summary } from './statistics';

const COMMAND_LINE = path.join(ROOT, 'dist', 'cli.js');
const SERVER = path.join(ROOT, 'dist', 'server.js');

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

/** @param program this benchmark, which answers `--memory DIRECTORY` with one line of JSON. */
export async function measureMemory(
  program: string,
  directory: string,
  { cacheDirectory, precision }: MemoryOptions,
): Promise<Memory | undefined> {
  const args = [program, '--memory', directory, '--precision', precision, '--cache', cacheDirectory];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => (text += part));
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  if (code !== 0) throw new Error(`the memory measurement ended with ${code}`);
  return (JSON.parse(text) as { memory?: Memory }).memory;
}

export interface RoundTrips {
  /** Milliseconds of facts about an image (what a hover shows) while a question is being answered. */
  readonly facts: Summary;
  readonly factsP99: number;
  /** From cancelling a question to the end of its request. */
  readonly cancel: Summary;
}

/** The language server while its inference process computes. */
export async function measureRoundTrips(directory: string, questions: number): Promise<RoundTrips> {
  const folder = await mkdtemp(path.join(tmpdir(), 'fovea-bench-'));
  const child = fork(SERVER, ['--node-ipc'], { execArgv: [], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  const connection = createMessageConnection(new IPCMessageReader(child), new IPCMessageWriter(child));
  const ended = new Promise((resolve) => child.once('exit', resolve));
  connection.onRequest('workspace/configuration', ({ items }: { items: unknown[] }) =>
    items.map(() => ({ model: directory })),
  );
  connection.onRequest('client/registerCapability', () => null);
  connection.listen();
  const request = <Params, Result>(
    { method }: RequestDescription<Params, Result, unknown>,
    params: Params,
  ): Promise<Result> => connection.sendRequest(method, params);
  try {
    await connection.sendRequest('initialize', {
      processId: process.pid,
      workspaceFolders: [{ uri: pathToFileURL(folder).href, name: 'bench' }],
      capabilities: { workspace: { configuration: true, workspaceFolders: true } },
      initializationOptions: { engineCacheDirectory: path.join(folder, 'engine') } satisfies ServerOptions,
    });
    await connection.sendNotification('initialized', {});
    const file = path.join(folder, 'screen.png');
    await writeFile(file, await screenshot(1));
    const image: ImageSource = { uri: pathToFileURL(file).href };
    const ask = { images: [image], fresh: true, sampling: { maxTokens: 32 } };
    await request(AskRequest.type, { ...ask, question: 'What comes first?' });

    const facts: number[] = [];
    const cancels: number[] = [];
    for (let question = 0; question < questions; question++) {
      const source = new CancellationTokenSource();
      const params = { ...ask, question: `Question ${question}?` };
      let running = true;
      const answer = connection
        .sendRequest(AskRequest.type.method, params, source.token)
        .then(
          () => undefined,
          () => undefined,
        )
        .finally(() => (running = false));
      // Every second question is cancelled soon: some answers have ended before ten round trips have.
      const trips = question % 2 === 0 ? 1 : 10;
      for (let trip = 0; trip < trips && running; trip++) {
        const before = performance.now();
        await request(ImageFactsRequest.type, { image });
        if (running) facts.push(performance.now() - before);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      if (running) {
        const before = performance.now();
        source.cancel();
        await answer;
        cancels.push(performance.now() - before);
      }
      await answer;
    }
    return { facts: summarize(facts), factsP99: quantile(facts, 0.99), cancel: summarize(cancels) };
  } finally {
    await connection.sendRequest('shutdown');
    await connection.sendNotification('exit');
    await ended;
    connection.dispose();
    await rm(folder, { recursive: true, force: true });
  }
}
