import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import path from 'node:path';

/**
 * A server on this machine that speaks the protocol of huggingface.co for one model repository, and misbehaves where a test
 * asks it to. Hashes are computed here from the content, independently of the code under test.
 */
export class FakeHub {
  readonly requests: { url: string; range: string | undefined; authorization: string | undefined }[] = [];
  /** Bytes of file contents that were sent. */
  sentBytes = 0;
  /** Called for each request; true: it has answered in its own way. */
  misbehave: (exchange: Exchange) => boolean | Promise<boolean> = () => false;
  /** Sizes and hashes in the first answer; without them the client must ask for the tree. */
  blobs = true;
  /** Entries of one page of the tree. */
  pageSize = 1000;
  /** Further entries of the listing, for files that are not there. */
  extra: object[] = [];
  /** Where large files are: this server, or another. */
  storage: string | undefined;

  readonly #server: http.Server;
  readonly #sockets = new Set<Socket>();
  #port = 0;

  private constructor(
    readonly repository: string,
    readonly commit: string,
    readonly files: ReadonlyMap<string, FakeFile>,
  ) {
    this.#server = http.createServer((request, response) => void this.#handle(request, response));
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
  }

  /** @param files name -> content; those named in `large` are served as LFS files are. */
  static async start(
    files: Readonly<Record<string, Buffer>>,
    options: { repository?: string; large?: (name: string) => boolean } = {},
  ): Promise<FakeHub> {
    const large = options.large ?? ((name: string) => name.endsWith('.safetensors'));
    const entries = Object.entries(files).map(
      ([name, content]) => [name, { content, large: large(name), ...hashes(content) }] as const,
    );
    const commit = createHash('sha1')
      .update(JSON.stringify(entries.map(([, { sha256 }]) => sha256)))
      .digest('hex');
    const hub = new FakeHub(options.repository ?? 'acme/tiny-llava', commit, new Map(entries));
    await hub.open();
    return hub;
  }

  /** `http://127.0.0.1:<port>` */
  get origin(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  get host(): string {
    return `127.0.0.1:${this.#port}`;
  }

  /** Requests for file contents. */
  get downloads(): readonly { url: string; range: string | undefined }[] {
    return this.requests.filter(({ url }) => !url.startsWith('/api/'));
  }

  /** Listens; after {@link close} on the same port again. */
  async open(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(this.#port, '127.0.0.1', resolve));
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  async #handle(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const url = request.url ?? '';
    const { range, authorization } = request.headers;
    this.requests.push({ url, range, authorization });
    response.on('error', () => undefined);
    const exchange: Exchange = {
      url,
      from: Number(/^bytes=(\d+)-/.exec(range ?? '')?.[1] ?? 0),
      response,
      file: this.#fileOf(url),
      attempt: this.requests.filter((earlier) => earlier.url === url).length,
      serve: (from, content, headers) => this.#serve(response, from, content, headers),
    };
    if (await this.misbehave(exchange)) return;
    this.#answer(exchange);
  }

  #fileOf(url: string): FakeFile | undefined {
    const name = /^\/(?:[^/]+\/[^/]+\/resolve\/[0-9a-f]{40}|storage)\/([^?]+)/.exec(url)?.[1];
    return name === undefined ? undefined : this.files.get(decodeURIComponent(name));
  }

  #answer(exchange: Exchange): void {
    const { url, response, file } = exchange;
    const api = `/api/models/${this.repository}`;
    if (url.startsWith(`${api}/revision/`)) return this.#listing(url, response);
    if (url.startsWith(`${api}/tree/${this.commit}`)) return this.#tree(url, response);
    if (file === undefined) {
      response.writeHead(404, { 'x-error-code': 'EntryNotFound' }).end('Entry not found');
    } else if (file.large && url.includes('/resolve/')) {
      const name = path.basename(url);
      response.writeHead(302, { location: `${this.storage ?? this.origin}/storage/${name}` }).end();
    } else {
      exchange.serve(exchange.from, file.content);
    }
  }

  #serve(
    response: http.ServerResponse,
    from: number,
    content: Buffer,
    headers: http.OutgoingHttpHeaders = {},
  ): void {
    const part = content.subarray(from);
    const range =
      from > 0 ? { 'content-range': `bytes ${from}-${content.length - 1}/${content.length}` } : {};
    response.writeHead(from > 0 ? 206 : 200, { 'content-length': part.length, ...range, ...headers });
    this.sentBytes += part.length;
    response.end(part);
  }

  #listing(url: string, response: http.ServerResponse): void {
    const siblings = [...this.files].map(([rfilename, { content, large, sha256, gitSha1 }]) => ({
      rfilename,
      ...(this.blobs && url.includes('blobs=true')
        ? {
            blobId: large ? '0'.repeat(40) : gitSha1,
            size: content.length,
            ...(large ? { lfs: { sha256, size: content.length, pointerSize: 134 } } : {}),
          }
        : {}),
    }));
    this.json(response, {
      id: this.repository,
      sha: this.commit,
      private: false,
      gated: false,
      tags: ['license:apache-2.0', 'llava'],
      cardData: { license: 'apache-2.0' },
      siblings: [...siblings, ...this.extra],
    });
  }

  #tree(url: string, response: http.ServerResponse): void {
    const all = [
      { type: 'directory', path: 'onnx', oid: 'f'.repeat(40), size: 0 },
      ...[...this.files].map(([name, { content, large, sha256, gitSha1 }]) => ({
        type: 'file',
        path: name,
        size: content.length,
        oid: large ? '0'.repeat(40) : gitSha1,
        ...(large ? { lfs: { oid: sha256, size: content.length, pointerSize: 134 } } : {}),
      })),
    ];
    const start = Number(new URL(url, this.origin).searchParams.get('cursor') ?? 0);
    const next = start + this.pageSize;
    const link = `<${this.origin}${url.split('?')[0]}?recursive=false&cursor=${next}>; rel="next"`;
    this.json(response, all.slice(start, next), next < all.length ? { link } : {});
  }

  json(response: http.ServerResponse, value: unknown, headers: http.OutgoingHttpHeaders = {}): void {
    response.writeHead(200, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value));
  }
}

export interface FakeFile {
  readonly content: Buffer;
  /** In LFS: named by SHA-256, served from the storage after a redirect. */
  readonly large: boolean;
  readonly sha256: string;
  readonly gitSha1: string;
}

export interface Exchange {
  readonly url: string;
  /** First byte that the client wants. */
  readonly from: number;
  readonly response: http.ServerResponse;
  /** The file that the URL names. */
  readonly file: FakeFile | undefined;
  /** How many requests for this URL there were, with this one. */
  readonly attempt: number;
  /** Sends a content from a byte on, as a good server does. */
  readonly serve: (from: number, content: Buffer, headers?: http.OutgoingHttpHeaders) => void;
}

export function hashes(content: Buffer): { sha256: string; gitSha1: string } {
  return {
    sha256: createHash('sha256').update(content).digest('hex'),
    gitSha1: createHash('sha1')
      .update(Buffer.concat([Buffer.from(`blob ${content.length}\0`), content]))
      .digest('hex'),
  };
}

/** The files of a folder, as a repository has them. */
export function filesOf(directory: string): Record<string, Buffer> {
  const names = readdirSync(directory).filter((name) => statSync(path.join(directory, name)).isFile());
  return Object.fromEntries(names.map((name) => [name, readFileSync(path.join(directory, name))]));
}
