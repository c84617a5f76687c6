import type {
  AnswerResult,
  AnswerWarning,
  ImageLayout,
  PixelRect,
  ReductionDescription,
  StagePlace,
  TokenId,
  TokenViewWarning,
} from '../protocol';
import { countFates, fatesAfter, type Fate, type TimelinePoint, type TokenState } from './fates';
import { locateToken, newlineRow, patchRect, planeCell, planesOf } from './geometry';
import { rankOf, scoreValues } from './values';

/** Names of methods for people, by id. */
export type MethodNames = ReadonlyMap<string, string>;

export function methodNames(methods: readonly ReductionDescription[]): MethodNames {
  return new Map(methods.map(({ id, name }) => [id, name]));
}

export const STATE_WORDS: Readonly<Record<TokenState, string>> = {
  kept: 'Kept',
  carrier: 'Kept, carries others',
  merged: 'Merged into another',
  dropped: 'Dropped',
  absent: 'Not used',
};

// Unicode's explicit direction controls, and control characters other than tab and newline.
const INVISIBLE = /(?![\t\n])\p{Cc}|[\u202a-\u202e\u2066-\u2069]/gu;

/** Text of unknown origin without characters that reorder or hide what stands beside them. */
export function visibleText(text: string): string {
  return text.replace(/\r\n?/g, '\n').replace(INVISIBLE, '\ufffd');
}

/** For text and attribute values of HTML and SVG; also replaces what XML 1.0 cannot hold. */
export function escapeMarkup(text: string): string {
  return visibleText(text)
    .replace(
      /[\ufffe\uffff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g,
      '\ufffd',
    )
    .replace(/&/g, '&amp;')
    .replace(/</g, '&lt;')
    .replace(/>/g, '&gt;')
    .replace(/"/g, '&quot;')
    .replace(/'/g, '&#39;');
}

export function formatCount(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

export function formatMilliseconds(value: number): string {
  if (!Number.isFinite(value)) return '–';
  if (value < 10) return `${value.toFixed(1)} ms`;
  return value < 9_950 ? `${formatCount(value)} ms` : `${(value / 1000).toFixed(1)} s`;
}

/** 10^3 and not 2^10 at each step, as the units say. */
export function formatBytes(value: number): string {
  return scaled(value, ['B', 'kB', 'MB', 'GB', 'TB']);
}

/** Multiply-accumulates. */
export function formatMacs(value: number): string {
  return scaled(value, ['MAC', 'kMAC', 'MMAC', 'GMAC', 'TMAC', 'PMAC']);
}

function scaled(value: number, units: readonly string[]): string {
  if (!Number.isFinite(value)) return '–';
  let unit = 0;
  let rest = value;
  while (rest >= 999.5 && unit < units.length - 1) {
    rest /= 1000;
    unit += 1;
  }
  return `${unit > 0 && rest < 99.5 ? rest.toFixed(1) : Math.round(rest)} ${units[unit]}`;
}

/**
 * A spec for the eye: shares that a budget of the whole picture was split into have more digits than anybody reads (`dominant=0.2109375`).
 * Not for asking again.
 */
export function readableSpec(spec: string): string {
  return spec.replace(
    /=(0?\.\d{3,})(?=[,+]|$)/g,
    (_, share: string) => `=${Number((100 * Number(share)).toFixed(1))}%`,
  );
}

/** A model's size as people name it: 860 M, 7.1 B. */
export function formatParameters(count: number): string {
  if (count >= 999.5e6) return `${(count / 1e9).toFixed(1)} B`;
  return `${count >= 99.5e6 ? Math.round(count / 1e6) : (count / 1e6).toFixed(1)} M`;
}

/** A score with three significant digits. */
export function formatScore(value: number): string {
  if (!Number.isFinite(value)) return '–';
  if (value === 0) return '0';
  const size = Math.abs(value);
  return size >= 0.001 && size < 10_000 ? String(Number(value.toPrecision(3))) : value.toExponential(2);
}

export function formatShare(part: number, whole: number): string {
  if (whole <= 0) return '–';
  const percent = (100 * part) / whole;
  return `${percent >= 10 || percent === 0 ? Math.round(percent) : percent.toFixed(1)}\u00a0%`;
}

export function placeWords(place: StagePlace): string {
  switch (place.at) {
    case 'vision':
      return 'after the vision tower';
    case 'embeddings':
      return 'after the projector';
    case 'layer':
      return `before decoder layer ${place.layer}`;
    case 'step':
      return `at answer step ${place.step + 1}`;
  }
}

/** Short name of a point of the stage bar. */
export function pointLabel(point: TimelinePoint): string {
  switch (point.kind) {
    case 'tower':
      return 'Vision tower';
    case 'projector':
      return 'Projector';
    case 'answer':
      return `Token ${(point.answer ?? 0) + 1}`;
    case 'stage':
      switch (point.place?.at) {
        case 'layer':
          return `Layer ${point.place.layer}`;
        case 'embeddings':
          return 'Embeddings';
        default:
          return 'Features';
      }
  }
}

/** What happened at a point, with its tokens, for tooltips and screen readers. */
export function pointWords(result: AnswerResult, point: TimelinePoint, names: MethodNames): string {
  const tokens = `${formatCount(point.tokens)} image tokens`;
  switch (point.kind) {
    case 'tower':
      return `Vision tower: ${tokens}`;
    case 'projector':
      return `Projector: ${tokens} enter the decoder`;
    case 'stage':
      return `${names.get(point.method ?? '') ?? point.method} ${point.place ? placeWords(point.place) : ''}: ${tokens} left`;
    case 'answer': {
      const token = result.trace.answer[point.answer ?? 0];
      return `Answer token ${(point.answer ?? 0) + 1} "${visibleText(token.text.trim())}": ${tokens}, cache ${formatBytes(token.cacheBytes)}`;
    }
  }
}

/** Where a token is, for people: rows and columns count from 1. */
export function tokenName(images: readonly ImageLayout[], id: TokenId): string {
  const place = locateToken(images, id);
  if (!place) return `token ${id}`;
  const where = images.length > 1 ? ` of image ${place.image + 1}` : '';
  const layout = images[place.image];
  const planes = planesOf(layout);
  if (place.kind === 'newline') {
    const plane = planes[planes.length - 1];
    return plane.newlines.length === 1 && plane.rows > 1
      ? `newline behind all rows${where}`
      : `newline of row ${newlineRow(plane, place.index) + 1}${where}`;
  }
  if (place.kind !== 'patch') {
    const kind = place.kind === 'class' ? 'CLS token' : 'context token';
    if (layout.tiles.length === 1) return `${kind}${where}`;
    return `${kind} of ${place.tile === 0 ? 'the overview' : `tile ${place.tile}`}${where}`;
  }
  const planeIndex = planes.findIndex(({ tiles }) => tiles.includes(place.tile));
  const { row, column } = planeCell(planes[planeIndex], place);
  const plane = planes.length > 1 ? `${planeName(planes.length, planeIndex).toLowerCase()}, ` : '';
  return `${plane}row ${row + 1}, column ${column + 1}${where}`;
}

export function planeName(planes: number, index: number): string {
  if (planes === 1) return 'Image';
  if (index === 0) return 'Overview';
  return planes === 2 ? 'Detail tiles' : `Detail tiles ${index}`;
}

/** Source pixels of a patch, cut to whole pixels; `padding` where it lies wholly outside the picture. */
export function pixelWords(layout: ImageLayout, rect: PixelRect): string {
  const left = Math.max(0, Math.round(rect.x));
  const top = Math.max(0, Math.round(rect.y));
  const right = Math.min(layout.width, Math.round(rect.x + rect.width));
  const bottom = Math.min(layout.height, Math.round(rect.y + rect.height));
  if (right <= left || bottom <= top) return 'padding only';
  return `x ${left}–${right}, y ${top}–${bottom}`;
}

export function patchPixels(
  images: readonly ImageLayout[],
  id: TokenId,
): { layout: ImageLayout; rect: PixelRect } | undefined {
  const place = locateToken(images, id);
  if (place?.kind !== 'patch') return undefined;
  const layout = images[place.image];
  return { layout, rect: patchRect(layout.tiles[place.tile], place.row, place.column) };
}

/** One or two sentences: what became of a token, and why. */
export function whyWords(
  result: AnswerResult,
  fate: Fate | undefined,
  id: TokenId,
  names: MethodNames,
): string {
  const { trace } = result;
  if (!fate) return 'The model made no token of it: it holds padding only.';
  if (fate.stage === undefined) return 'No reduction has looked at it.';
  const stage = trace.stages[fate.stage];
  const method = names.get(stage.method) ?? stage.method;
  const values = scoreValues(trace, stage);
  const rank = values && rankOf(values, id);
  const ranked = rank
    ? `: its ${values.name} ranks ${formatCount(rank.rank)} of ${formatCount(rank.of)}`
    : '';
  const by = `by ${method} ${placeWords(stage.place)}`;
  switch (fate.state) {
    case 'kept':
      return `Kept ${by}${ranked}.`;
    case 'carrier': {
      const others = (fate.carries?.sources.length ?? 1) - 1;
      if (locateToken(trace.images, id)?.kind === 'context') {
        return `Computed ${by} from ${formatCount(fate.carries?.sources.length ?? 0)} patches.`;
      }
      return `Kept ${by}; ${formatCount(others)} other ${others === 1 ? 'patch' : 'patches'} merged into it.`;
    }
    case 'merged':
      return `Merged ${by} into ${tokenName(trace.images, fate.into ?? id)}${weightWords(fate)}${ranked}.`;
    case 'dropped':
      if (fate.into !== undefined) {
        return `Merged into ${tokenName(trace.images, fate.into)}, which was dropped ${by}.`;
      }
      return `Dropped ${by}${ranked}; ${formatCount(stage.kept.length + stage.merged.length)} went on.`;
    case 'absent':
      return 'The model made no token of it: it holds padding only.';
  }
}

function weightWords(fate: Fate): string {
  return fate.weight === undefined ? '' : ` with weight ${formatScore(fate.weight)}`;
}

/** The whole run in a few sentences: the text alternative of the map. */
export function summaryWords(result: AnswerResult, names: MethodNames): string[] {
  const { trace, costs } = result;
  const lines: string[] = [];
  const { total, atDecoder } = costs.imageTokens;
  lines.push(
    atDecoder === total
      ? `All ${formatCount(total)} image tokens entered the decoder.`
      : `${formatCount(atDecoder)} of ${formatCount(total)} image tokens entered the decoder.`,
  );
  const seen = new Set<string>();
  for (const [index, stage] of trace.stages.entries()) {
    const key = `${JSON.stringify(stage.place)} ${stage.spec}`;
    if (stage.place.at === 'step' || seen.has(key)) continue;
    seen.add(key);
    const same = trace.stages.filter((other) => `${JSON.stringify(other.place)} ${other.spec}` === key);
    const count = (pick: (s: (typeof same)[number]) => number): number =>
      same.reduce((sum, s) => sum + pick(s), 0);
    const parts = [`kept ${formatCount(count((s) => s.kept.length))}`];
    const merged = count((s) => s.merged.length);
    if (merged > 0) {
      // A patch may be part of several tokens (LLaMA-VID: of the context token and of its cell's average).
      const sources = count((s) => new Set(s.merged.flatMap((m) => m.sources)).size);
      parts.push(`merged ${formatCount(sources)} into ${formatCount(merged)}`);
    }
    const dropped = count((s) => s.dropped.length);
    if (dropped > 0) parts.push(`dropped ${formatCount(dropped)}`);
    const { method } = trace.stages[index];
    lines.push(`${names.get(method) ?? method}, ${placeWords(stage.place)}: ${parts.join(', ')}.`);
    if (stage.note) lines.push(stage.note);
  }
  if (trace.stages.some(({ place }) => place.at === 'step')) {
    const end = trace.answer.at(-1)?.imageTokens ?? 0;
    lines.push(`While answering, the image tokens in the cache went down to ${formatCount(end)}.`);
  }
  return lines;
}

/** "54 kept, 10 carry 512 merged, 0 dropped" at one point. */
export function countWords(result: AnswerResult, stages: number): string {
  const { kept, carrier, merged, dropped } = countFates(fatesAfter(result.trace, stages));
  const parts = [`${formatCount(kept + carrier)} kept`];
  if (merged > 0) parts.push(`${formatCount(merged)} merged`);
  if (dropped > 0) parts.push(`${formatCount(dropped)} dropped`);
  return parts.join(', ');
}

/** The names of devices as their makers write them. */
const DEVICE_NAMES: Readonly<Record<string, string>> = {
  cpu: 'CPU',
  webgpu: 'WebGPU',
  cuda: 'CUDA',
  dml: 'DirectML',
  coreml: 'CoreML',
};

export function deviceName(device: string): string {
  return Object.hasOwn(DEVICE_NAMES, device) ? DEVICE_NAMES[device] : device;
}

/** What the engine calls its stages. */
const STAGES: Readonly<Record<string, string>> = {
  checkpoint: 'Opening the model',
  converting: 'Converting the weights (once)',
  image: 'Decoding the image',
  vision: 'Looking at the image',
  prefill: 'Reading the question',
  answer: 'Answering',
  'without the image': 'Answering without the image',
};

/** A stage of loading or answering for people. */
export function stageWords(stage: string): string {
  if (Object.hasOwn(STAGES, stage)) return STAGES[stage];
  const tested = /^testing (\w+)$/.exec(stage)?.[1];
  const text = tested === undefined ? stage : `testing ${deviceName(tested)}`;
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** A warning of an answer as the token view shows it, with its one click. */
export function warningWords(warning: AnswerWarning | undefined): TokenViewWarning | undefined {
  if (!warning) return undefined;
  const { code, message, askAgain } = warning;
  if (code === 'image.small-text')
    return {
      message: `${message} Zoom in and ask about the visible part, or choose another model.`,
      action: { title: 'Choose Model...', action: 'chooseModel' },
    };
  if (!askAgain) return { message };
  const title =
    askAgain.reduction === 'none' ? 'Ask again with all tokens' : `Ask again with ${askAgain.reduction}`;
  return { message, askAgain: { title, reduction: askAgain.reduction } };
}
