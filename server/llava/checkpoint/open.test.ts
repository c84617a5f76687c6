import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { CancelledError } from '../errors';
import { ALL_FIXTURES, readFixture } from '../testing/fixtures';
import { temporaryDirectory } from '../testing/temporaryDirectory';
import { openCheckpoint } from './open';
import { MAX_JSON_BYTES } from './readJson';
import { copyCheckpoint, modelError, safetensorsBytes } from './testing';

const scratch = temporaryDirectory();
let copies = 0;

/** A fresh copy of a fixture to damage: one file, or three shards. */
function copy(name: 'clip-llama' | 'clip-mistral-layers-sharded' = 'clip-llama'): string {
  return copyCheckpoint(name, path.join(scratch, `copy-${copies++}`));
}

function editJson(folder: string, file: string, edit: (json: Record<string, unknown>) => void): void {
  const at = path.join(folder, file);
  const json = JSON.parse(readFileSync(at, 'utf8'));
  edit(json);
  writeFileSync(at, JSON.stringify(json));
}

const INDEX = 'model.safetensors.index.json';
const SECOND_SHARD = 'model-00002-of-00003.safetensors';

describe.each(ALL_FIXTURES)('openCheckpoint(%s)', (name) => {
  it('reads the folder as transformers wrote it', async () => {
    const { directory } = readFixture(name);
    const checkpoint = await openCheckpoint(directory);
    expect(checkpoint.name).toBe(name);
    expect(checkpoint.hash).toMatch(/^[0-9a-f]{64}$/);
    expect(checkpoint.preprocessor.size).toBe(checkpoint.config.vision.imageSize);
    expect(checkpoint.tensors.has('lm_head.weight')).toBe(!checkpoint.config.text.tieWordEmbeddings);
    for (const [key, tensor] of checkpoint.tensors) {
      expect(tensor.name).toBe(key);
      expect(path.isAbsolute(tensor.file)).toBe(true);
      const elements = tensor.shape.reduce((product, size) => product * size, 1);
      expect(tensor.byteLength).toBe(elements * (tensor.dtype === 'F32' ? 4 : 2));
      expect(tensor.offset + tensor.byteLength).toBeLessThanOrEqual(readFileSync(tensor.file).length);
    }
  });
});

describe('the chat template', () => {
  const template = async (edit: (folder: string) => void): Promise<string | undefined> => {
    const folder = copy();
    for (const file of ['chat_template.jinja', 'chat_template.json'])
      rmSync(path.join(folder, file), { force: true });
    editJson(folder, 'tokenizer_config.json', (json) => delete json.chat_template);
    edit(folder);
    return (await openCheckpoint(folder)).chatTemplate;
  };
  const inTokenizerConfig = (value: unknown) => (folder: string) =>
    editJson(folder, 'tokenizer_config.json', (json) => (json.chat_template = value));

  it('may be absent', async () => {
    expect(await template(() => undefined)).toBeUndefined();
  });

  it('is taken from any of its places, the newest first', async () => {
    expect(await template(inTokenizerConfig('in config'))).toBe('in config');
    expect(
      await template(
        inTokenizerConfig([
          { name: 'tool_use', template: 'x' },
          { name: 'default', template: 'd' },
        ]),
      ),
    ).toBe('d');
    expect(
      await template((folder) => {
        inTokenizerConfig('old')(folder);
        writeFileSync(path.join(folder, 'chat_template.json'), '{"chat_template":"newer"}');
      }),
    ).toBe('newer');
    expect(
      await template((folder) => {
        writeFileSync(path.join(folder, 'chat_template.json'), '{"chat_template":"old"}');
        writeFileSync(path.join(folder, 'chat_template.jinja'), 'newest');
      }),
    ).toBe('newest');
  });

  it('is refused when it is neither text nor a list with a default', async () => {
    for (const value of [7, [{ name: 'tool_use', template: 'x' }], [null]]) {
      const folder = copy();
      rmSync(path.join(folder, 'chat_template.json'), { force: true });
      inTokenizerConfig(value)(folder);
      const error = await modelError(openCheckpoint(folder));
      expect([error.code, error.message]).toEqual([
        'model.file-invalid',
        'The file tokenizer_config.json of the checkpoint cannot be used.',
      ]);
    }
  });
});

describe('end tokens', () => {
  const ends = async (generation: object | undefined): Promise<readonly number[]> => {
    const folder = copy();
    const file = path.join(folder, 'generation_config.json');
    rmSync(file, { force: true });
    if (generation) writeFileSync(file, JSON.stringify(generation));
    editJson(
      folder,
      'config.json',
      (json) => ((json.text_config as Record<string, unknown>).eos_token_id = 2),
    );
    return (await openCheckpoint(folder)).generation.eosTokenIds;
  };

  it('come from the top level of config.json before the text config, and from the tokenizer where no config has any', async () => {
    const folder = copy();
    rmSync(path.join(folder, 'generation_config.json'));
    const set = (key: string, json: Record<string, unknown>, value: unknown): unknown => (json[key] = value);
    const opened = async (): Promise<readonly number[]> =>
      (await openCheckpoint(folder)).generation.eosTokenIds;
    editJson(folder, 'config.json', (json) => set('eos_token_id', json, [9]));
    expect(await opened()).toEqual([9]);
    editJson(folder, 'config.json', (json) => {
      set('eos_token_id', json, null);
      set('eos_token_id', json.text_config as Record<string, unknown>, null);
    });
    // "</s>" of the fixture's tokenizer.
    expect(await opened()).toEqual([2]);
  });

  it('come from generation_config.json, otherwise from the text config', async () => {
    expect(await ends({ eos_token_id: [7, 8] })).toEqual([7, 8]);
    expect(await ends({ eos_token_id: 7 })).toEqual([7]);
    expect(await ends({})).toEqual([2]);
    expect(await ends(undefined)).toEqual([2]);
  });
});

it('the repetition penalty comes from generation_config.json, and must be one', async () => {
  const folder = copy();
  const opened = async (value: unknown): Promise<number> => {
    editJson(folder, 'generation_config.json', (json) => (json.repetition_penalty = value));
    return (await openCheckpoint(folder)).generation.repetitionPenalty;
  };
  expect((await openCheckpoint(folder)).generation.repetitionPenalty).toBe(1);
  expect(await opened(1.1)).toBe(1.1);
  expect(await opened(null)).toBe(1);
  for (const wrong of [0, -1, '1.1', true])
    await expect(opened(wrong)).rejects.toThrow(/generation_config\.json/);
});

describe('the hash', () => {
  it('is the same for a copy, at another time and place', async () => {
    const [a, b] = [copy(), copy()];
    utimesSync(path.join(b, 'model.safetensors'), 1000, 1000);
    expect((await openCheckpoint(a)).hash).toBe((await openCheckpoint(b)).hash);
  });

  it('changes with the config and with the weights', async () => {
    const original = (await openCheckpoint(copy())).hash;
    const other = copy();
    editJson(other, 'config.json', (json) => (json.note = 'changed'));
    expect((await openCheckpoint(other)).hash).not.toBe(original);
    const trained = copy();
    const weights = path.join(trained, 'model.safetensors');
    const bytes = readFileSync(weights);
    // Another training changes every number.
    const begin = 8 + Number(bytes.readBigUInt64LE());
    for (let i = begin; i < bytes.length; i++) bytes[i] ^= 1;
    writeFileSync(weights, bytes);
    expect((await openCheckpoint(trained)).hash).not.toBe(original);
  });
});

describe('an lm_head beside tied embeddings', () => {
  it('is used, as transformers does', async () => {
    const folder = copy();
    editJson(folder, 'config.json', (json) => {
      json.tie_word_embeddings = true;
      (json.text_config as Record<string, unknown>).tie_word_embeddings = true;
    });
    const checkpoint = await openCheckpoint(folder);
    expect(checkpoint.tensors.has('lm_head.weight')).toBe(true);
    expect(checkpoint.config.text.tieWordEmbeddings).toBe(false);
  });
});

describe('the HuggingFace cache', () => {
  /** hub/models--org--name/{blobs/<hash>, snapshots/<commit>/<name> -> ../../blobs/<hash>} */
  function cache(): { snapshot: string; blobs: string } {
    const repository = path.join(scratch, `hub-${copies++}`, 'models--llava-hf--tiny');
    const snapshot = path.join(repository, 'snapshots', 'abc123');
    const blobs = path.join(repository, 'blobs');
    copyCheckpoint('clip-mistral-layers-sharded', snapshot);
    mkdirSync(blobs);
    const linked = {
      'config.json': 'sha-1',
      'tokenizer.json': 'sha-2',
      'model-00001-of-00003.safetensors': 'sha-3',
    };
    for (const [file, blob] of Object.entries(linked)) {
      renameSync(path.join(snapshot, file), path.join(blobs, blob));
      symlinkSync(path.join('..', '..', 'blobs', blob), path.join(snapshot, file));
    }
    return { snapshot, blobs };
  }

  it('is read through its links, and the model has its name', async () => {
    const { snapshot, blobs } = cache();
    const checkpoint = await openCheckpoint(snapshot);
    expect(checkpoint.name).toBe('llava-hf/tiny');
    const files = new Set([...checkpoint.tensors.values()].map(({ file }) => path.dirname(file)));
    expect([...files].sort()).toEqual([blobs, snapshot].sort());
  });

  it('is damaged under the name that the user knows', async () => {
    const { snapshot, blobs } = cache();
    truncateSync(path.join(blobs, 'sha-3'), 100);
    const error = await modelError(openCheckpoint(snapshot));
    expect(error.message).toContain('model-00001-of-00003.safetensors');
  });
});

describe('a folder that is no usable checkpoint', () => {
  it('does not exist', async () => {
    const error = await modelError(openCheckpoint(path.join(scratch, 'absent')));
    expect(error.code).toBe('model.no-folder');
    expect(error.message).toContain(path.join(scratch, 'absent'));
  });

  it('was removed from the cache: the model is named, not a number', async () => {
    const snapshot = path.join(scratch, 'models--acme--tiny--llava', 'snapshots', 'f'.repeat(40));
    const error = await modelError(openCheckpoint(snapshot));
    expect(error.message).toBe('The model acme/tiny--llava is not on this machine any more.');
    expect(error.why).toContain(snapshot);
  });

  it('is a file', async () => {
    expect((await modelError(openCheckpoint(path.join(copy(), 'config.json')))).code).toBe('model.no-folder');
  });

  const damage: [string, string, string, (folder: string) => void][] = [
    [
      'no config.json',
      'model.no-config',
      'config.json',
      (folder) => rmSync(path.join(folder, 'config.json')),
    ],
    [
      'an unknown model type',
      'model.unsupported-model-type',
      'phi4_siglip',
      (folder) => editJson(folder, 'config.json', (json) => (json.model_type = 'phi4_siglip')),
    ],
    [
      'no tokenizer',
      'model.no-tokenizer',
      'tokenizer.json',
      (folder) => rmSync(path.join(folder, 'tokenizer.json')),
    ],
    ['no weights', 'model.no-weights', 'weights', (folder) => rmSync(path.join(folder, 'model.safetensors'))],
    [
      'weights in Python format only',
      'model.pickle-weights',
      'pytorch_model.bin',
      (folder) => renameSync(path.join(folder, 'model.safetensors'), path.join(folder, 'pytorch_model.bin')),
    ],
    [
      'truncated weights',
      'model.safetensors-truncated',
      'model.safetensors',
      (folder) => {
        const file = path.join(folder, 'model.safetensors');
        truncateSync(file, readFileSync(file).length - 1);
      },
    ],
    [
      'broken JSON',
      'model.file-invalid',
      'config.json',
      (folder) => writeFileSync(path.join(folder, 'config.json'), '{"a"'),
    ],
    [
      'a JSON list',
      'model.file-invalid',
      'tokenizer.json',
      (folder) => writeFileSync(path.join(folder, 'tokenizer.json'), '[]'),
    ],
    [
      'text that is not UTF-8',
      'model.file-invalid',
      'tokenizer_config.json',
      (folder) => writeFileSync(path.join(folder, 'tokenizer_config.json'), Buffer.from([0x7b, 0xff, 0x7d])),
    ],
    [
      'a folder in place of a file',
      'model.unreadable',
      'tokenizer.json',
      (folder) => {
        rmSync(path.join(folder, 'tokenizer.json'));
        mkdirSync(path.join(folder, 'tokenizer.json'));
      },
    ],
    [
      'no token for images in its tokenizer',
      'model.no-image-token',
      '372',
      (folder) =>
        editJson(folder, 'tokenizer.json', (json) => {
          const tokens = json.added_tokens as { content: string }[];
          json.added_tokens = tokens.filter(({ content }) => content !== '<image>');
        }),
    ],
    [
      'weights of another type',
      'model.unsupported-element-type',
      'model.language_model.norm.weight',
      (folder) => {
        const file = path.join(folder, 'model.safetensors');
        const bytes = readFileSync(file);
        const name = '"language_model.model.norm.weight":{"dtype":"F32"';
        const at = bytes.indexOf(name);
        expect(at).toBeGreaterThan(0);
        bytes.write(name.replace('F32', 'I32'), at);
        writeFileSync(file, bytes);
      },
    ],
    [
      'a huge JSON file',
      'model.file-too-large',
      'generation_config.json',
      (folder) =>
        writeFileSync(path.join(folder, 'generation_config.json'), Buffer.alloc(MAX_JSON_BYTES + 1, ' ')),
    ],
    [
      'a link that leaves the folder',
      'model.path-outside',
      'tokenizer.json',
      (folder) => {
        cpSync(path.join(folder, 'tokenizer.json'), path.join(scratch, 'elsewhere.json'));
        rmSync(path.join(folder, 'tokenizer.json'));
        symlinkSync(path.join(scratch, 'elsewhere.json'), path.join(folder, 'tokenizer.json'));
      },
    ],
    [
      'sizes that contradict the weights',
      'model.tensor-shape',
      'embed_tokens',
      (folder) =>
        editJson(folder, 'config.json', (json) => {
          const text = json.text_config as Record<string, number>;
          text.vocab_size = text.vocab_size + 1;
        }),
    ],
    [
      'more layers than weights',
      'model.tensor-missing',
      'layers',
      (folder) =>
        editJson(folder, 'config.json', (json) => {
          const text = json.text_config as Record<string, number>;
          text.num_hidden_layers = text.num_hidden_layers + 1;
        }),
    ],
    [
      'an image processor of another size',
      'model.preprocessor-size',
      'config.json',
      (folder) => {
        rmSync(path.join(folder, 'processor_config.json'), { force: true });
        writeFileSync(
          path.join(folder, 'preprocessor_config.json'),
          '{"size":{"shortest_edge":224},"crop_size":{"height":224,"width":224}}',
        );
      },
    ],
    [
      'an answer length below 1',
      'model.file-invalid',
      'generation_config.json',
      (folder) => writeFileSync(path.join(folder, 'generation_config.json'), '{"max_new_tokens":0}'),
    ],
  ];

  it.each(damage)('has %s', async (_, code, named, edit) => {
    const folder = copy();
    edit(folder);
    const error = await modelError(openCheckpoint(folder));
    expect(error.code).toBe(code);
    expect(error.message).toContain(named);
  });

  it.runIf(process.platform !== 'win32')('has a pipe for a file, which nobody waits for', async () => {
    for (const [file, code] of [
      ['config.json', 'model.unreadable'],
      ['model.safetensors', 'model.unreadable'],
    ]) {
      const folder = copy();
      rmSync(path.join(folder, file));
      execFileSync('mkfifo', [path.join(folder, file)]);
      const error = await modelError(openCheckpoint(folder));
      expect(error.code).toBe(code);
      expect(error.message).toContain(file);
    }
  });

  it('lacks a shard', async () => {
    const folder = copy('clip-mistral-layers-sharded');
    rmSync(path.join(folder, SECOND_SHARD));
    const error = await modelError(openCheckpoint(folder));
    expect(error.code).toBe('model.missing-shard');
    expect(error.message).toContain(SECOND_SHARD);
  });

  it('has a truncated shard', async () => {
    const folder = copy('clip-mistral-layers-sharded');
    const file = path.join(folder, SECOND_SHARD);
    truncateSync(file, readFileSync(file).length - 100);
    const error = await modelError(openCheckpoint(folder));
    expect(error.code).toBe('model.safetensors-truncated');
    expect(error.message).toContain(SECOND_SHARD);
  });

  it('has one tensor under two names', async () => {
    const folder = copy('clip-mistral-layers-sharded');
    const entry = { dtype: 'F32', shape: [1], data_offsets: [0, 4] };
    writeFileSync(
      path.join(folder, 'extra.safetensors'),
      safetensorsBytes({ 'language_model.model.norm.weight': entry }, 4),
    );
    editJson(
      folder,
      INDEX,
      (json) => ((json.weight_map as Record<string, string>).again = 'extra.safetensors'),
    );
    const error = await modelError(openCheckpoint(folder));
    expect(error.code).toBe('model.duplicate-tensor');
    expect(error.message).toContain('model.language_model.norm.weight');
  });

  it.each([
    '../outside.safetensors',
    'a/../../outside.safetensors',
    '/etc/outside.safetensors',
    '..\\outside.safetensors',
    'nul\0.safetensors',
  ])('has an index that points outside: %j', async (name) => {
    const folder = copy('clip-mistral-layers-sharded');
    writeFileSync(path.join(scratch, 'outside.safetensors'), safetensorsBytes({}, 0));
    editJson(folder, INDEX, (json) => ((json.weight_map as Record<string, string>).x = name));
    expect((await modelError(openCheckpoint(folder))).code).toBe('model.path-outside');
  });

  it.each([
    { weight_map: undefined },
    { weight_map: {} },
    { weight_map: [] },
    { weight_map: { a: 7 } },
    { weight_map: { a: 'pytorch_model.bin' } },
  ])('has an index that is none: %j', async (index) => {
    const folder = copy('clip-mistral-layers-sharded');
    writeFileSync(path.join(folder, INDEX), JSON.stringify(index));
    expect((await modelError(openCheckpoint(folder))).code).toBe('model.file-invalid');
  });
});

describe('openCheckpoint', () => {
  it('ignores tensors that it does not know, but keeps them', async () => {
    const folder = copy('clip-mistral-layers-sharded');
    const header = {
      'dyrate.classifier.weight': { dtype: 'F32', shape: [1], data_offsets: [0, 4] },
      'vision_tower.vision_model.embeddings.position_ids': {
        dtype: 'I64',
        shape: [1],
        data_offsets: [4, 12],
      },
    };
    writeFileSync(path.join(folder, 'extra.safetensors'), safetensorsBytes(header, 12));
    editJson(folder, INDEX, (json) => ((json.weight_map as Record<string, string>).x = 'extra.safetensors'));
    const { tensors } = await openCheckpoint(folder);
    expect(tensors.get('dyrate.classifier.weight')).toMatchObject({ dtype: 'F32', byteLength: 4 });
    expect(tensors.has('model.vision_tower.embeddings.position_ids')).toBe(false);
  });

  it('stops when cancelled', async () => {
    const folder = copy();
    await expect(openCheckpoint(folder, { signal: AbortSignal.abort() })).rejects.toThrow(CancelledError);
    expect(existsSync(folder)).toBe(true);
  });
});
