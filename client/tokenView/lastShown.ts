/**
 * What the token view shows, on disk as soon as it is shown. The editor keeps a page's own state too, but writes it
 * when it likes (in a browser every few seconds): a window that is reloaded right after an answer would lose it.
 */
import { createHash } from 'node:crypto';
import * as vscode from 'vscode';
import type { PixelRect, TokenViewAnswer } from '../../server/protocol';
import { roundedResult } from '../../server/traceView/json';
import { parseTokenViewAnswer } from '../../server/traceView/messages';
import type { NamedImage } from '../images';

/** An answered question; its pictures are made again from the images. */
export type LastAnswer = Omit<TokenViewAnswer, 'pictures'> & { run: number };

export interface Shown {
  images: NamedImage[];
  /** Absent while a question is not answered yet, and where nothing was asked. */
  answer?: LastAnswer;
}

/** As stored: an image without a file of its own is kept in the extension's storage folder under its hash. */
type StoredImage = ({ uri: string; outsideWorkspace?: boolean } | { stored: string }) & {
  name: string;
  part?: { of: StoredImage; rect: PixelRect };
};

export class LastShown {
  private readonly file: vscode.Uri;
  private readonly folder: vscode.Uri;
  /** Writes happen in the order in which they were asked for. */
  private writing: Promise<void> = Promise.resolve();

  constructor(
    private readonly storage: vscode.Uri,
    private readonly log: vscode.LogOutputChannel,
  ) {
    this.file = vscode.Uri.joinPath(storage, 'last-shown.json');
    this.folder = vscode.Uri.joinPath(storage, 'shown-images');
  }

  /** Never fails: what cannot be stored is not there after a reload, and the log says why. */
  save(shown: Shown): Promise<void> {
    this.writing = this.writing.then(() =>
      this.write(shown).catch((error: unknown) =>
        this.log.warn('What the token view shows could not be stored.', error),
      ),
    );
    return this.writing;
  }

  /** Images that are gone meanwhile are left out. @returns no images where nothing is stored */
  async load(): Promise<Shown> {
    try {
      const text = Buffer.from(await vscode.workspace.fs.readFile(this.file)).toString('utf8');
      const { images, answer } = JSON.parse(text) as { images: StoredImage[]; answer?: LastAnswer };
      const found = await Promise.all(images.map((image) => this.restore(image)));
      const all = found.filter((image) => image !== undefined);
      const isWhole = all.length === images.length && Number.isSafeInteger(answer?.run);
      const isAnswer = isWhole && parseTokenViewAnswer({ ...answer, pictures: [] }) !== undefined;
      return { images: all, answer: isAnswer ? answer : undefined };
    } catch {
      return { images: [] }; // never written, or cut off while it was
    }
  }

  private async write({ images, answer }: Shown): Promise<void> {
    await vscode.workspace.fs.createDirectory(this.storage);
    const stored = await Promise.all(images.map((image) => this.store(image)));
    const content = {
      images: stored.filter((image) => image !== undefined),
      answer: answer && { ...answer, result: roundedResult(answer.result) },
    };
    await vscode.workspace.fs.writeFile(this.file, Buffer.from(JSON.stringify(content)));
  }

  private async store({ name, source, part }: NamedImage): Promise<StoredImage | undefined> {
    // A part is stored like any image; what it is a part of, only where that is a file.
    if (part && 'uri' in part.of.source) {
      const [stored, of] = await Promise.all([this.store({ name, source }), this.store(part.of)]);
      return stored && of ? { ...stored, part: { of, rect: part.rect } } : stored;
    }
    if ('uri' in source && source.uri.startsWith('file:')) return { name, ...source };
    if (!('base64' in source)) return undefined;
    const bytes = Buffer.from(source.base64, 'base64');
    const stored = createHash('sha256').update(bytes).digest('hex');
    await vscode.workspace.fs.createDirectory(this.folder);
    const entries = await vscode.workspace.fs.readDirectory(this.folder);
    if (entries.some(([known]) => known === stored)) return { name, stored };
    for (const [old] of entries) await vscode.workspace.fs.delete(vscode.Uri.joinPath(this.folder, old));
    await vscode.workspace.fs.writeFile(vscode.Uri.joinPath(this.folder, stored), bytes);
    return { name, stored };
  }

  private async restore({ part, ...image }: StoredImage): Promise<NamedImage | undefined> {
    const [restored, of] = await Promise.all([this.restoreAlone(image), part && this.restore(part.of)]);
    return restored && part && of ? { ...restored, part: { of, rect: part.rect } } : restored;
  }

  private async restoreAlone(image: StoredImage): Promise<NamedImage | undefined> {
    if ('uri' in image) {
      const { name, uri, outsideWorkspace } = image;
      return { name, source: { uri, outsideWorkspace } };
    }
    try {
      const bytes = await vscode.workspace.fs.readFile(vscode.Uri.joinPath(this.folder, image.stored));
      return {
        name: image.name,
        source: { base64: Buffer.from(bytes).toString('base64'), name: image.name },
      };
    } catch {
      return undefined;
    }
  }
}
