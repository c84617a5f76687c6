import { mkdtempSync } from 'node:fs';
import path from 'node:path';

import { afterEach, expect } from 'vitest';

import { FoveaError } from '../../server/llava/errors';
import { fixturePath } from '../../server/llava/testing/fixtures';
import { executePlan, type DownloadOptions } from '../../server/models/download';
import { parseModelId } from '../../server/models/fileNames';
import { Hub, type HubOptions } from '../../server/models/hub';
import { planDownload, type DownloadPlan, type PresentModel } from '../../server/models/plan';
import { hubSettings, type HubSettings } from '../../server/models/settings';
import { FakeHub, filesOf } from './fakeHub';

/** A checkpoint that the engine opens, with things beside it that must stay where they are. */
export function tinyRepository(name = 'clip-llama'): Record<string, Buffer> {
  return {
    ...filesOf(fixturePath('checkpoints', name)),
    'README.md': Buffer.from('# A model'),
    'pytorch_model.bin': Buffer.from('a program in disguise'),
    'modeling_llava.py': Buffer.from('print("a program")'),
    'onnx/model.onnx': Buffer.from('another format'),
    'consolidated.safetensors': Buffer.from('the weights once more, in another layout'),
  };
}

/** Pauses that take no time. Tests of silent servers set a shorter limit; a busy machine must not look like one. */
export const QUICK: Required<Pick<HubOptions, 'retries' | 'inactivityMs'>> = {
  retries: { attempts: 4, baseMs: 1, maxMs: 4, maxRetryAfterMs: 5000, random: () => 0.5 },
  inactivityMs: 5000,
};

const open: FakeHub[] = [];

afterEach(async () => {
  await Promise.all(open.splice(0).map((hub) => hub.close()));
});

/** A hub that is closed when the test ends. */
export async function startHub(
  files: Record<string, Buffer> = tinyRepository(),
  options?: Parameters<typeof FakeHub.start>[1],
): Promise<FakeHub> {
  const hub = await FakeHub.start(files, options);
  open.push(hub);
  return hub;
}

/** A user of the hub, with empty folders. */
export class User {
  readonly home: string;
  readonly settings: HubSettings;

  constructor(
    parent: string,
    readonly hub: FakeHub,
    environment: Record<string, string> = {},
  ) {
    this.home = mkdtempSync(path.join(parent, 'user-'));
    const read = hubSettings({
      HF_ENDPOINT: hub.origin,
      HF_HUB_CACHE: path.join(this.home, 'hf'),
      ...environment,
    });
    this.settings = { ...read, modelsDirectory: path.join(this.home, 'fovea', 'models') };
  }

  client(options: HubOptions = {}): Hub {
    return new Hub(this.settings, { ...QUICK, ...options });
  }

  plan(options: HubOptions = {}, signal?: AbortSignal): Promise<PresentModel | DownloadPlan> {
    return planDownload(
      parseModelId(this.hub.repository),
      { settings: this.settings, hub: this.client(options) },
      signal,
    );
  }

  async planned(options: HubOptions = {}): Promise<DownloadPlan> {
    const plan = await this.plan(options);
    if (plan.kind !== 'download') throw new Error('The model is here already.');
    return plan;
  }

  /** Plans and downloads. */
  async download(options: Partial<DownloadOptions> & { client?: HubOptions } = {}): Promise<string> {
    const plan = await this.planned();
    return this.execute(plan, options);
  }

  execute(
    plan: DownloadPlan,
    options: Partial<DownloadOptions> & { client?: HubOptions } = {},
  ): Promise<string> {
    const { client, ...rest } = options;
    return executePlan(plan, {
      settings: this.settings,
      hub: this.client(client),
      worthwhileBytes: 1000,
      ...rest,
    });
  }
}

/** The FoveaError that the work ends with. */
export async function refusal(work: Promise<unknown>): Promise<FoveaError> {
  const error: unknown = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(FoveaError);
  const refused = error as FoveaError;
  expect(refused.message).not.toBe('');
  expect(refused.nextStep).not.toBe('');
  return refused;
}
