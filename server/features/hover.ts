import { MarkupKind, type Hover, type MarkupContent } from 'vscode-languageserver';
import type { TextDocument } from 'vscode-languageserver-textdocument';
import { FoveaError, toErrorData } from '../llava/errors';
import {
  EXPLAIN_QUESTION,
  HoverCommand,
  type AnswerResult,
  type AnswerWarning,
  type ErrorData,
  type HoverCommandArgument,
  type ImageFacts,
  type ImageReference,
  type ImageSource,
  type Settings,
  type TextPosition,
} from '../protocol';
import type { LoadedImage } from '../images/source';
import type { Asking } from './ask';
import type { DocumentImages } from './documentImages';
import { escapeMarkdown, shorten, visible } from './markdown';

/** Box that a picture in a hover is scaled into, in CSS pixels: a hover is 250 high, and the links below are to be seen. */
const PICTURE_BOX = { width: 320, height: 130 };
/** The same where there are words about the picture. */
const SMALL_PICTURE_BOX = { width: 320, height: 70 };
/** VS Code cuts a hover's Markdown near 100,000 characters; a longer data URI would spill into it as text. */
const MAX_DATA_URI = 90_000;
/** Larger pictures are not handed to the editor to decode for a thumbnail, in pixels. */
const MAX_PICTURE_PIXELS = 50e6;
/** An explanation is a sentence or two; more than this does not belong into a hover. */
const MAX_EXPLANATION = 1500;
/** How long a hover waits for an explanation that it started; after that it shows without, and the run goes on. */
const EXPLAIN_WAIT_MS = 20_000;

export interface HoverDependencies {
  documentImages: DocumentImages;
  asking: Asking;
  loadImage: (source: ImageSource, settings: Settings) => Promise<LoadedImage>;
  settings: (documentUri: string) => Promise<Settings>;
  /** Why inference does not start any more, if so. */
  stopped: () => ErrorData | undefined;
  /** False in a workspace that is not trusted: nothing is asked that the user did not ask. */
  isTrusted: () => boolean;
  client: {
    /** It renders Markdown. */
    markdown: boolean;
    /** It runs our commands. */
    commands: boolean;
  };
}

/** What a hover says, before it is written in the form that the client takes. */
interface HoverText {
  reference: ImageReference;
  /** URI and size of the picture, where it is shown. */
  picture?: { uri: string; width?: number; height?: number };
  facts?: ImageFacts;
  explanation?: string;
  /** About the explanation. */
  warning?: string;
  error?: ErrorData;
  /** In place of facts. */
  note?: string;
  commands: { label: string; command: string; argument?: HoverCommandArgument }[];
}

/** Hovers over image references: facts, the picture, and what the model said about it. */
export class HoverFeature {
  readonly #dependencies: HoverDependencies;

  constructor(dependencies: HoverDependencies) {
    this.#dependencies = dependencies;
  }

  async hover(document: TextDocument, position: TextPosition, signal: AbortSignal): Promise<Hover | null> {
    const reference = await this.#dependencies.documentImages.referenceAt(document, position);
    if (!reference) return null;
    const text = await this.#compose(document, reference, signal);
    return { range: reference.fullRange, contents: this.#render(text) };
  }

  async #compose(document: TextDocument, reference: ImageReference, signal: AbortSignal): Promise<HoverText> {
    const { target } = reference;
    if (target.kind === 'remote') {
      const note = `Remote image, not fetched: ${shorten(visible(target.url), 200)}`;
      return { reference, note, commands: [] };
    }
    if (target.kind === 'unreadable') return { reference, error: target.error, commands: [] };
    const { documentImages, loadImage, settings: settingsOf } = this.#dependencies;
    const settings = await settingsOf(document.uri);
    const source = await documentImages.source(reference);
    if (!source) return { reference, commands: [] };
    let image: LoadedImage;
    try {
      image = await loadImage(source, settings);
    } catch (error) {
      if (!(error instanceof FoveaError)) throw error;
      return { reference, error: error.toData(), commands: [] };
    }
    const text: HoverText = { reference, facts: image.facts, commands: [] };
    // VS Code shows the picture of a Markdown link itself.
    if (document.languageId !== 'markdown') text.picture = pictureOf(target, image);
    if (settings.hover.explain === 'off') return text;
    // A long data: URI would not fit into a link.
    const mention = { mention: { textDocument: { uri: document.uri }, position: reference.range.start } };
    const argument: HoverCommandArgument = { image: target.kind === 'data' ? mention : source };
    const { explanation, warning, error } = await this.#explain(source, image, settings, signal);
    const stopped = this.#dependencies.stopped();
    if (explanation !== undefined) {
      text.explanation = explanation;
      text.warning = warning?.message;
      text.commands.push({ label: 'Show the tokens', command: HoverCommand.explain, argument });
      if (warning?.askAgain) {
        const complete = { ...argument, reduction: warning.askAgain.reduction };
        text.commands.push({
          label: 'Ask again with all tokens',
          command: HoverCommand.explain,
          argument: complete,
        });
      }
    } else if (stopped) {
      text.error = stopped;
      text.commands.push({ label: 'Restart inference', command: HoverCommand.restart });
    } else {
      if (error) text.error = error;
      text.commands.push({ label: 'Explain this image', command: HoverCommand.explain, argument });
    }
    if (!stopped) text.commands.push({ label: 'Ask about it', command: HoverCommand.ask, argument });
    return text;
  }

  /** The known explanation, or with the setting `onHover` a new one. */
  async #explain(
    source: ImageSource,
    image: LoadedImage,
    settings: Settings,
    signal: AbortSignal,
  ): Promise<{ explanation?: string; warning?: AnswerWarning; error?: ErrorData }> {
    const { asking, isTrusted, stopped } = this.#dependencies;
    const params = { images: [source], question: EXPLAIN_QUESTION };
    const loaded = [image];
    try {
      const known: AnswerResult | undefined = await asking.cached(params, loaded);
      if (known) return { explanation: known.answer, warning: known.warning };
      if (settings.hover.explain !== 'onHover' || !isTrusted() || stopped()) return {};
      const controller = new AbortController();
      const leave = (): void => controller.abort(signal.reason);
      signal.addEventListener('abort', leave, { once: true });
      const asked = asking.ask(params, { priority: 'hover', loaded, signal: controller.signal });
      asked.catch(() => undefined); // when it fails after the wait, nobody looks any more
      let timer: NodeJS.Timeout | undefined;
      const waited = new Promise<undefined>((resolve) => {
        timer = setTimeout(() => resolve(undefined), EXPLAIN_WAIT_MS);
      });
      const answer = await Promise.race([asked, waited]).finally(() => clearTimeout(timer));
      // From here on the run belongs to the cache, not to this hover.
      signal.removeEventListener('abort', leave);
      if (!answer) return {};
      return { explanation: answer.result.answer, warning: answer.result.warning };
    } catch (error) {
      const data = toErrorData(error);
      // Facts are worth showing also when the model is not there; the link leads to the whole error.
      return data.kind === 'cancelled' ? {} : { error: data };
    }
  }

  #render(text: HoverText): Hover['contents'] {
    const { client } = this.#dependencies;
    if (!client.markdown) return { kind: MarkupKind.PlainText, value: plainHover(text) };
    const untrusted = markdownHover(text);
    if (!client.commands || text.commands.length === 0) {
      return { kind: MarkupKind.Markdown, value: untrusted } satisfies MarkupContent;
    }
    // Parts of their own, so that the client can trust the one with our links and no other.
    return [untrusted, text.commands.map(commandLink).join(' | ')];
  }
}

function pictureOf(
  target: { kind: 'file' | 'data'; uri: string },
  { bytes, facts }: LoadedImage,
): HoverText['picture'] {
  const { width, height } = facts;
  if ((width ?? 0) * (height ?? 0) > MAX_PICTURE_PIXELS) return undefined;
  if (target.kind === 'file') return { uri: target.uri, width, height };
  // Written anew from its bytes: nothing of the document's own text reaches the hover.
  const mime = facts.format === 'svg' ? 'svg+xml' : facts.format === 'ico' ? 'x-icon' : facts.format;
  const uri = `data:image/${mime};base64,${Buffer.from(bytes).toString('base64')}`;
  return uri.length <= MAX_DATA_URI ? { uri, width, height } : undefined;
}

function markdownHover({ picture, facts, explanation, warning, error, note }: HoverText): string {
  const parts: string[] = [];
  if (picture) {
    const uri = picture.uri.replace(
      /[()|<>"'\\\s]/g,
      (c) => `%${c.charCodeAt(0).toString(16).padStart(2, '0')}`,
    );
    parts.push(
      `![](${uri}${displaySize(picture, explanation === undefined ? PICTURE_BOX : SMALL_PICTURE_BOX)})`,
    );
  }
  if (facts)
    parts.push(`**${escapeMarkdown(shorten(facts.name, 100))}**  \n${escapeMarkdown(factsLine(facts))}`);
  if (note !== undefined) parts.push(escapeMarkdown(note));
  if (explanation !== undefined) parts.push(escapeMarkdown(shorten(explanation.trim(), MAX_EXPLANATION)));
  if (warning !== undefined) parts.push(escapeMarkdown(warning));
  if (error) parts.push(escapeMarkdown(errorText(error)));
  return parts.join('\n\n');
}

function plainHover({ facts, explanation, warning, error, note }: HoverText): string {
  const parts: string[] = [];
  if (facts) parts.push(`${visible(shorten(facts.name, 100))}\n${factsLine(facts)}`);
  if (note !== undefined) parts.push(note);
  if (explanation !== undefined) parts.push(visible(shorten(explanation.trim(), MAX_EXPLANATION)));
  if (warning !== undefined) parts.push(warning);
  if (error) parts.push(visible(errorText(error)));
  return parts.join('\n\n');
}

function errorText({ message, nextStep }: ErrorData): string {
  return `${message} ${nextStep}`;
}

/** VS Code's way of sizing a picture in Markdown; only ever smaller than it is. */
function displaySize(
  { width, height }: { width?: number; height?: number },
  box: typeof PICTURE_BOX,
): string {
  if (!width || !height) return `|width=${box.width}`;
  const scale = Math.min(1, box.width / width, box.height / height);
  return `|width=${Math.max(1, Math.round(width * scale))},height=${Math.max(1, Math.round(height * scale))}`;
}

function factsLine({ format, width, height, orientation, bytes, animated }: ImageFacts): string {
  const isTurned = orientation !== undefined && orientation >= 5;
  const size =
    width && height ? `${isTurned ? height : width} × ${isTurned ? width : height} px` : 'no fixed size';
  return [size, formatBytes(bytes), format.toUpperCase(), ...(animated ? ['animated'] : [])].join(' · ');
}

function formatBytes(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < 1024 ** 2) return `${(bytes / 1024).toFixed(1)} KB`;
  return `${(bytes / 1024 ** 2).toFixed(1)} MB`;
}

function commandLink({ label, command, argument }: HoverText['commands'][number]): string {
  if (!argument) return `[${label}](command:${command})`;
  const query = encodeURIComponent(JSON.stringify([argument])).replace(
    /[()']/g,
    (c) => `%${c.charCodeAt(0).toString(16)}`,
  );
  return `[${label}](command:${command}?${query})`;
}
