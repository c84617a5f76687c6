import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { FoveaError } from '../llava/errors';
import type { ImageTarget } from '../protocol';
import { ImageError } from './errors';
import type { Mention } from './references/mention';
import { checkPathText, isInside, pathOfFileUri, realFileInside } from './safeFiles';

/** What a destination is relative to. */
export interface Surroundings {
  /** Absolute folder of the document; undefined for a document without a file. */
  documentFolder: string | undefined;
  /** Absolute folders of the workspace. */
  workspaceFolders: readonly string[];
  /** More folders to look in, relative to the document (LaTeX's `\graphicspath`). */
  searchFolders?: readonly string[];
  /** Extensions to add to a path that has none (LaTeX). */
  extensions?: readonly string[];
}

/** Folders that web tools serve as the site's root. */
const SITE_ROOTS = ['', 'public', 'static', 'assets', 'src'];

/**
 * The folders whose files a document may lead to: the workspace, and for a document outside of it its own folder.
 */
export function readableFolders({ documentFolder, workspaceFolders }: Surroundings): string[] {
  if (documentFolder === undefined) return [...workspaceFolders];
  if (workspaceFolders.some((folder) => isInside(folder, documentFolder))) return [...workspaceFolders];
  return [...workspaceFolders, documentFolder];
}

/**
 * Where a mention leads. Nothing is fetched and no file content is read; files outside the workspace are not even
 * looked at.
 *
 * @returns undefined where the mention is no image after all: a string that looks like a path but leads nowhere.
 */
export async function resolveMention(
  mention: Pick<Mention, 'destination' | 'kind' | 'certain'>,
  surroundings: Surroundings,
): Promise<ImageTarget | undefined> {
  const { destination, certain } = mention;
  try {
    const target = await resolve(mention, surroundings);
    if (target) return target;
    return certain ? { kind: 'unreadable', error: ImageError.notFound(destination).toData() } : undefined;
  } catch (error) {
    if (!(error instanceof FoveaError)) throw error;
    // A string in code that only looks like a path deserves no warning, unless a file may be meant.
    if (!certain && error.code !== 'image.outside-workspace') return undefined;
    return { kind: 'unreadable', error: error.toData() };
  }
}

async function resolve(
  { destination, kind }: Pick<Mention, 'destination' | 'kind'>,
  surroundings: Surroundings,
): Promise<ImageTarget | undefined> {
  if (/^data:/i.test(destination)) return { kind: 'data', uri: destination };
  if (/^https?:/i.test(destination)) return { kind: 'remote', url: destination };
  // A URL without a scheme; as a path it would be a network share.
  if (destination.startsWith('//')) return { kind: 'remote', url: destination };
  const folders = readableFolders(surroundings);
  if (/^file:/i.test(destination))
    return fileTarget(await realFileInside(pathOfFileUri(destination), folders));
  const scheme = /^([a-z][a-z0-9+.-]+):/i.exec(destination)?.[1];
  if (scheme !== undefined) throw ImageError.unsupportedScheme(scheme);
  checkPathText(destination);
  let outside: ImageError | undefined;
  for (const spelling of spellings(destination, kind, surroundings.extensions)) {
    checkPathText(spelling);
    for (const candidate of candidates(spelling, surroundings)) {
      try {
        const target = fileTarget(await realFileInside(candidate, folders));
        if (target) return target;
      } catch (error) {
        if (!(error instanceof ImageError) || error.code !== 'image.outside-workspace') throw error;
        outside ??= error;
      }
    }
  }
  // Only when no way of reading it leads to a file inside.
  if (outside) throw ImageError.outsideWorkspace(destination);
  return undefined;
}

function fileTarget(real: string | undefined): ImageTarget | undefined {
  return real === undefined ? undefined : { kind: 'file', uri: pathToFileURL(real).href };
}

/** The file names that a destination may stand for: as written, without query and fragment, percent-decoded. */
function spellings(destination: string, kind: Mention['kind'], extensions: readonly string[] = []): string[] {
  const names = new Set<string>();
  const plain = destination.replace(/[?#][^]*$/, '');
  const decoded = (text: string): string => {
    try {
      return decodeURIComponent(text);
    } catch {
      return text; // a percent sign that is none
    }
  };
  const readings =
    kind === 'url' ? [decoded(plain), plain, destination] : [destination, plain, decoded(plain)];
  for (const name of readings) {
    if (name === '') continue;
    names.add(name);
    if (path.extname(name) === '') for (const extension of extensions) names.add(name + extension);
  }
  return [...names];
}

/** Absolute paths to look at, best first. */
function candidates(name: string, surroundings: Surroundings): string[] {
  const { documentFolder, workspaceFolders, searchFolders = [] } = surroundings;
  const own =
    documentFolder === undefined
      ? undefined
      : workspaceFolders.find((root) => isInside(root, documentFolder));
  const roots = [...new Set([own, ...workspaceFolders].filter((root) => root !== undefined))];
  const underRoots = (rest: string): string[] =>
    roots.flatMap((root) => SITE_ROOTS.map((folder) => path.join(root, folder, rest)));
  const alias = /^[@~]\/(.*)$/s.exec(name);
  if (alias) return underRoots(alias[1]);
  if (name.startsWith('/')) {
    // The site's root in a web project; a true absolute path only where it leads into the workspace.
    return [...underRoots(name.slice(1)), path.resolve(name)];
  }
  if (path.isAbsolute(name)) return [name];
  const relative = documentFolder === undefined ? [] : [path.resolve(documentFolder, name)];
  const searched =
    documentFolder === undefined
      ? []
      : searchFolders.map((folder) => path.resolve(documentFolder, folder, name));
  // `./a.png` is meant relative to the document; a bare path in code often to the workspace.
  const loose = /^\.{1,2}[\\/]/.test(name)
    ? []
    : roots.flatMap((root) => [path.join(root, name), path.join(root, 'public', name)]);
  return [...new Set([...relative, ...searched, ...loose])];
}
