import type { AnswerResult, ImageLayout, TokenId } from '../server/protocol';
import {
  fatesAfter,
  lastPointBeforeAnswer,
  timelineOf,
  type Fate,
  type TimelinePoint,
} from '../server/traceView/fates';
import { planesOf, type Plane } from '../server/traceView/geometry';
import {
  attentionValues,
  contextValues,
  scoreValues,
  wordsOf,
  type AnswerWord,
  type TokenValues,
} from '../server/traceView/values';
import { visibleText } from '../server/traceView/wording';
import type { ColorBy, Look } from './state';

/** Everything that the view derives from one result, computed when first asked for. */
export class RunModel {
  readonly points: TimelinePoint[];
  readonly words: AnswerWord[];
  private readonly fates = new Map<number, Map<TokenId, Fate>>();
  private readonly values = new Map<string, TokenValues | undefined>();
  private readonly planes = new Map<number, Plane[]>();

  constructor(readonly result: AnswerResult) {
    this.points = timelineOf(result.trace);
    this.words = wordsOf(result.trace.answer);
  }

  /** Index of the point that is looked at. */
  pointIndex({ point }: Look): number {
    return point !== undefined && point < this.points.length ? point : lastPointBeforeAnswer(this.points);
  }

  point(look: Look): TimelinePoint {
    return this.points[this.pointIndex(look)];
  }

  fatesAt(look: Look): ReadonlyMap<TokenId, Fate> {
    const { stages } = this.point(look);
    let fates = this.fates.get(stages);
    if (!fates) this.fates.set(stages, (fates = fatesAfter(this.result.trace, stages)));
    return fates;
  }

  layout({ image }: Look): ImageLayout {
    return this.result.trace.images[Math.min(image, this.result.trace.images.length - 1)];
  }

  planesOf(look: Look): Plane[] {
    let planes = this.planes.get(look.image);
    if (!planes) this.planes.set(look.image, (planes = planesOf(this.layout(look))));
    return planes;
  }

  /** The details of a tiled model come last, and are what is shown unless another plane was chosen. */
  planeIndex(look: Look): number {
    const { length } = this.planesOf(look);
    return look.plane >= 0 && look.plane < length ? look.plane : length - 1;
  }

  plane(look: Look): Plane {
    return this.planesOf(look)[this.planeIndex(look)];
  }

  /** Undefined: the map shows what became of the tokens. */
  valuesFor({ colorBy, image }: Look): TokenValues | undefined {
    const key = `${JSON.stringify(colorBy)} ${image}`;
    if (!this.values.has(key)) this.values.set(key, this.compute(colorBy, image));
    return this.values.get(key);
  }

  private compute(colorBy: ColorBy, image: number): TokenValues | undefined {
    const { trace } = this.result;
    switch (colorBy.kind) {
      case 'state':
        return undefined;
      case 'score':
        return trace.stages[colorBy.stage] && scoreValues(trace, trace.stages[colorBy.stage]);
      case 'attention':
        return attentionValues(trace, [...trace.answer.keys()], 'attention of the whole answer');
      case 'word': {
        const word = this.words[colorBy.word];
        return word && attentionValues(trace, word.tokens, `attention of “${visibleText(word.text)}”`);
      }
      case 'context':
        return contextValues(trace, image);
    }
  }
}
