import {
  LSPErrorCodes,
  ProgressType,
  ResponseError,
  type CancellationToken,
  type Connection,
} from 'vscode-languageserver/node';
import { toErrorData } from './llava/errors';
import type { ErrorData, NotificationDescription, RequestDescription } from './protocol';

/** The messages of server/protocol.ts with the types of vscode-languageserver, and errors as the protocol promises them. */

export interface RequestContext<Partial> {
  signal: AbortSignal;
  /** Sends a partial result, where the client gave a token for it. */
  partial: (value: Partial) => void;
  /** Sends a step of progress, where the client gave a token for it. */
  progress: (stage: string, fraction?: number) => void;
}

/** What partial results are made of is checked by {@link RequestContext.partial}. */
const PARTIALS = new ProgressType<unknown>();

interface Tokens {
  partialResultToken?: string | number;
  workDoneToken?: string | number;
}

/** Answers a request; whatever the handler throws reaches the client as {@link ErrorData}. */
export function onRequest<Params, Result, Partial>(
  connection: Connection,
  description: RequestDescription<Params, Result, Partial>,
  handler: (params: Params, context: RequestContext<Partial>) => Promise<Result> | Result,
  onDefect: (error: unknown) => void,
): void {
  connection.onRequest(description.method, async (params: Params, token: CancellationToken) => {
    const { partialResultToken, workDoneToken }: Tokens = params ?? {};
    const reporter =
      workDoneToken === undefined ? undefined : connection.window.attachWorkDoneProgress(workDoneToken);
    reporter?.begin('Fovea', undefined, undefined, true);
    try {
      return await handler(params, {
        signal: signalOf(token),
        partial: (value) => {
          if (partialResultToken !== undefined)
            void connection.sendProgress(PARTIALS, partialResultToken, value);
        },
        progress: (stage, fraction) => {
          if (fraction === undefined) reporter?.report(stage);
          else reporter?.report(Math.round(fraction * 100), stage);
        },
      });
    } catch (error) {
      const data = toErrorData(error);
      if (data.kind === 'internal') onDefect(error);
      const code = data.kind === 'cancelled' ? LSPErrorCodes.RequestCancelled : LSPErrorCodes.RequestFailed;
      return new ResponseError<ErrorData>(code, data.message, data);
    } finally {
      reporter?.done();
    }
  });
}

export function onNotification<Params>(
  connection: Connection,
  { method }: NotificationDescription<Params>,
  handler: (params: Params) => void,
): void {
  connection.onNotification(method, handler);
}

export function notify<Params>(
  connection: Connection,
  { method }: NotificationDescription<Params>,
  params: Params,
): void {
  void connection.sendNotification(method, params);
}

/** LSP's cancellation as the platform's. */
export function signalOf(token: CancellationToken): AbortSignal {
  const controller = new AbortController();
  if (token.isCancellationRequested) controller.abort();
  else token.onCancellationRequested(() => controller.abort());
  return controller.signal;
}
