/** A model from the hub: what a download would do, the user's consent to exactly that, and the download itself. */
import * as vscode from 'vscode';
import { ListDownloadsRequest, PlanDownloadRequest, type ModelCatalogueRequest } from '../../server/protocol';
import { errorLine, errorText, stoppable } from '../errors';
import { FoveaRequestError, type FoveaLanguageClient } from '../languageClient';
import { dataSize, downloadState, fitsMemory } from './modelText';

/** What became of a model that somebody wanted. */
export interface Got {
  /** The value of `fovea.model` that chooses it. */
  directory: string;
  /** False: it was here before. */
  downloaded: boolean;
}

/** Downloads under way, by repository: the names that were asked for. What is left of it when a window comes up was interrupted by the end of another. */
const UNDER_WAY = 'fovea.downloads';

/** The downloads of this window. */
export class Downloads {
  /** Those under way, by the name that was asked for. */
  private readonly running = new Set<string>();

  constructor(
    private readonly client: FoveaLanguageClient,
    private readonly memory: vscode.Memento,
    private readonly log: vscode.LogOutputChannel,
  ) {}

  /**
   * @param model a name of the catalogue, or a hub id
   * @param entry what the catalogue knows of it
   * @returns undefined when the user declined or stopped it, or when this window is at it already
   * @throws {FoveaRequestError} with what happened and what to do next
   */
  async get(model: string, entry?: ModelCatalogueRequest.Entry): Promise<Got | undefined> {
    const plan = await this.persistently(model, () => planned(model, this.client));
    if (plan === undefined) return undefined;
    if (plan.kind === 'present') return { directory: plan.directory, downloaded: false };
    if (plan.unsupported) throw new FoveaRequestError(plan.unsupported);
    if (!(await agreed(model, plan, entry))) return undefined;
    // The consent is to this plan, so who goes on with it is not asked once more.
    const directory = await this.persistently(model, () => this.remembered(model, plan), goesOn);
    return directory === undefined ? undefined : { directory, downloaded: true };
  }

  /** Asks whether a download that ended with its window is to go on. @returns the name of its model, where the user wants that */
  async interrupted(): Promise<string | undefined> {
    const left = this.underWay();
    if (Object.keys(left).length === 0) return undefined;
    const present = await this.client.request(ListDownloadsRequest.type, {});
    for (const [repository, model] of Object.entries(left)) {
      const found = present.find((download) => download.repository === repository);
      // Another window is at it.
      if (found?.busy) continue;
      await this.note(repository, undefined);
      if (found && !found.complete && (await goesOnAfterInterruption(model, found))) return model;
    }
    return undefined;
  }

  /** A download that leaves a note while it runs. What ends with the window takes no leave, and the note stays. */
  private async remembered(model: string, plan: PlanDownloadRequest.Plan): Promise<string | undefined> {
    await this.note(plan.repository, model);
    try {
      const directory = await download(model, plan, this.client);
      await this.note(plan.repository, undefined);
      return directory;
    } catch (error) {
      if (error instanceof FoveaRequestError && error.data.kind !== 'internal')
        await this.note(plan.repository, undefined);
      throw error;
    }
  }

  private underWay(): Record<string, string> {
    return this.memory.get<Record<string, string>>(UNDER_WAY, {});
  }

  private async note(repository: string, model: string | undefined): Promise<void> {
    const others = Object.entries(this.underWay()).filter(([known]) => known !== repository);
    const now = model === undefined ? others : [...others, [repository, model]];
    await this.memory.update(UNDER_WAY, Object.fromEntries(now));
  }

  /**
   * Does some work on a model, again and again where it fails or is stopped, as long as the user wants that.
   * @param work undefined: the user stopped it
   * @param goOn asks who has stopped it
   */
  private async persistently<T>(
    model: string,
    work: () => Promise<T | undefined>,
    goOn?: (model: string) => Promise<boolean>,
  ): Promise<T | undefined> {
    for (;;) {
      if (this.running.has(model)) return tellIsRunning(model);
      try {
        this.running.add(model);
        const result = await work().finally(() => this.running.delete(model));
        if (result !== undefined || !(await goOn?.(model))) return result;
      } catch (error) {
        if (!(error instanceof FoveaRequestError) || !MAY_MEND.test(error.data.code)) throw error;
        this.log.warn(`The download of ${model} failed: ${errorLine(error)}`);
        if (!(await triesAgain(error))) return undefined;
      }
    }
  }
}

function tellIsRunning(model: string): undefined {
  void vscode.window.showInformationMessage(
    vscode.l10n.t('{0} is being downloaded already. The status bar shows how far it is.', model),
  );
}

/** Failures that another try may not meet: of the network and the hub's mood, of rights that can be had, of the disk. */
const MAY_MEND =
  /^(?:hub\.(?:busy|forbidden|proxy|sign-in|unreachable|untrustworthy|wrong-content)|model\.(?:disk-full|folder-unwritable|in-use))$/;

/** Asks the hub for the list of files; nothing is downloaded. */
async function planned(
  model: string,
  client: FoveaLanguageClient,
): Promise<PlanDownloadRequest.Result | undefined> {
  const title = vscode.l10n.t('Fovea: looking for {0}', model);
  return vscode.window.withProgress(
    { location: vscode.ProgressLocation.Notification, title, cancellable: true },
    (_, token) => stoppable(client.request(PlanDownloadRequest.type, { model }, token)),
  );
}

async function goesOnAfterInterruption(
  model: string,
  { bytes, totalBytes }: ListDownloadsRequest.Download,
): Promise<boolean> {
  const yes = vscode.l10n.t('Go On');
  const here =
    totalBytes === undefined
      ? ''
      : vscode.l10n.t(' {0} of {1} are here.', dataSize(bytes), dataSize(totalBytes));
  const message = vscode.l10n.t('The download of {0} ended with its window.{1}', model, here);
  return (await vscode.window.showInformationMessage(message, yes)) === yes;
}

/** Told that a download was stopped, the user may go on. */
async function goesOn(model: string): Promise<boolean> {
  const yes = vscode.l10n.t('Go On');
  const message = vscode.l10n.t(
    'The download of {0} was stopped. What has arrived is kept: it goes on where it stopped.',
    model,
  );
  return (await vscode.window.showInformationMessage(message, yes)) === yes;
}

/** Told that a download failed, the user may try again. */
async function triesAgain(error: FoveaRequestError): Promise<boolean> {
  const yes = vscode.l10n.t('Try Again');
  const open = vscode.l10n.t('Open Its Page');
  const { page } = error.data;
  for (;;) {
    const chosen = await vscode.window.showErrorMessage(errorText(error.data), yes, ...(page ? [open] : []));
    if (chosen !== open || !page) return chosen === yes;
    // Whoever has accepted the terms there comes back to try again.
    await vscode.env.openExternal(vscode.Uri.parse(page, true));
  }
}

/** Who is asked, how much, under which licence, where to, and whether this machine is large enough for it. */
async function agreed(
  model: string,
  plan: PlanDownloadRequest.Plan,
  entry: ModelCatalogueRequest.Entry | undefined,
): Promise<boolean> {
  const { host, files, totalBytes, presentBytes, licence, directory } = plan;
  const rest = dataSize(totalBytes - presentBytes);
  const lines = [
    presentBytes > 0
      ? vscode.l10n.t('{0} more from {1} ({2} are here already).', rest, host, dataSize(presentBytes))
      : vscode.l10n.t('{0} in {1} files from {2}.', rest, files, host),
    licence === undefined
      ? vscode.l10n.t('Licence: not stated on the model card.')
      : vscode.l10n.t('Licence: {0}.', licence),
    ...(entry ? [needs(entry)] : []),
    vscode.l10n.t('Into {0}', modelFolder(directory)),
    vscode.l10n.t('Only the files of the model are asked for. Images and questions stay on this machine.'),
  ];
  const yes = vscode.l10n.t('Download');
  const chosen = await vscode.window.showInformationMessage(
    vscode.l10n.t('Download {0} from {1}?', model, host),
    { modal: true, detail: lines.join('\n') },
    yes,
  );
  return chosen === yes;
}

/** The folder of the model without that of the revision, which is a long number. */
function modelFolder(directory: string): string {
  return directory.replace(/[\\/]snapshots[\\/][^\\/]+$/, '');
}

function needs(entry: ModelCatalogueRequest.Entry): string {
  const [wanted, there] = [entry.memoryBytes, entry.machineMemoryBytes].map(dataSize);
  const memory = fitsMemory(entry)
    ? vscode.l10n.t('Memory: about {0} of the {1} of this machine.', wanted, there)
    : vscode.l10n.t(
        'Memory: about {0} for quick answers, and this machine has {1}. It will be slow.',
        wanted,
        there,
      );
  if (entry.conversionBytes === 0) return memory;
  const disk = vscode.l10n.t(
    'The first question on the CPU takes {0} more on the disk.',
    dataSize(entry.conversionBytes),
  );
  return `${memory}\n${disk}`;
}

async function download(
  model: string,
  { repository, commit }: PlanDownloadRequest.Plan,
  client: FoveaLanguageClient,
): Promise<string | undefined> {
  const title = vscode.l10n.t('Fovea: downloading {0}', model);
  const result = await vscode.window.withProgress(
    { location: vscode.ProgressLocation.Notification, title, cancellable: true },
    (progress, token) => {
      let shown = 0;
      return stoppable(
        client.download(
          { repository, commit },
          (state) => {
            const percent = state.totalBytes === 0 ? 0 : (100 * state.bytes) / state.totalBytes;
            progress.report({ message: downloadState(state), increment: percent - shown });
            shown = percent;
          },
          token,
        ),
      );
    },
  );
  return result?.directory;
}
