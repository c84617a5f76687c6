/**
 * `npm run bench:responsiveness`: how soon the language server answers hovers and cancellations while the model runs, measured on the
 * server as it is shipped with the embedded model; writes docs/results/responsiveness.md. Nothing here is asserted: a figure is as good
 * as the machine was quiet, which the page tells.
 *
 *   node dist/responsiveness.js [--hovers N] [--cancellations N]
 */
import { fork } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import {
  CancellationTokenSource,
  createMessageConnection,
  IPCMessageReader,
  IPCMessageWriter,
  type MessageConnection,
} from 'vscode-languageserver/node';

import { AskRequest } from '../server/protocol';
import { ROOT } from './evaluationSet';

const RESULT = path.join(ROOT, 'docs', 'results', 'responsiveness.md');
const SAMPLES = ['dialog', 'settings', 'progress', 'form', 'chart', 'terminal'];

/** Hovers are not asked for more often than people move the mouse from one word to the next, in milliseconds. */
const PAUSE = 20;

interface Document {
  uri: string;
  positions: { line: number; character: number }[];
}

interface Row {
  what: string;
  /** Milliseconds, sorted. */
  times: number[];
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      hovers: { type: 'string', default: '500' },
      cancellations: { type: 'string', default: '100' },
    },
  });
  const folder = await mkdtemp(path.join(os.tmpdir(), 'fovea-responsiveness-'));
  try {
    const rows = await measure(folder, Number(values.hovers), Number(values.cancellations));
    await mkdir(path.dirname(RESULT), { recursive: true });
    await writeFile(RESULT, render(rows));
    console.log(render(rows));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function measure(folder: string, hovers: number, cancellations: number): Promise<Row[]> {
  for (const name of SAMPLES)
    await copyFile(path.join(ROOT, 'media', 'samples', `${name}.png`), path.join(folder, `${name}.png`));
  const child = fork(path.join(ROOT, 'dist', 'server.js'), ['--node-ipc'], { execArgv: [] });
  const connection = createMessageConnection(new IPCMessageReader(child), new IPCMessageWriter(child));
  connection.onRequest('workspace/configuration', ({ items }: { items: unknown[] }) => items.map(() => ({})));
  connection.onRequest('client/registerCapability', () => null);
  connection.listen();
  try {
    await connection.sendRequest('initialize', {
      processId: process.pid,
      workspaceFolders: [{ uri: pathToFileURL(folder).href, name: 'bench' }],
      capabilities: {
        workspace: { configuration: true },
        textDocument: { hover: { contentFormat: ['markdown'] } },
      },
      initializationOptions: {
        embeddedModelDirectory: path.join(ROOT, 'model'),
        answerCacheDirectory: path.join(folder, 'answers'),
        hoverCommands: true,
      },
    });
    await connection.sendNotification('initialized', {});
    const documents = await openDocuments(connection, folder);
    const image = pathToFileURL(path.join(folder, 'dialog.png')).href;
    await ask(connection, image, 'Which buttons are there?'); // the model is in memory from here on
    await ask(connection, image, undefined); // and one explanation is stored

    const hover = (index: number): Promise<unknown> => {
      const { uri, positions } = documents[index % documents.length];
      const position = positions[Math.floor(index / documents.length) % positions.length];
      return connection.sendRequest('textDocument/hover', { textDocument: { uri }, position });
    };
    const idle = await timed(hovers, hover);

    const load = new Load(connection, image);
    const busy = await timed(hovers, hover);
    await load.stop();

    return [
      { what: 'hover, nothing runs', times: idle },
      { what: 'hover while the model answers', times: busy },
      {
        what: 'a cancelled question is answered as cancelled',
        times: await cancelled(connection, image, cancellations),
      },
    ];
  } finally {
    await connection.sendRequest('shutdown');
    await connection.sendNotification('exit');
    connection.dispose();
  }
}

/** A Markdown page and a program, both with every picture on lines of their own among others. */
async function openDocuments(connection: MessageConnection, folder: string): Promise<Document[]> {
  const kinds = [
    { name: 'page.md', languageId: 'markdown', before: '![picture](', after: ')' },
    { name: 'page.ts', languageId: 'typescript', before: "export const picture = './", after: "';" },
  ];
  return Promise.all(
    kinds.map(async ({ name, languageId, before, after }) => {
      const uri = pathToFileURL(path.join(folder, name)).href;
      const lines = Array.from({ length: 600 }, (_, line) =>
        line % 20 === 0 ? `${before}${SAMPLES[(line / 20) % SAMPLES.length]}.png${after}` : `// line ${line}`,
      );
      const textDocument = { uri, languageId, version: 1, text: lines.join('\n') };
      await connection.sendNotification('textDocument/didOpen', { textDocument });
      const positions = lines.flatMap((_, line) =>
        line % 20 === 0 ? [{ line, character: before.length + 3 }] : [],
      );
      return { uri, positions };
    }),
  );
}

function ask(
  connection: MessageConnection,
  uri: string,
  question: string | undefined,
): Promise<AskRequest.Result> {
  return connection.sendRequest(AskRequest.method, { images: [{ uri }], question, fresh: true });
}

/** Question after question, so that there is always one in progress. */
class Load {
  private stopped = false;
  private readonly ended: Promise<void>;

  constructor(connection: MessageConnection, image: string) {
    this.ended = (async () => {
      for (let index = 0; !this.stopped; index++)
        await ask(connection, image, `Read everything, part ${index}.`);
    })();
  }

  stop(): Promise<void> {
    this.stopped = true;
    return this.ended;
  }
}

async function timed(count: number, work: (index: number) => Promise<unknown>): Promise<number[]> {
  const times: number[] = [];
  for (let index = 0; index < count; index++) {
    const start = performance.now();
    const result = await work(index);
    times.push(performance.now() - start);
    if (result === null) throw new Error('A hover that was to be measured has nothing to say.');
    await pause(PAUSE);
  }
  return times.sort((a, b) => a - b);
}

/** From the cancellation to the answer that says so, at every moment of a run: prefill and decoding. */
async function cancelled(connection: MessageConnection, uri: string, count: number): Promise<number[]> {
  const times: number[] = [];
  for (let index = 0; index < count; index++) {
    const source = new CancellationTokenSource();
    const parameters = { images: [{ uri }], question: `What is in part ${index}?`, fresh: true };
    let wasCancelled = false;
    const answer = connection.sendRequest(AskRequest.method, parameters, source.token).then(
      () => undefined,
      () => (wasCancelled = true),
    );
    await pause((index * 7) % 180);
    const start = performance.now();
    source.cancel();
    await answer;
    if (wasCancelled) times.push(performance.now() - start); // one that had been answered before cannot be cancelled
  }
  return times.sort((a, b) => a - b);
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

function render(rows: readonly Row[]): string {
  const cell = (times: readonly number[], share: number): string =>
    times[Math.min(times.length - 1, Math.ceil(share * times.length) - 1)].toFixed(1);
  const lines = rows.map(
    ({ what, times }) =>
      `| ${what} | ${times.length} | ${cell(times, 0.5)} | ${cell(times, 0.95)} | ${cell(times, 0.99)} | ${cell(times, 1)} |`,
  );
  const load = os.loadavg()[0].toFixed(1);
  const priority = os.getPriority() === 0 ? '' : `, at nice ${os.getPriority()}`;
  return `# How soon the language server answers

Made by \`npm run bench:responsiveness\` on ${os.cpus()[0].model.trim()}, ${os.cpus().length} cores, Node ${process.versions.node}; load average
at the end: ${load}${priority}. With a load far above the number of cores the figures are those of the other programs. Milliseconds at the client, over IPC, with the embedded model. Hovers are over image references in a Markdown page and a
TypeScript file of 600 lines each, one of six pictures with a stored explanation.

| | times | median | p95 | p99 | longest |
|---|---:|---:|---:|---:|---:|
${lines.join('\n')}
`;
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
