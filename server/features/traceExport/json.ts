import type { AnswerResult } from '../../protocol';

/** The whole answer with its trace, so that a figure can be made again elsewhere. Ends with a newline. */
export function traceToJson(result: AnswerResult): string {
  return `${JSON.stringify({ format: 'fovea-trace', version: result.trace.version, ...result })}\n`;
}
