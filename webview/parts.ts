import type { FromTokenView, PixelRect, ReductionDescription, TokenId } from '../server/protocol';
import { methodNames, type MethodNames } from '../server/traceView/wording';
import type { RunModel } from './runModel';
import type { Look, Run, State } from './state';

/** What a part of the view is drawn from. */
export interface Scene {
  state: State;
  /** The run on the map, and what is derived from its result. */
  run?: Run;
  model?: RunModel;
  /** The token under the pointer. */
  hovered?: TokenId;
  names: MethodNames;
  /** False in a standalone page. */
  canAsk: boolean;
}

/** What a part of the view can do. */
export interface Actions {
  set(change: Partial<State>): void;
  look(change: Partial<Look>): void;
  /** Shows another run on the map. */
  show(run: number): void;
  hover(id: TokenId | undefined): void;
  post(message: FromTokenView): void;
  /** @param part only this part of the picture on the map, in its own pixels */
  ask(question: string, reduction: string, fit: 'pad' | 'crop', part?: PixelRect): void;
  exportPicture(): void;
  exportData(): void;
  exportPage(): void;
  /** Saves the analysis of the shown run. */
  exportAnalysis(format: 'json' | 'html'): void;
  /** Saves a chart as a picture; `name` tells it from the others. */
  exportChart(chart: SVGElement, name: string): void;
  copyPicture(): void;
  copyAnswer(): void;
}

/** One region of the view. `render` is cheap when nothing that it shows has changed. */
export interface Part {
  readonly element: HTMLElement;
  render(scene: Scene): void;
}

export function namesOf(state: State, pageMethods: readonly ReductionDescription[] = []): MethodNames {
  return methodNames(state.setup?.methods ?? pageMethods);
}

/** Remembers what a part was last drawn from: `changed` is true when any value is another one. */
export class Memo {
  private last: readonly unknown[] = [this];

  changed(...values: readonly unknown[]): boolean {
    const same =
      values.length === this.last.length &&
      values.every((value, index) => Object.is(value, this.last[index]));
    this.last = values;
    return !same;
  }
}
