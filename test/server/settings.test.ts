import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { AskRequest } from '../../server/protocol';
import type { Script } from './fakeInference';
import {
  buildFakeInference,
  createSetup,
  EMBEDDED_MODEL,
  isAlive,
  removeSetup,
  TestServer,
  until,
  writePng,
  type Setup,
} from './harness';

/* Every setting, changed while the server runs, as a client changes it. */

const OTHER_MODEL = path.resolve(__dirname, '../fixtures/checkpoints/clip-llama');

let setup: Setup;
let inference: string;
let image: string;
let large: string;
let server: TestServer;
let questions = 0;

beforeAll(async () => {
  setup = await createSetup();
  inference = await buildFakeInference(setup.folder);
  image = await writePng(path.join(setup.workspace, 'shot.png'));
  large = await writePng(path.join(setup.workspace, 'large.png'), 1500, 1000);
});
afterAll(() => removeSetup(setup));
afterEach(() => server.stop());

const start = async (settings: object): Promise<void> => {
  const answerCacheDirectory = path.join(setup.folder, `answers-${Math.random()}`);
  server = await TestServer.start({ setup, inference, settings, options: { answerCacheDirectory } });
};

const question = (script: Script = {}): AskRequest.Params => ({
  images: [{ uri: image }],
  question: JSON.stringify({ tell: true, id: questions++, ...script }),
});

/** What the engine is asked with now. */
async function asked(): Promise<Record<string, unknown>> {
  await server.ask(question());
  const told = server.events().filter((line) => line.startsWith('told '));
  return JSON.parse(told.at(-1)!.slice('told '.length)) as Record<string, unknown>;
}

describe('a changed setting applies to the next question, in the same server', () => {
  it.each([
    [
      'reduction',
      { reduction: 'fastv:layer=2,keep=0.5' },
      { reduction: 'none' },
      { reduction: expect.stringMatching(/^fastv/) },
    ],
    ['fit', { fit: 'crop' }, { fit: 'pad' }, { fit: 'crop' }],
    ['maxTokens', { maxTokens: 7 }, { sampling: { maxTokens: 256 } }, { sampling: { maxTokens: 7 } }],
    [
      'image',
      { image: { maxMegapixels: 3 } },
      { limits: { maxPixels: 50e6 } },
      { limits: { maxPixels: 3e6 } },
    ],
    ['precision', { precision: 'q4' }, { precision: 'auto' }, { precision: 'q4' }],
    ['model', { model: OTHER_MODEL }, { directory: EMBEDDED_MODEL }, { directory: OTHER_MODEL }],
  ])('%s', async (_name, change, before, after) => {
    await start({ device: 'cpu' });
    expect(await asked()).toMatchObject(before);
    await server.configure({ device: 'cpu', ...change });
    expect(await asked()).toMatchObject(after);
    await server.configure({ device: 'cpu' });
    expect(await asked()).toMatchObject(before);
  });

  it('the device', async () => {
    const answerCacheDirectory = path.join(setup.folder, `answers-${Math.random()}`);
    const engineCacheDirectory = path.join(setup.folder, `engine-${Math.random()}`);
    const options = { answerCacheDirectory, engineCacheDirectory };
    const open = { devices: { webgpu: 'passes' } } as const;
    server = await TestServer.start({ setup, inference, settings: { device: 'cpu' }, open, options });
    expect(await asked()).toMatchObject({ device: 'cpu' });
    await server.configure({ device: 'webgpu' });
    expect(await asked()).toMatchObject({ device: 'webgpu' });
    expect((await server.status('ready')).device).toBe('webgpu');
  });

  it('the limit of images: what was answered is refused, and answered again', async () => {
    await start({ device: 'cpu' });
    const params = { ...question(), images: [{ uri: large }], fresh: true };
    await server.ask(params);
    await server.configure({ device: 'cpu', image: { maxMegapixels: 1 } });
    await expect(server.ask(params)).rejects.toMatchObject({ data: { kind: 'input' } });
    await server.configure({ device: 'cpu' });
    await server.ask(params);
  });

  it('the size of the answer cache: 0 forgets what there is and keeps nothing', async () => {
    await start({ device: 'cpu' });
    const params = question();
    await server.ask(params);
    expect((await server.ask(params)).result.cached).toBe(true);
    await server.configure({ device: 'cpu', cache: { maxSizeMB: 0 } });
    expect((await server.ask(params)).result.cached).toBe(false);
    expect((await server.ask(params)).result.cached).toBe(false);
  });

  it('the minutes after which the model is unloaded', async () => {
    await start({ device: 'cpu' });
    await asked();
    const [pid] = server.inferenceIds();
    expect(isAlive(pid)).toBe(true);
    await server.configure({ device: 'cpu', idleUnloadMinutes: 0.005 });
    await until(() => !isAlive(pid), 'the end of the process');
    await server.status('idle');
    expect(await asked()).toMatchObject({ device: 'cpu' });
  });
});
