import { parseArgs, type ParseArgsConfig } from 'node:util';

import { version } from '../../package.json';
import { InputError } from '../llava/errors';
import { parseReduction } from '../llava/reduction/parse';
import { REDUCTIONS } from '../llava/reduction/registry';
import { DEVICE_CHOICES, type DeviceChoice } from '../llava/runtime/device';
import type { SamplingOptions } from '../protocol';
import { embeddedModelDirectory } from './embeddedModel';

export const VERSION = version;

type OptionsConfig = NonNullable<ParseArgsConfig['options']>;

export interface AskCommand {
  name: 'ask';
  image: string;
  question: string;
  model: string;
  reduction: string;
  device: DeviceChoice;
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
  json: boolean;
}

export interface AnalyzeCommand {
  name: 'analyze';
  image: string;
  question: string;
  model: string;
  device: DeviceChoice;
  fit: 'pad' | 'crop';
  system: string | undefined;
  maxTokens: number | undefined;
  htmlPath: string | undefined;
  json: boolean;
}

export type CompareCommand = Omit<AnalyzeCommand, 'name'> & { name: 'compare'; reductions: string[] };

export type Command =
  AskCommand | AnalyzeCommand | CompareCommand | InspectCommand | { name: 'help' } | { name: 'version' };

export const HELP = `fovea ${version}: ask about an image with a LLaVA model on this machine, and see which visual tokens it used

usage
  fovea ask <image> <question> [options]
  fovea compare <image> <question> --reduce <spec> --reduce <spec> ... [--json] [--html <file>] [options]
  fovea analyze <image> <question> [--json] [--html <file>] [options]
  fovea inspect [<model folder>] [--json]

options of ask
  --model <folder>        HuggingFace LLaVA checkpoint (default: the embedded fovea-nano)
  --reduce <spec>         which image tokens to keep (default: none); several with "+":
${REDUCTIONS.map(({ description }) => `                            ${description.id.padEnd(12)} ${description.summary}`).join('\n')}
                          for example  fastv:layer=2,keep=0.5   visionzip:dominant=54,contextual=10
                          all parameters: docs/methods.md
  --device <device>       ${DEVICE_CHOICES.join(' | ')} (default: auto)
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
by side; what differs from the first answer is marked. It takes --model, --device, --fit, --max-tokens and --system.
  --html <file>           a page with the token maps

analyze asks without reduction and shows where the model looks: attention by type of token, layer and answer
token, the vision tower's spread over the patches, and how likely the answer is when all image tokens are dropped
from any layer on. It takes --model, --device, --fit, --max-tokens and --system as above.
  --html <file>           a page of charts

exit codes
  0 answered   2 bad usage or input   3 model problem   4 device problem   130 cancelled
`;

/** Options of every command that asks. */
const QUESTION_OPTIONS = {
  model: { type: 'string' },
  device: { type: 'string', default: 'auto' },
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
  throw usageError(
    `There is no command "${name}".`,
    'The commands are ask, analyze, compare and inspect; fovea help shows how.',
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
    model: values.model ?? embeddedModelDirectory(),
    reduction: values.reduce,
    device: oneOf('device', values.device, DEVICE_CHOICES),
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
    model: values.model ?? embeddedModelDirectory(),
    device: oneOf('device', values.device, DEVICE_CHOICES),
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
      `"fovea ${command}" takes an image and a question, but got ${positionals.length} arguments.`,
      `Put the question in quotes: fovea ${command} screenshot.png "What does the dialog say?"`,
    );
  }
  if (question.trim() === '') throw usageError('The question is empty.', 'Ask something about the image.');
  return { image, question };
}

function maxTokens(text: string | undefined): number | undefined {
  return number('max-tokens', text, { minimum: 1, maximum: 65536, integer: true });
}

function htmlPath(file: string | undefined): string | undefined {
  if (file !== undefined && !/\.html?$/i.test(file)) {
    throw usageError(`--html cannot write "${file}".`, 'Give a file that ends in .html.');
  }
  return file;
}

function parseInspect(args: readonly string[]): InspectCommand {
  const { values, positionals } = parse(args, { json: { type: 'boolean', default: false } });
  if (positionals.length > 1)
    throw usageError('"fovea inspect" takes one folder.', 'fovea inspect <model folder>');
  return { name: 'inspect', model: positionals[0] ?? embeddedModelDirectory(), json: values.json };
}

function parse<Options extends OptionsConfig>(args: readonly string[], options: Options) {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true, strict: true });
  } catch (error) {
    const message = (error as Error).message.split('. ')[0];
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
