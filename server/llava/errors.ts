import type { ErrorData, ErrorKind } from '../protocol';

interface ErrorDetails {
  code: string;
  message: string;
  why?: string;
  nextStep: string;
  page?: string;
  cause?: unknown;
}

/**
 * An error for the user: what happened, why, and what to do next. Anything else that is thrown is a defect of ours
 * and becomes kind `internal` at the border.
 */
export class FoveaError extends Error {
  readonly kind: ErrorKind;
  readonly code: string;
  readonly why?: string;
  readonly nextStep: string;
  /** Where the user can do that. */
  readonly page?: string;

  constructor(kind: ErrorKind, details: ErrorDetails) {
    super(details.message, { cause: details.cause });
    this.name = new.target.name;
    this.kind = kind;
    this.code = details.code;
    this.why = details.why;
    this.nextStep = details.nextStep;
    this.page = details.page;
  }

  toData(): ErrorData {
    return {
      code: this.code,
      kind: this.kind,
      message: this.message,
      why: this.why,
      nextStep: this.nextStep,
      page: this.page,
    };
  }
}

/** The image, the question or an option cannot be used as given. */
export class InputError extends FoveaError {
  constructor(details: ErrorDetails) {
    super('input', details);
  }
}

/** The checkpoint folder is incomplete, damaged or of a kind that is not supported. */
export class ModelError extends FoveaError {
  constructor(details: ErrorDetails) {
    super('model', details);
  }
}

/** The compute device is missing, failed, or ran out of memory. */
export class DeviceError extends FoveaError {
  constructor(details: ErrorDetails) {
    super('device', details);
  }
}

/** The user (or a timeout the user set) stopped the work. */
export class CancelledError extends FoveaError {
  constructor(cause?: unknown) {
    super('cancelled', {
      code: 'cancelled',
      message: 'The question was cancelled.',
      nextStep: 'Ask again when you are ready.',
      cause,
    });
  }
}

/** Throws {@link CancelledError} when the signal has fired. Called between segments and between tokens. */
export function throwIfCancelled(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new CancelledError(signal.reason);
}

/** Any thrown value as {@link ErrorData}. */
export function toErrorData(error: unknown): ErrorData {
  if (error instanceof FoveaError) return error.toData();
  return {
    code: 'internal',
    kind: 'internal',
    message: error instanceof Error ? error.message : String(error),
    why: 'This is a defect in Fovea.',
    nextStep: 'Report it with the log attached.',
  };
}
