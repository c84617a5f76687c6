import { once } from 'node:events';
import { existsSync } from 'node:fs';
import http from 'node:http';
import net, { type AddressInfo } from 'node:net';

import { afterEach, describe, expect, it } from 'vitest';

import { temporaryDirectory } from '../../server/llava/testing/temporaryDirectory';
import type { AddressLookup } from '../../server/models/http';
import type { FakeHub } from './fakeHub';
import { refusal, startHub, User } from './setting';

const parent = temporaryDirectory();
const TOKEN = 'hf_secretSecretSecret';

/** The hub redirects requests for contents to a place of the test's choice. */
function redirectContents(hub: FakeHub, location: string, status = 302): void {
  hub.misbehave = ({ url, response }) => {
    if (!url.includes('/resolve/')) return false;
    response.writeHead(status, { location }).end();
    return true;
  };
}

describe('the token', () => {
  it('goes to the endpoint, and not with a redirect to another one', async () => {
    const storage = await startHub();
    const hub = await startHub();
    hub.storage = storage.origin;
    const user = new User(parent, hub, { HF_TOKEN: TOKEN });
    await user.download();
    expect(hub.requests.length).toBeGreaterThan(0);
    expect(hub.requests.every(({ authorization }) => authorization === `Bearer ${TOKEN}`)).toBe(true);
    expect(storage.requests.length).toBeGreaterThan(0);
    expect(storage.requests.every(({ authorization }) => authorization === undefined)).toBe(true);
  });

  it('stays dropped when the other host sends us back', async () => {
    const detour = await startHub();
    const hub = await startHub();
    hub.storage = detour.origin;
    detour.misbehave = ({ url, response }) => {
      response.writeHead(302, { location: `${hub.origin}${url}?back` }).end();
      return true;
    };
    const user = new User(parent, hub, { HF_TOKEN: TOKEN });
    await user.download();
    const back = hub.requests.filter(({ url }) => url.endsWith('?back'));
    expect(back.length).toBeGreaterThan(0);
    expect(back.every(({ authorization }) => authorization === undefined)).toBe(true);
  });

  it('is in no error, whatever happens', async () => {
    const hub = await startHub();
    hub.misbehave = ({ response }) => {
      response.writeHead(403).end();
      return true;
    };
    const error = await refusal(new User(parent, hub, { HF_TOKEN: TOKEN }).plan());
    expect(JSON.stringify(error.toData()) + String(error.stack)).not.toContain(TOKEN);
  });
});

describe('a redirect', () => {
  it.each([
    ['a private address', 'https://10.0.0.1/file'],
    ['a home router', 'http://192.168.1.1/file'],
    ['the cloud metadata', 'http://169.254.169.254/latest/meta-data'],
    ['the cloud metadata over https', 'https://169.254.169.254/latest/meta-data'],
    ['a private address as IPv6', 'https://[::ffff:10.0.0.1]/file'],
    ['a link-local IPv6 address', 'https://[fe80::1]/file'],
    ['a number that is an address', 'https://2852039166/file'],
    ['every interface', 'https://0.0.0.0/file'],
    ['a plain http host', 'http://storage.invalid/file'],
    ['a file', 'file:///etc/passwd'],
    ['data', 'data:text/plain,x'],
    ['a user name', 'https://user:password@storage.invalid/file'],
    ['nonsense', 'https://['],
  ])('to %s is refused, without a connection', async (_, location) => {
    const hub = await startHub();
    redirectContents(hub, location);
    const lookups: string[] = [];
    const lookup: AddressLookup = (name, callback) => {
      lookups.push(name);
      callback(null, [{ address: '127.0.0.1', family: 4 }]);
    };
    const user = new User(parent, hub);
    const error = await refusal(user.plan({ lookup }));
    expect(error.code).toBe('hub.untrustworthy');
    expect(lookups).toEqual([]);
    expect(existsSync(user.settings.modelsDirectory)).toBe(false);
  });

  it.each(['10.1.2.3', '172.16.0.9', '169.254.169.254', '100.64.0.1', 'fd00::1', 'fe80::1', '::'])(
    'to a name whose address is %s is refused when the connection is made',
    async (address) => {
      const hub = await startHub();
      redirectContents(hub, 'https://storage.invalid/file');
      const lookup: AddressLookup = (name, callback) => {
        expect(name).toBe('storage.invalid');
        // The first address is harmless: every one of them counts.
        const family = net.isIP(address);
        callback(null, [
          { address: '203.0.113.1', family: 4 },
          { address, family },
        ]);
      };
      const error = await refusal(new User(parent, hub).plan({ lookup }));
      expect(error.code).toBe('hub.untrustworthy');
      expect(error.why).toContain(address);
    },
  );

  it.each([301, 302, 303, 307, 308])('with status %i is followed', async (status) => {
    const hub = await startHub();
    hub.misbehave = ({ url, response }) => {
      if (!url.includes('/resolve/')) return false;
      // Relative, as huggingface.co redirects renamed repositories.
      response.writeHead(status, { location: `/storage/${url.split('/').at(-1)}` }).end();
      return true;
    };
    await new User(parent, hub).download();
  });

  it('without an end, or to nowhere, is left', async () => {
    const hub = await startHub();
    const user = new User(parent, hub);
    hub.misbehave = ({ url, response }) => {
      response.writeHead(302, { location: `${url}+` }).end();
      return true;
    };
    expect((await refusal(user.plan())).why).toMatch(/more than 5 times/);
    expect(hub.requests.length).toBe(6);
    hub.misbehave = ({ response }) => {
      response.writeHead(302).end();
      return true;
    };
    expect((await refusal(user.plan())).code).toBe('hub.untrustworthy');
  });
});

describe('a proxy', () => {
  const variables = [
    'HTTP_PROXY',
    'HTTPS_PROXY',
    'NO_PROXY',
    'http_proxy',
    'https_proxy',
    'no_proxy',
    'ALL_PROXY',
  ];
  const before = Object.fromEntries(variables.map((name) => [name, process.env[name]]));
  const servers: http.Server[] = [];

  afterEach(() => {
    for (const [name, value] of Object.entries(before)) {
      if (value === undefined) Reflect.deleteProperty(process.env, name);
      else process.env[name] = value;
    }
    for (const server of servers.splice(0)) {
      server.closeAllConnections();
      server.close();
    }
  });

  /** A proxy that knows CONNECT. */
  async function startProxy(): Promise<{ url: string; targets: string[]; authorizations: unknown[] }> {
    const targets: string[] = [];
    const authorizations: unknown[] = [];
    const server = http.createServer((_, response) => response.writeHead(501).end());
    server.on('connect', (request, socket) => {
      targets.push(request.url ?? '');
      authorizations.push(request.headers['proxy-authorization']);
      const [host, port] = (request.url ?? '').split(':');
      const target = net.connect(Number(port), host, () => {
        socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
        target.pipe(socket).pipe(target);
      });
      target.on('error', () => socket.destroy());
      socket.on('error', () => target.destroy());
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    servers.push(server);
    return {
      url: `http://user:pass@127.0.0.1:${(server.address() as AddressInfo).port}`,
      targets,
      authorizations,
    };
  }

  it('from the environment is used for every request, with its credentials', async () => {
    const hub = await startHub();
    const proxy = await startProxy();
    process.env.HTTP_PROXY = proxy.url;
    await new User(parent, hub).download();
    expect(proxy.targets.length).toBe(hub.requests.length);
    expect(new Set(proxy.targets)).toEqual(new Set([hub.host]));
    expect(new Set(proxy.authorizations)).toEqual(
      new Set([`Basic ${Buffer.from('user:pass').toString('base64')}`]),
    );
  });

  it('is not used for what NO_PROXY names', async () => {
    const hub = await startHub();
    const proxy = await startProxy();
    process.env.HTTP_PROXY = proxy.url;
    process.env.NO_PROXY = 'example.com,127.0.0.1';
    await new User(parent, hub).download();
    expect(proxy.targets).toEqual([]);
  });

  it('that is not there is an error that names what to check', async () => {
    const hub = await startHub();
    process.env.HTTP_PROXY = 'http://127.0.0.1:9';
    const error = await refusal(new User(parent, hub).plan());
    expect(error.code).toBe('hub.unreachable');
    expect(error.nextStep).toMatch(/HTTPS_PROXY/);
    expect(hub.requests).toEqual([]);
  });
});

describe('a name', () => {
  it('that nobody knows is an error that says so', async () => {
    const hub = await startHub();
    const user = new User(parent, hub, { HF_ENDPOINT: 'https://hub.invalid' });
    const lookup: AddressLookup = (_, callback) =>
      callback(Object.assign(new Error('getaddrinfo ENOTFOUND hub.invalid'), { code: 'ENOTFOUND' }), []);
    const error = await refusal(user.plan({ lookup }));
    expect(error).toMatchObject({ code: 'hub.unreachable', why: 'Its name is not known.' });
  });
});
