// Loaded with --import into every process of a test: notes every attempt to reach a network in the file NETWORK_LOG.
import dgram from 'node:dgram';
import dns from 'node:dns';
import dnsPromises from 'node:dns/promises';
import { appendFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';

const note = (what) => appendFileSync(process.env.NETWORK_LOG, `${process.pid} ${what}\n`);

function watch(object, name, keys) {
  for (const key of keys) {
    const original = object[key];
    object[key] = function (...args) {
      note(`${name}.${key} ${String(args[0])}`);
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
