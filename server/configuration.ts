import type { Settings } from './protocol';
import { parseSettings } from './settings';

/**
 * The settings by scope. Each scope is asked for once and remembered until the client says that something changed, so
 * that a hover does not wait for the client twice.
 */
export class Configuration {
  readonly #fetch: (scopeUri: string | undefined) => Promise<unknown>;
  readonly #warn: (message: string) => void;
  readonly #known = new Map<string, Promise<Settings>>();

  /** @param fetch gives section `fovea` for a scope. */
  constructor(fetch: (scopeUri: string | undefined) => Promise<unknown>, warn: (message: string) => void) {
    this.#fetch = fetch;
    this.#warn = warn;
  }

  /** @param scopeUri a document or folder; undefined: the window. */
  get(scopeUri?: string): Promise<Settings> {
    const key = scopeUri ?? '';
    let settings = this.#known.get(key);
    if (!settings) {
      settings = this.#fetch(scopeUri).then(
        (value) => parseSettings(value, this.#warn),
        (error: unknown) => {
          this.#warn(`The settings could not be read; defaults are used. ${String(error)}`);
          this.#known.delete(key);
          return parseSettings(undefined, this.#warn);
        },
      );
      this.#known.set(key, settings);
    }
    return settings;
  }

  /** Something changed: ask again. */
  forget(): void {
    this.#known.clear();
  }
}
