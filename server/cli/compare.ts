import { readFile } from 'node:fs/promises';
import path from 'node:path';

import { traceToHtml } from '../features/traceExport/traceExport';
import { CancelledError, FoveaError } from '../llava/errors';
import { REDUCTIONS } from '../llava/reduction/registry';
import type { AnswerResult, ErrorData } from '../protocol';
import { mergedWords, plainWords } from '../traceView/wordDiff';
import type { CompareCommand } from './arguments';
import { jsonOutput } from './ask';
import { readImage } from './imageFile';
import { bytes, milliseconds } from './format';
import { openModel } from './openModel';
import { progressLine } from './progress';
import { textTable } from './table';
import { exportedPictures, writeOutput } from './trace';

/** What one reduction came to. */
export type ComparedRun =
  | { readonly reduction: string; readonly result: AnswerResult }
  | { readonly reduction: string; readonly error: ErrorData };

/** `fovea compare`: one question under several reductions, the model loaded once. */
export async function compare(command: CompareCommand, signal: AbortSignal): Promise<void> {
  const image = await readImage(command);
  const progress = progressLine();
  const model = await openModel(command, signal, progress);
  const question = {
    images: [image],
    question: command.question,
    system: command.system,
    fit: command.fit,
  };
  const runs: ComparedRun[] = [];
  try {
    // The first pass over the weights reads them from disk; no method shall pay for that.
    await model.ask({ ...question, sampling: { maxTokens: 1 } }, { signal, onProgress: progress.show });
    for (const [index, reduction] of command.reductions.entries()) {
      const onProgress = ({ stage }: { stage: string }): void =>
        progress.show({ stage: `${index + 1} of ${command.reductions.length}: ${reduction}, ${stage}` });
      try {
        const sampling = { maxTokens: command.maxTokens };
        const result = await model.ask(
          { ...question, reduction, sampling },
          // Every run pays for the picture, or the first would look slow.
          { signal, onProgress, reuse: false },
        );
        runs.push({ reduction, result });
      } catch (error) {
        // One method that this model cannot do does not take the others with it.
        if (!(error instanceof FoveaError) || error instanceof CancelledError) throw error;
        runs.push({ reduction, error: error.toData() });
      }
    }
    progress.clear();
    const failed = runs.find((run) => 'error' in run);
    if (failed && answeredRuns(runs).length === 0) throw new FoveaError(failed.error.kind, failed.error);
    if (command.json) process.stdout.write(`${JSON.stringify(jsonComparison(command.question, runs))}\n`);
    else if (command.htmlPath === undefined) process.stdout.write(renderComparison(runs));
    if (command.htmlPath !== undefined) await writePage(command.htmlPath, runs, image);
  } finally {
    progress.clear();
    await model.dispose();
  }
}

/** The documented shape of `--json`. */
export function jsonComparison(question: string, runs: readonly ComparedRun[]): object {
  return {
    question,
    runs: runs.map((run) => ('result' in run ? jsonOutput(run.result) : run)),
  };
}

/** A table of costs, then the answers with their differences to the first one marked, then what there is to be warned of. */
export function renderComparison(runs: readonly ComparedRun[]): string {
  const answered = answeredRuns(runs);
  const parts: string[] = [];
  if (answered.length > 0) {
    const columns = ['reduction', 'image tokens', 'prefill', 'decode', 'cache', 'multiplications'];
    parts.push(textTable(columns, answered.map(costRow)));
    const reference = plainWords(answered[0].answer);
    const width = Math.max(...answered.map(({ reduction }) => reduction.length));
    const answers = answered.map(
      ({ reduction, answer }) => `${reduction.padEnd(width)}  ${markedAnswer(reference, answer)}`,
    );
    parts.push(`answers: [words] are not in the first one, ~words~ only there\n${answers.join('\n')}`);
    const warnings = renderWarnings(answered);
    if (warnings !== '') parts.push(warnings);
  }
  for (const run of runs) {
    if (!('error' in run)) continue;
    const { message, why, nextStep } = run.error;
    parts.push(
      `${run.reduction}: ${[message, why, nextStep].filter((text) => text !== undefined).join(' ')}`,
    );
  }
  return `${parts.join('\n\n')}\n`;
}

/** A warning of every answer, of the picture itself say, is told once; others with their reductions. */
function renderWarnings(answered: readonly AnswerResult[]): string {
  const told = new Map<string, string[]>();
  for (const { warning, reduction } of answered) {
    if (warning) told.set(warning.message, [...(told.get(warning.message) ?? []), reduction]);
  }
  return [...told]
    .map(([message, reductions]) =>
      reductions.length === answered.length
        ? `warning: ${message}`
        : `warning: ${reductions.join(', ')}: ${message}`,
    )
    .join('\n');
}

function costRow({ reduction, costs }: AnswerResult): string[] {
  const { imageTokens, timings, cacheBytes, prefillMacs, prefillMacsUnreduced } = costs;
  const left = imageTokens.perStage.at(-1) ?? imageTokens.atDecoder;
  return [
    reduction,
    `${left} of ${imageTokens.total}`,
    milliseconds(timings.vision + timings.projector + timings.selection + timings.prefill),
    milliseconds(timings.generate),
    bytes(cacheBytes),
    `${(prefillMacs / 1e9).toPrecision(3)} G (${((100 * prefillMacs) / prefillMacsUnreduced).toFixed(0)} %)`,
  ];
}

function markedAnswer(reference: readonly string[], answer: string): string {
  const marks = { both: ['', ''], first: ['~', '~'], second: ['[', ']'] } as const;
  const words = mergedWords(reference, plainWords(answer)).map((word) => marks[word.in].join(word.word));
  return plainWords(answer).length === 0 ? ['(an empty answer)', ...words].join(' ') : words.join(' ');
}

async function writePage(file: string, runs: readonly ComparedRun[], image: Uint8Array): Promise<void> {
  const answered = answeredRuns(runs);
  const view = await readFile(path.join(__dirname, 'webview.js'), 'utf8');
  const methods = REDUCTIONS.map(({ description }) => description);
  const page = traceToHtml(answered[answered.length - 1], await exportedPictures([image]), view, {
    earlier: answered.slice(0, -1),
    methods,
  });
  process.stderr.write(`page: ${await writeOutput(file, page)}\n`);
}

function answeredRuns(runs: readonly ComparedRun[]): AnswerResult[] {
  return runs.flatMap((run) => ('result' in run ? [run.result] : []));
}
