import { InputError } from '../llava/errors';
import { catalogueEntry } from '../models/catalogue';
import { executePlan } from '../models/download';
import { parseModelId, type ModelId } from '../models/fileNames';
import { Hub } from '../models/hub';
import { isHeld } from '../models/lock';
import { listInstalled, planRemoval, removeInstalled, verifyInstalled } from '../models/installed';
import { catalogueOverview } from '../models/overview';
import { modelStores, planDownload, type DownloadPlan } from '../models/plan';
import { hubSettings, modelPlaces } from '../models/settings';
import type {
  DownloadRequest,
  ListDownloadsRequest,
  ModelCatalogueRequest,
  PlanDownloadRequest,
  RemoveModelRequest,
  VerifyModelRequest,
} from '../protocol';

/**
 * Models by name: what there is, what a download would do, and the download itself. A client cannot make up a download: only
 * what a plan of this server said is carried out.
 */
export class ModelDownloads {
  readonly #embedded: string;
  readonly #engineCacheDirectory: string;
  /** The plans that a user was or is asked about, by {@link keyOf}. */
  readonly #plans = new Map<string, DownloadPlan>();

  /**
   * @param embedded folder of the model that comes with Fovea
   * @param engineCacheDirectory where the engine keeps converted weights
   */
  constructor(embedded: string, engineCacheDirectory: string) {
    this.#embedded = embedded;
    this.#engineCacheDirectory = engineCacheDirectory;
  }

  async catalogue(): Promise<ModelCatalogueRequest.Result> {
    return catalogueOverview(await listInstalled(modelPlaces()), this.#embedded);
  }

  /** @throws InputError, ModelError `hub.*` */
  async plan(
    { model, revision }: PlanDownloadRequest.Params,
    signal: AbortSignal,
  ): Promise<PlanDownloadRequest.Result> {
    const entry = catalogueEntry(model);
    if (entry !== undefined && entry.repository === undefined)
      return { kind: 'present', directory: this.#embedded };
    const settings = hubSettings();
    const id = parseModelId(entry?.repository ?? String(model), revision);
    const plan = await planDownload(id, { settings, hub: new Hub(settings) }, signal);
    if (plan.kind === 'present') return { kind: 'present', directory: plan.directory };
    this.#plans.set(keyOf(plan), plan);
    const { kind, repository, commit, host, licence, directory, unsupported } = plan;
    const { totalBytes, presentBytes } = plan;
    const files = plan.files.length;
    return {
      ...{ kind, repository, commit, host, licence, directory, unsupported },
      ...{ files, totalBytes, presentBytes },
    };
  }

  /** @throws InputError without a plan; ModelError, DownloadCancelledError */
  async download(
    params: DownloadRequest.Params,
    signal: AbortSignal,
    onProgress: (progress: DownloadRequest.Partial) => void,
  ): Promise<DownloadRequest.Result> {
    const plan = this.#plans.get(keyOf(params));
    if (plan === undefined)
      throw new InputError({
        code: 'model.no-plan',
        message: 'This download was not planned.',
        nextStep: 'Choose the model again.',
      });
    const settings = hubSettings();
    const directory = await executePlan(plan, { settings, hub: new Hub(settings), signal, onProgress });
    this.#plans.delete(keyOf(plan));
    return { directory };
  }

  /** What lies in Fovea's own folder. */
  async list(): Promise<ListDownloadsRequest.Result> {
    const places = modelPlaces();
    const [, own] = modelStores(places);
    const installed = (await listInstalled(places)).filter(({ origin }) => origin === 'fovea');
    return Promise.all(
      installed.map(async ({ repository, directory, state, bytes, totalBytes }) => ({
        ...{ repository, directory, bytes, totalBytes },
        complete: state === 'complete',
        busy: await isHeld(own.lock(repository)),
      })),
    );
  }

  /** @throws InputError, ModelError `model.not-downloaded`, `model.incomplete`; CancelledError */
  async verify(
    { model, removeDamaged }: VerifyModelRequest.Params,
    signal: AbortSignal,
    onProgress: (progress: VerifyModelRequest.Partial) => void,
  ): Promise<VerifyModelRequest.Result> {
    let bytes = 0;
    const found = await verifyInstalled(repositoryId(model), modelPlaces(), this.#engineCacheDirectory, {
      signal,
      removeDamaged: removeDamaged === true,
      onBytes: (count, file) => onProgress({ bytes: (bytes += count), file }),
    });
    return {
      right: found.right.length + (found.converted?.right.length ?? 0),
      damaged: [...found.damaged],
      damagedConversions: [...(found.converted?.damaged ?? [])],
      unknown: found.unknown.length,
      repairable: found.origin === 'fovea',
    };
  }

  /**
   * @param release is told the folder before anything in it goes: whoever has the model open lets go of it
   * @throws InputError, ModelError `model.not-ours`, `model.in-use`, `model.not-removed`
   */
  async remove(
    { model }: RemoveModelRequest.Params,
    release: (folder: string) => Promise<void>,
  ): Promise<RemoveModelRequest.Result> {
    const id = repositoryId(model);
    const places = modelPlaces();
    const { directory } = await planRemoval(id, places);
    await release(directory);
    const { bytes } = await removeInstalled(id, places, this.#engineCacheDirectory);
    return { bytes };
  }
}

function repositoryId(model: string): ModelId {
  return parseModelId(catalogueEntry(model)?.repository ?? String(model));
}

function keyOf({ repository, commit }: { repository: string; commit: string }): string {
  return `${repository}@${commit}`;
}
