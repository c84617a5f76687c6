import { InputError } from '../llava/errors';
import { catalogueEntry } from '../models/catalogue';
import { executePlan } from '../models/download';
import { parseModelId } from '../models/fileNames';
import { Hub } from '../models/hub';
import { listInstalled } from '../models/installed';
import { catalogueOverview } from '../models/overview';
import { planDownload, type DownloadPlan } from '../models/plan';
import { hubSettings, modelPlaces } from '../models/settings';
import type { DownloadRequest, ModelCatalogueRequest, PlanDownloadRequest } from '../protocol';

/**
 * Models by name: what there is, what a download would do, and the download itself. A client cannot make up a download: only
 * what a plan of this server said is carried out.
 */
export class ModelDownloads {
  readonly #embedded: string;
  /** The plans that a user was or is asked about, by {@link keyOf}. */
  readonly #plans = new Map<string, DownloadPlan>();

  /** @param embedded folder of the model that comes with Fovea. */
  constructor(embedded: string) {
    this.#embedded = embedded;
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
    const { kind, repository, commit, host, licence, totalBytes, presentBytes, directory, unsupported } =
      plan;
    const files = plan.files.length;
    return {
      kind,
      repository,
      commit,
      host,
      licence,
      files,
      totalBytes,
      presentBytes,
      directory,
      unsupported,
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
}

function keyOf({ repository, commit }: { repository: string; commit: string }): string {
  return `${repository}@${commit}`;
}
