import { existsSync, readdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { afterEach, beforeEach, expect, it } from 'vitest';
import { CancellationTokenSource, ProgressType } from 'vscode-languageserver/node';

import {
  AskRequest,
  DownloadRequest,
  InspectModelRequest,
  ListDownloadsRequest,
  ListModelsRequest,
  ModelCatalogueRequest,
  PlanDownloadRequest,
  RemoveModelRequest,
  VerifyModelRequest,
  type ErrorData,
} from '../../server/protocol';
import { createSetup, EMBEDDED_MODEL, removeSetup, TestServer, until, type Setup } from '../server/harness';
import type { FakeHub } from './fakeHub';
import { startHub } from './setting';

const MODEL = 'acme/tiny-llava';

let setup: Setup;
let hub: FakeHub;
let server: TestServer;

beforeEach(async () => {
  setup = await createSetup();
  hub = await startHub();
  server = await TestServer.start({
    setup,
    environment: { HF_ENDPOINT: hub.origin, XDG_CACHE_HOME: setup.folder, LOCALAPPDATA: setup.folder },
  });
});
afterEach(async () => {
  await server.stop();
  await removeSetup(setup);
});

async function planned(): Promise<PlanDownloadRequest.Plan> {
  const plan = await server.request(PlanDownloadRequest.type, { model: MODEL });
  expect(plan.kind).toBe('download');
  return plan as PlanDownloadRequest.Plan;
}

async function failure(work: Promise<unknown>): Promise<ErrorData> {
  return work.then(
    () => expect.unreachable(),
    ({ data }: { data: ErrorData }) => data,
  );
}

it('tells what there is without asking anybody', async () => {
  const catalogue = await server.request(ModelCatalogueRequest.type, {});
  expect(catalogue[0]).toMatchObject({
    name: 'fovea-nano',
    state: 'embedded',
    directories: [EMBEDDED_MODEL],
  });
  expect(catalogue.find(({ name }) => name === 'llava-1.5-7b')).toMatchObject({
    state: 'absent',
    licence: 'llama2',
  });
  expect(await server.request(PlanDownloadRequest.type, { model: 'fovea-nano' })).toEqual({
    kind: 'present',
    directory: EMBEDDED_MODEL,
  });
  expect(hub.requests).toEqual([]);
});

it('downloads what it planned, with progress; then the model is among those to choose', async () => {
  const plan = await planned();
  expect(plan).toMatchObject({ host: hub.host, licence: 'apache-2.0', presentBytes: 0, repository: MODEL });
  const steps: DownloadRequest.Partial[] = [];
  server.connection.onProgress(
    new ProgressType<DownloadRequest.Partial>(),
    'p',
    (step) => void steps.push(step),
  );
  const { repository, commit } = plan;
  const params = { repository, commit, partialResultToken: 'p' };
  const { directory } = await server.request(DownloadRequest.type, params);
  expect(directory).toBe(plan.directory);
  await until(() => steps.at(-1)?.bytes === plan.totalBytes, 'the last step');
  expect((await server.request(InspectModelRequest.type, { directory })).name).toBe(MODEL);

  const models = await server.request(ListModelsRequest.type, {});
  expect(models.map(({ origin, setting }) => [origin, setting])).toEqual([
    ['embedded', ''],
    ['downloads', directory],
  ]);
  hub.requests.length = 0;
  expect(await server.request(PlanDownloadRequest.type, { model: MODEL })).toEqual({
    kind: 'present',
    directory,
  });
  expect(hub.requests).toEqual([]);
});

it('carries out no download that it did not plan', async () => {
  const error = await failure(
    server.request(DownloadRequest.type, { repository: MODEL, commit: hub.commit }),
  );
  expect(error.code).toBe('model.no-plan');
  expect(hub.requests).toEqual([]);
});

it('stops when the client cancels, answers other requests meanwhile, and goes on the next time', async () => {
  const plan = await planned();
  const weights = hub.files.get('model.safetensors')!.content;
  hub.misbehave = ({ url, response }) => {
    if (!url.startsWith('/storage/')) return false;
    response.writeHead(200, { 'content-length': weights.length });
    response.write(weights.subarray(0, 30_000));
    return true;
  };
  const cancellation = new CancellationTokenSource();
  const steps: DownloadRequest.Partial[] = [];
  server.connection.onProgress(
    new ProgressType<DownloadRequest.Partial>(),
    'p',
    (step) => void steps.push(step),
  );
  const params = { repository: plan.repository, commit: plan.commit, partialResultToken: 'p' };
  const download = failure(server.request(DownloadRequest.type, params, cancellation.token));
  await until(() => hub.requests.some(({ url }) => url.startsWith('/storage/')), 'the weights');
  await until(() => (steps.at(-1)?.bytes ?? 0) >= plan.totalBytes - weights.length, 'progress');
  expect((await server.request(ModelCatalogueRequest.type, {})).length).toBeGreaterThan(1);
  cancellation.cancel();
  expect((await download).kind).toBe('cancelled');

  hub.misbehave = () => false;
  await server.request(DownloadRequest.type, { repository: plan.repository, commit: plan.commit });
});

it('verifies what was downloaded, and a damaged file is fetched again, alone', async () => {
  const plan = await planned();
  const { repository, commit } = plan;
  const { directory } = await server.request(DownloadRequest.type, { repository, commit });
  const steps: VerifyModelRequest.Partial[] = [];
  server.connection.onProgress(
    new ProgressType<VerifyModelRequest.Partial>(),
    'v',
    (step) => void steps.push(step),
  );
  const params = { model: MODEL, partialResultToken: 'v' };
  const sound = await server.request(VerifyModelRequest.type, params);
  expect(sound).toEqual({ right: 7, damaged: [], damagedConversions: [], unknown: 0, repairable: true });
  await until(() => steps.at(-1)?.bytes === plan.totalBytes, 'the last step');

  const blob = realpathSync(path.join(directory, 'model.safetensors'));
  const content = readFileSync(blob);
  content[5000] ^= 1;
  writeFileSync(blob, content);
  const damaged = { right: 6, damaged: ['model.safetensors'] };
  expect(await server.request(VerifyModelRequest.type, params)).toMatchObject(damaged);
  expect(existsSync(blob)).toBe(true);
  expect(await server.request(VerifyModelRequest.type, { model: MODEL, removeDamaged: true })).toMatchObject(
    damaged,
  );
  const [begun] = await server.request(ListDownloadsRequest.type, {});
  expect(begun).toMatchObject({ repository: MODEL, complete: false, totalBytes: plan.totalBytes });
  expect(begun.bytes).toBeLessThan(plan.totalBytes);

  const again = await planned();
  expect(again.totalBytes - again.presentBytes).toBe(content.length);
  await server.request(DownloadRequest.type, { repository, commit: again.commit });
  expect(await server.request(VerifyModelRequest.type, params)).toMatchObject({ right: 7, damaged: [] });
});

it('removes a download with what was converted from it, also while it is in memory, and nothing of others', async () => {
  const plan = await planned();
  const { repository, commit } = plan;
  const { directory } = await server.request(DownloadRequest.type, { repository, commit });
  await server.configure({ model: directory });
  const image = readFileSync(path.join(EMBEDDED_MODEL, '..', 'media', 'icon.png')).toString('base64');
  const question = {
    images: [{ base64: image, name: 'icon' }],
    question: 'What?',
    sampling: { maxTokens: 2 },
  };
  expect((await server.ask(question)).result.result.model.name).toBe(MODEL);

  const { bytes } = await server.request(RemoveModelRequest.type, { model: MODEL });
  expect(bytes).toBeGreaterThanOrEqual(plan.totalBytes);
  expect(await server.request(ListDownloadsRequest.type, {})).toEqual([]);
  expect(existsSync(directory)).toBe(false);
  const gone = await failure(server.ask({ ...question, fresh: true }));
  expect(gone).toMatchObject({ code: 'model.no-folder', kind: 'model' });
  expect(gone.message).toBe(`The model ${MODEL} is not on this machine any more.`);
  const chosen = (await server.request(ListModelsRequest.type, {})).find((model) => model.chosen);
  expect(chosen).toMatchObject({ name: MODEL, origin: 'settings', error: { code: 'model.no-folder' } });

  for (const model of [MODEL, '../x', 'fovea-nano'])
    expect((await failure(server.request(RemoveModelRequest.type, { model }))).kind).toBe('input');
});

it('a name in the setting that takes a folder is told as what it is, with the way to models by name', async () => {
  for (const model of ['llava-hf/llava-1.5-7b-hf', 'models/llava']) {
    await server.configure({ model });
    const images = [{ base64: 'iVBORw0KGgo=', name: 'x' }];
    const error = await failure(server.request(InspectModelRequest.type, { directory: model }));
    expect(error).toMatchObject({ code: 'model.setting-not-a-folder', kind: 'model' });
    expect(error.message).toContain(`"${model}"`);
    expect(error.nextStep).toContain('Choose Model...');
    expect((await failure(server.request(AskRequest.type, { images }))).kind).not.toBe('internal');
    const chosen = (await server.request(ListModelsRequest.type, {})).find((listed) => listed.chosen);
    expect(chosen).toMatchObject({ origin: 'settings', error: { code: 'model.setting-not-a-folder' } });
  }
});

it("hands the hub's refusals to the client as they are", async () => {
  hub.misbehave = ({ response }) => {
    response.writeHead(403).end();
    return true;
  };
  expect(await failure(server.request(PlanDownloadRequest.type, { model: MODEL }))).toMatchObject({
    code: 'hub.forbidden',
    kind: 'model',
  });
  for (const model of ['../x', 'http://x/y', '', 'a b/c'])
    expect((await failure(server.request(PlanDownloadRequest.type, { model }))).kind).toBe('input');
  expect(readdirSync(setup.folder)).not.toContain('fovea');
});
