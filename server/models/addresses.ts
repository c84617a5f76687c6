import { BlockList, isIP } from 'node:net';

/** Which kind of network an address is in. `reserved` ones are never right for a download (among them cloud metadata). */
export type NetworkScope = 'public' | 'private' | 'loopback' | 'reserved';

/** IANA's special-purpose registries: RFC 6890, 1918, 4193, 6598, 3927, 5771. */
const LISTS: readonly (readonly [Exclude<NetworkScope, 'public'>, BlockList])[] = [
  ['loopback', blockList(['127.0.0.0/8'], ['::1/128'])],
  ['private', blockList(['10.0.0.0/8', '100.64.0.0/10', '172.16.0.0/12', '192.168.0.0/16'], ['fc00::/7'])],
  [
    'reserved',
    blockList(
      ['0.0.0.0/8', '169.254.0.0/16', '192.0.0.0/24', '198.18.0.0/15', '224.0.0.0/4', '240.0.0.0/4'],
      ['::/128', 'fe80::/10', 'ff00::/8'],
    ),
  ],
];

function blockList(ipv4: readonly string[], ipv6: readonly string[]): BlockList {
  const list = new BlockList();
  const add = (subnet: string, family: 'ipv4' | 'ipv6'): void => {
    const [network, bits] = subnet.split('/');
    list.addSubnet(network, Number(bits), family);
  };
  for (const subnet of ipv4) add(subnet, 'ipv4');
  for (const subnet of ipv6) add(subnet, 'ipv6');
  return list;
}

/** @param address an IPv4 or IPv6 address; IPv4 written as IPv6 (`::ffff:10.0.0.1`) counts as IPv4. */
export function networkScope(address: string): NetworkScope {
  const version = isIP(address);
  if (version === 0) return 'reserved';
  const family = version === 4 ? 'ipv4' : 'ipv6';
  return LISTS.find(([, list]) => list.check(address, family))?.[0] ?? 'public';
}

/** @param hostname as in `URL.hostname`: IPv6 in brackets. */
export function isLoopbackHost(hostname: string): boolean {
  return hostname === 'localhost' || literalScope(hostname) === 'loopback';
}

/** The scope of a host that is written as an address; undefined for a name. */
export function literalScope(hostname: string): NetworkScope | undefined {
  const address = hostname.replace(/^\[(.*)\]$/, '$1');
  return isIP(address) === 0 ? undefined : networkScope(address);
}

/**
 * Whether a redirect that started at the endpoint may lead to an address: to the public internet always, into a network of
 * this machine or this site only from an endpoint that is there itself. A hub must not make us knock at doors that only
 * we can reach.
 */
export function mayRedirect(endpoint: NetworkScope, target: NetworkScope): boolean {
  return target === 'public' || (target !== 'reserved' && target === endpoint);
}
