/** Remembers which images the token view is about, so that it can be asked again after a window reload. */
import { createHash } from 'node:crypto';
import * as vscode from 'vscode';
import type { NamedImage } from '../images';

const KEY = 'fovea.shownImages';

/** As stored: an image without a file of its own is kept in the extension's storage folder under its hash. */
type StoredImage =
  { name: string; uri: string; outsideWorkspace?: boolean } | { name: string; stored: string };

export class ShownImages {
  private readonly folder: vscode.Uri;

  constructor(
    private readonly state: vscode.Memento,
    storage: vscode.Uri,
  ) {
    this.folder = vscode.Uri.joinPath(storage, 'shown-images');
  }

  async save(images: readonly NamedImage[]): Promise<void> {
    const stored = await Promise.all(images.map((image) => this.store(image)));
    await this.state.update(
      KEY,
      stored.filter((image) => image !== undefined),
    );
  }

  /** Images that are gone meanwhile are left out. */
  async load(): Promise<NamedImage[]> {
    const images = await Promise.all(
      this.state.get<StoredImage[]>(KEY, []).map((image) => this.restore(image)),
    );
    return images.filter((image) => image !== undefined);
  }

  private async store({ name, source }: NamedImage): Promise<StoredImage | undefined> {
    if ('uri' in source && source.uri.startsWith('file:')) return { name, ...source };
    if (!('base64' in source)) return undefined;
    const bytes = Buffer.from(source.base64, 'base64');
    const stored = createHash('sha256').update(bytes).digest('hex');
    await vscode.workspace.fs.createDirectory(this.folder);
    for (const [old] of await vscode.workspace.fs.readDirectory(this.folder)) {
      if (old !== stored) await vscode.workspace.fs.delete(vscode.Uri.joinPath(this.folder, old));
    }
    await vscode.workspace.fs.writeFile(vscode.Uri.joinPath(this.folder, stored), bytes);
    return { name, stored };
  }

  private async restore(image: StoredImage): Promise<NamedImage | undefined> {
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
