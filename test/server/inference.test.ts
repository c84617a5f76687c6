import { appendFileSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { CancellationTokenSource, ResponseError } from 'vscode-languageserver/node';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  AskRequest,
  ClearAnswerCacheRequest,
  EXPLAIN_QUESTION,
  ExportTraceRequest,
  ImageFactsRequest,
  PictureRequest,
  RestartInferenceRequest,
  type ErrorData,
  ReadAheadRequest,
} from '../../server/protocol';
import type { Script } from './fakeInference';
import {
  buildFakeInference,
  createSetup,
  isAlive,
  removeSetup,
  TestServer,
  until,
  writePng,
  type Setup,
  type StartOptions,
} from './harness';

let setup: Setup;
let inference: string;
let image: string;
let other: string;
let server: TestServer;

beforeAll(async () => {
  setup = await createSetup();
  inference = await buildFakeInference(setup.folder);
  image = await writePng(path.join(setup.workspace, 'shot.png'));
  other = await writePng(path.join(setup.workspace, 'other.png'), 8, 6, 2);
});
afterAll(() => removeSetup(setup));
afterEach(() => server?.stop());

async function start(options: Partial<StartOptions> = {}): Promise<TestServer> {
  server = await TestServer.start({
    setup,
    inference,
    settings: { device: 'cpu' },
    ...options,
    // A cache of its own, so that no test finds another one's answers.
    options: {
      answerCacheDirectory: path.join(setup.folder, `answers-${Math.random()}`),
      ...options.options,
    },
  });
  return server;
}

const script = (script: Script & { id?: number }): AskRequest.Params => ({
  images: [{ uri: image }],
  question: JSON.stringify(script),
});

async function failure(promise: Promise<unknown>): Promise<{ code: number; data: ErrorData }> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof ResponseError)) throw new Error(`expected a failure, got ${String(error)}`);
  return { code: error.code, data: error.data as ErrorData };
}

const CANCELLED = -32800;
const FAILED = -32803;

describe.each(['ipc', 'stdio'] as const)('a question over %s', (transport) => {
  it('streams its pieces, reports its stages and answers with the whole text', async () => {
    await start({ transport });
    const { pieces, stages, result } = await server.ask({ images: [{ uri: image }], question: 'a window' });
    expect(pieces).toEqual(['It shows ', 'a window']);
    expect(stages).toEqual(expect.arrayContaining(['converting', 'prefill']));
    expect(result.result.answer).toBe('It shows a window');
    expect(result).toMatchObject({ cached: false, images: [{ format: 'png', width: 8, height: 6 }] });
  });

  it('streams while it goes on, not at the end', async () => {
    await start({ transport });
    let answered = false;
    let heardBefore = 0;
    const asked = server.ask(script({ pieces: ['a', 'b', 'c', 'd'], perPiece: 60 }), {
      onPiece: () => (heardBefore += answered ? 0 : 1),
    });
    await asked.then(() => (answered = true));
    expect(heardBefore).toBe(4);
  });
});

describe('the answer cache', () => {
  it('answers at once without the process, also after a restart of the server, until it is cleared', async () => {
    const answerCacheDirectory = path.join(setup.folder, 'kept');
    await start({ options: { answerCacheDirectory } });
    await server.ask({ images: [{ uri: image }], question: 'kept?' });
    await server.stop();
    await start({ options: { answerCacheDirectory } });
    const again = await server.ask({ images: [{ uri: image }], question: 'kept?' });
    expect(again.result).toMatchObject({ cached: true, result: { answer: 'It shows kept?' } });
    expect(again.pieces).toEqual(['It shows kept?']);
    expect(server.events()).toEqual([]);
    expect(await server.request(ClearAnswerCacheRequest.type, {})).toMatchObject({ answers: 1 });
    expect((await server.ask({ images: [{ uri: image }], question: 'kept?' })).result.cached).toBe(false);
  });

  it('tells apart image, question, reduction, fit and sampling, but not the way a reduction is written', async () => {
    await start();
    const base: AskRequest.Params = {
      images: [{ uri: image }],
      question: 'q',
      reduction: 'fastv:layer=2,keep=0.5',
    };
    await server.ask(base);
    for (const change of [
      { images: [{ uri: other }] },
      { question: 'r' },
      { reduction: 'none' },
      { fit: 'crop' as const },
      { sampling: { maxTokens: 7 } },
      { system: 's' },
    ]) {
      expect((await server.ask({ ...base, ...change })).result.cached, JSON.stringify(change)).toBe(false);
    }
    expect((await server.ask({ ...base, reduction: 'fastv:keep=50%,layer=2' })).result.cached).toBe(true);
    expect((await server.ask({ ...base, fresh: true })).result.cached).toBe(false);
  });
});

describe('cancelling', () => {
  it('ends a question in its prefill; the process lives and answers the next', async () => {
    await start();
    const source = new CancellationTokenSource();
    const asked = failure(server.ask(script({ prefill: 60_000 }), { token: source.token }));
    await server.event('ask {"prefill":60000}');
    source.cancel();
    expect(await asked).toMatchObject({ code: CANCELLED, data: { kind: 'cancelled' } });
    expect((await server.ask(script({ pieces: ['next'] }))).result.result.answer).toBe('next');
    expect(server.inferenceIds()).toHaveLength(1);
  });

  it('ends a question while it decodes, and sends no piece afterwards', async () => {
    await start();
    const source = new CancellationTokenSource();
    const heard: string[] = [];
    const asked = failure(
      server.ask(script({ pieces: Array.from({ length: 1000 }, (_, i) => `${i} `), perPiece: 10 }), {
        token: source.token,
        onPiece: (piece) => {
          heard.push(piece);
          if (heard.length === 3) source.cancel();
        },
      }),
    );
    expect((await asked).code).toBe(CANCELLED);
    const count = heard.length;
    await server.ask(script({ pieces: ['next'] }));
    expect(heard).toHaveLength(count);
    expect(server.inferenceIds()).toHaveLength(1);
  });

  it('kills a process whose cancelled step does not end, and loads again for the next question', async () => {
    await start();
    const source = new CancellationTokenSource();
    const asked = failure(server.ask(script({ blockPrefill: 120_000 }), { token: source.token }));
    await server.event('ask {"blockPrefill":120000}');
    source.cancel();
    expect((await asked).code).toBe(CANCELLED);
    expect((await server.ask(script({ pieces: ['again'] }))).result.result.answer).toBe('again');
    const [first, second] = server.inferenceIds();
    expect(isAlive(first)).toBe(false);
    expect(isAlive(second)).toBe(true);
    expect(server.statuses.some(({ error }) => error !== undefined)).toBe(false);
  });

  it('ends a load that nobody waits for any more', async () => {
    await start({ open: { milliseconds: 60_000 } });
    const source = new CancellationTokenSource();
    const asked = failure(server.ask(script({}), { token: source.token }));
    await server.event('open cpu');
    source.cancel();
    expect((await asked).code).toBe(CANCELLED);
    await server.status('idle');
  });

  it('keeps a shared run for the one who still waits', async () => {
    await start();
    const source = new CancellationTokenSource();
    const shared = script({ prefill: 500, pieces: ['shared'] });
    const first = failure(server.ask(shared, { token: source.token }));
    const second = server.ask(shared);
    await server.event(JSON.stringify(JSON.parse(shared.question!)));
    source.cancel();
    expect((await first).code).toBe(CANCELLED);
    expect((await second).result.result.answer).toBe('shared');
    expect(server.events().filter((line) => line.startsWith('ask'))).toHaveLength(1);
  });
});

describe('while a run blocks the inference process', () => {
  it('two questions and a hover: the hover is answered before, and the questions in their order', async () => {
    await start();
    const uri = `${image}.md`;
    await server.open(uri, 'markdown', '![a](shot.png)');
    const order: string[] = [];
    const first = server.ask(script({ blockPrefill: 1500, pieces: ['1'] })).then(() => order.push('first'));
    // Images are read before a question takes its place in the queue: two at the same moment may change places.
    await server.event('ask {"blockPrefill":1500,"pieces":["1"]}');
    const second = server.ask(script({ pieces: ['2'] })).then(() => order.push('second'));
    await server.hover(uri, { line: 0, character: 8 }).then(() => order.push('hover'));
    await server.request(ImageFactsRequest.type, { image: { uri: image } }).then(() => order.push('facts'));
    await Promise.all([first, second]);
    expect(order).toEqual(['hover', 'facts', 'first', 'second']);
  });

  it('refuses more questions than the queue holds, and says so', async () => {
    await start();
    const source = new CancellationTokenSource();
    const token = source.token;
    const running = failure(server.ask(script({ prefill: 60_000 }), { token }));
    await server.event('ask {"prefill":60000}');
    const waiting = Array.from({ length: 32 }, (_, id) => failure(server.ask(script({ id }), { token })));
    await until(() => server.statuses.at(-1)?.waiting === 32, '32 waiting');
    expect(await failure(server.ask(script({ id: 99 })))).toMatchObject({
      code: FAILED,
      data: { code: 'inference.busy' },
    });
    source.cancel();
    for (const { code } of await Promise.all([running, ...waiting])) expect(code).toBe(CANCELLED);
  });
});

describe('reading ahead of a question', () => {
  const system = JSON.stringify({ prefill: 300 });
  const ahead = (uri = image): Promise<null> =>
    server.request(ReadAheadRequest.type, { images: [{ uri }], system });
  const noted = (): string[] => server.events().filter((line) => /^(ahead|read|ask|answered) /.test(line));

  it('is done once when the question comes, which hears of its progress', async () => {
    await start();
    const [first, second] = [ahead(), ahead()];
    await server.event(`ahead ${system}`);
    const asked = { ...script({ pieces: ['yes'] }), system };
    const { stages, result } = await server.ask(asked);
    await Promise.all([first, second]);
    expect(result.result.answer).toBe('yes');
    expect(stages).toEqual(['ahead', 'prefill']);
    expect(noted()).toEqual([
      `ahead ${system}`,
      `read ${system}`,
      `ask ${asked.question}`,
      `answered ${asked.question}`,
    ]);
  });

  it.each([
    ['another system text', (asked: AskRequest.Params) => asked],
    ['another picture', (asked: AskRequest.Params) => ({ ...asked, system, images: [{ uri: other }] })],
    ['a reduction', (asked: AskRequest.Params) => ({ ...asked, system, reduction: 'uniform:keep=8' })],
    ['nothing reused', (asked: AskRequest.Params) => ({ ...asked, system, reuse: false })],
  ])('makes way for a question with %s, in the same process', async (_, change) => {
    await start();
    const long = JSON.stringify({ prefill: 60_000 });
    const reading = failure(
      server.request(ReadAheadRequest.type, { images: [{ uri: image }], system: long }),
    );
    await server.event(`ahead ${long}`);
    const { result } = await server.ask(change(script({ pieces: ['yes'] })));
    expect(result.result.answer).toBe('yes');
    expect((await reading).code).toBe(CANCELLED);
    expect(noted().filter((line) => line.startsWith('ahead'))).toHaveLength(1);
    expect(server.events().filter((line) => line.startsWith('opened'))).toHaveLength(1);
  });

  it('waits while a question is answered, makes way for the next image, and is no question that waits', async () => {
    await start();
    const asked = server.ask(script({ prefill: 400 }));
    await server.event('ask {"prefill":400}');
    const before = server.statuses.length;
    const first = failure(ahead());
    const second = ahead(other);
    await asked;
    await second;
    expect((await first).code).toBe(CANCELLED);
    expect(server.statuses.slice(before).every(({ waiting }) => waiting === 0)).toBe(true);
    expect(noted().filter((line) => line.startsWith('ahead'))).toHaveLength(1);
  });

  it('ends when the client takes it back, and keeps the process even where a step is long', async () => {
    await start();
    const blocking = JSON.stringify({ blockPrefill: 2500 });
    const source = new CancellationTokenSource();
    const params = { images: [{ uri: image }], system: blocking };
    const reading = failure(server.connection.sendRequest('fovea/readAhead', params, source.token));
    await server.event(`ahead ${blocking}`);
    source.cancel();
    expect((await reading).code).toBe(CANCELLED);
    const { result } = await server.ask(script({ pieces: ['yes'] }));
    expect(result.result.answer).toBe('yes');
    expect(server.events().filter((line) => line.startsWith('opened'))).toHaveLength(1);
  });

  it('is not done where the setting says no, and fails as a question would', async () => {
    await start({ settings: { device: 'cpu', readAhead: false } });
    await ahead();
    expect(noted()).toEqual([]);
    await server.configure({ device: 'cpu', readAhead: true });
    expect((await failure(ahead(`${image}.missing.png`))).data).toMatchObject({ kind: 'input' });
    await ahead();
    expect(noted()).toHaveLength(2);
  });
});

describe('hovers that explain', () => {
  it('make way for a question of the user, and are answered after it', async () => {
    await start({
      settings: { device: 'cpu', hover: { explain: 'onHover' } },
      environment: { FAKE_PLAIN: JSON.stringify({ prefill: 1500, pieces: ['a grey shape'] }) },
    });
    const uri = `${image}.html`;
    await server.open(uri, 'html', '<img src="shot.png">');
    const explained = server.hover(uri, { line: 0, character: 12 });
    await server.event(`ask ${EXPLAIN_QUESTION}`);
    await server.ask(script({ pieces: ['first'] }));
    const { contents } = (await explained) as { contents: string[] };
    expect(contents[0]).toContain('a grey shape');
    expect(server.events().filter((line) => /^(ask|answered)/.test(line))).toEqual([
      `ask ${EXPLAIN_QUESTION}`,
      'ask {"pieces":["first"]}',
      'answered {"pieces":["first"]}',
      `ask ${EXPLAIN_QUESTION}`,
      `answered ${EXPLAIN_QUESTION}`,
    ]);
  });

  it('stop when the mouse moves on', async () => {
    await start({
      settings: { device: 'cpu', hover: { explain: 'onHover' } },
      environment: { FAKE_PLAIN: JSON.stringify({ prefill: 60_000 }) },
    });
    const uri = `${image}.html`;
    await server.open(uri, 'html', '<img src="shot.png">');
    const source = new CancellationTokenSource();
    const params = { textDocument: { uri }, position: { line: 0, character: 12 } };
    const hover = server.connection
      .sendRequest('textDocument/hover', params, source.token)
      .catch(() => undefined);
    await server.event(`ask ${EXPLAIN_QUESTION}`);
    source.cancel();
    await hover;
    await server.status('ready');
    expect(server.inferenceIds()).toHaveLength(1);
  });

  it('do not ask anything in a workspace without trust until it is granted', async () => {
    await start({
      settings: { device: 'cpu', hover: { explain: 'onHover' } },
      options: { workspaceTrusted: false },
    });
    const uri = `${image}.html`;
    await server.open(uri, 'html', '<img src="shot.png">');
    await server.hover(uri, { line: 0, character: 12 });
    expect(server.events()).toEqual([]);
    await server.connection.sendNotification('fovea/workspaceTrust', { trusted: true });
    await server.hover(uri, { line: 0, character: 12 });
    expect(server.events()).toContain(`ask ${EXPLAIN_QUESTION}`);
  });
});

describe('when the inference process dies', () => {
  it.each([
    ['while it loads', { open: { milliseconds: 60_000 } }, {}, 'open cpu'],
    ['in prefill', {}, { prefill: 60_000 }, 'ask {"prefill":60000}'],
    [
      'while it decodes',
      {},
      { pieces: ['a', 'b'], perPiece: 3000 },
      'ask {"pieces":["a","b"],"perPiece":3000}',
    ],
  ])('%s, the question fails with the cause', async (_, options, what, event) => {
    await start(options);
    const asked = failure(server.ask(script(what)));
    await server.event(event);
    process.kill(server.inferenceIds()[0], 'SIGKILL');
    const { code, data } = await asked;
    expect(code).toBe(FAILED);
    expect(data).toMatchObject({ code: 'inference.crashed', kind: 'device' });
    expect(data.why).toMatch(/killed.*memory/);
    expect(data.nextStep).not.toBe('');
  });

  it('starts again by itself with the next question', async () => {
    await start();
    await failure(server.ask(script({ crash: 'prefill' })));
    expect((await server.ask(script({ pieces: ['back'] }))).result.result.answer).toBe('back');
    await failure(server.ask(script({ pieces: ['a', 'b'], crash: 'decode' })));
    expect((await server.ask(script({ pieces: ['back', '!'] }))).result.result.answer).toBe('back!');
  });

  it('stops after three crashes and says why; one request starts it again', async () => {
    await start();
    for (let id = 0; id < 2; id++) {
      expect((await failure(server.ask(script({ id, crash: 'prefill' })))).data.code).toBe(
        'inference.crashed',
      );
    }
    await failure(server.ask(script({ id: 2, crash: 'prefill' })));
    const { error } = await server.status('stopped');
    expect(error).toMatchObject({ code: 'inference.stopped' });
    expect(error?.why).toMatch(/killed/);
    expect((await failure(server.ask(script({ pieces: ['no'] })))).data.code).toBe('inference.stopped');
    expect(server.inferenceIds()).toHaveLength(3);
    await server.request(RestartInferenceRequest.type, {});
    await server.status('idle');
    expect((await server.ask(script({ pieces: ['yes'] }))).result.result.answer).toBe('yes');
  });

  it('fails what waits when it stops', async () => {
    await start();
    const waiting = [1, 2, 3, 4].map((id) =>
      failure(server.ask(script({ id, crash: 'prefill', prefill: 50 }))),
    );
    const codes = (await Promise.all(waiting)).map(({ data }) => data.code).sort();
    // Two crash, the third ends inference and takes the fourth with it. Which of four questions asked at once comes
    // first is not promised.
    expect(codes).toEqual([
      'inference.crashed',
      'inference.crashed',
      'inference.stopped',
      'inference.stopped',
    ]);
  });

  it('tells what the process said last', async () => {
    await start({ open: { crash: 'SIGABRT' } });
    expect((await failure(server.ask(script({})))).data.why).toMatch(/SIGABRT.*the driver said: no/);
  });
});

describe('the device', () => {
  const open = { devices: { webgpu: 'passes' } } as const;
  /** Verdicts of a cache of its own, so that no test finds another one's. */
  const ownVerdicts = () => ({
    options: { engineCacheDirectory: path.join(setup.folder, `engine-${Math.random()}`) },
  });

  it('is tested in a process of its own, which is gone before the model loads, and once per driver', async () => {
    const options = ownVerdicts();
    await start({ settings: { device: 'auto' }, open, ...options });
    await server.ask(script({}));
    const events = server.events().filter((line) => /^(open|test)/.test(line));
    expect(events.slice(-2)).toEqual(['open webgpu', 'opened webgpu']);
    expect(events).toContain('test webgpu plain');
    const [test, ...others] = server.inferenceIds();
    expect(others).not.toContain(test);
    expect(isAlive(test)).toBe(false);
    const ready = await server.status('ready');
    expect(ready.device).toBe('webgpu');
    expect(ready.deviceNote).toMatch(/self-test.*5\.0 times as fast/);
    await server.stop();

    await start({ settings: { device: 'auto' }, open, ...options });
    await server.ask(script({ id: 2 }));
    expect(server.events().filter((line) => line.startsWith('test'))).toEqual([]);
    expect((await server.status('ready')).device).toBe('webgpu');
  });

  it.each([
    ['crashes', /CPU.*webgpu: .*SIGSEGV/],
    ['wrong', /CPU.*webgpu: computes wrong numbers.*0\.4/],
  ] as const)('falls back to the CPU when the test %s, and says why', async (outcome, note) => {
    await start({ settings: { device: 'auto' }, open: { devices: { webgpu: outcome } }, ...ownVerdicts() });
    expect((await server.ask(script({ id: 3 }))).result.cached).toBe(false);
    const ready = await server.status('ready');
    expect(ready.device).toBe('cpu');
    expect(ready.deviceNote).toMatch(note);
    expect(server.log.join('\n')).toMatch(/Device webgpu/);
  });

  describe('that passed its test and fails with a model', () => {
    const opened = (): string[] => server.events().filter((line) => line.startsWith('opened'));

    it.each([
      ['cannot compute it', {}, /CPU, because webgpu failed with this model: .*GPU buffer/],
      [
        'takes the process down',
        { crash: 'prefill' },
        /CPU, because webgpu failed with this model: .*killed/,
      ],
    ] as const)(
      '%s: the CPU answers that question and the next ones, and the status says why',
      async (_, how, note) => {
        await start({ settings: { device: 'auto' }, open, ...ownVerdicts() });
        const answer = await server.ask(script({ failsOn: 'webgpu', ...how }));
        expect(answer.result.result.answer).toBe('yes');
        expect(answer.pieces).toEqual(['yes']);
        const ready = await server.status('ready');
        expect(ready.device).toBe('cpu');
        expect(ready.deviceNote).toMatch(note);
        await server.ask(script({ id: 2 }));
        expect(opened()).toEqual(['opened webgpu', 'opened cpu']);
        expect(server.log.join('\n')).toMatch(note);
      },
    );

    it('after it has begun to answer: that question fails, the CPU answers the next', async () => {
      await start({ settings: { device: 'auto' }, open, ...ownVerdicts() });
      const begun = script({ failsOn: 'webgpu', crash: 'decode', pieces: ['a', 'b', 'c'] });
      expect((await failure(server.ask(begun))).data).toMatchObject({ code: 'inference.crashed' });
      expect((await server.ask(begun)).result.result.answer).toBe('abc');
      expect(opened()).toEqual(['opened webgpu', 'opened cpu']);
    });

    it('is tried again after a restart', async () => {
      await start({ settings: { device: 'auto' }, open, ...ownVerdicts() });
      await server.ask(script({ failsOn: 'webgpu' }));
      await server.request(RestartInferenceRequest.type, {});
      await server.ask(script({ id: 2 }));
      expect(opened()).toEqual(['opened webgpu', 'opened cpu', 'opened webgpu']);
    });

    it('is not replaced where the user chose it', async () => {
      await start({ settings: { device: 'webgpu' }, open, ...ownVerdicts() });
      const { data } = await failure(server.ask(script({ failsOn: 'webgpu' })));
      expect(data).toMatchObject({ code: 'device.run-failed' });
      expect(opened()).toEqual(['opened webgpu']);
    });
  });

  it('that the user chose is not replaced: the question fails with the cause', async () => {
    await start({
      settings: { device: 'webgpu' },
      open: { devices: { webgpu: 'crashes' } },
      ...ownVerdicts(),
    });
    const { data } = await failure(server.ask(script({})));
    expect(data).toMatchObject({ code: 'device.crashed', kind: 'device' });
    expect(data.why).toMatch(/SIGSEGV/);
    await server.configure({ device: 'cpu' });
    expect((await server.ask(script({}))).result.result.answer).toBe('yes');
  });
});

describe('the status', () => {
  it('follows a question: idle, loading, working, ready with model, device and memory', async () => {
    await start();
    await server.status('idle');
    await server.ask(script({ pieces: ['a'], perPiece: 50 }));
    const ready = await server.status('ready');
    const states = server.statuses.map(({ state }) => state).filter((state, i, all) => state !== all[i - 1]);
    expect(states).toEqual(['idle', 'loading', 'working', 'ready']);
    expect(ready).toMatchObject({ device: 'cpu', model: { name: 'fake' }, waiting: 0 });
    expect(ready.memoryBytes).toBeGreaterThan(1e6);
  });

  it('is failed with the reason when the model cannot be loaded, and the next question tries again', async () => {
    await start({ open: { fail: 'model' } });
    expect((await failure(server.ask(script({})))).data.code).toBe('model.broken');
    expect((await server.status('failed')).error).toMatchObject({ code: 'model.broken' });
    await failure(server.ask(script({ id: 2 })));
    expect(server.events().filter((line) => line === 'open cpu')).toHaveLength(2);
  });

  it('goes back to idle when the model was not used for a while; the next question loads again', async () => {
    await start({ settings: { device: 'cpu', idleUnloadMinutes: 0.01 } });
    await server.ask(script({}));
    await server.status('idle');
    await until(() => !isAlive(server.inferenceIds()[0]), 'the end of the process');
    expect((await server.ask(script({ id: 2 }))).result.result.answer).toBe('yes');
    expect(server.inferenceIds()).toHaveLength(2);
  });
});

describe('the log', () => {
  it('tells model and device, restarts, and crashes with their causes; never what was asked or answered', async () => {
    await start();
    await server.ask(script({ id: 1, pieces: ['secret ', 'answer'] }));
    await server.request(RestartInferenceRequest.type, {});
    await failure(server.ask(script({ id: 2, crash: 'prefill' })));
    const log = server.log.join('\n');
    for (const told of [
      /^Model fake \(fake, .+ parameters\) is ready on cpu after .+ s\. Weights in fp32/m,
      /^Inference is restarted/m,
      /^The inference process ended unexpectedly\. The system killed it/m,
    ])
      expect(log).toMatch(told);
    expect(log).not.toContain('secret');
    // eslint-disable-next-line no-control-regex
    expect(log).not.toMatch(/\u001b/);
  });
});

describe('restarting and other models', () => {
  it('fails the running question as restarted', async () => {
    await start();
    const asked = failure(server.ask(script({ prefill: 60_000 })));
    await server.event('ask {"prefill":60000}');
    await server.request(RestartInferenceRequest.type, {});
    expect((await asked).data.code).toBe('inference.restarted');
    expect((await server.ask(script({}))).result.result.answer).toBe('yes');
  });

  it('replaces the process when the device changes, without a restart of the server', async () => {
    await start();
    await server.ask(script({}));
    await server.configure({ device: 'auto' });
    await server.ask(script({ id: 2 }));
    const ids = server.inferenceIds();
    expect(isAlive(ids[0])).toBe(false);
    expect(isAlive(ids.at(-1)!)).toBe(true);
  });

  it('names what is wrong with a model folder', async () => {
    await start({ settings: { model: setup.workspace } });
    expect((await failure(server.ask(script({})))).data).toMatchObject({
      kind: 'model',
      code: 'model.no-config',
    });
    expect(server.events()).toEqual([]);
  });
});

describe('exports', () => {
  it('are drawn in a process of their own, also while a question blocks the other', async () => {
    await start();
    const { result } = await server.ask(script({ pieces: ['drawn'] }));
    const blocked = failure(server.ask(script({ blockPrefill: 120_000 })));
    await server.event('ask {"blockPrefill":120000}');
    const images = [{ uri: image }];
    const file = await server.request(ExportTraceRequest.type, {
      format: 'json',
      result: result.result,
      images,
    });
    expect(file.name).toBe('fake.json');
    expect(Buffer.from(file.base64, 'base64').toString()).toBe('json of drawn, shot.png');
    expect(server.events()).not.toContain('answered {"blockPrefill":120000}');
    await until(() => !isAlive(server.inferenceIds()[1]), 'the end of the drawing process');
    await server.request(RestartInferenceRequest.type, {});
    await blocked;
  });
});

describe('pictures', () => {
  it('are made in a process of their own, also while a question blocks the other', async () => {
    await start();
    const blocked = failure(server.ask(script({ blockPrefill: 120_000 })));
    await server.event('ask {"blockPrefill":120000}');
    const { base64 } = await server.request(PictureRequest.type, { image: { uri: image } });
    const bytes = readFileSync(fileURLToPath(image)).byteLength;
    expect(Buffer.from(base64, 'base64').toString()).toBe(`picture of ${bytes} bytes`);
    expect(server.events()).not.toContain('answered {"blockPrefill":120000}');
    await until(() => !isAlive(server.inferenceIds()[1]), 'the end of the drawing process');
    await server.request(RestartInferenceRequest.type, {});
    await blocked;
  });

  it('may be of a part of the image', async () => {
    await start();
    const part = { x: 1, y: 2, width: 3, height: 4 };
    const { base64 } = await server.request(PictureRequest.type, { image: { uri: image }, part });
    expect(Buffer.from(base64, 'base64').toString()).toMatch(/, part {"x":1,"y":2,"width":3,"height":4}$/);
  });

  it('of a file outside the workspace are refused', async () => {
    await start();
    const uri = pathToFileURL(path.resolve(__dirname, '../../media/icon.png')).href;
    await expect(server.request(PictureRequest.type, { image: { uri } })).rejects.toMatchObject({
      data: { code: 'image.outside-workspace' },
    });
  });
});

describe('requests that are not as the protocol says', () => {
  it.each([
    [{ images: [] }],
    [{ images: 'shot.png' }],
    [{ images: [{}] }],
    [{ images: [null] }],
    [{ images: [{ uri: 'https://example.org/a.png' }] }],
    [{ images: [{ uri: 'data:image/png;base64,AAAA' }] }],
    [{ question: '   ' }],
    [{ question: 7 }],
    [{ reduction: 'no-such-method' }],
    [{ fit: 'stretch' }],
    [{ sampling: { temperature: 'hot' } }],
  ])('%j is an error for the user', async (change) => {
    await start();
    const params = { images: [{ uri: image }], question: 'q', ...change };
    const { code, data } = await failure(server.connection.sendRequest(AskRequest.method, params));
    expect(code).toBe(FAILED);
    expect(data).toMatchObject({ kind: 'input' });
    expect(data.nextStep).not.toBe('');
  });

  it('a defect of ours is told as one', async () => {
    await start();
    expect((await failure(server.ask(script({ fail: true })))).data).toMatchObject({ kind: 'internal' });
  });
});

describe('the end', () => {
  it('of the server while it works ends the inference process', async () => {
    await start();
    const asked = failure(server.ask(script({ blockPrefill: 120_000 })));
    await server.event('ask {"blockPrefill":120000}');
    const [pid] = server.inferenceIds();
    await server.stop();
    await asked.catch(() => undefined);
    await until(() => !isAlive(pid), 'the end of the inference process');
    expect(await server.exited).toBe(0);
  });

  it('of the server by SIGKILL ends the inference process, although its thread is blocked', async () => {
    await start();
    void failure(server.ask(script({ blockPrefill: 120_000 }))).catch(() => undefined);
    await server.event('ask {"blockPrefill":120000}');
    const [pid] = server.inferenceIds();
    server.process.kill('SIGKILL');
    await until(() => !isAlive(pid), 'the end of the inference process');
  });

  it.each(['ipc', 'stdio'] as const)(
    'of the client over %s ends server and inference process',
    async (transport) => {
      await start({ transport });
      void failure(server.ask(script({ blockPrefill: 120_000 }))).catch(() => undefined);
      await server.event('ask {"blockPrefill":120000}');
      const [pid] = server.inferenceIds();
      if (transport === 'ipc') server.process.disconnect();
      else server.process.stdin!.end();
      await server.exited;
      await until(() => !isAlive(pid), 'the end of the inference process');
    },
  );
});

describe('the network', () => {
  it('is not touched by a whole session, in any process', async () => {
    const spy = path.join(__dirname, 'networkSpy.mjs');
    const log = path.join(setup.folder, 'network.log');
    appendFileSync(log, '');
    await start({ environment: { NODE_OPTIONS: `--import ${spy}`, NETWORK_LOG: log } });
    const uri = `${image}.md`;
    await server.open(
      uri,
      'markdown',
      '![a](shot.png) ![b](https://example.org/b.png) ![c](//example.org/c.png)',
    );
    for (const character of [8, 25, 60]) await server.hover(uri, { line: 0, character });
    const { result } = await server.ask({ images: [{ uri: image }] });
    await server.hover(uri, { line: 0, character: 8 });
    await server.request(ExportTraceRequest.type, {
      format: 'html',
      result: result.result,
      images: [{ uri: image }],
    });
    await server.stop();
    const lines = readFileSync(log, 'utf8').trim().split('\n');
    // The spy was there in the server, the inference process and the drawing process.
    expect(lines.filter((line) => line.endsWith('spy ready')).length).toBeGreaterThanOrEqual(3);
    expect(lines.filter((line) => !line.endsWith('spy ready'))).toEqual([]);
  });
});
