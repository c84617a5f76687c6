import { describe, expect, it } from 'vitest';

import { isLoopbackHost, literalScope, mayRedirect, networkScope } from './addresses';

describe('the kind of network of an address', () => {
  it.each([
    ['8.8.8.8', 'public'],
    ['172.15.255.255', 'public'],
    ['172.32.0.0', 'public'],
    ['100.63.255.255', 'public'],
    ['2606:4700::1111', 'public'],
    ['127.0.0.1', 'loopback'],
    ['127.255.255.254', 'loopback'],
    ['::1', 'loopback'],
    ['::ffff:127.0.0.1', 'loopback'],
    ['10.0.0.1', 'private'],
    ['172.16.0.1', 'private'],
    ['172.31.255.255', 'private'],
    ['192.168.0.1', 'private'],
    ['100.64.0.1', 'private'],
    ['fd12:3456::1', 'private'],
    ['::ffff:192.168.0.1', 'private'],
    ['169.254.169.254', 'reserved'],
    ['::ffff:169.254.169.254', 'reserved'],
    ['0.0.0.0', 'reserved'],
    ['224.0.0.1', 'reserved'],
    ['255.255.255.255', 'reserved'],
    ['fe80::1', 'reserved'],
    ['ff02::1', 'reserved'],
    ['::', 'reserved'],
    ['not an address', 'reserved'],
  ])('%s is %s', (address, scope) => {
    expect(networkScope(address)).toBe(scope);
  });

  it('is read from a host that is written as an address, and from no name', () => {
    expect(literalScope('[::1]')).toBe('loopback');
    expect(literalScope('10.0.0.1')).toBe('private');
    expect(literalScope('ten.example')).toBeUndefined();
    expect(isLoopbackHost('localhost')).toBe(true);
    expect(isLoopbackHost('localhost.example')).toBe(false);
  });
});

describe('a redirect', () => {
  it('may lead from anywhere to the internet, and never to a reserved address', () => {
    for (const endpoint of ['public', 'private', 'loopback', 'reserved'] as const) {
      expect(mayRedirect(endpoint, 'public')).toBe(true);
      expect(mayRedirect(endpoint, 'reserved')).toBe(false);
    }
  });

  it('may not lead from the internet to this site or this machine', () => {
    expect(mayRedirect('public', 'private')).toBe(false);
    expect(mayRedirect('public', 'loopback')).toBe(false);
  });

  it("may stay in the endpoint's own network", () => {
    expect(mayRedirect('private', 'private')).toBe(true);
    expect(mayRedirect('loopback', 'loopback')).toBe(true);
    expect(mayRedirect('private', 'loopback')).toBe(false);
    expect(mayRedirect('loopback', 'private')).toBe(false);
  });
});
