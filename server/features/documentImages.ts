import path from 'node:path';
import type { TextDocument } from 'vscode-languageserver-textdocument';
import { isInsideReal, pathOfFileUri } from '../images/safeFiles';
import type { DirectSource } from '../images/source';
import { findMentions } from '../images/references/find';
import { graphicsPaths } from '../images/references/latex';
import type { Mention } from '../images/references/mention';
import { resolveMention, type Surroundings } from '../images/resolve';
import type { ImageReference, TextPosition } from '../protocol';

/** How many references of one document are looked up in the file system at a time. */
const BATCH = 16;
/** What `\includegraphics` tries where the extension is left out, as far as images go. */
const LATEX_EXTENSIONS = ['.png', '.jpg', '.jpeg', '.svg'];

/** The images that open documents mention. */
export class DocumentImages {
  readonly #workspaceFolders: () => readonly string[];
  readonly #mentions = new WeakMap<TextDocument, { version: number; mentions: Mention[] }>();

  constructor(workspaceFolders: () => readonly string[]) {
    this.#workspaceFolders = workspaceFolders;
  }

  /** All of them, in the order of the text. */
  async references(document: TextDocument): Promise<ImageReference[]> {
    const mentions = this.#mentionsOf(document);
    const surroundings = this.#surroundings(document);
    const references: ImageReference[] = [];
    for (let i = 0; i < mentions.length; i += BATCH) {
      const batch = mentions.slice(i, i + BATCH);
      const found = await Promise.all(batch.map((mention) => toReference(document, mention, surroundings)));
      references.push(...found.filter((reference) => reference !== undefined));
    }
    return references;
  }

  /** The innermost one at a position: the image inside a link before the link. */
  async referenceAt(document: TextDocument, position: TextPosition): Promise<ImageReference | undefined> {
    const offset = document.offsetAt(position);
    const around = this.#mentionsOf(document)
      .filter(({ fullStart, fullEnd }) => fullStart <= offset && offset <= fullEnd)
      .sort((a, b) => Number(isOn(b, offset)) - Number(isOn(a, offset)) || fullLength(a) - fullLength(b));
    const surroundings = this.#surroundings(document);
    for (const mention of around) {
      const reference = await toReference(document, mention, surroundings);
      if (reference) return reference;
    }
    return undefined;
  }

  /**
   * The image of a reference, to be read. A document outside the workspace may lead to files beside it, which the
   * resolution has checked; the source then says that it may be read.
   */
  async source({ target }: ImageReference): Promise<DirectSource | undefined> {
    if (target.kind === 'data') return { uri: target.uri };
    if (target.kind !== 'file') return undefined;
    const isInWorkspace = await isInsideReal(this.#workspaceFolders(), pathOfFileUri(target.uri));
    return isInWorkspace ? { uri: target.uri } : { uri: target.uri, outsideWorkspace: true };
  }

  #mentionsOf(document: TextDocument): Mention[] {
    const known = this.#mentions.get(document);
    if (known?.version === document.version) return known.mentions;
    const mentions = findMentions(document.getText(), document.languageId);
    this.#mentions.set(document, { version: document.version, mentions });
    return mentions;
  }

  #surroundings(document: TextDocument): Surroundings {
    const surroundings = {
      documentFolder: folderOf(document.uri),
      workspaceFolders: this.#workspaceFolders(),
    };
    if (document.languageId !== 'latex' && document.languageId !== 'tex') return surroundings;
    return {
      ...surroundings,
      searchFolders: graphicsPaths(document.getText()),
      extensions: LATEX_EXTENSIONS,
    };
  }
}

function folderOf(uri: string): string | undefined {
  if (!/^file:/i.test(uri)) return undefined;
  try {
    return path.dirname(pathOfFileUri(uri));
  } catch {
    return undefined; // a share: its images are not looked up beside it
  }
}

const isOn = ({ start, end }: Mention, offset: number): boolean => start <= offset && offset <= end;
const fullLength = ({ fullStart, fullEnd }: Mention): number => fullEnd - fullStart;

async function toReference(
  document: TextDocument,
  mention: Mention,
  surroundings: Surroundings,
): Promise<ImageReference | undefined> {
  const target = await resolveMention(mention, surroundings);
  if (!target) return undefined;
  const range = (start: number, end: number): ImageReference['range'] => ({
    start: document.positionAt(start),
    end: document.positionAt(end),
  });
  return {
    range: range(mention.start, mention.end),
    fullRange: range(mention.fullStart, mention.fullEnd),
    ...(mention.alt === undefined ? {} : { alt: mention.alt }),
    target,
  };
}
