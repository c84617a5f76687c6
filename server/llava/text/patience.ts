import { createContext, Script } from 'node:vm';

/** Far above what a real template or tokenizer takes for a prompt (milliseconds). */
const SECONDS = 5;

const context = createContext({ work: undefined as (() => unknown) | undefined });
const call = new Script('work()');

/**
 * Does work that a checkpoint's files decide on (a chat template, the expressions of a tokenizer), which may be made so that it
 * never ends: it is broken off after some seconds.
 *
 * @throws Error with the code `ERR_SCRIPT_EXECUTION_TIMEOUT`, and whatever the work throws
 */
export function withPatience<Result>(work: () => Result, seconds = SECONDS): Result {
  context.work = work;
  try {
    return call.runInContext(context, { timeout: seconds * 1000 }) as Result;
  } finally {
    context.work = undefined;
  }
}
