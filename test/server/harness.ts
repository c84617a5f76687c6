import { fork, spawn, type ChildProcess } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import {
  createMessageConnection,
  IPCMessageReader,
  IPCMessageWriter,
  ProgressType,
  StreamMessageReader,
  StreamMessageWriter,
  type CancellationToken,
  type MessageConnection,
} from 'vscode-languageserver/node';
import type {
  AskRequest,
  RequestDescription,
  ServerOptions,
  StatusNotification,
  TextPosition,
} from '../../server/protocol';
import type { OpenScript } from './fakeInference';

const ROOT = path.resolve(__dirname, '../..');
export const SERVER = path.join(ROOT, 'dist/server.js');
export const EMBEDDED_MODEL = path.join(ROOT, 'model');

/** A workspace on disk with one server for it; everything goes when it is disposed. */
export interface Setup {
  /** Folder of the test, with the workspace in it. */
  folder: string;
  workspace: string;
}

export async function createSetup(): Promise<Setup> {
  // Real, because the server answers with real paths.
  const folder = await realpath(await mkdtemp(path.join(tmpdir(), 'fovea-server-')));
  const workspace = path.join(folder, 'workspace');
  await mkdir(workspace);
  return { folder, workspace };
}

/** Builds the inference program with the scripted engine. @returns its path. */
export async function buildFakeInference(folder: string): Promise<string> {
  const outfile = path.join(folder, 'fakeInference.js');
  await build({
    entryPoints: [path.join(__dirname, 'fakeInference.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    logLevel: 'error',
  });
  return outfile;
}

export interface StartOptions {
  setup: Setup;
  transport?: 'ipc' | 'stdio';
  /** Path of the inference program; absent: the product's. */
  inference?: string;
  open?: OpenScript;
  options?: ServerOptions;
  /** Section `fovea`. */
  settings?: object;
  capabilities?: object;
  environment?: Record<string, string>;
}

export interface Answer {
  pieces: string[];
  stages: string[];
  result: AskRequest.Result;
}

/** A language server as a client sees it. */
export class TestServer {
  readonly statuses: StatusNotification.Params[] = [];
  readonly log: string[] = [];
  readonly exited: Promise<number | null>;
  private token = 0;
  private version = 1;

  private constructor(
    readonly process: ChildProcess,
    readonly connection: MessageConnection,
    readonly fakeLog: string,
    private settings: object,
  ) {
    this.exited = new Promise((resolve) => process.once('exit', (code) => resolve(code)));
  }

  static async start(start: StartOptions): Promise<TestServer> {
    if (!existsSync(SERVER)) throw new Error('dist/server.js is missing: run "npm run build" first.');
    const { setup, transport = 'ipc' } = start;
    const fakeLog = path.join(setup.folder, `fake-${Math.random().toString(36).slice(2)}.log`);
    const env = {
      ...process.env,
      FAKE_LOG: fakeLog,
      FAKE_OPEN: JSON.stringify(start.open ?? {}),
      HF_HUB_CACHE: path.join(setup.folder, 'hub'),
      ...start.environment,
    };
    const args = [
      transport === 'ipc' ? '--node-ipc' : '--stdio',
      ...(start.inference ? [`--inference-program=${start.inference}`] : []),
    ];
    const child =
      transport === 'ipc'
        ? fork(SERVER, args, { execArgv: [], env, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
        : spawn(process.execPath, [SERVER, ...args], { env, stdio: ['pipe', 'pipe', 'inherit'] });
    const connection =
      transport === 'ipc'
        ? createMessageConnection(new IPCMessageReader(child), new IPCMessageWriter(child))
        : createMessageConnection(
            new StreamMessageReader(child.stdout!),
            new StreamMessageWriter(child.stdin!),
          );
    const server = new TestServer(child, connection, fakeLog, start.settings ?? {});
    connection.onRequest('workspace/configuration', ({ items }: { items: unknown[] }) =>
      items.map(() => server.settings),
    );
    connection.onRequest('client/registerCapability', () => null);
    connection.onNotification(
      'fovea/status',
      (status: StatusNotification.Params) => void server.statuses.push(status),
    );
    connection.onNotification(
      'window/logMessage',
      ({ message }: { message: string }) => void server.log.push(message),
    );
    connection.onError(() => undefined);
    connection.listen();
    await connection.sendRequest('initialize', {
      processId: process.pid,
      workspaceFolders: [{ uri: pathToFileURL(setup.workspace).href, name: 'workspace' }],
      capabilities: start.capabilities ?? {
        workspace: { configuration: true, workspaceFolders: true },
        textDocument: { hover: { contentFormat: ['markdown', 'plaintext'] } },
      },
      initializationOptions: {
        embeddedModelDirectory: EMBEDDED_MODEL,
        answerCacheDirectory: path.join(setup.folder, 'answers'),
        engineCacheDirectory: path.join(setup.folder, 'engine'),
        hoverCommands: true,
        ...start.options,
      } satisfies ServerOptions,
    });
    await connection.sendNotification('initialized', {});
    return server;
  }

  request<Params, Result>(
    { method }: RequestDescription<Params, Result, unknown>,
    params: Params,
    token?: CancellationToken,
  ): Promise<Result> {
    return this.send(method, params, token) as Promise<Result>;
  }

  /** Asks with streaming. @param onPiece hears each piece as it comes. */
  async ask(
    params: AskRequest.Params,
    options: {
      token?: CancellationToken;
      onPiece?: (piece: string) => void;
      onStage?: (stage: string) => void;
    } = {},
  ): Promise<Answer> {
    const pieces: string[] = [];
    const stages: string[] = [];
    const [partialResultToken, workDoneToken] = [`p${++this.token}`, `w${this.token}`];
    const partials = this.connection.onProgress(
      new ProgressType<AskRequest.Partial>(),
      partialResultToken,
      (partial) => {
        pieces.push(...partial.pieces);
        partial.pieces.forEach((piece) => options.onPiece?.(piece));
      },
    );
    const progress = this.connection.onProgress(
      new ProgressType<{ message?: string }>(),
      workDoneToken,
      ({ message }) => {
        if (message === undefined) return;
        stages.push(message);
        options.onStage?.(message);
      },
    );
    try {
      const all = { ...params, partialResultToken, workDoneToken };
      const result = (await this.send('fovea/ask', all, options.token)) as AskRequest.Result;
      return { pieces, stages, result };
    } finally {
      partials.dispose();
      progress.dispose();
    }
  }

  /** Changes section `fovea` as a client does. */
  async configure(settings: object): Promise<void> {
    this.settings = settings;
    await this.connection.sendNotification('workspace/didChangeConfiguration', {
      settings: { fovea: settings },
    });
  }

  async open(uri: string, languageId: string, text: string): Promise<void> {
    const textDocument = { uri, languageId, version: this.version++, text };
    await this.connection.sendNotification('textDocument/didOpen', { textDocument });
  }

  hover(uri: string, position: TextPosition): Promise<{ contents: unknown; range: unknown } | null> {
    return this.connection.sendRequest('textDocument/hover', { textDocument: { uri }, position });
  }

  /** Lines of the scripted engine, without process ids. */
  events(): string[] {
    return this.lines().map((line) => line.slice(line.indexOf(' ') + 1));
  }

  /** Ids of the inference processes that were started, in order. */
  inferenceIds(): number[] {
    return this.lines()
      .filter((line) => line.endsWith(' start'))
      .map((line) => Number.parseInt(line, 10));
  }

  /** Waits until a line of the scripted engine ends like this. */
  async event(end: string, count = 1): Promise<void> {
    await until(() => this.events().filter((line) => line.endsWith(end)).length >= count, `event "${end}"`);
  }

  async status(state: StatusNotification.Params['state']): Promise<StatusNotification.Params> {
    await until(() => this.statuses.at(-1)?.state === state, `status ${state}`);
    return this.statuses.at(-1)!;
  }

  async stop(): Promise<void> {
    if (this.process.exitCode === null && this.process.signalCode === null) {
      await this.connection.sendRequest('shutdown');
      await this.connection.sendNotification('exit');
    }
    await this.exited;
    this.connection.dispose();
  }

  private send(method: string, params: unknown, token: CancellationToken | undefined): Promise<unknown> {
    // An undefined token would be sent as a second parameter.
    return token
      ? this.connection.sendRequest(method, params, token)
      : this.connection.sendRequest(method, params);
  }

  private lines(): string[] {
    return existsSync(this.fakeLog) ? readFileSync(this.fakeLog, 'utf8').split('\n').filter(Boolean) : [];
  }
}

/** Waits for a condition; the limit is for a hanging test, not a measurement. */
export async function until(condition: () => boolean, what: string, limit = 20_000): Promise<void> {
  for (const end = Date.now() + limit; Date.now() < end;) {
    if (condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`Waited in vain for ${what}.`);
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    // A zombie still has its id until its parent has asked for its end.
    return !/^State:\s*Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

/** A PNG of one colour; different seeds give different files. */
export async function writePng(file: string, width = 8, height = 6, seed = 1): Promise<string> {
  const { default: sharp } = await import('sharp');
  await mkdir(path.dirname(file), { recursive: true });
  const background = { r: seed % 256, g: (seed * 7) % 256, b: (seed * 31) % 256 };
  await writeFile(
    file,
    await sharp({ create: { width, height, channels: 3, background } })
      .png()
      .toBuffer(),
  );
  return pathToFileURL(file).href;
}

export async function removeSetup({ folder }: Setup): Promise<void> {
  await rm(folder, { recursive: true, force: true });
}
