import type { AnswerTokenTrace, ReductionTrace, TokenId, TraceStage } from '../protocol';
import { carrierOf, type Fate } from './fates';

/** A number for some tokens, and what it means. */
export interface TokenValues {
  /** What a legend calls it, e.g. `CLS attention` or `attention of "Save"`. */
  name: string;
  values: ReadonlyMap<TokenId, number>;
}

/** A run of answer tokens that reads as one word. */
export interface AnswerWord {
  /** White space before it. */
  lead: string;
  text: string;
  /** Indices into `trace.answer`, ascending. */
  tokens: number[];
}

/** Scripts that are written without spaces: every token is its own word. */
const UNSPACED = /^[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]/u;

/** Groups answer tokens into words. Tokens without text (half a character, end of answer) join their word or vanish. */
export function wordsOf(answer: readonly AnswerTokenTrace[]): AnswerWord[] {
  const words: AnswerWord[] = [];
  let lead = '';
  let pending: number[] = [];
  for (const [index, { text }] of answer.entries()) {
    pending.push(index);
    if (text === '') continue;
    const body = text.trimStart();
    lead += text.slice(0, text.length - body.length);
    if (body === '') {
      pending = [];
      continue;
    }
    const last = words.at(-1);
    if (last && lead === '' && !/\s$/.test(last.text) && !UNSPACED.test(body)) {
      last.text += body;
      last.tokens.push(...pending);
    } else {
      words.push({ lead, text: body, tokens: pending });
    }
    lead = '';
    pending = [];
  }
  return words;
}

/** Attention of some answer tokens (their mean) over the image tokens that entered the decoder. */
export function attentionValues(
  trace: ReductionTrace,
  answerTokens: readonly number[],
  name: string,
): TokenValues {
  const values = new Map<TokenId, number>();
  for (const [index, id] of trace.decoderTokens.entries()) {
    let sum = 0;
    for (const token of answerTokens) sum += trace.answer[token].attention[index] ?? 0;
    values.set(id, answerTokens.length === 0 ? 0 : sum / answerTokens.length);
  }
  return { name, values };
}

/** The scores of all stages that rank at the same place by the same spec as this one (tiles are stages of their own). */
export function scoreValues(trace: ReductionTrace, stage: TraceStage): TokenValues | undefined {
  if (!stage.scores) return undefined;
  const values = new Map<TokenId, number>();
  for (const other of trace.stages) {
    if (other.spec !== stage.spec || other.scores?.name !== stage.scores.name) continue;
    if (JSON.stringify(other.place) !== JSON.stringify(stage.place)) continue;
    for (const [index, value] of other.scores.values.entries()) values.set(other.received[index], value);
  }
  return { name: stage.scores.name, values };
}

/** How much each patch went into the context token that a method computed from all of them. */
export function contextValues(trace: ReductionTrace, image: number): TokenValues | undefined {
  const { contextTokenId } = trace.images[image];
  for (const stage of trace.stages) {
    const context = stage.merged.find((merged) => merged.id === contextTokenId);
    if (context) {
      return {
        name: 'weight in the context token',
        values: new Map(context.sources.map((id, index) => [id, context.weights[index]])),
      };
    }
  }
  return undefined;
}

/** The value of the token that a token lives on in. */
export function valueOf(
  values: TokenValues,
  fates: ReadonlyMap<TokenId, Fate>,
  id: TokenId,
): number | undefined {
  return values.values.get(id) ?? values.values.get(carrierOf(fates, id));
}

/** 1 = the highest. Ties share the better rank. Undefined where the token has no finite value. */
export function rankOf(values: TokenValues, id: TokenId): { rank: number; of: number } | undefined {
  const own = values.values.get(id);
  if (own === undefined || !Number.isFinite(own)) return undefined;
  let rank = 1;
  let of = 0;
  for (const value of values.values.values()) {
    if (!Number.isFinite(value)) continue;
    of += 1;
    if (value > own) rank += 1;
  }
  return { rank, of };
}

/** The part of the values that a colour scale shows: outliers above this quantile are all drawn as the highest. */
const SCALE_QUANTILE = 0.995;

export interface ValueScale {
  low: number;
  high: number;
  /** 0..1; a value that is not finite is 0. */
  at(value: number): number;
}

export function scaleOf(values: TokenValues): ValueScale {
  const sorted = [...values.values.values()].filter(Number.isFinite).sort((a, b) => a - b);
  const low = Math.min(0, sorted[0] ?? 0);
  const high = sorted[Math.floor((sorted.length - 1) * SCALE_QUANTILE)] ?? 0;
  const span = high - low;
  return {
    low,
    high,
    at: (value) => (span > 0 && Number.isFinite(value) ? Math.min(1, Math.max(0, (value - low) / span)) : 0),
  };
}

/** The answer's words by how much they attended to a token, strongest first; words that did not are left out. */
export function wordsThatUsed(
  trace: ReductionTrace,
  words: readonly AnswerWord[],
  fates: ReadonlyMap<TokenId, Fate>,
  id: TokenId,
): { word: number; attention: number }[] {
  let index = trace.decoderTokens.indexOf(id);
  if (index < 0) index = trace.decoderTokens.indexOf(carrierOf(fates, id));
  if (index < 0) return [];
  return words
    .map(({ tokens }, word) => ({
      word,
      attention:
        tokens.reduce((sum, token) => sum + (trace.answer[token].attention[index] ?? 0), 0) / tokens.length,
    }))
    .filter(({ attention }) => attention > 0)
    .sort((a, b) => b.attention - a.attention);
}
