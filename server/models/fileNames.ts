import { InputError } from '../llava/errors';

/**
 * What Fovea reads of a repository: descriptions, tokenizer and safetensors weights. Everything else stays where it is;
 * above all programs (`*.py`) and pickled weights (`*.bin`), which are programs too.
 */
const DESCRIPTIONS: ReadonlySet<string> = new Set([
  'config.json',
  'generation_config.json',
  'preprocessor_config.json',
  'processor_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'chat_template.jinja',
  'chat_template.json',
]);

export const CONFIG_FILE = 'config.json';
export const TOKENIZER_FILE = 'tokenizer.json';
export const WEIGHTS_FILE = 'model.safetensors';
export const WEIGHTS_INDEX_FILE = 'model.safetensors.index.json';

export function isDescription(name: string): boolean {
  return DESCRIPTIONS.has(name);
}

/** A weights file of a checkpoint: in the repository's top folder, and nothing but plain characters. */
export function isWeightsName(name: string): boolean {
  return /^[A-Za-z0-9][\w.-]{0,200}\.safetensors$/.test(name);
}

/** Names that Windows gives to devices in every folder, with any ending. */
const DEVICE = /^(?:con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(?:\.|$)/i;
// eslint-disable-next-line no-control-regex -- control characters are what is looked for
const FORBIDDEN = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\\:*?"<>|]/;

/**
 * Why a file name from a server must not become a path on any system; undefined where it may.
 * Names come from whoever wrote the repository, or from whoever answers in the hub's place.
 */
export function hostileName(name: string): string | undefined {
  if (name === '' || name.length > 1000) return 'is empty or too long';
  if (FORBIDDEN.test(name)) return 'has characters that no file name should have';
  const parts = name.split('/');
  if (parts.some((part) => part === '')) return 'is an absolute path or has an empty part';
  if (parts.some((part) => part === '.' || part === '..')) return 'leads out of its folder';
  if (parts.some((part) => /[. ]$/.test(part))) return 'ends in a way that Windows drops';
  if (parts.some((part) => DEVICE.test(part))) return 'names a device';
  return undefined;
}

/** A model repository at a revision. */
export interface ModelId {
  /** `organisation/name`. */
  readonly repository: string;
  /** A branch, a tag or a commit. */
  readonly revision: string;
}

export const DEFAULT_REVISION = 'main';

/** Whether a text has the form of a repository's id, by the rules of huggingface_hub. */
export function isRepositoryId(text: string): boolean {
  return (
    /^[A-Za-z0-9](?:[\w.-]{0,94}[\w])?\/[A-Za-z0-9](?:[\w.-]{0,94}[\w])?$/.test(text) &&
    !/--|\.\./.test(text) &&
    !text.endsWith('.git')
  );
}

/**
 * `organisation/name` or `organisation/name@revision`.
 * @throws InputError
 */
export function parseModelId(text: string, revision?: string): ModelId {
  const [repository, written, ...rest] = text.trim().split('@');
  if (!isRepositoryId(repository) || rest.length > 0) {
    throw new InputError({
      code: 'hub.id-invalid',
      message: `"${text}" is not the name of a model.`,
      nextStep:
        'Give a name of the list (fovea model list), a hub id such as llava-hf/llava-1.5-7b-hf, or a folder.',
    });
  }
  return { repository, revision: checkRevision(revision ?? written ?? DEFAULT_REVISION) };
}

/** A revision becomes a part of URLs and, as `refs/<revision>`, of paths. */
function checkRevision(revision: string): string {
  if (!/^[A-Za-z0-9][\w./-]{0,199}$/.test(revision) || hostileName(revision) !== undefined) {
    throw new InputError({
      code: 'hub.revision-invalid',
      message: `"${revision}" is not a revision.`,
      nextStep: 'Give a branch, a tag or a commit of the repository; without one, "main" is taken.',
    });
  }
  return revision;
}

export function isCommit(text: string): boolean {
  return /^[0-9a-f]{40}$/.test(text);
}
