import path from 'node:path';

import { CancellationTokenSource, ResponseError } from 'vscode-languageserver/node';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

import { AnalyzeRequest, type ErrorData } from '../../server/protocol';
import type { Script } from './fakeInference';
import { buildFakeInference, createSetup, removeSetup, TestServer, writePng, type Setup } from './harness';

let setup: Setup;
let inference: string;
let image: string;
let server: TestServer;

beforeAll(async () => {
  setup = await createSetup();
  inference = await buildFakeInference(setup.folder);
  image = await writePng(path.join(setup.workspace, 'shot.png'));
});
afterAll(() => removeSetup(setup));
afterEach(() => server?.stop());

async function start(): Promise<void> {
  server = await TestServer.start({
    setup,
    inference,
    settings: { device: 'cpu', maxTokens: 12 },
    options: {},
  });
}

const asked = (script: Script, maxTokens?: number): AnalyzeRequest.Params => ({
  images: [{ uri: image }],
  question: JSON.stringify(script),
  maxTokens,
});

async function failure(promise: Promise<unknown>): Promise<{ code: number; data: ErrorData }> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof ResponseError)) throw new Error(`expected a failure, got ${String(error)}`);
  return { code: error.code, data: error.data as ErrorData };
}

describe('fovea/analyze', () => {
  it('answers with the analysis, of the length that was asked for or set', async () => {
    await start();
    const set = await server.request(AnalyzeRequest.type, asked({}));
    expect(set.answerTokens).toHaveLength(12);
    const wanted = await server.request(AnalyzeRequest.type, asked({}, 3));
    expect(wanted.answerTokens).toHaveLength(3);
    expect(wanted.removal).toEqual([{ layer: 0, logLikelihood: -1 }]);
  });

  it('waits for its turn among the questions, in the same process', async () => {
    await start();
    const question = JSON.stringify({ pieces: ['one'], prefill: 100 } satisfies Script);
    const asking = server.ask({ images: [{ uri: image }], question });
    await server.event(`ask ${question}`);
    const analysis = await server.request(AnalyzeRequest.type, { images: [{ uri: image }], question });
    const answer = await asking;
    expect(answer.result.result.answer).toBe('one');
    expect(analysis.question).toBe(question);
    const events = server.events();
    expect(events.indexOf(`answered ${question}`)).toBeLessThan(events.indexOf(`analyze ${question}`));
    expect(server.inferenceIds()).toHaveLength(1);
  });

  it('can be cancelled while it runs, and the next one is answered', async () => {
    await start();
    const cancellation = new CancellationTokenSource();
    const params = asked({ prefill: 60_000 });
    const run = failure(server.request(AnalyzeRequest.type, params, cancellation.token));
    await server.event(`analyze ${params.question}`);
    cancellation.cancel();
    expect(await run).toMatchObject({ code: -32800, data: { kind: 'cancelled' } });
    expect((await server.request(AnalyzeRequest.type, asked({}, 2))).answerTokens).toHaveLength(2);
    expect(server.inferenceIds()).toHaveLength(1);
  });

  it('says so when the process ends under it', async () => {
    await start();
    const { code, data } = await failure(server.request(AnalyzeRequest.type, asked({ crash: 'prefill' })));
    expect(code).toBe(-32803);
    expect(data.code).toMatch(/^inference\./);
  });

  it.each([
    [{ images: [] }, /1 to 16 images/],
    [{ images: 'shot.png' }, /1 to 16 images/],
    [{ question: '  ' }, /empty/],
    [{ fit: 'stretch' }, /pad or crop/],
    [{ maxTokens: 'many' }, /numbers/],
  ])('refuses %j', async (wrong, words) => {
    await start();
    const params = { ...asked({}), ...wrong } as AnalyzeRequest.Params;
    const { code, data } = await failure(server.request(AnalyzeRequest.type, params));
    expect(code).toBe(-32803);
    expect(data.why).toMatch(words);
    expect(server.inferenceIds()).toEqual([]);
  });
});
