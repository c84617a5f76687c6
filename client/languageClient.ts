/** The extension host's side of the language server: starts it, sends typed requests, relays streams and status. */
import * as vscode from 'vscode';
import {
  LanguageClient,
  ProgressType,
  ResponseError,
  TransportKind,
  WorkDoneProgress,
  type Middleware,
} from 'vscode-languageclient/node';
import {
  AnalyzeRequest,
  AskRequest,
  DownloadRequest,
  type AttentionAnalysis,
  StatusNotification,
  VerifyModelRequest,
  WorkspaceTrustNotification,
  type ErrorData,
  type NotificationDescription,
  type RequestDescription,
  type ServerOptions,
} from '../server/protocol';
import { stageWords } from '../server/traceView/wording';
import { trustCommandPart } from './hover';
import { LANGUAGES } from './languages';

/** Stands for "no token": JSON-RPC would take an absent last argument for a second parameter, null. */
const NEVER_CANCELLED = new vscode.CancellationTokenSource().token;

/** Receives what a question streams while it runs. */
export interface AskObserver {
  /** Pieces of the answer, to be appended. */
  onPieces?(partial: AskRequest.Partial): void;
  /** What is going on before the answer: loading, prefill. */
  onProgress?(progress: AskProgress): void;
}

export interface AskProgress {
  message: string;
  /** 0..1 where known. */
  fraction?: number;
}

/** An error that the server answered with, as the plain data that it means. */
export class FoveaRequestError extends Error {
  constructor(readonly data: ErrorData) {
    super(data.message);
    this.name = 'FoveaRequestError';
  }
}

export class FoveaLanguageClient {
  private readonly client: LanguageClient;
  private readonly statusEmitter = new vscode.EventEmitter<StatusNotification.Params>();
  private readonly subscriptions: vscode.Disposable[] = [];
  private starting: Promise<void> | undefined;
  private lastToken = 0;
  private lastStatus: StatusNotification.Params | undefined;

  /** Fires with every state of the inference process. */
  readonly onStatus = this.statusEmitter.event;

  constructor(context: vscode.ExtensionContext, log: vscode.LogOutputChannel) {
    const module = context.asAbsolutePath('dist/server.js');
    const initializationOptions: ServerOptions = {
      answerCacheDirectory: vscode.Uri.joinPath(context.globalStorageUri, 'answers').fsPath,
      embeddedModelDirectory: context.asAbsolutePath('model'),
      hoverCommands: true,
      workspaceTrusted: vscode.workspace.isTrusted,
    };
    const middleware: Middleware = {
      provideHover: async (document, position, token, next) => {
        const hover = await next(document, position, token);
        return hover && trustCommandPart(hover);
      },
    };
    this.client = new LanguageClient(
      'fovea',
      'Fovea',
      {
        run: { module, transport: TransportKind.ipc },
        debug: {
          module,
          transport: TransportKind.ipc,
          options: { execArgv: ['--nolazy', '--inspect=6017'] },
        },
      },
      {
        documentSelector: LANGUAGES.flatMap((language) => [
          { scheme: 'file', language },
          { scheme: 'untitled', language },
        ]),
        synchronize: { configurationSection: 'fovea' },
        initializationOptions,
        middleware,
        outputChannel: log,
      },
    );
    this.subscriptions.push(
      this.statusEmitter,
      this.client.onNotification(StatusNotification.method, (status: StatusNotification.Params) => {
        this.lastStatus = status;
        this.statusEmitter.fire(status);
      }),
      vscode.workspace.onDidGrantWorkspaceTrust(() =>
        this.notify(WorkspaceTrustNotification.type, { trusted: true }),
      ),
    );
  }

  /** The last status that the server sent, if any. */
  get status(): StatusNotification.Params | undefined {
    return this.lastStatus;
  }

  /** Starts the server once; every request waits for it. */
  start(): Promise<void> {
    this.starting ??= this.client.start().catch((error: unknown) => {
      this.starting = undefined; // the next request tries again
      throw error;
    });
    return this.starting;
  }

  /** @throws {FoveaRequestError} for every failure that the server explains */
  async request<Params, Result, Partial>(
    description: RequestDescription<Params, Result, Partial>,
    params: Params,
    token: vscode.CancellationToken = NEVER_CANCELLED,
  ): Promise<Result> {
    await this.start();
    try {
      return await this.client.sendRequest<Result>(description.method, params, token);
    } catch (error) {
      throw explained(error);
    }
  }

  async notify<Params>(description: NotificationDescription<Params>, params: Params): Promise<void> {
    await this.start();
    await this.client.sendNotification(description.method, params);
  }

  /**
   * Asks, and streams to the observer meanwhile.
   * @throws {FoveaRequestError} kind `cancelled` when the token fired
   */
  async ask(
    params: AskRequest.Params,
    observer: AskObserver,
    token: vscode.CancellationToken,
  ): Promise<AskRequest.Result> {
    await this.start();
    const partialResultToken = `fovea-partial-${++this.lastToken}`;
    const workDoneToken = `fovea-work-${this.lastToken}`;
    const listeners = [
      this.client.onProgress(new ProgressType<AskRequest.Partial>(), partialResultToken, (partial) =>
        observer.onPieces?.(partial),
      ),
      this.onWork(workDoneToken, (progress) => observer.onProgress?.(progress)),
    ];
    try {
      return await this.request(AskRequest.type, { ...params, partialResultToken, workDoneToken }, token);
    } finally {
      for (const listener of listeners) listener.dispose();
    }
  }

  /**
   * Measures the attention of a question.
   * @throws {FoveaRequestError} kind `cancelled` when the token fired
   */
  async analyze(
    params: AnalyzeRequest.Params,
    onProgress: (progress: AskProgress) => void,
    token: vscode.CancellationToken,
  ): Promise<AttentionAnalysis> {
    await this.start();
    const workDoneToken = `fovea-work-${++this.lastToken}`;
    const listener = this.onWork(workDoneToken, onProgress);
    try {
      return await this.request(AnalyzeRequest.type, { ...params, workDoneToken }, token);
    } finally {
      listener.dispose();
    }
  }

  /**
   * Downloads what a plan said.
   * @throws {FoveaRequestError} kind `cancelled` when the token fired
   */
  async download(
    params: DownloadRequest.Params,
    onState: (state: DownloadRequest.Partial) => void,
    token: vscode.CancellationToken,
  ): Promise<DownloadRequest.Result> {
    return this.streaming(DownloadRequest.type, params, onState, token);
  }

  /**
   * Reads a downloaded model again.
   * @throws {FoveaRequestError} kind `cancelled` when the token fired
   */
  async verify(
    params: VerifyModelRequest.Params,
    onState: (state: VerifyModelRequest.Partial) => void,
    token: vscode.CancellationToken,
  ): Promise<VerifyModelRequest.Result> {
    return this.streaming(VerifyModelRequest.type, params, onState, token);
  }

  private async streaming<Params extends object, Result, Partial>(
    description: RequestDescription<Params, Result, Partial>,
    params: Params,
    onPartial: (partial: Partial) => void,
    token: vscode.CancellationToken,
  ): Promise<Result> {
    await this.start();
    const partialResultToken = `fovea-partial-${++this.lastToken}`;
    const listener = this.client.onProgress(new ProgressType<Partial>(), partialResultToken, onPartial);
    try {
      return await this.request(description, { ...params, partialResultToken }, token);
    } finally {
      listener.dispose();
    }
  }

  private onWork(token: string, onProgress: (progress: AskProgress) => void): vscode.Disposable {
    return this.client.onProgress(WorkDoneProgress.type, token, (progress) => {
      if (progress.kind === 'end' || progress.message === undefined) return;
      const message = stageWords(progress.message);
      const fraction = progress.percentage === undefined ? undefined : progress.percentage / 100;
      onProgress({ message, fraction });
    });
  }

  /** Stops the server; called when the extension is deactivated. */
  async stop(): Promise<void> {
    for (const subscription of this.subscriptions) subscription.dispose();
    if (this.client.needsStop()) await this.client.stop();
  }
}

/** Any failure of a request as one that can be shown: the server's own explanation where it gave one. */
function explained(error: unknown): unknown {
  if (!(error instanceof ResponseError)) return error;
  const data: unknown = error.data;
  if (isErrorData(data)) return new FoveaRequestError(data);
  return new FoveaRequestError({
    code: 'internal',
    kind: 'internal',
    message: error.message,
    nextStep: vscode.l10n.t('Look into the log, and report it if it happens again.'),
  });
}

function isErrorData(value: unknown): value is ErrorData {
  if (typeof value !== 'object' || value === null) return false;
  const data = value as Partial<Record<keyof ErrorData, unknown>>;
  return [data.code, data.kind, data.message, data.nextStep].every((field) => typeof field === 'string');
}
