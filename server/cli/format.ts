import type { AnswerResult, AnswerWarning } from '../protocol';

/** One or two lines on what an answer cost. */
export function formatCosts(result: AnswerResult): string {
  const { imageTokens, timings, cacheBytes, prefillMacs, prefillMacsUnreduced } = result.costs;
  const left = imageTokens.perStage.at(-1) ?? imageTokens.atDecoder;
  const answerTokens = result.answerTokenIds.length;
  const rate =
    answerTokens > 1 ? ` (${((answerTokens - 1) / (timings.generate / 1000)).toFixed(0)} tokens/s)` : '';
  return [
    `${result.reduction}: ${left} of ${imageTokens.total} image tokens`,
    `prefill ${milliseconds(timings.vision + timings.projector + timings.selection + timings.prefill)}`,
    `decode ${milliseconds(timings.generate)}${rate}`,
    `cache ${bytes(cacheBytes)}`,
    `${((100 * prefillMacs) / prefillMacsUnreduced).toFixed(0)} % of the multiplications`,
  ].join(', ');
}

/** What the user should know about an answer, and what to type for a better one. */
export function formatWarning({ code, message, askAgain }: AnswerWarning): string {
  if (askAgain) return `warning: ${message} Ask again with --reduce ${askAgain.reduction}.`;
  return `warning: ${message}${code === 'image.small-text' ? ' Ask about a part (--part x,y,w,h), or another model (--model).' : ''}`;
}

export function milliseconds(value: number): string {
  return value < 1000 ? `${value.toFixed(0)} ms` : `${(value / 1000).toFixed(2)} s`;
}

export function bytes(value: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  let rest = value;
  while (rest >= 1000 && unit < units.length - 1) {
    rest /= 1000;
    unit++;
  }
  return `${unit === 0 ? rest : rest.toPrecision(3)} ${units[unit]}`;
}
