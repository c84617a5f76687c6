// Loaded with --import into every process of a test: notes every attempt to reach a network in the file NETWORK_LOG.
import dgram from 'node:dgram';
import dns from 'node:dns';
import dnsPromises from 'node:dns/promises';
import { appendFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import path from 'node:path';

const program = path.basename(process.argv[1] ?? 'node');
const note = (what) => appendFileSync(process.env.NETWORK_LOG, `${process.pid} ${program} ${what}\n`);

/** Addresses come as texts, URLs, and options with a host and a port. */
function described(target) {
  if (typeof target !== 'object' || target === null || target instanceof URL) return String(target);
  const { host, hostname, port, path: file } = Array.isArray(target) ? (target[0] ?? {}) : target;
  return file !== undefined && port === undefined ? String(file) : `${hostname ?? host}:${port}`;
}

function watch(object, name, keys) {
  for (const key of keys) {
    const original = object[key];
    object[key] = function (...args) {
      note(`${name}.${key} ${described(args[0])}`);
      return original.apply(this, args);
    };
  }
}

const lookups = (module) =>
  Object.keys(module).filter(
    (key) => /^(lookup|resolve|reverse)/.test(key) && typeof module[key] === 'function',
  );
watch(net.Socket.prototype, 'net', ['connect']);
watch(dgram.Socket.prototype, 'dgram', ['send', 'connect']);
watch(dns, 'dns', lookups(dns));
watch(dnsPromises, 'dns', lookups(dnsPromises));
watch(http, 'http', ['request', 'get']);
watch(https, 'https', ['request', 'get']);
watch(globalThis, 'global', ['fetch']);
note('spy ready');
