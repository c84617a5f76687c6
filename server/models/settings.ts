import os from 'node:os';
import path from 'node:path';

import { defaultCacheDirectory } from '../llava/cacheDirectory';
import { InputError } from '../llava/errors';
import { isLoopbackHost } from './addresses';

/** Where models lie on this machine. */
export interface ModelPlaces {
  /** The cache that huggingface_hub and transformers fill; read, never written. */
  readonly huggingFaceCache: string;
  /** Fovea's own folder of models, in the same layout. */
  readonly modelsDirectory: string;
}

/** What the user's environment says about the hub. */
export interface HubSettings extends ModelPlaces {
  /** Base address of the hub, without a slash at the end; may have a path (a mirror behind a gateway). */
  readonly endpoint: URL;
  /** Sent to the endpoint's origin and to no other. */
  readonly token: string | undefined;
  /** No request is made at all. */
  readonly offline: boolean;
}

const DEFAULT_ENDPOINT = 'https://huggingface.co';

/**
 * Reads the variables of huggingface_hub (`HF_ENDPOINT`, `HF_TOKEN`, `HF_HUB_OFFLINE`, `HF_HUB_CACHE`, `HF_HOME`); they
 * mean here what they mean there. A token that was stored by `hf auth login` is not read: nobody gave it to Fovea.
 *
 * @throws InputError for an endpoint or a token that cannot be used.
 */
export function hubSettings(environment: NodeJS.ProcessEnv = process.env): HubSettings {
  return {
    endpoint: parseEndpoint(environment.HF_ENDPOINT?.trim() || DEFAULT_ENDPOINT),
    token: parseToken(environment.HF_TOKEN?.trim()),
    offline: isTrue(environment.HF_HUB_OFFLINE ?? environment.TRANSFORMERS_OFFLINE),
    ...modelPlaces(environment),
  };
}

/** The cache of huggingface_hub, and `models` in the user's cache folder for Fovea. Never throws. */
export function modelPlaces(environment: NodeJS.ProcessEnv = process.env): ModelPlaces {
  return {
    huggingFaceCache: huggingFaceCache(environment),
    modelsDirectory: path.join(defaultCacheDirectory(), 'models'),
  };
}

function huggingFaceCache(environment: NodeJS.ProcessEnv): string {
  const { HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME, XDG_CACHE_HOME } = environment;
  const home = HF_HOME || path.join(XDG_CACHE_HOME || path.join(os.homedir(), '.cache'), 'huggingface');
  return path.resolve(expandHome(HF_HUB_CACHE || HUGGINGFACE_HUB_CACHE || path.join(home, 'hub')));
}

function expandHome(text: string): string {
  return /^~(?=$|[\\/])/.test(text) ? path.join(os.homedir(), text.slice(1)) : text;
}

function isTrue(value: string | undefined): boolean {
  return value !== undefined && ['1', 'ON', 'YES', 'TRUE'].includes(value.trim().toUpperCase());
}

function parseEndpoint(text: string): URL {
  let url: URL;
  try {
    url = new URL(text);
  } catch (error) {
    throw invalidEndpoint(text, 'It is not a URL.', error);
  }
  if (url.username !== '' || url.password !== '')
    throw invalidEndpoint(url.host, 'It contains a user name or a password; tokens belong into HF_TOKEN.');
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && isLoopbackHost(url.hostname)))
    throw invalidEndpoint(text, 'Only https is used, and plain http only for a server on this machine.');
  url.pathname = url.pathname.replace(/\/+$/, '');
  url.search = '';
  url.hash = '';
  return url;
}

function invalidEndpoint(text: string, why: string, cause?: unknown): InputError {
  return new InputError({
    code: 'hub.endpoint-invalid',
    // What may hold a password is not repeated: the message ends in logs.
    message: text.includes('@') ? 'HF_ENDPOINT cannot be used.' : `HF_ENDPOINT cannot be "${text}".`,
    why,
    nextStep: 'Set it to an address such as https://huggingface.co, or remove it.',
    cause,
  });
}

function parseToken(text: string | undefined): string | undefined {
  if (!text) return undefined;
  // The message does not repeat the token: it ends in logs.
  if (!/^[\x21-\x7e]+$/.test(text))
    throw new InputError({
      code: 'hub.token-invalid',
      message: 'HF_TOKEN contains characters that a token cannot have.',
      nextStep: 'Set it to the token alone (it begins with "hf_"), or remove it.',
    });
  return text;
}
