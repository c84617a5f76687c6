/**
 * The token view as the rest of the extension host sees it: ask, and everything from the first progress to the answer
 * appears there. Holds the present run, so that a page which was hidden or reloaded can be told where things stand.
 */
import * as vscode from 'vscode';
import {
  EXPLAIN_QUESTION,
  ReductionsRequest,
  type AnswerResult,
  type AskRequest,
  type ErrorData,
  type FromTokenView,
  type ReductionDescription,
  type TokenViewPicture,
  type TokenViewQuestion,
  type ToTokenView,
} from '../../server/protocol';
import { warningWords } from '../../server/traceView/wording';
import { fitSetting, reductionSetting } from '../configuration';
import { actionFor, errorLine, runAction, showError, toErrorData } from '../errors';
import { pickedImage, type NamedImage } from '../images';
import type { FoveaLanguageClient } from '../languageClient';
import type { Memory } from '../memory';
import type { ReadingAhead } from '../readingAhead';
import { AttentionMeasurement } from './attentionMeasurement';
import { saveExport } from './saveExport';
import { droppedImage, imageFromView } from './incoming';
import { NO_IMAGE_TITLE, TOKEN_VIEW_TYPE, TokenViewPanel } from './panel';
import { partOf, pictureOf } from './picture';
import type { LastAnswer, LastShown } from './lastShown';

/** A question as commands ask it; what is absent follows the settings. */
export interface Question {
  images: NamedImage[];
  /** Absent: the question of "Explain Image". */
  question?: string;
  reduction?: string;
  fit?: 'pad' | 'crop';
  /** Only this part of one of the images, which is cut out first. */
  part?: ImagePart;
  /** Runs the model even where the answer is stored. */
  fresh?: boolean;
  /** False computes everything, so that costs can be compared. */
  reuse?: boolean;
}

/** A rectangle of an image that the view shows, in pixels of its picture. */
type ImagePart = (FromTokenView & { type: 'ask' })['part'] & object;

/** How a question ended. The view has shown it already. */
export type Outcome = { result: AnswerResult } | { error: ErrorData };

/** One run, with all that a page needs to catch up. */
interface Run {
  number: number;
  images: NamedImage[];
  shown: TokenViewQuestion;
  /** `asked` was sent, or would have been had the page been there. */
  announced: boolean;
  cancellation: vscode.CancellationTokenSource;
  progress?: ToTokenView;
  text: string;
  outcome?: ToTokenView & { type: 'answered' | 'failed' };
}

export class TokenView implements vscode.WebviewPanelSerializer, vscode.Disposable {
  private panel: TokenViewPanel | undefined;
  private images: NamedImage[] = [];
  private pictures: TokenViewPicture[] = [];
  private run: Run | undefined;
  /** The page does not show the present pictures yet. */
  private picturesPending = false;
  /** What was answered last before a window reload. */
  private lastAnswer: LastAnswer | undefined;
  private readonly attention: AttentionMeasurement;
  /** Starts from the clock, so that no number comes back after a window reload, when a page may remember old ones. */
  private lastRun = Date.now();
  private methods: readonly ReductionDescription[] | undefined;
  private readonly subscriptions: vscode.Disposable[];

  constructor(
    private readonly extensionUri: vscode.Uri,
    private readonly client: FoveaLanguageClient,
    private readonly memory: Memory,
    private readonly lastShown: LastShown,
    private readonly readingAhead: ReadingAhead,
    private readonly log: vscode.LogOutputChannel,
  ) {
    let model: string | undefined;
    this.attention = new AttentionMeasurement(client, log, (message) => this.post(message));
    this.subscriptions = [
      this.attention,
      vscode.window.registerWebviewPanelSerializer(TOKEN_VIEW_TYPE, this),
      vscode.workspace.onDidChangeConfiguration((event) => {
        if (event.affectsConfiguration('fovea')) void this.sendSetup();
      }),
      client.onStatus((status) => {
        const now = `${status.model?.hash} ${status.device}`;
        if (now !== model) void this.sendSetup();
        model = now;
      }),
    ];
  }

  /** Leaves the panel alone: after a window reload it is to come back. */
  dispose(): void {
    this.run?.cancellation.cancel();
    for (const subscription of this.subscriptions) subscription.dispose();
  }

  /** After a window reload: the page has its own state, which may be older than what was shown last. */
  async deserializeWebviewPanel(panel: vscode.WebviewPanel): Promise<void> {
    const { images, answer } = await this.lastShown.load();
    // A question may be asked before an old panel comes back.
    if (!this.run) {
      this.images = images;
      this.lastAnswer = answer;
      this.pictures = await this.picturesOf(images);
      this.picturesPending = !answer && this.pictures.length > 0;
    }
    this.attach(panel);
  }

  /** Pictures of before; none where an image is gone or does not lie where it did. */
  private async picturesOf(images: readonly NamedImage[]): Promise<TokenViewPicture[]> {
    try {
      return await Promise.all(images.map((image) => pictureOf(image, this.client)));
    } catch (error) {
      this.log.info(
        `The images that were shown before the reload are not there any more: ${errorLine(error)}`,
      );
      return [];
    }
  }

  async show(preserveFocus = false): Promise<void> {
    if (this.panel) await this.panel.reveal(preserveFocus);
    else this.attach(TokenViewPanel.create(preserveFocus));
  }

  /** Shows images without asking anything yet; none at all is an invitation to paste or drop one. */
  async showImages(images: NamedImage[]): Promise<void> {
    this.run?.cancellation.cancel();
    this.readingAhead.begin(images);
    await this.show(true);
    try {
      this.pictures = await Promise.all(images.map((image) => pictureOf(image, this.client)));
    } catch (error) {
      this.fail(this.begin({ images }), error);
      return;
    }
    this.images = images;
    this.run = undefined;
    this.lastAnswer = undefined;
    this.setTitle(images);
    this.picturesPending = true;
    this.postPictures();
    await this.lastShown.save({ images });
  }

  /**
   * Asks, and shows everything in the view. A run in progress is cancelled: the view shows one at a time.
   */
  async ask(question: Question): Promise<Outcome> {
    this.run?.cancellation.cancel();
    const run = this.begin(question);
    await this.show(true);
    try {
      return { result: await this.answer(run, question) };
    } catch (error) {
      return { error: this.fail(run, error) };
    } finally {
      run.cancellation.dispose();
    }
  }

  /** Ends the question in progress, if there is one. */
  cancel(): void {
    this.run?.cancellation.cancel();
  }

  /** Puts all answers to the last question side by side. */
  showComparison(): void {
    this.post({ type: 'compared' });
  }

  private begin({ images, question, reduction, fit }: Question): Run {
    // What the user wants to know now does not wait for what was wanted before.
    this.attention.cancel();
    const resource = resourceOf(images);
    this.lastRun += 1;
    const samePictures = images === this.images && this.pictures.length === images.length;
    const run: Run = {
      number: this.lastRun,
      images,
      announced: false,
      shown: {
        pictures: samePictures ? this.pictures : images.map(({ name }) => ({ name, dataUrl: '' })),
        question: question ?? EXPLAIN_QUESTION,
        reduction: reduction ?? reductionSetting(resource),
        fit: fit ?? fitSetting(resource),
      },
      cancellation: new vscode.CancellationTokenSource(),
      text: '',
    };
    this.run = run;
    this.images = images;
    if (!samePictures) this.pictures = [];
    this.picturesPending = false;
    this.lastAnswer = undefined;
    return run;
  }

  private async answer(run: Run, question: Question): Promise<AnswerResult> {
    // Asked again about what is shown: the view says at once that it is at work, and looks at the files afterwards.
    const known = run.shown.pictures;
    const isShown = known.every(({ dataUrl }) => dataUrl !== '');
    if (isShown) this.announce(run);
    const { token } = run.cancellation;
    const images = question.part ? [await this.cutOut(run, question.part)] : question.images;
    const pictures = await Promise.all(images.map((image) => pictureOf(image, this.client, token)));
    if (this.run === run) this.pictures = pictures;
    if (!isShown || pictures.some(({ dataUrl }, index) => dataUrl !== known.at(index)?.dataUrl)) {
      run.shown = { ...run.shown, pictures };
      this.announce(run);
    }
    void this.lastShown.save({ images });
    await this.remember(images, question.question);

    const observer = {
      onPieces: ({ pieces }: AskRequest.Partial) => {
        run.text += pieces.join('');
        this.postFor(run, { type: 'answerPart', run: run.number, text: pieces.join('') });
      },
      onProgress: ({ message, fraction }: { message: string; fraction?: number }) => {
        run.progress = { type: 'progress', run: run.number, message, fraction };
        this.postFor(run, run.progress);
      },
    };
    const parameters: AskRequest.Params = {
      images: images.map(({ source }) => source),
      question: question.question,
      reduction: question.reduction,
      fit: question.fit,
      fresh: question.fresh,
      reuse: question.reuse,
    };
    const title = vscode.l10n.t('Fovea: looking at {0}', images.map(({ name }) => name).join(', '));
    const answer = await vscode.window.withProgress({ location: vscode.ProgressLocation.Window, title }, () =>
      this.client.ask(parameters, observer, run.cancellation.token),
    );
    const { result, cached } = answer;
    const warning = warningWords(result.warning);
    this.finish(run, { type: 'answered', run: run.number, result, warning, cached });
    if (this.run === run) {
      const { question: asked, reduction, fit } = run.shown;
      const last = { run: run.number, question: asked, reduction, fit, result, warning, cached };
      void this.lastShown.save({ images, answer: last });
    }
    return result;
  }

  private announce(run: Run): void {
    run.announced = true;
    this.setTitle(run.images);
    this.postFor(run, { type: 'asked', run: run.number, ...run.shown });
  }

  private fail(run: Run, error: unknown): ErrorData {
    const data = toErrorData(error);
    if (data.kind !== 'cancelled') this.log.warn(`No answer: ${errorLine(error)}`);
    if (!run.announced) this.announce(run);
    this.finish(run, { type: 'failed', run: run.number, error: data, action: actionFor(data) });
    return data;
  }

  private finish(run: Run, outcome: Run['outcome'] & object): void {
    run.outcome = outcome;
    this.postFor(run, outcome);
  }

  private async remember(images: readonly NamedImage[], question: string | undefined): Promise<void> {
    for (const { source } of images) {
      if ('uri' in source && source.uri.startsWith('file:')) await this.memory.rememberImage(source.uri);
    }
    if (question) await this.memory.rememberQuestion(question);
  }

  private setTitle(images: readonly NamedImage[]): void {
    const names = images.map(({ name }) => name).join(', ');
    if (this.panel) this.panel.title = names === '' ? NO_IMAGE_TITLE : vscode.l10n.t('Tokens: {0}', names);
  }

  private attach(panel: vscode.WebviewPanel): void {
    this.panel?.dispose();
    const attached: TokenViewPanel = new TokenViewPanel(
      panel,
      this.extensionUri,
      {
        onMessage: (message) => {
          this.receive(message).catch((error: unknown) => {
            this.log.error(`What the token view asked for failed: ${errorLine(error)}`);
            void showError(error);
          });
        },
        onDispose: () => {
          if (this.panel !== attached) return;
          this.panel = undefined;
          this.run?.cancellation.cancel();
          this.readingAhead.giveUp();
          this.attention.cancel();
        },
      },
      this.log,
    );
    this.panel = attached;
  }

  private post(message: ToTokenView): boolean {
    return this.panel?.post(message) ?? false;
  }

  /** Messages of a run that another has replaced are of no interest any more. */
  private postFor(run: Run, message: ToTokenView): boolean {
    return this.run === run && this.post(message);
  }

  private async receive(message: FromTokenView): Promise<void> {
    switch (message.type) {
      case 'ready':
        await this.sendSetup();
        return this.catchUp(message.runs);
      case 'ask': {
        const { question, reduction, fit, part } = message;
        // Whoever asks here wants to see what it costs now, not what it cost once.
        await this.ask({ images: this.images, question, reduction, fit, part, fresh: true });
        return;
      }
      case 'wholeImage':
        return this.showImages(this.images.map((image) => image.part?.of ?? image));
      case 'cancel':
        if (this.run?.number === message.run) this.run.cancellation.cancel();
        return;
      case 'analyze':
        return this.attention.measure(message, this.images);
      case 'cancelAnalysis':
        return this.attention.cancel(message.run);
      case 'pickImage':
        return this.pickImage();
      case 'image':
        return this.showImages([imageFromView(message)]);
      case 'dropped': {
        const image = await droppedImage(message.uris);
        return image && this.showImages([image]);
      }
      case 'action':
        return message.action === 'pickImage' ? this.pickImage() : runAction(message.action);
      case 'export':
        return saveExport(
          message,
          this.images.map(({ source }) => source),
          resourceOf(this.images),
          this.client,
        );
      case 'copyText':
        return vscode.env.clipboard.writeText(message.text);
      case 'log':
        return this.log.info(`Token view: ${message.message}`);
    }
  }

  /** The part that a run is about, instead of the images that it began with. */
  private async cutOut(run: Run, { image, rect }: ImagePart): Promise<NamedImage> {
    const named = run.images.at(image);
    if (!named) throw new Error(`the view has no image ${image}`);
    run.progress = {
      type: 'progress',
      run: run.number,
      message: vscode.l10n.t('Cutting out the visible part'),
    };
    this.postFor(run, run.progress);
    const part = await partOf(named, rect, run.shown.pictures[image], this.client, run.cancellation.token);
    run.images = [part];
    if (this.run === run) this.images = run.images;
    return part;
  }

  private async pickImage(): Promise<void> {
    const image = await pickedImage(this.memory);
    if (image) await this.showImages([image]);
  }

  /**
   * Tells a page that has just come up what it missed.
   * @param known the answers that it still has
   */
  private catchUp(known: readonly number[]): void {
    if (this.run) this.repeat(this.run, known);
    else if (this.lastAnswer) this.repeatLastAnswer(this.lastAnswer, known);
    else if (this.picturesPending || (known.length === 0 && this.pictures.length > 0)) this.postPictures();
    this.attention.repeat();
  }

  private repeat(run: Run, known: readonly number[]): void {
    const isKnown = run.outcome?.type === 'answered' && known.includes(run.number);
    if (!run.announced || isKnown) return;
    this.post({ type: 'asked', run: run.number, ...run.shown });
    if (run.progress) this.post(run.progress);
    if (run.text) this.post({ type: 'answerPart', run: run.number, text: run.text });
    if (run.outcome) this.post(run.outcome);
  }

  private repeatLastAnswer(answer: LastAnswer, known: readonly number[]): void {
    const { run, question, reduction, fit, result, warning, cached } = answer;
    if (known.includes(run)) return;
    this.post({ type: 'asked', run, pictures: this.pictures, question, reduction, fit });
    this.post({ type: 'answered', run, result, warning, cached });
  }

  private postPictures(): void {
    const isThere = this.post({ type: 'picture', pictures: this.pictures });
    if (isThere) this.picturesPending = false;
  }

  private async sendSetup(): Promise<void> {
    if (!this.panel) return;
    try {
      this.methods ??= await this.client.request(ReductionsRequest.type, {});
    } catch (error) {
      this.log.error(`The reductions could not be listed: ${errorLine(error)}`);
    }
    const resource = resourceOf(this.images);
    const { status } = this.client;
    this.post({
      type: 'setup',
      methods: [...(this.methods ?? [])],
      reduction: reductionSetting(resource),
      fit: fitSetting(resource),
      model: status?.model?.name,
      device: status?.device,
    });
  }
}

/** The file whose folder decides which settings apply. */
function resourceOf(images: readonly NamedImage[]): vscode.Uri | undefined {
  const source = (images[0]?.part?.of ?? images[0])?.source;
  return source && 'uri' in source && source.uri.startsWith('file:')
    ? vscode.Uri.parse(source.uri)
    : undefined;
}
