import type { AnswerResult, AttentionAnalysis } from '../protocol';

/** An answer for others' eyes: where the model lies on this machine is nobody else's business. */
export function sharedResult(result: AnswerResult): AnswerResult {
  return { ...result, model: { ...result.model, directory: '' } };
}

/** The whole answer with its trace, so that a figure can be made again elsewhere. Ends with a newline. */
export function traceToJson(result: AnswerResult): string {
  return `${JSON.stringify({ format: 'fovea-trace', ...sharedResult(result) })}\n`;
}

/** Answers that were compared, in the order of asking; one alone as {@link traceToJson} writes it. */
export function answersToJson(results: readonly AnswerResult[]): string {
  if (results.length === 1) return traceToJson(results[0]);
  return `${JSON.stringify({ format: 'fovea-comparison', answers: results.map(sharedResult) })}\n`;
}

/** An analysis for others' eyes, with all its numbers. Ends with a newline. */
export function analysisToJson(analysis: AttentionAnalysis): string {
  const model = { ...analysis.model, directory: '' };
  return `${JSON.stringify({ format: 'fovea-attention', ...analysis, model })}\n`;
}

/** Attention is drawn as colour: more digits than this only cost room. */
const KEPT_DIGITS = 3;

/** The answer as a view stores it: attention with fewer digits, and without the prompt's ids. */
export function roundedResult(result: AnswerResult): AnswerResult {
  const short = (value: number): number => Number(value.toPrecision(KEPT_DIGITS));
  const answer = result.trace.answer.map((token) => ({ ...token, attention: token.attention.map(short) }));
  return { ...result, promptTokenIds: [], trace: { ...result.trace, answer } };
}
