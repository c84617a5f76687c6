import type {
  AnswerResult,
  AttentionAnalysis,
  ErrorData,
  ReductionDescription,
  TokenId,
  TokenViewAction,
  TokenViewAnswer,
  TokenViewPicture,
  TokenViewQuestion,
  TokenViewWarning,
  ToTokenView,
} from '../server/protocol';
import { roundedResult } from '../server/traceView/json';
import { parseMethods, parseTokenViewAnswer } from '../server/traceView/messages';

export type RunStatus = 'waiting' | 'answering' | 'done' | 'failed' | 'cancelled';

/** The measurement of a run's attention. */
export type Analysis =
  | { state: 'running'; message: string; fraction?: number }
  | { state: 'done'; result: AttentionAnalysis }
  | { state: 'failed'; error: ErrorData };

/** One question and what came of it so far. */
export interface Run extends TokenViewQuestion {
  number: number;
  status: RunStatus;
  /** The answer as it streamed in. */
  text: string;
  progress?: { message: string; fraction?: number };
  result?: AnswerResult;
  warning?: TokenViewWarning;
  cached?: boolean;
  error?: ErrorData;
  action?: { title: string; action: TokenViewAction };
  analysis?: Analysis;
}

/** What the map's colours mean. */
export type ColorBy =
  | { kind: 'state' }
  /** The score that a stage of the trace ranked by. */
  | { kind: 'score'; stage: number }
  /** Attention of the whole answer (mean over its tokens). */
  | { kind: 'attention' }
  /** Attention of one word of the answer. */
  | { kind: 'word'; word: number }
  /** Weights of the context token (LLaMA-VID). */
  | { kind: 'context' };

/** What of a run is looked at. Everything here is an index or an id of that run's trace. */
export interface Look {
  image: number;
  plane: number;
  /** Index into the stage bar; undefined = what the decoder used. */
  point?: number;
  token?: TokenId;
  colorBy: ColorBy;
}

export interface Setup {
  methods: ReductionDescription[];
  reduction: string;
  fit: 'pad' | 'crop';
  model?: string;
  device?: string;
}

export interface State {
  /** Undefined until the extension host has sent it. A standalone page has none and cannot ask. */
  setup?: Setup;
  /** Images that the next question is about. */
  pictures: TokenViewPicture[];
  /** Oldest first. */
  runs: Run[];
  /** Number of the run on the map. */
  shown?: number;
  /** Number of the run beside it. */
  beside?: number;
  tab: 'tokens' | 'attention' | 'comparison';
  look: Look;
  overlay: boolean;
  /** 0..1 */
  opacity: number;
  draft: string;
}

/** Runs beyond these are forgotten, oldest first: enough for every method in one comparison. */
const MAX_RUNS = 24;
/** So are those whose attention would take more room than this, in numbers of 8 bytes. */
const MAX_ATTENTION = 16e6;

export const INITIAL_LOOK: Look = { image: 0, plane: -1, colorBy: { kind: 'state' } };

export const INITIAL_STATE: State = {
  pictures: [],
  runs: [],
  tab: 'tokens',
  look: INITIAL_LOOK,
  overlay: true,
  opacity: 1,
  draft: '',
};

export function shownRun(state: State): Run | undefined {
  return state.runs.find(({ number }) => number === state.shown);
}

/** Answers beside the shown run, oldest first. */
export function otherAnswers(state: State): Run[] {
  return state.runs.filter(({ number, result }) => number !== state.shown && result !== undefined);
}

/** The answer to compare with: the chosen one, else the last one about the same pictures. */
export function besideRun(state: State): Run | undefined {
  const others = otherAnswers(state);
  const pictures = shownRun(state)?.pictures;
  return (
    others.find(({ number }) => number === state.beside) ??
    others.findLast((run) => samePictures(run.pictures, pictures))
  );
}

type Pictures = readonly TokenViewPicture[];

/** By what they show: pasted screenshots all have one name. */
export function samePictures(a: Pictures, b: Pictures | undefined): boolean {
  if (a === b) return true;
  return (
    a.length === b?.length &&
    a.every(({ name, dataUrl }, index) => name === b[index].name && dataUrl === b[index].dataUrl)
  );
}

/** The list that an earlier run has of the same pictures, where there is one: comparing those two costs nothing. */
function sharedPictures(pictures: TokenViewPicture[], runs: readonly Run[]): TokenViewPicture[] {
  return runs.find((run) => samePictures(run.pictures, pictures))?.pictures ?? pictures;
}

export function busyRun(state: State): Run | undefined {
  return state.runs.find(({ status }) => status === 'waiting' || status === 'answering');
}

/** The state after a message of the extension host. Messages about runs that are not known are ignored. */
export function receive(state: State, message: ToTokenView): State {
  switch (message.type) {
    case 'setup': {
      const { methods, reduction, fit, model, device } = message;
      return { ...state, setup: { methods, reduction, fit, model, device } };
    }
    case 'picture':
      return {
        ...state,
        pictures: message.pictures,
        // A question in progress was about other pictures, and is over.
        runs: state.runs.filter(({ result }) => result !== undefined),
        draft: message.question ?? state.draft,
        tab: 'tokens',
        shown: undefined,
        look: INITIAL_LOOK,
      };
    case 'asked': {
      const { run: number, question, reduction, fit } = message;
      const pictures = sharedPictures(message.pictures, state.runs);
      const asked: Run = { number, pictures, question, reduction, fit, status: 'waiting', text: '' };
      // What failed or was cancelled gives way to the next question; what was answered stays beside it.
      const kept = state.runs.filter((run) => run.result !== undefined && run.number !== number);
      return {
        ...state,
        pictures,
        runs: [...remembered(kept), asked],
        shown: number,
        beside: undefined,
        // Charts come when they are asked for; an answer comes now.
        tab: 'tokens',
        draft: question,
        look: samePictures(pictures, state.pictures)
          ? { ...INITIAL_LOOK, image: state.look.image, plane: state.look.plane }
          : INITIAL_LOOK,
      };
    }
    case 'progress':
      return change(state, message.run, (run) => ({
        ...run,
        progress: { message: message.message, fraction: message.fraction },
      }));
    case 'answerPart':
      return change(state, message.run, (run) => ({
        ...run,
        status: 'answering',
        text: run.text + message.text,
      }));
    case 'answered':
      return change(state, message.run, (run) => ({
        ...run,
        status: 'done',
        text: message.result.answer,
        progress: undefined,
        result: message.result,
        reduction: message.result.reduction,
        warning: message.warning,
        cached: message.cached,
      }));
    case 'failed':
      return change(state, message.run, (run) => ({
        ...run,
        status: message.error.kind === 'cancelled' ? 'cancelled' : 'failed',
        progress: undefined,
        error: message.error,
        action: message.action,
      }));
    case 'compared':
      return { ...state, tab: 'comparison' };
    case 'analyzing': {
      const { message: said, fraction } = message;
      return analysed(state, message.run, { state: 'running', message: said, fraction });
    }
    case 'analyzed':
      return analysed(state, message.run, { state: 'done', result: message.analysis });
    case 'analysisFailed':
      return analysed(state, message.run, { state: 'failed', error: message.error });
  }
}

/** Of the answered runs, oldest first, those that there is room for beside one more. */
function remembered(runs: readonly Run[]): Run[] {
  let room = MAX_ATTENTION;
  const recent = runs.slice(1 - MAX_RUNS);
  const first = recent.findLastIndex(({ result }) => (room -= attentionOf(result)) < 0) + 1;
  return recent.slice(first);
}

function attentionOf(result: AnswerResult | undefined): number {
  return result ? result.trace.answer.length * result.trace.decoderTokens.length : 0;
}

/** The state of a standalone page: all its answers, the last one shown. */
export function stateOfPage(answers: readonly TokenViewAnswer[]): State {
  const runs = answers.map((answer, index) => runOf(answer, index + 1));
  return { ...INITIAL_STATE, pictures: answers.at(-1)?.pictures ?? [], runs, shown: runs.length };
}

export function answerOf(run: Run): TokenViewAnswer | undefined {
  const { pictures, question, reduction, fit, result, warning, cached } = run;
  return result && { pictures, question, reduction, fit, result, warning, cached };
}

function runOf(answer: TokenViewAnswer, number: number): Run {
  return { ...answer, number, status: 'done', text: answer.result.answer };
}

function change(state: State, number: number, update: (run: Run) => Run): State {
  if (!state.runs.some((run) => run.number === number)) return state;
  return { ...state, runs: state.runs.map((run) => (run.number === number ? update(run) : run)) };
}

function analysed(state: State, number: number, analysis: Analysis): State {
  return change(state, number, (run) => ({ ...run, analysis }));
}

// ------------------------------------------------------------------------------------------- what survives a reload

/** The editor keeps a view's state in its own database: what is larger is left out, the oldest run first. */
const MAX_SAVED = 6_000_000;

/** Results as they are saved, and how long that is: made once, however often the state around them is saved. */
const shortResults = new WeakMap<AnswerResult, { short: AnswerResult; length: number }>();

function shortResult(result: AnswerResult): { short: AnswerResult; length: number } {
  let known = shortResults.get(result);
  if (!known) {
    const short = roundedResult(result);
    known = { short, length: JSON.stringify(short).length };
    shortResults.set(result, known);
  }
  return known;
}

/** What is saved so that hiding and reloading change nothing; runs in progress are told again by the extension host. */
export function savedState(state: State): unknown {
  const all = state.runs.flatMap((run) => {
    const answer = answerOf(run);
    if (!answer) return [];
    const { short, length } = shortResult(answer.result);
    const pictures = answer.pictures.reduce((sum, { dataUrl }) => sum + dataUrl.length, 0);
    return [{ number: run.number, answer: { ...answer, result: short }, length: length + pictures }];
  });
  let room = MAX_SAVED;
  const first = all.findLastIndex(({ length }) => (room -= length) < 0) + 1;
  const answers = all.slice(first).map(({ number, answer }) => ({ number, answer }));
  const { shown, beside, tab, look, overlay, opacity, draft, setup } = state;
  return {
    version: 1,
    answers,
    shown,
    beside,
    tab,
    look,
    overlay,
    opacity,
    draft,
    methods: setup?.methods,
    setup,
  };
}

/** @returns the state that was saved, or undefined when there is none that can be shown */
export function restoredState(saved: unknown): State | undefined {
  if (typeof saved !== 'object' || saved === null) return undefined;
  const from = saved as Partial<Record<string, unknown>>;
  if (from.version !== 1 || !Array.isArray(from.answers)) return undefined;
  const runs: Run[] = [];
  for (const entry of from.answers as unknown[]) {
    const { number, answer } = entry as { number?: unknown; answer?: unknown };
    const parsed = parseTokenViewAnswer(answer);
    if (!parsed || typeof number !== 'number') continue;
    runs.push(runOf({ ...parsed, pictures: sharedPictures(parsed.pictures, runs) }, number));
  }
  const shown = runs.find(({ number }) => number === from.shown) ?? runs.at(-1);
  if (!shown) return undefined;
  const setup = from.setup as Partial<Setup> | undefined;
  const methods = parseMethods(setup?.methods);
  return {
    ...INITIAL_STATE,
    setup: methods && {
      methods,
      reduction: String(setup?.reduction),
      fit: setup?.fit === 'crop' ? 'crop' : 'pad',
    },
    pictures: (runs.at(-1) ?? shown).pictures,
    runs,
    shown: shown.number,
    beside: typeof from.beside === 'number' ? from.beside : undefined,
    tab: from.tab === 'attention' || from.tab === 'comparison' ? from.tab : 'tokens',
    look: shown.number === from.shown ? (restoredLook(from.look, shown) ?? INITIAL_LOOK) : INITIAL_LOOK,
    overlay: from.overlay !== false,
    opacity: typeof from.opacity === 'number' ? Math.min(1, Math.max(0, from.opacity)) : 1,
    draft: typeof from.draft === 'string' ? from.draft : shown.question,
  };
}

/** A look is only as good as the trace that it points into. */
function restoredLook(saved: unknown, run: Run): Look | undefined {
  if (typeof saved !== 'object' || saved === null || !run.result) return undefined;
  const { image, plane, point, token, colorBy } = saved as Partial<Look>;
  const whole = (value: unknown): value is number => Number.isInteger(value);
  const { trace } = run.result;
  if (!whole(image) || !whole(plane) || image < 0 || image >= trace.images.length) return undefined;
  const color = colorBy as { kind?: unknown; stage?: unknown; word?: unknown } | undefined;
  const colorOf = (): ColorBy => {
    if (color?.kind === 'score' && whole(color.stage) && trace.stages[color.stage]?.scores)
      return { kind: 'score', stage: color.stage };
    if (color?.kind === 'word' && whole(color.word)) return { kind: 'word', word: color.word };
    if (color?.kind === 'attention' || color?.kind === 'context') return { kind: color.kind };
    return { kind: 'state' };
  };
  return {
    image,
    plane,
    point: whole(point) ? point : undefined,
    token: whole(token) ? token : undefined,
    colorBy: colorOf(),
  };
}
