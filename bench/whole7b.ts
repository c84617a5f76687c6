/**
 * `npm run bench:7b`: a whole LLaVA-1.5-7B shape with random weights on this machine: conversion to 4 bits, one question with all image
 * tokens and one with 64, beside what `fovea inspect` predicts. Takes some minutes and 20 GB in the temporary folder, which are freed
 * at the end. Writes docs/results/7b.md.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { predictQuestion } from '../server/llava/analysis/prediction';
import { measureSpeed, predictTime } from '../server/llava/analysis/speed';
import { openCheckpoint } from '../server/llava/checkpoint/open';
import { LlavaModel } from '../server/llava/model';
import { ROOT } from './evaluationSet';
import { screenshot } from './performance/engineStages';
import { codeHash, describeMachine, load, privateBytes } from './performance/machine';
import { writeRandomCheckpoint } from './randomCheckpoint';

const SIZE = { width: 1280, height: 720 };
const ANSWER_TOKENS = 4;
const REDUCTIONS = ['none', 'mmr:keep=64'] as const;
/** Private memory is looked at so often, in ms: often enough for a peak that stands for a second, too seldom to take time away. */
const WATCH_MS = 250;

interface Opened {
  readonly seconds: number;
  readonly peakBytes: number;
}

interface Asked extends Opened {
  readonly imageTokens: number;
  readonly textTokens: number;
  /** From the prepared image on. */
  readonly firstTokenSeconds: number;
  readonly answerTokenSeconds: number;
}

async function main(): Promise<void> {
  const [step, folder, reduction] = process.argv.slice(2);
  if (step === 'open') return report(await watched(() => open(folder)));
  if (step === 'ask') return report(await ask(folder, reduction));
  const root = mkdtempSync(path.join(tmpdir(), 'fovea-7b-'));
  try {
    const model = path.join(root, 'model');
    writeRandomCheckpoint(model, { decoder: 'llama-7b', tower: 'clip-l-336', dtype: 'BF16' });
    const converted = await inProcess<Opened>('open', model);
    const rows: string[] = [];
    for (const spec of REDUCTIONS) {
      const asked = await inProcess<Asked>('ask', model, spec);
      rows.push(renderRow(spec, asked, await predicted(model, asked)));
    }
    writeFileSync(path.join(ROOT, 'docs', 'results', '7b.md'), render(converted, rows));
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

/** A step in a process of its own, so that its peak is its own. */
function inProcess<Result>(...step: string[]): Promise<Result> {
  const child = spawn(process.execPath, [__filename, ...step], { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => (text += part));
  return new Promise((resolve, reject) => {
    child.once('close', (code) => {
      if (code === 0) resolve(JSON.parse(text) as Result);
      else reject(new Error(`${step.join(' ')} ended with ${code}`));
    });
  });
}

function report(result: Opened | Asked): void {
  process.stdout.write(JSON.stringify(result));
}

async function watched<Result extends object>(work: () => Promise<Result>): Promise<Result & Opened> {
  let peakBytes = 0;
  const watch = setInterval(() => (peakBytes = Math.max(peakBytes, privateBytes('self') ?? 0)), WATCH_MS);
  const start = performance.now();
  try {
    const result = await work();
    return { ...result, seconds: (performance.now() - start) / 1000, peakBytes };
  } finally {
    clearInterval(watch);
  }
}

function openModel(folder: string): Promise<LlavaModel> {
  return LlavaModel.open(folder, {
    precision: 'q4',
    cacheDirectory: path.join(path.dirname(folder), 'converted'),
  });
}

async function open(folder: string): Promise<object> {
  await (await openModel(folder)).dispose();
  return {};
}

/** Memory is that of the first question, times are those of the second, about another picture, when the sessions are there. */
async function ask(folder: string, reduction: string): Promise<Asked> {
  const model = await openModel(folder);
  const question = 'What is the title of the dialog?';
  const asked = async (index: number) => {
    let textTokens = 0;
    const images = [await screenshot(index, SIZE)];
    const { costs, trace } = await model.ask(
      { images, question, reduction, sampling: { maxTokens: ANSWER_TOKENS } },
      {
        onPrompt: ({ labels, imageTokens }) => (textTokens = labels.length - imageTokens.length),
      },
    );
    const { vision, projector, selection, prefill, generate } = costs.timings;
    return {
      imageTokens: costs.imageTokens.atDecoder,
      textTokens,
      firstTokenSeconds: (vision + projector + selection + prefill) / 1000,
      answerTokenSeconds: generate / 1000 / Math.max(1, trace.answer.length - 1),
    };
  };
  const { peakBytes, seconds } = await watched(() => asked(0));
  const result = await asked(1);
  await model.dispose();
  return { ...result, peakBytes, seconds };
}

interface Predicted {
  readonly bytes: number;
  readonly seconds: number;
}

async function predicted(folder: string, { imageTokens, textTokens }: Asked): Promise<Predicted> {
  const checkpoint = await openCheckpoint(folder);
  const prediction = predictQuestion(checkpoint, 'q4', {
    image: SIZE,
    imageTokens,
    textTokens,
    answerTokens: ANSWER_TOKENS,
  });
  const speed = await measureSpeed(checkpoint, 'q4', [imageTokens + textTokens]);
  return { bytes: prediction.memoryBytes, seconds: predictTime(prediction, speed).wall / 1000 };
}

function renderRow(spec: string, asked: Asked, { bytes, seconds }: Predicted): string {
  const cells = [
    `\`${spec}\``,
    String(asked.imageTokens),
    `${asked.firstTokenSeconds.toFixed(1)} s`,
    `${seconds.toFixed(1)} s`,
    `${gigabytes(asked.peakBytes)}`,
    `${gigabytes(bytes)}`,
    `${(1000 * asked.answerTokenSeconds).toFixed(0)} ms`,
  ];
  return `| ${cells.join(' | ')} |`;
}

const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(2)} GB`;

function render(converted: Opened, rows: readonly string[]): string {
  return `# A whole 7B on this machine

Made by \`npm run bench:7b\` on ${new Date().toISOString().slice(0, 10)}: ${describeMachine()}. Sources \`${codeHash()}\`, load ${load().toFixed(1)}. CLIP ViT-L/14-336 and all 32 layers of Llama-7B, random weights in bfloat16,
the decoder in 4 bits, on the CPU. Memory is private memory at its peak; weights that are mapped from files are not counted.

Converting the weights to 4 bits and opening the model took ${converted.seconds.toFixed(0)} s and ${(converted.peakBytes / 1e6).toFixed(0)} MB.

Memory is that of a first question; times are those of a second one, about another picture, when the sessions are there:

| reduction | image tokens | first token | predicted | memory | predicted | an answer token |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |
${rows.join('\n')}
`;
}

void main();
