import type { AnswerResult, ImageLayout } from '../protocol';
import type { AskCommand } from './arguments';
import { formatCosts, formatWarning } from './format';
import { readImage } from './imageFile';
import { openModel } from './openModel';
import { progressLine } from './progress';
import { writeTrace } from './trace';

/** `fovea ask`: streams the answer to stdout and the costs to stderr, or prints one JSON object. */
export async function ask(command: AskCommand, signal: AbortSignal): Promise<void> {
  const image = await readImage(command);
  const progress = progressLine();
  const model = await openModel(command, signal, progress);
  progress.clear();
  try {
    const result = await model.ask(
      {
        images: [image],
        question: command.question,
        system: command.system,
        rawPrompt: command.raw ? command.question : undefined,
        reduction: command.reduction,
        fit: command.fit,
        sampling: command.sampling,
      },
      { signal, onToken: command.json ? undefined : printPieces() },
    );
    if (command.json) process.stdout.write(`${JSON.stringify(jsonOutput(result))}\n`);
    else process.stdout.write('\n');
    if (command.tracePath !== undefined) {
      const written = await writeTrace(command.tracePath, result, [image]);
      process.stderr.write(`trace: ${written}\n`);
    }
    if (!command.json) process.stderr.write(`${formatCosts(result)}\n`);
    if (result.warning) process.stderr.write(`${formatWarning(result.warning)}\n`);
  } finally {
    await model.dispose();
  }
}

/** Prints the answer as it comes, without the white space that many tokenizers begin it with. */
export function printPieces(): (piece: string) => void {
  let started = false;
  return (piece) => {
    const text = started ? piece : piece.trimStart();
    started ||= text !== '';
    process.stdout.write(text);
  };
}

/** The documented shape of `--json`. */
export function jsonOutput(result: AnswerResult): object {
  return {
    answer: result.answer,
    answerTokenIds: result.answerTokenIds,
    promptTokenIds: result.promptTokenIds,
    firstStep: result.firstStep,
    finish: result.finish,
    imageTokens: result.costs.imageTokens,
    stages: result.trace.stages.map(({ place, spec }) => ({ place, spec })),
    kept: result.trace.stages.map((stage) => rasterIndices(stage.kept, result.trace.images)),
    timings: result.costs.timings,
    cacheBytes: result.costs.cacheBytes,
    prefillMacs: result.costs.prefillMacs,
    prefillMacsUnreduced: result.costs.prefillMacsUnreduced,
    model: result.model,
    device: result.device,
    precision: result.precision,
    reduction: result.reduction,
    question: result.question,
    fineText: result.fineText,
    textHeight: result.textHeight,
    warning: result.warning,
  };
}

/** Raster indices of the patches among the ids, numbered through all images; CLS and context tokens have none. */
function rasterIndices(ids: readonly number[], images: readonly ImageLayout[]): number[] {
  let before = 0;
  return images.flatMap((image) => {
    const offset = before - image.firstId;
    before += image.patches;
    return ids
      .filter((id) => id >= image.firstId && id < image.firstId + image.patches)
      .map((id) => id + offset);
  });
}
