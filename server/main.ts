import path from 'node:path';
import {
  createConnection,
  DidChangeConfigurationNotification,
  MarkupKind,
  ProposedFeatures,
  TextDocuments,
  TextDocumentSyncKind,
  type InitializeParams,
} from 'vscode-languageserver/node';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { Configuration } from './configuration';
import { AnswerCache } from './features/answerCache';
import { Asking } from './features/ask';
import { DocumentImages } from './features/documentImages';
import { HoverFeature } from './features/hover';
import { ModelDownloads } from './features/modelDownloads';
import { Models } from './features/models';
import { ImageError } from './images/errors';
import { pathOfFileUri } from './images/safeFiles';
import { imageFacts, loadImage, type DirectSource } from './images/source';
import { Supervisor } from './inference/supervisor';
import { defaultCacheDirectory } from './llava/cacheDirectory';
import { REDUCTIONS } from './llava/reduction/registry';
import {
  AnalyzeRequest,
  AskRequest,
  ClearAnswerCacheRequest,
  DownloadRequest,
  ExportTraceRequest,
  ImageFactsRequest,
  ImageReferenceAtRequest,
  ImageReferencesRequest,
  InspectModelRequest,
  ListDownloadsRequest,
  ListModelsRequest,
  ModelCatalogueRequest,
  PictureRequest,
  PlanDownloadRequest,
  ReadAheadRequest,
  ReductionsRequest,
  RemoveModelRequest,
  RestartInferenceRequest,
  StatusNotification,
  VerifyModelRequest,
  WorkspaceTrustNotification,
  type ImageSource,
  type RequestDescription,
  type ServerOptions,
  type Settings,
} from './protocol';
import { notify, onNotification, onRequest, signalOf, type RequestContext } from './rpc';

/*
 * The language server: LSP on one side, the supervised inference process on the other. It loads neither onnxruntime nor
 * sharp, so it always answers at once.
 *
 * server.js --node-ipc | --stdio [--clientProcessId=N] [--inference-program=FILE]
 */

const connection = createConnection(ProposedFeatures.all);
const documents = new TextDocuments(TextDocument);
const log = (line: string): void => connection.console.info(line);
const warn = (line: string): void => connection.console.warn(line);

interface Server {
  options: ServerOptions;
  configuration: Configuration;
  supervisor: Supervisor;
  models: Models;
  downloads: ModelDownloads;
  cache: AnswerCache;
  asking: Asking;
  documentImages: DocumentImages;
  hover: HoverFeature;
}

let server: Server | undefined;
/** Absolute paths of the workspace's folders. */
let workspaceFolders: string[] = [];
let workspaceTrusted = true;
/** Settings that came without being asked for: of clients without `workspace/configuration`. */
let pushedSettings: unknown;
/** The folder that the settings choose. */
let modelDirectory = '';
let canAskForSettings = false;
let canWatchFolders = false;
let canWatchSettings = false;

connection.onInitialize((params) => {
  const options = optionsOf(params.initializationOptions);
  const { capabilities } = params;
  canAskForSettings = capabilities.workspace?.configuration === true;
  canWatchFolders = capabilities.workspace?.workspaceFolders === true;
  canWatchSettings = capabilities.workspace?.didChangeConfiguration?.dynamicRegistration === true;
  workspaceTrusted = options.workspaceTrusted !== false;
  workspaceFolders = foldersOf(params);
  pushedSettings = options.settings;
  server = createServer(
    options,
    capabilities.textDocument?.hover?.contentFormat?.includes(MarkupKind.Markdown) === true,
  );
  return {
    serverInfo: { name: 'Fovea' },
    capabilities: {
      textDocumentSync: TextDocumentSyncKind.Incremental,
      hoverProvider: true,
      workspace: { workspaceFolders: { supported: true, changeNotifications: canWatchFolders } },
    },
  };
});

connection.onInitialized(async () => {
  if (canWatchSettings)
    await connection.client.register(DidChangeConfigurationNotification.type, { section: 'fovea' });
  if (canWatchFolders) {
    connection.workspace.onDidChangeWorkspaceFolders(({ added, removed }) => {
      const gone = new Set(removed.flatMap(({ uri }) => folderPath(uri)));
      const come = added.flatMap(({ uri }) => folderPath(uri));
      workspaceFolders = [...workspaceFolders.filter((folder) => !gone.has(folder)), ...come];
      server?.configuration.forget();
    });
  }
  await applySettings();
  sendStatus();
});

connection.onDidChangeConfiguration(async ({ settings }) => {
  if (!canAskForSettings) pushedSettings = sectionOf(settings);
  server?.configuration.forget();
  await applySettings();
  server?.supervisor.settingsChanged();
  sendStatus();
});

onNotification(connection, WorkspaceTrustNotification.type, ({ trusted }) => {
  workspaceTrusted = trusted;
});

connection.onHover(async ({ textDocument, position }, token) => {
  const document = documents.get(textDocument.uri);
  return document && server ? server.hover.hover(document, position, signalOf(token)) : null;
});

answer(AskRequest.type, (params, { signal, partial, progress }) =>
  running().asking.ask(params, {
    priority: 'user',
    signal,
    listener: {
      onPieces: (pieces, index) => partial({ pieces, index }),
      onProgress: ({ stage, fraction }) => progress(stage, fraction),
    },
  }),
);

answer(AnalyzeRequest.type, (params, { signal, progress }) =>
  running().asking.analyze(params, {
    priority: 'user',
    signal,
    listener: { onProgress: ({ stage, fraction }) => progress(stage, fraction) },
  }),
);

answer(ReadAheadRequest.type, async (params, { signal }) => {
  await running().asking.readAhead(params, signal);
  return null;
});

answer(ImageFactsRequest.type, async ({ image }) => imageFacts(await direct(image), workspaceFolders));

answer(PictureRequest.type, async ({ image, part }, { signal }) => {
  const settings = await settingsOf(image);
  const { bytes } = await load(image, settings);
  const limits = { maxPixels: settings.image.maxMegapixels * 1e6 };
  const png = await running().supervisor.picture({ image: bytes, part, limits }, signal);
  return { base64: Buffer.from(png).toString('base64') };
});

answer(ImageReferenceAtRequest.type, async ({ textDocument, position }) => {
  const document = documents.get(textDocument.uri);
  return (document && (await running().documentImages.referenceAt(document, position))) ?? null;
});

answer(ImageReferencesRequest.type, async ({ textDocument }) => {
  const document = documents.get(textDocument.uri);
  return document ? running().documentImages.references(document) : [];
});

answer(ListModelsRequest.type, async () => {
  const { models, configuration } = running();
  return models.list((await configuration.get()).model);
});

answer(InspectModelRequest.type, ({ directory }) => {
  const { models } = running();
  return models.summary(models.directory(String(directory)));
});

answer(ModelCatalogueRequest.type, () => running().downloads.catalogue());

answer(PlanDownloadRequest.type, (params, { signal }) => running().downloads.plan(params, signal));

answer(DownloadRequest.type, (params, { signal, partial, progress }) =>
  running().downloads.download(params, signal, (state) => {
    partial(state);
    progress(state.note ?? state.file ?? '', state.totalBytes === 0 ? 1 : state.bytes / state.totalBytes);
  }),
);

answer(ListDownloadsRequest.type, () => running().downloads.list());

answer(VerifyModelRequest.type, (params, { signal, partial }) =>
  running().downloads.verify(params, signal, partial),
);

answer(RemoveModelRequest.type, (params) => {
  const { downloads, supervisor } = running();
  return downloads.remove(params, async (folder) => {
    const loaded = supervisor.status.model?.directory;
    if (loaded !== undefined && !path.relative(folder, loaded).startsWith('..')) await supervisor.restart();
  });
});

answer(ReductionsRequest.type, () => REDUCTIONS.map(({ description }) => description));

answer(ExportTraceRequest.type, async ({ format, result, earlier, images }, { signal }) => {
  const { supervisor } = running();
  const settings = await settingsOf(images[0]);
  const loaded = await Promise.all(images.map((image) => load(image, settings)));
  const file = await supervisor.export(
    {
      format,
      result,
      earlier,
      images: loaded.map(({ bytes, facts }) => ({ bytes, name: facts.name })),
      limits: { maxPixels: settings.image.maxMegapixels * 1e6 },
    },
    signal,
  );
  return { name: file.name, mimeType: file.mimeType, base64: Buffer.from(file.data).toString('base64') };
});

answer(RestartInferenceRequest.type, async () => {
  await running().supervisor.restart();
  return null;
});

answer(ClearAnswerCacheRequest.type, () => running().cache.clear());

connection.onShutdown(async () => {
  await server?.supervisor.dispose();
  await server?.cache.settled();
});

// However this process ends, the inference process ends with it.
process.on('exit', () => server?.supervisor.killNow());
process.on('disconnect', () => process.exit(1));
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(1));

documents.listen(connection);
connection.listen();

// ---------------------------------------------------------------------------------------------- parts

function answer<Params, Result, Partial>(
  description: RequestDescription<Params, Result, Partial>,
  handler: (params: Params, context: RequestContext<Partial>) => Promise<Result> | Result,
): void {
  onRequest(connection, description, handler, (error) => connection.console.error(describe(error)));
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

function createServer(options: ServerOptions, markdown: boolean): Server {
  const models = new Models(options.embeddedModelDirectory ?? path.join(__dirname, '..', 'model'));
  const engineCacheDirectory = options.engineCacheDirectory ?? defaultCacheDirectory();
  const downloads = new ModelDownloads(models.embedded, engineCacheDirectory);
  const cache = new AnswerCache(options.answerCacheDirectory, log);
  const configuration = new Configuration(fetchSettings, warn);
  const supervisor = new Supervisor({
    program: argument('--inference-program') ?? path.join(__dirname, 'inference.js'),
    cacheDirectory: engineCacheDirectory,
    log,
    onStatus: sendStatus,
  });
  const asking = new Asking({
    loadImage: load,
    settings: settingsOf,
    models,
    cache,
    supervisor,
    engineCacheDirectory: options.engineCacheDirectory,
  });
  const documentImages = new DocumentImages(() => workspaceFolders);
  const hover = new HoverFeature({
    documentImages,
    asking,
    loadImage: load,
    settings: (uri) => configuration.get(uri),
    stopped: () => supervisor.stopped?.toData(),
    isTrusted: () => workspaceTrusted,
    client: { markdown, commands: options.hoverCommands === true },
  });
  return { options, configuration, supervisor, models, downloads, cache, asking, documentImages, hover };
}

function running(): Server {
  if (!server) throw new Error('The client sent a request before "initialize".');
  return server;
}

/** The value behind `--name=value` on the command line. */
function argument(name: string): string | undefined {
  return process.argv.find((text) => text.startsWith(`${name}=`))?.slice(name.length + 1);
}

function optionsOf(value: unknown): ServerOptions {
  const given = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
  const folder = (key: keyof ServerOptions): string | undefined => {
    const text = given[key];
    return typeof text === 'string' && path.isAbsolute(text) ? text : undefined;
  };
  return {
    answerCacheDirectory: folder('answerCacheDirectory'),
    engineCacheDirectory: folder('engineCacheDirectory'),
    embeddedModelDirectory: folder('embeddedModelDirectory'),
    hoverCommands: given.hoverCommands === true,
    workspaceTrusted: given.workspaceTrusted !== false,
    settings: given.settings,
  };
}

function foldersOf({ workspaceFolders: folders, rootUri }: InitializeParams): string[] {
  const uris = folders?.map(({ uri }) => uri) ?? (rootUri ? [rootUri] : []);
  return uris.flatMap(folderPath);
}

/** Folders that are not on this machine's file system hold nothing that could be read. */
function folderPath(uri: string): string[] {
  try {
    return [pathOfFileUri(uri)];
  } catch {
    return [];
  }
}

// ---------------------------------------------------------------------------------------------- settings

async function fetchSettings(scopeUri: string | undefined): Promise<unknown> {
  if (!canAskForSettings) return pushedSettings;
  return connection.workspace.getConfiguration(
    scopeUri === undefined ? { section: 'fovea' } : { section: 'fovea', scopeUri },
  );
}

function sectionOf(settings: unknown): unknown {
  if (typeof settings !== 'object' || settings === null) return undefined;
  return 'fovea' in settings ? settings.fovea : settings;
}

/** The settings of the window that work in the background. */
async function applySettings(): Promise<void> {
  if (!server) return;
  const settings = await server.configuration.get();
  server.supervisor.setIdleUnload(settings.idleUnloadMinutes);
  server.cache.setMaxBytes(settings.cache.maxSizeMB * 1e6);
  modelDirectory = server.models.directory(settings.model);
}

function settingsOf(source: ImageSource | undefined): Promise<Settings> {
  const { configuration } = running();
  if (source && 'mention' in source) return configuration.get(source.mention.textDocument.uri);
  return configuration.get(source && 'uri' in source && /^file:/i.test(source.uri) ? source.uri : undefined);
}

// ---------------------------------------------------------------------------------------------- images

async function direct(source: ImageSource): Promise<DirectSource> {
  if (typeof source !== 'object' || source === null) throw ImageError.badSource('It is not an object.');
  if ('mention' in source) {
    const { textDocument, position } = source.mention;
    const document = documents.get(textDocument.uri);
    if (!document) throw ImageError.badSource('The document that mentions it is not open.');
    const { documentImages } = running();
    const reference = await documentImages.referenceAt(document, position);
    const found = reference && (await documentImages.source(reference));
    if (found) return found;
    throw ImageError.badSource('There is no image at that place of the document.');
  }
  if (
    'base64' in source
      ? typeof source.base64 === 'string' && typeof source.name === 'string'
      : typeof source.uri === 'string'
  ) {
    return source;
  }
  throw ImageError.badSource('It has neither a URI nor data.');
}

async function load(source: ImageSource, settings: Settings): ReturnType<typeof loadImage> {
  return loadImage(await direct(source), workspaceFolders, settings.image.maxMegapixels);
}

// ---------------------------------------------------------------------------------------------- messages

function sendStatus(): void {
  if (!server) return;
  notify(connection, StatusNotification.type, { ...server.supervisor.status, modelDirectory });
}
