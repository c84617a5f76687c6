import { beforeEach, describe, expect, it, vi } from 'vitest';
import type * as vscode from 'vscode';
import {
  DownloadRequest,
  ListDownloadsRequest,
  PlanDownloadRequest,
  type ErrorData,
} from '../../server/protocol';
import type { FoveaLanguageClient } from '../languageClient';

/** The editor: what it was told, and what the user clicks. */
const editor = vi.hoisted(() => ({
  told: [] as string[],
  clicks: [] as (string | undefined)[],
  show(kind: string, message: string, ...rest: unknown[]): Promise<string | undefined> {
    editor.told.push(`${kind}: ${message}`);
    const buttons = rest.filter((part) => typeof part === 'string');
    if (buttons.length === 0) return Promise.resolve(undefined);
    const click = editor.clicks.shift();
    if (click !== undefined && !buttons.includes(click))
      throw new Error(`no button ${click} among ${buttons.join()}`);
    return Promise.resolve(click);
  },
}));

vi.mock('vscode', () => ({
  l10n: {
    t: (text: string, ...values: unknown[]) =>
      text.replace(/\{(\d)\}/g, (_, place: string) => String(values[Number(place)])),
  },
  ProgressLocation: { Notification: 15 },
  Uri: { parse: (text: string) => text },
  env: { openExternal: (page: string) => Promise.resolve(editor.told.push(`opened: ${page}`)) },
  CancellationTokenSource: class {
    readonly token = {};
  },
  window: {
    showInformationMessage: (message: string, ...rest: unknown[]) => editor.show('info', message, ...rest),
    showErrorMessage: (message: string, ...rest: unknown[]) => editor.show('error', message, ...rest),
    withProgress: (_: unknown, task: (...parameters: unknown[]) => unknown) =>
      task({ report: () => undefined }, {}),
  },
}));
vi.mock('vscode-languageclient/node', () => ({}));
vi.mock('../languageClient', () => ({
  FoveaRequestError: class extends Error {
    constructor(readonly data: ErrorData) {
      super(data.message);
    }
  },
}));

const { FoveaRequestError } = await import('../languageClient');
const { Downloads } = await import('./downloads');

const plan: PlanDownloadRequest.Plan = {
  kind: 'download',
  repository: 'acme/tiny',
  commit: 'c',
  host: 'hub',
  files: 3,
  totalBytes: 100,
  presentBytes: 0,
  directory: '/models/tiny',
};
const failure = (code: string): Error =>
  new FoveaRequestError({
    code,
    kind: code === 'cancelled' || code === 'internal' ? code : 'model',
    message: code,
    nextStep: '.',
  });

/** What the server answers, in order; an error is thrown. */
let plans: (PlanDownloadRequest.Result | Error)[];
let downloads: (DownloadRequest.Result | Error | Promise<DownloadRequest.Result>)[];
let asked: string[];
/** What lies on the disk, and what outlives a window. */
let present: ListDownloadsRequest.Download[];
let kept: Record<string, unknown>;
const memory: vscode.Memento = {
  keys: () => Object.keys(kept),
  get: <T>(key: string, otherwise?: T) => (kept[key] ?? otherwise) as T,
  update: (key: string, value: unknown) => Promise.resolve(void (kept[key] = value)),
};

function answer<T>(answers: (T | Error | Promise<T>)[]): Promise<T> {
  const next = answers.shift();
  return next instanceof Error ? Promise.reject(next) : Promise.resolve(next!);
}

function subject(): InstanceType<typeof Downloads> {
  const client = {
    request: ({ method }: { method: string }) => {
      if (method === ListDownloadsRequest.method) return Promise.resolve(present);
      asked.push(method);
      return answer(plans);
    },
    download: ({ commit }: DownloadRequest.Params) => {
      asked.push(`${DownloadRequest.method} ${commit}`);
      return answer(downloads);
    },
  } as unknown as FoveaLanguageClient;
  return new Downloads(client, memory, { warn: () => undefined } as unknown as vscode.LogOutputChannel);
}

beforeEach(() => {
  [plans, downloads, asked] = [[plan], [{ directory: plan.directory }], []];
  [editor.told, editor.clicks] = [[], []];
  [present, kept] = [[], {}];
});

it('asks before it downloads, and downloads what was agreed to', async () => {
  editor.clicks = ['Download'];
  expect(await subject().get('acme/tiny')).toEqual({ directory: '/models/tiny', downloaded: true });
  expect(asked).toEqual([PlanDownloadRequest.method, `${DownloadRequest.method} c`]);
});

it('does nothing without consent, and nothing for what is here', async () => {
  editor.clicks = [undefined];
  expect(await subject().get('acme/tiny')).toBeUndefined();
  plans = [{ kind: 'present', directory: '/here' }];
  expect(await subject().get('acme/tiny')).toEqual({ directory: '/here', downloaded: false });
  expect(asked).toEqual([PlanDownloadRequest.method, PlanDownloadRequest.method]);
});

it('goes on after a stop and after a failure with the same plan, and does not ask for consent again', async () => {
  downloads = [failure('cancelled'), failure('hub.unreachable'), { directory: plan.directory }];
  editor.clicks = ['Download', 'Go On', 'Try Again'];
  expect(await subject().get('acme/tiny')).toEqual({ directory: '/models/tiny', downloaded: true });
  expect(editor.told.filter((text) => text.includes('Download acme'))).toHaveLength(1);
  expect(asked.filter((text) => text.startsWith(DownloadRequest.method))).toHaveLength(3);
  expect(asked.filter((text) => text === PlanDownloadRequest.method)).toHaveLength(1);
});

it('leads to the page of a gated model, and back', async () => {
  const gated = new FoveaRequestError({
    code: 'hub.forbidden',
    kind: 'model',
    message: 'gated',
    nextStep: '.',
    page: 'https://hub/acme/tiny',
  });
  plans = [gated, plan];
  editor.clicks = ['Open Its Page', 'Try Again', 'Download'];
  expect(await subject().get('acme/tiny')).toMatchObject({ downloaded: true });
  expect(editor.told).toContain('opened: https://hub/acme/tiny');
});

it('stops where the user wants no more of it', async () => {
  for (const [code, clicks] of [
    ['cancelled', ['Download', undefined]],
    ['model.disk-full', ['Download', undefined]],
  ] as const) {
    [plans, downloads, editor.clicks] = [[plan], [failure(code)], [...clicks]];
    expect(await subject().get('acme/tiny')).toBeUndefined();
  }
});

it('offers no other try where it would end the same way', async () => {
  for (const code of ['hub.not-found', 'hub.offline', 'model.invalid-id']) {
    plans = [failure(code)];
    await expect(subject().get('acme/tiny')).rejects.toThrow(code);
  }
  expect(editor.told).toEqual([]);
});

it('a model that is under way is told, not begun once more; after its end it may be', async () => {
  let arrive!: (result: DownloadRequest.Result) => void;
  downloads = [new Promise<DownloadRequest.Result>((resolve) => (arrive = resolve))];
  editor.clicks = ['Download'];
  const both = subject();
  const first = both.get('acme/tiny');
  await vi.waitFor(() => expect(asked).toContain(`${DownloadRequest.method} c`));
  expect(await both.get('acme/tiny')).toBeUndefined();
  expect(editor.told.at(-1)).toMatch(/acme\/tiny is being downloaded already/);
  arrive({ directory: plan.directory });
  expect(await first).toMatchObject({ downloaded: true });
  plans = [{ kind: 'present', directory: '/here' }];
  expect(await both.get('acme/tiny')).toMatchObject({ directory: '/here' });
});

describe('a window that closes in the middle of a download', () => {
  const begun = {
    repository: 'acme/tiny',
    directory: '/m',
    complete: false,
    busy: false,
    bytes: 4e6,
    totalBytes: 9e6,
  };

  /** Begins a download, and ends as the window does: the connection to the server breaks. */
  async function interrupted(): Promise<void> {
    [plans, downloads] = [[plan], [failure('internal')]];
    editor.clicks = ['Download'];
    await expect(subject().get('acme/tiny')).rejects.toThrow();
    [editor.told, editor.clicks] = [[], []];
  }

  it('is asked about in the next one, once', async () => {
    await interrupted();
    present = [begun];
    editor.clicks = ['Go On'];
    expect(await subject().interrupted()).toBe('acme/tiny');
    expect(editor.told).toEqual([
      'info: The download of acme/tiny ended with its window. 4.0 MB of 9.0 MB are here.',
    ]);
    expect(await subject().interrupted()).toBeUndefined();
  });

  it('is left alone while another window is at it', async () => {
    await interrupted();
    present = [{ ...begun, busy: true }];
    expect(await subject().interrupted()).toBeUndefined();
    expect(editor.told).toEqual([]);
    present = [begun];
    editor.clicks = [undefined];
    expect(await subject().interrupted()).toBeUndefined();
    expect(editor.told).toHaveLength(1);
  });

  it('is forgotten where the model was completed or removed elsewhere', async () => {
    for (const now of [[{ ...begun, complete: true }], []]) {
      await interrupted();
      present = now;
      expect(await subject().interrupted()).toBeUndefined();
    }
    expect(editor.told).toEqual([]);
  });

  it('leaves nothing behind where a download ended in any other way', async () => {
    for (const end of [{ directory: '/m' }, failure('cancelled'), failure('hub.untrustworthy')]) {
      [plans, downloads, editor.clicks] = [[plan], [end], ['Download', undefined]];
      await subject().get('acme/tiny');
      present = [begun];
      expect(await subject().interrupted()).toBeUndefined();
    }
  });
});

it('an unread message about a stop does not keep the model from being chosen again', async () => {
  const clicked = vi.spyOn(editor, 'show');
  downloads = [failure('cancelled'), { directory: plan.directory }];
  plans = [plan, plan];
  editor.clicks = ['Download'];
  const subjectUnderTest = subject();
  clicked.mockImplementation((_, message, ...rest) =>
    /was stopped/.test(message)
      ? new Promise(() => undefined)
      : Promise.resolve(rest.includes('Download') ? 'Download' : undefined),
  );
  void subjectUnderTest.get('acme/tiny');
  await vi.waitFor(() =>
    expect(clicked.mock.calls.some(([, message]) => /was stopped/.test(message))).toBe(true),
  );
  expect(await subjectUnderTest.get('acme/tiny')).toMatchObject({ downloaded: true });
  clicked.mockRestore();
});
