import { lookup as systemLookup, type LookupAddress } from 'node:dns';
import http from 'node:http';
import https from 'node:https';
import type { LookupFunction } from 'node:net';

import { HttpsProxyAgent } from 'https-proxy-agent';
import { getProxyForUrl } from 'proxy-from-env';

import { FoveaError } from '../llava/errors';
import { isLoopbackHost, literalScope, mayRedirect, networkScope, type NetworkScope } from './addresses';
import { DownloadCancelledError, TemporaryFault, throwIfStopped, unreachable, untrustworthy } from './errors';

/*
 * GET requests to the hub: redirects that are checked at every hop, a token that stays with the endpoint, proxies from the
 * environment, and no silence longer than the inactivity limit.
 *
 * Node 20's fetch knows no proxy and follows redirects without asking; node:https with https-proxy-agent and
 * proxy-from-env is the smallest way to have both under control.
 */

/** huggingface.co needs one or two: a renamed repository, then the storage. */
const MAX_REDIRECTS = 5;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

export interface HttpClientOptions {
  readonly endpoint: URL;
  readonly token: string | undefined;
  /** How long a server may say nothing: while connecting, before its answer, and in the middle of it. */
  readonly inactivityMs?: number;
  /** Finds the addresses of a name. */
  readonly lookup?: AddressLookup;
}

export type AddressLookup = (
  hostname: string,
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

export interface HttpResponse {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  /** Host that answered, for messages. */
  readonly host: string;
  /** The body. Must be read to its end or closed with {@link close}. Throws {@link TemporaryFault} when the line breaks. */
  readonly body: AsyncIterable<Uint8Array>;
  close(): void;
}

const DEFAULT_INACTIVITY_MS = 30_000;

const lookupAll: AddressLookup = (hostname, callback) => systemLookup(hostname, { all: true }, callback);

export class HttpClient {
  readonly #endpoint: URL;
  readonly #token: string | undefined;
  readonly #inactivityMs: number;
  readonly #lookup: AddressLookup;
  /** Where the endpoint is; known better after its name was looked up. */
  #endpointScope: NetworkScope;

  constructor(options: HttpClientOptions) {
    this.#endpoint = options.endpoint;
    this.#token = options.token;
    this.#inactivityMs = options.inactivityMs ?? DEFAULT_INACTIVITY_MS;
    this.#lookup = options.lookup ?? lookupAll;
    const { hostname } = options.endpoint;
    this.#endpointScope = isLoopbackHost(hostname) ? 'loopback' : (literalScope(hostname) ?? 'public');
  }

  /**
   * @param url at the endpoint
   * @throws TemporaryFault for what a new attempt may mend, ModelError for a redirect that must not be followed,
   *   DownloadCancelledError
   */
  async get(
    url: URL,
    options: { headers?: Record<string, string>; signal?: AbortSignal } = {},
  ): Promise<HttpResponse> {
    const { signal } = options;
    let current = url;
    let withToken = true;
    for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
      throwIfStopped(signal);
      // Once the way has left the endpoint, the token does not come back to it: the other host chose where it leads.
      withToken &&= current.origin === this.#endpoint.origin;
      const headers: Record<string, string> = {
        'accept-encoding': 'identity',
        'user-agent': 'fovea',
        ...options.headers,
        ...(withToken && this.#token !== undefined ? { authorization: `Bearer ${this.#token}` } : {}),
      };
      const response = await this.#once(current, headers, signal);
      if (!REDIRECTS.has(response.status)) return response;
      response.close();
      current = this.#nextHop(current, response.headers.location);
    }
    throw untrustworthy(url.host, `It redirects more than ${MAX_REDIRECTS} times.`);
  }

  #nextHop(from: URL, location: string | undefined): URL {
    let next: URL;
    try {
      next = new URL(location ?? '', from);
      if (location === undefined) throw new Error('There is no Location header.');
    } catch (error) {
      throw untrustworthy(from.host, 'It redirects to no valid address.', error);
    }
    const plain =
      next.protocol === 'http:' && this.#endpointScope === 'loopback' && isLoopbackHost(next.hostname);
    if (next.protocol !== 'https:' && !plain)
      throw untrustworthy(from.host, `It redirects to ${next.protocol}//${next.host}, which is not https.`);
    if (next.username !== '' || next.password !== '')
      throw untrustworthy(from.host, 'It redirects to an address with a user name in it.');
    if (!this.#isEndpoint(next)) {
      const scope = isLoopbackHost(next.hostname) ? 'loopback' : literalScope(next.hostname);
      if (scope !== undefined) this.#checkScope(next.hostname, scope);
    }
    return next;
  }

  #isEndpoint(url: URL): boolean {
    return url.hostname === this.#endpoint.hostname;
  }

  #checkScope(host: string, scope: NetworkScope): void {
    if (!mayRedirect(this.#endpointScope, scope))
      throw untrustworthy(
        this.#endpoint.host,
        `It redirects to ${host}, which is in a ${scope} network and not on the internet.`,
      );
  }

  /** Looks a name up, and refuses addresses that the endpoint must not lead to: checked where the connection is made. */
  #guardedLookup(url: URL): LookupFunction {
    const isEndpoint = this.#isEndpoint(url);
    return (hostname, options, callback) => {
      this.#lookup(hostname, (error, addresses) => {
        if (error) return callback(error, []);
        try {
          for (const { address } of addresses) {
            const scope = networkScope(address);
            if (isEndpoint) this.#endpointScope = scope;
            else this.#checkScope(`${hostname} (${address})`, scope);
          }
        } catch (refusal) {
          return callback(refusal as NodeJS.ErrnoException, []);
        }
        if (options.all) callback(null, addresses);
        else callback(null, addresses[0].address, addresses[0].family);
      });
    };
  }

  #once(url: URL, headers: Record<string, string>, signal: AbortSignal | undefined): Promise<HttpResponse> {
    const proxy = getProxyForUrl(url.href);
    return new Promise<HttpResponse>((resolve, reject) => {
      const request = (url.protocol === 'https:' ? https : http).request(url, {
        headers,
        // A connection of its own for each request: nothing is left open, and nothing stale is used again.
        agent: proxy === '' ? false : new HttpsProxyAgent(proxy),
        // Behind a proxy the proxy resolves names; only addresses written as such can be checked then.
        lookup: proxy === '' ? this.#guardedLookup(url) : undefined,
      });
      let response: http.IncomingMessage | undefined;
      const end = (reason: Error): void => void (response ?? request).destroy(reason);
      const watchdog = new Watchdog(this.#inactivityMs, () =>
        end(new Error(`It said nothing for ${this.#inactivityMs / 1000} s.`)),
      );
      const onAbort = (): void => end(new DownloadCancelledError(signal?.reason));
      signal?.addEventListener('abort', onAbort, { once: true });
      const finish = (): void => {
        watchdog.stop();
        signal?.removeEventListener('abort', onAbort);
      };
      request.on('error', (error) => {
        finish();
        reject(fault(url.host, error));
      });
      request.on('response', (message) => {
        response = message;
        // A break between here and the first read is told by the read; without a listener it would end the process.
        message.on('error', () => undefined);
        resolve({
          status: message.statusCode ?? 0,
          headers: message.headers,
          host: url.host,
          body: readBody(message, url.host, watchdog, finish),
          close: () => {
            finish();
            message.destroy();
          },
        });
      });
      request.end();
    });
  }
}

/** The chunks of a body. The watchdog sleeps while the reader is busy with one. */
async function* readBody(
  message: http.IncomingMessage,
  host: string,
  watchdog: Watchdog,
  finish: () => void,
): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of message) {
      watchdog.stop();
      yield chunk as Uint8Array;
      watchdog.start();
    }
  } catch (error) {
    throw fault(host, error);
  } finally {
    finish();
    message.destroy();
  }
}

/** Fires once when it was not restarted for a while. */
class Watchdog {
  #timer: NodeJS.Timeout;

  constructor(
    private readonly milliseconds: number,
    private readonly onExpired: () => void,
  ) {
    this.#timer = setTimeout(onExpired, milliseconds);
  }

  start(): void {
    this.stop();
    this.#timer = setTimeout(this.onExpired, this.milliseconds);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}

/** Certificates do not mend by waiting. */
const CERTIFICATE = /^(?:CERT_|ERR_TLS_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_)/;

/** What went wrong on the line, told apart by whether it may go better next time. */
function fault(host: string, thrown: unknown): unknown {
  if (thrown instanceof FoveaError) return thrown;
  const { code, message } = thrown as NodeJS.ErrnoException;
  if (code !== undefined && CERTIFICATE.test(code)) {
    return unreachable(
      host,
      `Its certificate is not trusted (${code}). Where a company's proxy replaces certificates, NODE_EXTRA_CA_CERTS must name its root certificate.`,
      thrown,
    );
  }
  return new TemporaryFault(unreachable(host, EXPLAINED[code ?? ''] ?? (message || String(code)), thrown));
}

const EXPLAINED: Readonly<Record<string, string>> = {
  ECONNRESET: 'The connection broke.',
  EPIPE: 'The connection broke.',
  ECONNREFUSED: 'Nothing answers there.',
  ENOTFOUND: 'Its name is not known.',
  EAI_AGAIN: 'Names cannot be looked up at the moment.',
  ETIMEDOUT: 'It does not answer.',
  ENETUNREACH: 'There is no way to it.',
  EHOSTUNREACH: 'There is no way to it.',
};
