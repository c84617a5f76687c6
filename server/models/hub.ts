import { ModelError } from '../llava/errors';
import { contentHash, matches, startHash, type ContentHash } from './contentHash';
import { TemporaryFault, untrustworthy } from './errors';
import { hostileName, isCommit, type ModelId } from './fileNames';
import { HttpClient, type AddressLookup, type HttpResponse } from './http';
import { DEFAULT_RETRIES, parseRetryAfter, withRetries, type RetryPolicy } from './retry';
import type { HubSettings } from './settings';

/*
 * The protocol of huggingface.co, as huggingface_hub 0.30 (`HfApi.model_info(files_metadata=True)`, `list_repo_tree`,
 * `hf_hub_url`) and @huggingface/hub 2.17 (`ApiModelInfo`, `ApiIndexTreeEntry`) speak it:
 *
 *   GET /api/models/<id>/revision/<revision>?blobs=true   sha, tags, siblings: rfilename, size, blobId, lfs.sha256
 *   GET /api/models/<id>/tree/<commit>?recursive=false    path, size, oid (git), lfs.oid (SHA-256); pages by Link
 *   GET /<id>/resolve/<commit>/<file>                     the content, after a redirect to a storage for large files
 */

export interface HubFile {
  /** As the repository has it; checked by {@link hostileName}. */
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  readonly hash: ContentHash;
}

export interface RepositoryListing {
  /** What the revision is at this moment. */
  readonly commit: string;
  /** As the model card says, e.g. `apache-2.0`. */
  readonly licence: string | undefined;
  readonly files: readonly HubFile[];
}

export interface HubOptions {
  readonly inactivityMs?: number;
  readonly retries?: RetryPolicy;
  readonly lookup?: AddressLookup;
  readonly now?: () => number;
}

/** Above any real listing, index or config; bounds what a hostile server makes us hold. */
const MAX_JSON_BYTES = 16 * 1024 * 1024;
const MAX_LISTED_FILES = 10_000;
const MAX_PAGES = 20;
/** Above the largest checkpoint in the hub. */
const MAX_FILE_BYTES = 1e12;

export class Hub {
  readonly host: string;
  readonly retries: RetryPolicy;
  readonly #settings: HubSettings;
  readonly #client: HttpClient;
  readonly #now: () => number;

  constructor(settings: HubSettings, options: HubOptions = {}) {
    this.#settings = settings;
    this.host = settings.endpoint.host;
    this.retries = options.retries ?? DEFAULT_RETRIES;
    this.#now = options.now ?? Date.now;
    this.#client = new HttpClient({
      ...settings,
      inactivityMs: options.inactivityMs,
      lookup: options.lookup,
    });
  }

  /** What a repository has at a revision. @throws ModelError `hub.*`, DownloadCancelledError */
  async listing({ repository, revision }: ModelId, signal?: AbortSignal): Promise<RepositoryListing> {
    const address = `api/models/${repository}/revision/${encodeURIComponent(revision)}?blobs=true`;
    const { json } = await this.#json(address, { repository, what: `revision "${revision}"` }, signal);
    const info = asObject(json);
    const commit = info.sha;
    if (typeof commit !== 'string' || !isCommit(commit))
      throw untrustworthy(this.host, 'It names no commit for the revision.');
    const siblings = asArray(info.siblings);
    if (siblings === undefined || siblings.length > MAX_LISTED_FILES)
      throw untrustworthy(this.host, `It lists no files, or more than ${MAX_LISTED_FILES}.`);
    const entries = siblings.map((entry) => this.#sibling(entry));
    const complete = entries.every((entry) => entry !== undefined);
    return {
      commit,
      licence: licenceOf(info),
      // Some mirrors leave sizes and hashes out of the first answer; the tree has them.
      files: complete ? entries : await this.#tree(repository, commit, signal),
    };
  }

  /** A small file, whole, checked against its hash. */
  async readSmall(
    { repository, commit, file }: { repository: string; commit: string; file: HubFile },
    signal?: AbortSignal,
  ): Promise<Buffer> {
    if (file.size > MAX_JSON_BYTES)
      throw untrustworthy(this.host, `The file ${file.path} has ${file.size} bytes.`);
    return withRetries({ policy: this.retries, signal }, async () => {
      const { response } = await this.open({ repository, commit, file, from: 0 }, signal);
      const content = await readAll(response, file.size);
      const hash = startHash(file.hash, content.length).update(content);
      if (content.length < file.size)
        throw new TemporaryFault(untrustworthy(this.host, `The file ${file.path} came incomplete.`));
      if (!matches(file.hash, hash))
        throw untrustworthy(this.host, `The content of ${file.path} is not what the listing says.`);
      return content;
    });
  }

  /**
   * Begins to read a file. One attempt: a fault that may mend is thrown as {@link TemporaryFault}.
   *
   * @param from the byte to begin with
   * @returns the response and the byte with which it really begins: 0 where the server has no ranges
   */
  async open(
    { repository, commit, file, from }: { repository: string; commit: string; file: HubFile; from: number },
    signal?: AbortSignal,
  ): Promise<{ response: HttpResponse; start: number }> {
    const path = file.path.split('/').map(encodeURIComponent).join('/');
    const response = await this.#client.get(this.#url(`${repository}/resolve/${commit}/${path}`), {
      headers: from > 0 ? { range: `bytes=${from}-` } : {},
      signal,
    });
    try {
      if (response.status !== 200 && response.status !== 206)
        throw this.#statusFault(response, { repository, what: `file ${file.path}` });
      const start = response.status === 206 ? this.#rangeStart(response, file, from) : 0;
      const length = Number(response.headers['content-length'] ?? file.size - start);
      if (length !== file.size - start)
        throw untrustworthy(
          response.host,
          `It offers ${length} bytes of ${file.path}, where ${file.size - start} are expected.`,
        );
      const encoding = response.headers['content-encoding'] ?? 'identity';
      if (encoding !== 'identity')
        throw untrustworthy(
          response.host,
          `It sends ${file.path} as "${encoding}", which was not asked for.`,
        );
      return { response, start };
    } catch (error) {
      response.close();
      throw error;
    }
  }

  #rangeStart(response: HttpResponse, file: HubFile, from: number): number {
    const [, start, total] = /^bytes (\d+)-\d+\/(\d+)$/.exec(response.headers['content-range'] ?? '') ?? [];
    if (Number(start) !== from || Number(total) !== file.size)
      throw untrustworthy(
        response.host,
        `It sends another range of ${file.path} than was asked for, or of another file.`,
      );
    return from;
  }

  #url(address: string): URL {
    return new URL(`${this.#settings.endpoint.href.replace(/\/$/, '')}/${address}`);
  }

  async #json(
    address: string,
    asked: Asked,
    signal: AbortSignal | undefined,
  ): Promise<{ json: unknown; next: string | undefined }> {
    return withRetries({ policy: this.retries, signal }, async () => {
      const response = await this.#client.get(this.#url(address), {
        headers: { accept: 'application/json' },
        signal,
      });
      try {
        if (response.status !== 200) throw this.#statusFault(response, asked);
        const text = (await readAll(response, MAX_JSON_BYTES)).toString('utf8');
        return { json: JSON.parse(text) as unknown, next: nextPage(response) };
      } catch (error) {
        // A body that was cut where no length was given looks like this too.
        if (error instanceof SyntaxError)
          throw new TemporaryFault(untrustworthy(response.host, 'It sends no valid JSON.', error));
        throw error;
      } finally {
        response.close();
      }
    });
  }

  async #tree(repository: string, commit: string, signal: AbortSignal | undefined): Promise<HubFile[]> {
    const files: HubFile[] = [];
    const base = `api/models/${repository}/tree/${commit}?recursive=false`;
    let address: string | undefined = base;
    for (let page = 0; address !== undefined; page++) {
      if (page >= MAX_PAGES || files.length > MAX_LISTED_FILES)
        throw untrustworthy(this.host, 'Its list of files does not end.');
      const answer = await this.#json(address, { repository, what: `commit ${commit}` }, signal);
      for (const entry of asArray(answer.json) ?? []) {
        const file = this.#treeEntry(entry);
        if (file !== undefined) files.push(file);
      }
      // Of the next page's address only the cursor is taken, so that it leads to the same place.
      const cursor: string | undefined = answer.next;
      address = cursor === undefined ? undefined : `${base}&cursor=${encodeURIComponent(cursor)}`;
    }
    return files;
  }

  /** @returns undefined where size or hash are missing. */
  #sibling(entry: unknown): HubFile | undefined {
    const { rfilename, size, blobId, lfs } = asObject(entry);
    return this.#file(rfilename, size, asObject(lfs).sha256 ?? blobId);
  }

  #treeEntry(entry: unknown): HubFile | undefined {
    const { type, path, size, oid, lfs } = asObject(entry);
    if (type !== 'file') return undefined;
    const file = this.#file(path, size, asObject(lfs).oid ?? oid);
    if (file === undefined) throw untrustworthy(this.host, 'It tells neither size nor hash of a file.');
    return file;
  }

  #file(path: unknown, size: unknown, hex: unknown): HubFile | undefined {
    if (typeof path !== 'string') throw untrustworthy(this.host, 'It lists a file without a name.');
    const fault = hostileName(path);
    // A repository with one such name is refused as a whole: nobody has it by accident.
    if (fault !== undefined)
      throw untrustworthy(
        this.host,
        `It lists a file whose name ${fault}: ${JSON.stringify(path.slice(0, 100))}.`,
      );
    const hash = typeof hex === 'string' ? contentHash(hex) : undefined;
    if (size === undefined || size === null || hash === undefined) return undefined;
    if (!Number.isSafeInteger(size) || (size as number) < 0 || (size as number) > MAX_FILE_BYTES)
      throw untrustworthy(this.host, `It says that ${path} has ${JSON.stringify(size)} bytes.`);
    return { path, size: size as number, hash };
  }

  #statusFault(response: HttpResponse, { repository, what }: Asked): Error {
    const { status, host, headers } = response;
    const reason = headers['x-error-code'];
    const page = this.#url(repository).href;
    const signIn =
      this.#settings.token === undefined
        ? `If it is private or gated: accept its terms at ${page}, then set the environment variable HF_TOKEN to a token that may read it.`
        : `HF_TOKEN is set, but it may not read this model: accept its terms at ${page}, or use another token.`;
    if (status === 401 || status === 403)
      return new ModelError({
        code: status === 401 ? 'hub.sign-in' : 'hub.forbidden',
        message: `${host} does not hand out ${repository}.`,
        // huggingface.co answers 401 for what does not exist, so as not to tell what is private.
        why:
          status === 401 && reason !== 'GatedRepo'
            ? 'It does not exist, or it is private or gated.'
            : 'Its owner restricts who may read it.',
        nextStep: reason === 'GatedRepo' ? signIn : `Check the name. ${signIn}`,
        page,
      });
    if (status === 404 && reason === 'RepoNotFound')
      return new ModelError({
        code: 'hub.not-found',
        message: `${host} has no model ${repository}.`,
        nextStep: 'Check the name: it is organisation/name, as in the address of its page.',
      });
    if (status === 404)
      return new ModelError({
        code: 'hub.not-found',
        message: `${host} has no ${what} of ${repository}.`,
        nextStep: `Look it up at ${page}.`,
        page,
      });
    const why = `It answers with status ${status}.`;
    if (status === 408 || status === 429 || status >= 500) {
      const busy = new ModelError({
        code: 'hub.busy',
        message: `${host} does not serve ${repository} at the moment.`,
        why: status === 429 ? 'It limits how much one may ask (status 429).' : why,
        nextStep: 'Start the download again later: it goes on where it stopped.',
      });
      return new TemporaryFault(busy, parseRetryAfter(headers['retry-after'], this.#now()));
    }
    if (status === 407)
      return new ModelError({
        code: 'hub.proxy',
        message: 'The proxy wants a user name and a password.',
        nextStep: 'Write them into HTTPS_PROXY: http://user:password@host:port.',
      });
    return untrustworthy(host, why);
  }
}

/** What was asked for, for messages. */
interface Asked {
  readonly repository: string;
  readonly what: string;
}

async function readAll(response: HttpResponse, limit: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response.body) {
    length += chunk.length;
    if (length > limit) throw untrustworthy(response.host, `It sends more than ${limit} bytes.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function asObject(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function asArray(value: unknown): unknown[] | undefined {
  return Array.isArray(value) ? value : undefined;
}

/** The model card's licence: its name where it is not a standard one. */
function licenceOf(info: Record<string, unknown>): string | undefined {
  const card = asObject(info.cardData);
  const tags = (asArray(info.tags) ?? []).filter((tag) => typeof tag === 'string');
  const tag = tags.find((text) => text.startsWith('license:'))?.slice('license:'.length);
  const licence = card.license === 'other' ? (card.license_name ?? 'other') : (card.license ?? tag);
  // It is shown to the user: one short plain line, whatever the card says.
  return typeof licence === 'string' && /^[\w.+ -]{1,80}$/.test(licence) ? licence : undefined;
}

/** The cursor of `Link: <...&cursor=X>; rel="next"`; undefined on the last page. */
function nextPage(response: HttpResponse): string | undefined {
  const [, address] = /<([^>]*)>\s*;\s*rel="?next"?/.exec(String(response.headers.link ?? '')) ?? [];
  if (address === undefined) return undefined;
  const cursor = URL.canParse(address) ? new URL(address).searchParams.get('cursor') : null;
  if (cursor === null)
    throw untrustworthy(response.host, 'Its list of files goes on, but it does not say where.');
  return cursor;
}
