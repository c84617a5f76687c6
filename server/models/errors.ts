import { FoveaError, ModelError } from '../llava/errors';

/** The user (or the client) stopped a download. What has arrived is kept for the next try. */
export class DownloadCancelledError extends FoveaError {
  constructor(cause?: unknown) {
    super('cancelled', {
      code: 'cancelled',
      message: 'The download was cancelled.',
      nextStep: 'What has arrived is kept: the next download of this model goes on from there.',
      cause,
    });
  }
}

/** The user stopped the check of a model's files. */
export class CheckCancelledError extends FoveaError {
  constructor(cause?: unknown) {
    super('cancelled', {
      code: 'cancelled',
      message: 'The check was cancelled.',
      nextStep: 'Nothing was changed: start it again at any time.',
      cause,
    });
  }
}

/** Throws {@link DownloadCancelledError} when the signal has fired. */
export function throwIfStopped(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new DownloadCancelledError(signal.reason);
}

/** A fault that a new attempt may mend. Never leaves server/models: {@link error} is what the user sees in the end. */
export class TemporaryFault extends Error {
  constructor(
    readonly error: ModelError,
    /** What the server asked us to wait, if it did. */
    readonly retryAfterMs?: number,
  ) {
    super(error.why ?? error.message, { cause: error.cause });
    this.name = 'TemporaryFault';
  }
}

/** The hub, or the way to it, does not work. */
export function unreachable(host: string, why: string, cause?: unknown): ModelError {
  return new ModelError({
    code: 'hub.unreachable',
    message: `${host} cannot be reached.`,
    why,
    nextStep:
      'Check the network (and HTTPS_PROXY), then start the download again: it goes on where it stopped.',
    cause,
  });
}

/** The hub answered, but with something that cannot be right, or must not be followed. */
export function untrustworthy(host: string, why: string, cause?: unknown): ModelError {
  return new ModelError({
    code: 'hub.untrustworthy',
    message: `The answer of ${host} cannot be used.`,
    why,
    nextStep: 'Check HF_ENDPOINT and the proxy, or download the model another way and choose its folder.',
    cause,
  });
}
