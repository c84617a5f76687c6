/** The measurement that the tab "Attention" asks for: one at a time, cancellable, told again to a page that was reloaded. */
import * as vscode from 'vscode';
import type { FromTokenView, ToTokenView } from '../../server/protocol';
import { errorLine, toErrorData } from '../errors';
import type { NamedImage } from '../images';
import type { FoveaLanguageClient } from '../languageClient';

type Report = ToTokenView & { type: 'analyzing' | 'analyzed' | 'analysisFailed' };

export class AttentionMeasurement implements vscode.Disposable {
  private running: { run: number; cancellation: vscode.CancellationTokenSource } | undefined;
  /** What the page was told last. */
  private last: Report | undefined;

  constructor(
    private readonly client: FoveaLanguageClient,
    private readonly log: vscode.LogOutputChannel,
    private readonly post: (message: ToTokenView) => void,
  ) {}

  /** @param images what the question was about */
  async measure(
    { run, question, fit }: FromTokenView & { type: 'analyze' },
    images: readonly NamedImage[],
  ): Promise<void> {
    this.cancel();
    const cancellation = new vscode.CancellationTokenSource();
    const own = { run, cancellation };
    this.running = own;
    const tell = (report: Report): void => {
      if (this.running !== own) return;
      this.last = report;
      this.post(report);
    };
    tell({ type: 'analyzing', run, message: vscode.l10n.t('Starting') });
    const title = vscode.l10n.t('Fovea: measuring attention');
    try {
      const analysis = await vscode.window.withProgress(
        { location: vscode.ProgressLocation.Window, title },
        () =>
          this.client.analyze(
            { images: images.map(({ source }) => source), question, fit },
            ({ message, fraction }) => tell({ type: 'analyzing', run, message, fraction }),
            cancellation.token,
          ),
      );
      tell({ type: 'analyzed', run, analysis });
    } catch (error) {
      const data = toErrorData(error);
      if (data.kind !== 'cancelled') this.log.warn(`No analysis: ${errorLine(error)}`);
      tell({ type: 'analysisFailed', run, error: data });
    } finally {
      if (this.running === own) this.running = undefined;
      cancellation.dispose();
    }
  }

  /** @param run only the measurement of this run; absent: whichever runs */
  cancel(run?: number): void {
    if (run === undefined || this.running?.run === run) this.running?.cancellation.cancel();
  }

  /** Tells a page that has just come up what it missed. */
  repeat(): void {
    if (this.last) this.post(this.last);
  }

  dispose(): void {
    this.cancel();
  }
}
