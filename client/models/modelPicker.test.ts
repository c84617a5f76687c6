import { describe, expect, it, vi } from 'vitest';
import type * as vscode from 'vscode';
import type { ListDownloadsRequest, ListModelsRequest, ModelCatalogueRequest } from '../../server/protocol';
import { modelItems, type ModelItem, type ModelLists } from './modelItems';
import { pickModel, type ModelPicker } from './modelPicker';

vi.mock('vscode', () => ({
  l10n: {
    t: (text: string, ...values: unknown[]) =>
      text.replace(/\{(\d)\}/g, (_, place: string) => String(values[Number(place)])),
  },
  QuickPickItemKind: { Separator: -1, Default: 0 },
  ThemeIcon: class {
    constructor(readonly id: string) {}
  },
}));

const models: ListModelsRequest.Model[] = [
  { directory: '/ext/model', name: 'fovea-nano', origin: 'embedded', setting: '', chosen: true },
  { directory: '/m/one', name: 'acme/one', origin: 'downloads', setting: '/m/one', chosen: false },
];
const entry: ModelCatalogueRequest.Entry = {
  name: 'llava-1.5-7b',
  repository: 'llava-hf/llava-1.5-7b-hf',
  summary: 'Vicuna 7B with CLIP.',
  licence: 'llama2',
  family: 'llava',
  supported: true,
  parameters: 7.06e9,
  downloadBytes: 14.13e9,
  conversionBytes: 5e9,
  memoryBytes: 7.5e9,
  machineMemoryBytes: 25e9,
  state: 'absent',
  directories: [],
};
const downloads: ListDownloadsRequest.Download[] = [
  { repository: 'acme/one', directory: '/m/one', complete: true, busy: false, bytes: 2e6, totalBytes: 2e6 },
  { repository: 'acme/two', directory: '/m/two', complete: false, busy: false, bytes: 1e6, totalBytes: 4e6 },
];
const LISTS: ModelLists = { models, catalogue: [entry], downloads };

const isSeparator = ({ kind }: ModelItem): boolean => kind === -1;

/**
 * The editor's picker as far as it matters here: the active row is a place in the list, and the list that an accept is about may be the one before
 * the last change.
 */
class FakePicker {
  value = '';
  busy = false;
  disposed = false;
  shown = false;
  place = -1;
  private rows: readonly ModelItem[] = [];
  private readonly listeners = new Map<string, ((event: never) => unknown)[]>();
  readonly onDidAccept = this.event('accept');
  readonly onDidChangeValue = this.event('value');
  readonly onDidHide = this.event('hide');
  readonly onDidTriggerItemButton = this.event('button');

  get items(): readonly ModelItem[] {
    return this.rows;
  }
  set items(rows: readonly ModelItem[]) {
    if (this.disposed) throw new Error('set after the end');
    this.rows = rows;
    if (this.place < 0) this.place = rows.findIndex((row) => !isSeparator(row));
  }
  get activeItems(): readonly ModelItem[] {
    const row = this.rows[this.place];
    return row && !isSeparator(row) ? [row] : [];
  }
  show(): void {
    this.shown = true;
  }
  hide(): void {
    if (this.shown) this.fire('hide', undefined);
    this.shown = false;
  }
  dispose(): void {
    this.disposed = true;
  }

  /** Presses a key: the text changes, and the editor makes the first row that matches the active one. */
  type(key: string): void {
    this.value += key;
    this.fire('value', this.value);
    this.place = this.rows.findIndex(
      (row) => !isSeparator(row) && (row.alwaysShow ?? row.label.includes(this.value)),
    );
  }
  accept(): void {
    this.fire('accept', undefined);
  }
  press(label: RegExp, action: string): void {
    const item = this.rows.find((row) => label.test(row.label))!;
    this.fire('button', { item, button: item.buttons?.find((button) => button.action === action) });
  }

  private event(name: string) {
    return (listener: (event: never) => unknown): vscode.Disposable => {
      this.listeners.set(name, [...(this.listeners.get(name) ?? []), listener]);
      return { dispose: () => undefined };
    };
  }
  private fire(name: string, event: unknown): void {
    for (const listener of this.listeners.get(name) ?? []) listener(event as never);
  }
}

function opened(lists: Promise<ModelLists>): { picker: FakePicker; picked: ReturnType<typeof pickModel> } {
  const picker = new FakePicker();
  return { picker, picked: pickModel(picker as unknown as ModelPicker, lists) };
}

/** Lists that come when the test says so. */
function late(): { lists: Promise<ModelLists>; come: () => Promise<void> } {
  let arrive: (lists: ModelLists) => void;
  const lists = new Promise<ModelLists>((resolve) => (arrive = resolve));
  return {
    lists,
    come: async () => {
      arrive(LISTS);
      await lists;
    },
  };
}

describe('while the rows are on their way', () => {
  it('is open and busy, and Enter chooses nothing', async () => {
    const { lists, come } = late();
    const { picker, picked } = opened(lists);
    expect(picker).toMatchObject({ shown: true, busy: true });
    picker.accept();
    await come();
    expect(picker).toMatchObject({ shown: true, busy: false });
    picker.accept();
    expect(await picked).toMatchObject({ kind: 'setting', setting: '' });
  });

  it('an id can be typed: it is the first row when they come, and what Enter means', async () => {
    const { lists, come } = late();
    const { picker, picked } = opened(lists);
    for (const key of 'acme/new') picker.type(key);
    picker.accept();
    await come();
    expect(picker.shown).toBe(true);
    expect(picker.activeItems[0]).toMatchObject({ choice: { kind: 'typed' } });
    picker.accept();
    expect(await picked).toEqual({ kind: 'download', model: 'acme/new' });
  });

  it('may be left; rows that come later find nobody', async () => {
    const { lists, come } = late();
    const { picker, picked } = opened(lists);
    picker.hide();
    expect(await picked).toBeUndefined();
    await come();
    expect(picker.items).toEqual([]);
    expect(picker.disposed).toBe(true);
  });

  it('tells when they cannot be had', async () => {
    const { picker, picked } = opened(Promise.reject(new Error('no server')));
    await expect(picked).rejects.toThrow('no server');
    expect(picker.disposed).toBe(true);
  });
});

describe('typing', () => {
  it('leaves every row but the first in its place, so that a place never means another model', () => {
    const without = modelItems(LISTS, '');
    for (const typed of ['a', 'acme/', 'acme/n', 'acme/new', 'https://huggingface.co/acme/new', '/a/folder'])
      expect(modelItems(LISTS, typed).slice(1)).toEqual(without.slice(1));
  });

  it('means what is in the input when Enter is pressed, though the active row is a key behind', async () => {
    const { picker, picked } = opened(Promise.resolve(LISTS));
    await Promise.resolve();
    for (const key of 'acme/ne') picker.type(key);
    const place = picker.place;
    // The last key and Enter come together: the editor has not looked at the new rows yet.
    picker.type('w');
    picker.place = place;
    picker.accept();
    expect(await picked).toEqual({ kind: 'download', model: 'acme/new' });
  });

  it('a name of the catalogue is its row, not an id of its own', () => {
    const [first] = modelItems(LISTS, 'llava-hf/llava-1.5-7b-hf');
    expect(isSeparator(first)).toBe(true);
  });
});

describe('a download', () => {
  it('shows its size, and can be checked and removed', async () => {
    const { picker, picked } = opened(Promise.resolve(LISTS));
    await Promise.resolve();
    const row = picker.items.find(({ label }) => label.includes('acme/one'));
    expect(row?.description).toBe('downloaded by Fovea · 2.0 MB');
    expect(row?.buttons?.map(({ action }) => action)).toEqual(['verify', 'remove']);
    picker.press(/acme\/one/, 'verify');
    expect(await picked).toMatchObject({ kind: 'verify', own: { repository: 'acme/one', chosen: false } });
  });

  it('that was begun is offered to go on, or to be removed', async () => {
    const { picker, picked } = opened(Promise.resolve(LISTS));
    await Promise.resolve();
    const row = picker.items.find(({ label }) => label.includes('acme/two'));
    expect(row).toMatchObject({
      description: '1.0 MB of 4.0 MB here',
      choice: { kind: 'download', model: 'acme/two' },
    });
    picker.press(/acme\/two/, 'remove');
    expect(await picked).toMatchObject({ kind: 'remove', own: { repository: 'acme/two', complete: false } });
  });

  it('of the catalogue that was begun is one row, which can be removed too', () => {
    const begun = { ...downloads[1], repository: 'llava-hf/llava-1.5-7b-hf' };
    const lists = { ...LISTS, catalogue: [{ ...entry, state: 'partial' as const }], downloads: [begun] };
    const rows = modelItems(lists, '').filter(({ label }) => /llava-1\.5-7b/.test(label));
    expect(rows).toHaveLength(1);
    expect(rows[0].buttons?.map(({ action }) => action)).toEqual(['remove']);
  });

  it('that is of others, or part of Fovea, has no such buttons', () => {
    const [, , embedded] = modelItems(LISTS, '');
    expect(embedded.buttons).toBeUndefined();
  });
});
