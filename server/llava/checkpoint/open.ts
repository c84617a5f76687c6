import { createHash } from 'node:crypto';
import { open, readdir, realpath } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, relative, sep } from 'node:path';
import { ModelError, throwIfCancelled } from '../errors';
import { type Checkpoint, elementCount, type TensorSource } from './checkpoint';
import type { LlavaConfig } from './config';
import { checkTensors, expectedTensors } from './expectedTensors';
import { parseConfig, tokenIdList } from './parseConfig';
import { parsePreprocessor } from './parsePreprocessor';
import { invalidFile, readJsonObject, readTextFile } from './readJson';
import { readSafetensorsHeader, type SafetensorsHeader } from './safetensors';
import { addedTokens, imageToken } from '../text/plainText';
import { specialTokenTexts } from '../text/tokenizer';
import { canonicalName } from './tensorNames';
import { completeTokenizer } from './tokenizerFiles';
import { readTrainedHeads } from './trainedHeads';

type Fields = Record<string, unknown>;

/** Folder names that tell nothing about the model in them. */
const GENERIC_FOLDER = /^(model|checkpoint|output)$/i;

/**
 * Opens a HuggingFace checkpoint folder: reads and cross-checks every description in it and the headers of its weights.
 * No tensor data is read beyond the samples for the hash and the small heads of trained reductions, so this takes milliseconds for a model of any size.
 *
 * @param directory the folder with config.json; may be a snapshot folder of the HuggingFace cache
 * @throws ModelError whose message names the file and the fault
 */
export async function openCheckpoint(
  directory: string,
  options: { signal?: AbortSignal } = {},
): Promise<Checkpoint> {
  const { signal } = options;
  const folder = await CheckpointFolder.open(directory);
  const configJson = await folder.json('config.json', signal);
  if (configJson === undefined)
    throw new ModelError({
      code: 'model.no-config',
      message: `The folder ${directory} is not a model: it has no config.json.`,
      why: 'Fovea reads checkpoints in the HuggingFace layout: config.json, *.safetensors, tokenizer.json.',
      nextStep: 'Choose the folder that contains config.json, or download the checkpoint completely.',
    });
  const written = parseConfig(configJson);

  const files = await findWeightFiles(folder, signal);
  const shards: Shard[] = [];
  for (const [name, file] of files)
    shards.push({ name, file, header: await readSafetensorsHeader(file, { signal, name }) });
  const { tensors, others } = collectTensors(shards);
  // As in transformers: an lm_head that is in the file is used, also where the config says that it is tied.
  const config: LlavaConfig = tensors.has('lm_head.weight')
    ? { ...written, text: { ...written.text, tieWordEmbeddings: false } }
    : written;
  checkElementTypes(config, tensors, others);
  checkTensors(config, tensors);

  const tokenizerJson = await folder.json('tokenizer.json', signal);
  if (tokenizerJson === undefined)
    throw new ModelError({
      code: 'model.no-tokenizer',
      message: 'The checkpoint has no tokenizer.json.',
      why: 'The sentencepiece file tokenizer.model alone is not read.',
      nextStep:
        'Download tokenizer.json too, or write it with transformers: AutoTokenizer.from_pretrained(...).save_pretrained(...).',
    });
  const tokenizerConfig = (await folder.json('tokenizer_config.json', signal)) ?? {};
  const tokenMap = (await folder.json('special_tokens_map.json', signal)) ?? {};
  const tokenizer = completeTokenizer(tokenizerJson, tokenizerConfig, tokenMap);
  const processor = (await folder.json('processor_config.json', signal)) ?? {};
  const generation = (await folder.json('generation_config.json', signal)) ?? {};

  if (imageToken(tokenizer.json, config.imageTokenIndex) === undefined)
    throw new ModelError({
      code: 'model.no-image-token',
      message: `The tokenizer of the checkpoint has no token ${config.imageTokenIndex}, which stands for an image.`,
      why: 'config.json names it as image_token_index, but neither tokenizer.json nor tokenizer_config.json adds it.',
      nextStep: 'Download tokenizer.json and tokenizer_config.json again.',
    });

  const { heads, files: headFiles } = await readTrainedHeads(folder.path, config, signal);

  return {
    directory: folder.path,
    name: folder.displayName(configJson),
    config,
    tensors,
    preprocessor: await readPreprocessor(folder, processor, config, signal),
    tokenizer,
    chatTemplate: await readChatTemplate(folder, processor, tokenizerConfig, signal),
    generation: readGeneration(generation, config, endOfText(tokenizer)),
    heads,
    parameters: [...tensors.values()].reduce((sum, { shape }) => sum + elementCount(shape), 0),
    hash: await hashCheckpoint(configJson, shards, headFiles, signal),
  };
}

// ---------------------------------------------------------------------------------------------- the folder

/** A checkpoint folder that hands out no path outside itself. */
class CheckpointFolder {
  private constructor(
    /** Real path. */
    readonly path: string,
    private readonly given: string,
    private readonly blobs: string | undefined,
  ) {}

  static async open(directory: string): Promise<CheckpointFolder> {
    let path: string;
    try {
      path = await realpath(directory);
      await readdir(path);
    } catch (error) {
      throw noFolder(directory, error);
    }
    // The HuggingFace cache keeps snapshots/<revision>/<file> as symlinks to ../../blobs/<sha>.
    const snapshots = dirname(path);
    const blobs = basename(snapshots) === 'snapshots' ? join(dirname(snapshots), 'blobs') : undefined;
    return new CheckpointFolder(path, directory, blobs);
  }

  /**
   * The folder's name; for the HuggingFace cache the repository's, since the folder is named by a commit; for a folder whose
   * name says nothing ("model") what the config calls itself.
   */
  displayName(config: Fields): string {
    if (this.blobs !== undefined) {
      return basename(dirname(this.blobs))
        .replace(/^models--/, '')
        .replace('--', '/');
    }
    const name = basename(this.path) || this.given;
    const own = config._name_or_path;
    const says = typeof own === 'string' && /^[\w.-]+(\/[\w.-]+)?$/.test(own);
    return GENERIC_FOLDER.test(name) && says ? own : name;
  }

  async json(name: string, signal: AbortSignal | undefined): Promise<Fields | undefined> {
    const file = await this.resolve(name);
    return file === undefined ? undefined : namedFile(name, () => readJsonObject(file, signal));
  }

  async text(name: string, signal: AbortSignal | undefined): Promise<string | undefined> {
    const file = await this.resolve(name);
    return file === undefined ? undefined : readTextFile(file, signal);
  }

  /**
   * The real path of a file of this checkpoint, or undefined where it does not exist.
   * @throws ModelError `model.path-outside` for a name or a link that leaves the folder
   */
  async resolve(name: string): Promise<string | undefined> {
    if (name === '' || /[\0\\]/.test(name) || isAbsolute(name) || name.split('/').includes('..'))
      throw outside(name, 'Its name is not a plain path inside the folder.');
    let file: string;
    try {
      file = await realpath(join(this.path, name));
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
      throw invalidFile(name, message, error);
    }
    if (isInside(this.path, file) || (this.blobs !== undefined && isInside(this.blobs, file))) return file;
    throw outside(name, `It is a link to ${file}.`);
  }

  async names(): Promise<string[]> {
    return readdir(this.path);
  }
}

function noFolder(directory: string, cause: unknown): ModelError {
  const { code, message } = cause as NodeJS.ErrnoException;
  const missing = code === 'ENOENT';
  const repository = missing ? cachedRepository(directory) : undefined;
  if (repository !== undefined)
    return new ModelError({
      code: 'model.no-folder',
      message: `The model ${repository} is not on this machine any more.`,
      why: `There is no folder ${directory}.`,
      nextStep: 'Choose another model, or download this one again.',
      cause,
    });
  return new ModelError({
    code: 'model.no-folder',
    message: missing
      ? `There is no model folder ${directory}.`
      : `The model folder ${directory} cannot be opened.`,
    why: missing ? undefined : code === 'ENOTDIR' ? 'It is a file.' : message,
    nextStep: 'Check the path; it must be the folder that contains config.json.',
    cause,
  });
}

/** The repository of a folder in the cache of HuggingFace, whether it is there or not: .../models--<owner>--<name>/snapshots/<commit>. */
export function cachedRepository(directory: string): string | undefined {
  const snapshots = dirname(directory);
  const [, owner, name] = /^models--(.+?)--(.+)$/.exec(basename(dirname(snapshots))) ?? [];
  return basename(snapshots) === 'snapshots' && owner !== undefined ? `${owner}/${name}` : undefined;
}

/** A cache file's real name is a hash: messages must show the name that the user knows. */
async function namedFile<T>(name: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof ModelError && error.code === 'model.file-invalid')
      throw invalidFile(name, error.why ?? '', error.cause);
    throw error;
  }
}

function isInside(folder: string, file: string): boolean {
  const path = relative(folder, file);
  return path !== '' && path !== '..' && !path.startsWith(`..${sep}`) && !isAbsolute(path);
}

function outside(name: string, why: string): ModelError {
  return new ModelError({
    code: 'model.path-outside',
    message: `The checkpoint refers to the file ${name}, which lies outside its folder.`,
    why,
    nextStep: 'Copy the file into the folder, or download the checkpoint again.',
  });
}

// ---------------------------------------------------------------------------------------------- weights

interface Shard {
  readonly name: string;
  readonly file: string;
  readonly header: SafetensorsHeader;
}

/** File name in the folder -> real path, in a stable order. */
async function findWeightFiles(
  folder: CheckpointFolder,
  signal: AbortSignal | undefined,
): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  const single = await folder.resolve('model.safetensors');
  if (single !== undefined) return files.set('model.safetensors', single);

  const indexName = 'model.safetensors.index.json';
  const index = await folder.json(indexName, signal);
  if (index === undefined) throw await noWeights(folder);
  const map = index.weight_map;
  if (typeof map !== 'object' || map === null || Array.isArray(map) || Object.keys(map).length === 0)
    throw invalidFile(indexName, 'It has no weight_map.');
  for (const name of [...new Set(Object.values(map as Fields))].sort()) {
    if (typeof name !== 'string' || !name.endsWith('.safetensors'))
      throw invalidFile(
        indexName,
        `Its weight_map names ${JSON.stringify(name)}, which is no safetensors file.`,
      );
    const file = await folder.resolve(name);
    if (file === undefined)
      throw new ModelError({
        code: 'model.missing-shard',
        message: `The weights file ${name} is missing.`,
        why: `${indexName} says that a part of the weights is in it.`,
        nextStep: 'Download the checkpoint completely.',
      });
    files.set(name, file);
  }
  return files;
}

async function noWeights(folder: CheckpointFolder): Promise<ModelError> {
  const names = await folder.names();
  const pickles = names.filter((name) => /\.(bin|pt|pth|ckpt)$/.test(name));
  if (pickles.length > 0)
    return new ModelError({
      code: 'model.pickle-weights',
      message: `The checkpoint has its weights only as ${pickles[0]}.`,
      why: 'Such files are Python programs that run when they are loaded; Fovea reads safetensors only.',
      nextStep:
        'Get the safetensors version, or write it with transformers: model.save_pretrained(..., safe_serialization=True).',
    });
  return new ModelError({
    code: 'model.no-weights',
    message: 'The checkpoint has no weights.',
    why: 'Neither model.safetensors nor model.safetensors.index.json is in its folder.',
    nextStep: 'Download the checkpoint completely.',
  });
}

/** What the engine reads, and the types of all other tensors: whole-number ones (position_ids of old files) are buffers that it makes itself. */
function collectTensors(shards: readonly Shard[]): {
  tensors: Map<string, TensorSource>;
  others: Map<string, string>;
} {
  const tensors = new Map<string, TensorSource>();
  const others = new Map<string, string>();
  const sources = new Map<string, string>();
  for (const { name: shard, file, header } of shards) {
    for (const entry of header.tensors) {
      const name = canonicalName(entry.name);
      const earlier = sources.get(name);
      if (earlier !== undefined)
        throw new ModelError({
          code: 'model.duplicate-tensor',
          message: `The checkpoint has the tensor ${name} twice.`,
          why: `It is both ${earlier} and ${entry.name} in ${shard}.`,
          nextStep: 'Download the checkpoint again into an empty folder.',
        });
      sources.set(name, `${entry.name} in ${shard}`);
      const { dtype } = entry;
      if (dtype !== 'F32' && dtype !== 'F16' && dtype !== 'BF16') {
        others.set(name, dtype);
        continue;
      }
      tensors.set(name, {
        name,
        dtype,
        shape: entry.shape,
        file,
        offset: header.dataOffset + entry.begin,
        byteLength: entry.end - entry.begin,
      });
    }
  }
  return { tensors, others };
}

/** @throws ModelError `model.unsupported-element-type` for a weight that is there, but in a type that is not read */
function checkElementTypes(
  config: LlavaConfig,
  tensors: ReadonlyMap<string, TensorSource>,
  others: ReadonlyMap<string, string>,
): void {
  for (const { name } of expectedTensors(config)) {
    const dtype = tensors.has(name) ? undefined : others.get(name);
    if (dtype === undefined) continue;
    throw new ModelError({
      code: 'model.unsupported-element-type',
      message: `The tensor ${name} of the checkpoint has elements of type ${dtype}.`,
      why: 'Weights are read as float32, float16 and bfloat16.',
      nextStep:
        'Choose a checkpoint that is not quantised, or save it again with transformers in one of these types.',
    });
  }
}

/** How much of each weights file goes into the hash: pieces spread evenly over the file. */
const SAMPLES_PER_FILE = 64;
const SAMPLE_BYTES = 1024;

/**
 * Reading 14 GB to name a checkpoint would take a minute; its headers alone do not tell two trainings of one
 * architecture apart, and modification times differ between copies. Samples of the data do and do not, respectively.
 */
async function hashCheckpoint(
  config: Fields,
  shards: readonly Shard[],
  heads: readonly Uint8Array[],
  signal: AbortSignal | undefined,
): Promise<string> {
  const hash = createHash('sha256');
  const add = (bytes: Uint8Array): void => {
    // Each part is preceded by its length, so that no two different sequences of parts are one sequence of bytes.
    hash.update(`${bytes.length}:`).update(bytes);
  };
  add(Buffer.from(JSON.stringify(config)));
  for (const { file, header } of shards) {
    throwIfCancelled(signal);
    add(header.headerBytes);
    add(Buffer.from(String(header.fileSize)));
    const handle = await open(file, 'r');
    try {
      const room = Math.max(0, header.fileSize - header.dataOffset - SAMPLE_BYTES);
      for (let i = 0; i < SAMPLES_PER_FILE; i++) {
        const position = header.dataOffset + Math.floor((room * i) / (SAMPLES_PER_FILE - 1));
        const { buffer, bytesRead } = await handle.read(
          Buffer.alloc(SAMPLE_BYTES),
          0,
          SAMPLE_BYTES,
          position,
        );
        add(buffer.subarray(0, bytesRead));
      }
    } finally {
      await handle.close();
    }
  }
  heads.forEach(add);
  return hash.digest('hex');
}

// ---------------------------------------------------------------------------------------------- the other files

async function readPreprocessor(
  folder: CheckpointFolder,
  processor: Fields,
  config: LlavaConfig,
  signal: AbortSignal | undefined,
): Promise<Checkpoint['preprocessor']> {
  const nested = processor.image_processor;
  if (typeof nested === 'object' && nested !== null && !Array.isArray(nested))
    return parsePreprocessor(nested as Fields, config, 'processor_config.json');
  const name = 'preprocessor_config.json';
  return parsePreprocessor(await folder.json(name, signal), config, name);
}

async function readChatTemplate(
  folder: CheckpointFolder,
  processor: Fields,
  tokenizerConfig: Fields,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const jinja = await folder.text('chat_template.jinja', signal);
  if (jinja !== undefined) return jinja;
  const json = await folder.json('chat_template.json', signal);
  return (
    templateOf(json?.chat_template, 'chat_template.json') ??
    templateOf(processor.chat_template, 'processor_config.json') ??
    templateOf(tokenizerConfig.chat_template, 'tokenizer_config.json')
  );
}

/** A template is a text, or a list (or table) of named texts of which "default" is for plain questions. */
function templateOf(value: unknown, file: string): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'string') return value;
  const named: unknown = Array.isArray(value)
    ? value.find((entry: Fields | null) => entry?.name === 'default')?.template
    : (value as Fields).default;
  if (typeof named === 'string') return named;
  throw invalidFile(file, 'Its chat_template is neither a text nor a list with a "default" entry.');
}

function endOfText({ json, config }: Checkpoint['tokenizer']): number | undefined {
  const text = specialTokenTexts(config).eos_token;
  return addedTokens(json).find(({ content }) => content === text)?.id;
}

/** @param endOfText the tokenizer's own, for checkpoints whose configs name none: their answers would never end */
function readGeneration(
  generation: Fields,
  config: LlavaConfig,
  endOfText: number | undefined,
): Checkpoint['generation'] {
  const file = 'generation_config.json';
  const maximum = generation.max_new_tokens ?? undefined;
  if (maximum !== undefined && (typeof maximum !== 'number' || !Number.isInteger(maximum) || maximum < 1))
    throw invalidFile(
      file,
      `Its max_new_tokens is ${JSON.stringify(maximum)}, not a whole number from 1 up.`,
    );
  const ids = tokenIdList(generation.eos_token_id, `${file}: eos_token_id`);
  const fallbacks = [ids, config.text.eosTokenIds, endOfText === undefined ? [] : [endOfText]];
  const penalty = generation.repetition_penalty ?? 1;
  if (typeof penalty !== 'number' || !(penalty > 0) || !Number.isFinite(penalty))
    throw invalidFile(file, `Its repetition_penalty is ${JSON.stringify(penalty)}, not a number above 0.`);
  return {
    maxNewTokens: maximum,
    eosTokenIds: fallbacks.find((list) => list.length > 0) ?? [],
    repetitionPenalty: penalty,
  };
}
