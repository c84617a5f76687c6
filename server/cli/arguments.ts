import { parseArgs, type ParseArgsConfig } from 'node:util';

import { version } from '../../package.json';
import { InputError } from '../llava/errors';
import { parseReduction } from '../llava/reduction/parse';
import { PRECISION_CHOICES, type PrecisionChoice } from '../llava/checkpoint/precision';
import { REDUCTIONS } from '../llava/reduction/registry';
import { DEVICE_CHOICES, type DeviceChoice } from '../llava/runtime/device';
import type { PixelRect, SamplingOptions } from '../protocol';
import { embeddedModelDirectory } from './embeddedModel';

export const VERSION = version;

type OptionsConfig = NonNullable<ParseArgsConfig['options']>;

export interface AskCommand {
  name: 'ask';
  image: string;
  part: PixelRect | undefined;
  question: string;
  model: string;
  reduction: string;
  device: DeviceChoice;
  precision: PrecisionChoice;
  fit: 'pad' | 'crop';
  system: string | undefined;
  raw: boolean;
  sampling: SamplingOptions;
  tracePath: string | undefined;
  json: boolean;
}

export interface InspectCommand {
  name: 'inspect';
  model: string;
  /** What the estimates are about; a screenshot of a common screen by default. */
  image: string | undefined;
  json: boolean;
}

export interface DevicesCommand {
  name: 'devices';
  /** Forget what was found out before. */
  retest: boolean;
  json: boolean;
}

export interface AnalyzeCommand {
  name: 'analyze';
  image: string;
  part: PixelRect | undefined;
  question: string;
  model: string;
  device: DeviceChoice;
  precision: PrecisionChoice;
  fit: 'pad' | 'crop';
  system: string | undefined;
  maxTokens: number | undefined;
  htmlPath: string | undefined;
  json: boolean;
}

export type CompareCommand = Omit<AnalyzeCommand, 'name'> & { name: 'compare'; reductions: string[] };

const MODEL_ACTIONS = ['list', 'show', 'add', 'verify', 'remove'] as const;

export interface ModelCommand {
  name: 'model';
  action: (typeof MODEL_ACTIONS)[number];
  /** A name of the catalogue, a hub id or a folder; empty for `list`. */
  model: string;
  revision: string | undefined;
  /** The user agreed beforehand. */
  yes: boolean;
  /** Download also what this version cannot run. */
  force: boolean;
  removeDamaged: boolean;
  json: boolean;
}

export type Command =
  | AskCommand
  | AnalyzeCommand
  | CompareCommand
  | InspectCommand
  | DevicesCommand
  | ModelCommand
  | { name: 'help' }
  | { name: 'version' };

export const HELP = `fovea ${version}: ask about an image with a LLaVA model on this machine, and see which visual tokens it used

usage
  fovea ask <image> <question> [options]
  fovea compare <image> <question> --reduce <spec> --reduce <spec> ... [--json] [--html <file>] [options]
  fovea analyze <image> <question> [--json] [--html <file>] [options]
  fovea inspect [<model>] [--image FILE] [--json]
  fovea devices [--retest] [--json]      what this machine can run on, tested against the CPU, and what "auto" chooses
  fovea model list [--json]              models that are worth a try, and those on this machine
  fovea model show <model> [--json]      what it is, what it needs, where it lies
  fovea model add <model> [--yes]        download it, after showing host, size and licence
  fovea model verify <model>             compare every file with its hash, and converted weights with theirs
  fovea model remove <model> [--yes]     only from Fovea's own folder

  <model> is a folder with a HuggingFace LLaVA checkpoint, a name of "fovea model list", or a hub id
  (organisation/name); the last two must be on this machine, except for "model show" and "model add"

options of ask
  --model <model>         which model answers (default: the embedded fovea-nano)
  --reduce <spec>         which image tokens to keep (default: none); several with "+":
${REDUCTIONS.map(({ description }) => `                            ${description.id.padEnd(12)} ${description.summary}`).join('\n')}
                          for example  fastv:layer=2,keep=0.5   visionzip:dominant=54,contextual=10
                          all parameters: docs/methods.md
  --device <device>       ${DEVICE_CHOICES.join(' | ')} (default: auto)
  --precision <p>         ${PRECISION_CHOICES.join(' | ')}: weights in 32, 16 (on WebGPU) or 4 bits (default: auto)
  --part <x,y,w,h>        only this rectangle of the image, in pixels, which the model then sees larger
  --fit <fit>             pad: the whole image (default) | crop: the middle square
  --max-tokens <n>        longest answer
  --temperature <t>       0 = always the likeliest token (default)
  --top-p <p>             sample from the likeliest tokens that hold this probability (default: 1)
  --seed <n>              repeats a sampled answer (default: 0)
  --system <text>         a system message
  --raw-prompt            the question is the whole prompt, with <image> in it
  --trace <file>          what happened to every image token: .html, .json or .png
  --json                  one JSON object on stdout and nothing else

compare asks the same question under every --reduce and shows answers, tokens, times, memory and multiplications side
by side; what differs from the first answer is marked. It takes --model, --device, --precision, --part, --fit,
--max-tokens and --system.
  --html <file>           a page with the token maps

analyze asks without reduction and shows where the model looks: attention by type of token, layer and answer
token, the vision tower's spread over the patches, and how likely the answer is when all image tokens are dropped
from any layer on. It takes --model, --device, --precision, --part, --fit, --max-tokens and --system as above.
  --html <file>           a page of charts

inspect tells shapes, memory and work, and predicts memory and time until the first token on the CPU of this machine, whose speed it
measures for less than a second.
  --image <file>          predict for this picture (default: a screenshot of 1920 x 1080)

options of model
  --revision <name>       a branch, tag or commit of the repository (default: main)
  --yes                   agree to the download or the removal beforehand
  --force                 add: also a model that this version of Fovea cannot run
  --remove-damaged        verify: remove damaged files; "model add" gets them again, questions convert again
  Environment: HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE, HF_HUB_CACHE, HF_HOME, HTTPS_PROXY, NO_PROXY

exit codes
  0 answered   2 bad usage or input   3 model problem   4 device problem   130 cancelled
`;

/** Options of every command that asks. */
const QUESTION_OPTIONS = {
  model: { type: 'string' },
  device: { type: 'string', default: 'auto' },
  precision: { type: 'string', default: 'auto' },
  part: { type: 'string' },
  fit: { type: 'string', default: 'pad' },
  system: { type: 'string' },
  'max-tokens': { type: 'string' },
  json: { type: 'boolean', default: false },
} satisfies OptionsConfig;

const ASK_OPTIONS = {
  ...QUESTION_OPTIONS,
  reduce: { type: 'string', default: 'none' },
  temperature: { type: 'string' },
  'top-p': { type: 'string' },
  seed: { type: 'string' },
  'raw-prompt': { type: 'boolean', default: false },
  trace: { type: 'string' },
} satisfies OptionsConfig;

const ANALYZE_OPTIONS = { ...QUESTION_OPTIONS, html: { type: 'string' } } satisfies OptionsConfig;

const COMPARE_OPTIONS = {
  ...ANALYZE_OPTIONS,
  reduce: { type: 'string', multiple: true },
} satisfies OptionsConfig;

/** @throws InputError for anything that is not a valid command line; the message says what is. */
export function parseCommand(args: readonly string[]): Command {
  const [name, ...rest] = args;
  if (name === undefined || name === 'help' || args.includes('--help') || args.includes('-h'))
    return { name: 'help' };
  if (name === '--version' || name === 'version') return { name: 'version' };
  if (name === 'ask') return parseAsk(rest);
  if (name === 'analyze') return parseAnalyze(rest);
  if (name === 'compare') return parseCompare(rest);
  if (name === 'inspect') return parseInspect(rest);
  if (name === 'devices') return parseDevices(rest);
  if (name === 'model') return parseModel(rest);
  if (MODEL_ACTIONS.some((action) => action === name))
    throw usageError(`There is no command "${name}".`, `Did you mean "fovea model ${name}"?`);
  throw usageError(
    `There is no command "${name}".`,
    'The commands are ask, compare, analyze, inspect, devices and model; fovea help shows how.',
  );
}

function parseAsk(args: readonly string[]): AskCommand {
  const { values, positionals } = parse(args, ASK_OPTIONS);
  const { image, question } = imageAndQuestion('ask', positionals);
  const trace = values.trace;
  if (trace !== undefined && !/\.(html|json|png)$/i.test(trace)) {
    throw usageError(`--trace cannot write "${trace}".`, 'Give a file that ends in .html, .json or .png.');
  }
  parseReduction(values.reduce); // Reports a bad spec before any model is loaded.
  return {
    name: 'ask',
    image,
    question,
    part: part(values.part),
    model: values.model ?? embeddedModelDirectory(),
    reduction: values.reduce,
    device: oneOf('device', values.device, DEVICE_CHOICES),
    precision: oneOf('precision', values.precision, PRECISION_CHOICES),
    fit: oneOf('fit', values.fit, ['pad', 'crop'] as const),
    system: values.system,
    raw: values['raw-prompt'],
    sampling: {
      maxTokens: maxTokens(values['max-tokens']),
      temperature: number('temperature', values.temperature, { minimum: 0, maximum: 10 }),
      topP: number('top-p', values['top-p'], { minimum: Number.MIN_VALUE, maximum: 1 }),
      seed: number('seed', values.seed, { minimum: 0, maximum: 2 ** 32 - 1, integer: true }),
    },
    tracePath: trace,
    json: values.json,
  };
}

function parseAnalyze(args: readonly string[]): AnalyzeCommand {
  const { values, positionals } = parse(args, ANALYZE_OPTIONS);
  return { name: 'analyze', ...greedyQuestion('analyze', values, positionals) };
}

function parseCompare(args: readonly string[]): CompareCommand {
  const { values, positionals } = parse(args, COMPARE_OPTIONS);
  const reductions = values.reduce ?? [];
  if (reductions.length < 2) {
    throw usageError(
      `"fovea compare" takes at least two --reduce, but got ${reductions.length}.`,
      'For example --reduce none --reduce fastv:layer=2,keep=0.5 --reduce visionzip.',
    );
  }
  for (const reduction of reductions) parseReduction(reduction);
  return { name: 'compare', ...greedyQuestion('compare', values, positionals), reductions };
}

/** What the commands have in common that measure a greedy answer. */
function greedyQuestion(
  command: string,
  values: ReturnType<typeof parse<typeof ANALYZE_OPTIONS>>['values'],
  positionals: readonly string[],
): Omit<AnalyzeCommand, 'name'> {
  return {
    ...imageAndQuestion(command, positionals),
    part: part(values.part),
    model: values.model ?? embeddedModelDirectory(),
    device: oneOf('device', values.device, DEVICE_CHOICES),
    precision: oneOf('precision', values.precision, PRECISION_CHOICES),
    fit: oneOf('fit', values.fit, ['pad', 'crop'] as const),
    system: values.system,
    maxTokens: maxTokens(values['max-tokens']),
    htmlPath: htmlPath(values.html),
    json: values.json,
  };
}

function imageAndQuestion(
  command: string,
  positionals: readonly string[],
): { image: string; question: string } {
  const [image, question, ...surplus] = positionals;
  if (image === undefined || question === undefined || surplus.length > 0) {
    throw usageError(
      `"fovea ${command}" takes an image and a question, but got ${positionals.length} argument${positionals.length === 1 ? '' : 's'}.`,
      `Put the question in quotes: fovea ${command} screenshot.png "What does the dialog say?"`,
    );
  }
  if (question.trim() === '') throw usageError('The question is empty.', 'Ask something about the image.');
  return { image, question };
}

function maxTokens(text: string | undefined): number | undefined {
  return number('max-tokens', text, { minimum: 1, maximum: 65536, integer: true });
}

function part(text: string | undefined): PixelRect | undefined {
  if (text === undefined) return undefined;
  const numbers = /^\d+(,\d+){3}$/.test(text) ? text.split(',').map(Number) : [];
  const [x, y, width, height] = numbers;
  if (!(width > 0 && height > 0))
    throw usageError(
      `--part cannot be "${text}".`,
      'Give left, top, width and height in pixels, for example --part 120,40,640,360.',
    );
  return { x, y, width, height };
}

function htmlPath(file: string | undefined): string | undefined {
  if (file !== undefined && !/\.html?$/i.test(file)) {
    throw usageError(`--html cannot write "${file}".`, 'Give a file that ends in .html.');
  }
  return file;
}

function parseInspect(args: readonly string[]): InspectCommand {
  const { values, positionals } = parse(args, {
    image: { type: 'string' },
    json: { type: 'boolean', default: false },
  });
  if (positionals.length > 1)
    throw usageError('"fovea inspect" takes one folder or model.', 'fovea inspect <model>');
  const [model = embeddedModelDirectory()] = positionals;
  return { name: 'inspect', model, image: values.image, json: values.json };
}

function parseDevices(args: readonly string[]): DevicesCommand {
  const { values, positionals } = parse(args, {
    retest: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  });
  if (positionals.length > 0)
    throw usageError('"fovea devices" takes no argument.', 'fovea devices [--retest]');
  return { name: 'devices', ...values };
}

const MODEL_COMMAND_OPTIONS = {
  revision: { type: 'string' },
  yes: { type: 'boolean', default: false },
  force: { type: 'boolean', default: false },
  'remove-damaged': { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
} satisfies OptionsConfig;

function parseModel(args: readonly string[]): ModelCommand {
  const { values, positionals } = parse(args, MODEL_COMMAND_OPTIONS);
  const [given, model = '', ...surplus] = positionals;
  const action = MODEL_ACTIONS.find((candidate) => candidate === given);
  if (action === undefined) {
    throw usageError(
      given === undefined ? '"fovea model" needs to know what to do.' : `"fovea model" cannot "${given}".`,
      `fovea model ${MODEL_ACTIONS.join(' | ')}`,
    );
  }
  if ((model === '') !== (action === 'list') || surplus.length > 0) {
    const takes = action === 'list' ? 'no further argument' : 'one model';
    throw usageError(
      `"fovea model ${action}" takes ${takes}.`,
      `fovea model ${action}${action === 'list' ? '' : ' <model>'}`,
    );
  }
  return {
    name: 'model',
    action,
    model,
    revision: values.revision,
    yes: values.yes,
    force: values.force,
    removeDamaged: values['remove-damaged'],
    json: values.json,
  };
}

function parse<Options extends OptionsConfig>(args: readonly string[], options: Options) {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true, strict: true });
  } catch (error) {
    const [message] = (error as Error).message.split(/\.?\n|\. /);
    throw usageError(`${message}.`, 'fovea help lists the options.');
  }
}

function oneOf<Choice extends string>(option: string, value: string, choices: readonly Choice[]): Choice {
  const choice = choices.find((candidate) => candidate === value);
  if (choice === undefined) {
    throw usageError(`--${option} cannot be "${value}".`, `Choose one of ${choices.join(', ')}.`);
  }
  return choice;
}

function number(
  option: string,
  text: string | undefined,
  range: { minimum: number; maximum: number; integer?: boolean },
): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  const fits =
    text.trim() !== '' &&
    value >= range.minimum &&
    value <= range.maximum &&
    (!range.integer || Number.isInteger(value));
  if (!fits) {
    const minimum = range.minimum === Number.MIN_VALUE ? 'above 0' : `from ${range.minimum}`;
    throw usageError(
      `--${option} cannot be "${text}".`,
      `Give a${range.integer ? ' whole' : ''} number ${minimum} to ${range.maximum}.`,
    );
  }
  return value;
}

function usageError(message: string, nextStep: string): InputError {
  return new InputError({ code: 'usage', message, nextStep });
}
