import type { AnswerResult } from '../protocol';

/** An answer for others' eyes: where the model lies on this machine is nobody else's business. */
export function sharedResult(result: AnswerResult): AnswerResult {
  return { ...result, model: { ...result.model, directory: '' } };
}

/** The whole answer with its trace, so that a figure can be made again elsewhere. Ends with a newline. */
export function traceToJson(result: AnswerResult): string {
  return `${JSON.stringify({ format: 'fovea-trace', ...sharedResult(result) })}\n`;
}
