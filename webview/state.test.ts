import { describe, expect, it } from 'vitest';
import type { ToTokenView } from '../server/protocol';
import {
  besideRun,
  busyRun,
  INITIAL_STATE,
  receive,
  restoredState,
  savedState,
  shownRun,
  stateOfPage,
  type State,
} from './state';
import { SYNTHETIC, SYNTHETIC_METHODS } from './testing/syntheticResult';

const picture = { name: 'a.png', dataUrl: 'data:image/png;base64,iVBORw0KGgo=' };
const asked = (run: number, question = 'What?'): ToTokenView => ({
  type: 'asked',
  run,
  pictures: [picture],
  question,
  reduction: 'none',
  fit: 'pad',
});
const answered = (run: number): ToTokenView => ({ type: 'answered', run, result: SYNTHETIC.tokens64() });
const failed = (run: number, kind: 'model' | 'cancelled'): ToTokenView => ({
  type: 'failed',
  run,
  error: { code: 'x', kind, message: 'm', nextStep: 'n' },
});
const after = (...messages: ToTokenView[]): State => messages.reduce(receive, INITIAL_STATE);

describe('the view after messages', () => {
  it('streams an answer in', () => {
    const state = after(
      asked(1),
      { type: 'answerPart', run: 1, text: 'It ' },
      { type: 'answerPart', run: 1, text: 'is' },
    );
    expect(shownRun(state)).toMatchObject({ status: 'answering', text: 'It is' });
    expect(busyRun(state)?.number).toBe(1);
    expect(busyRun(receive(state, answered(1)))).toBeUndefined();
  });

  it('keeps the previous answer beside the next question', () => {
    const state = after(asked(1), answered(1), asked(2));
    expect(shownRun(state)?.number).toBe(2);
    expect(besideRun(state)?.number).toBe(1);
  });

  it('compares with answers about the same picture only, whatever pictures are called', () => {
    const other = { ...picture, dataUrl: 'data:image/png;base64,iVBORw0KGgoA' };
    const state = after(asked(1), answered(1), { ...asked(2), pictures: [other] } as ToTokenView);
    expect(besideRun(state)).toBeUndefined();
    expect(besideRun(after(...[1, 2].flatMap((run) => [asked(run), answered(run)])))?.number).toBe(1);
    const again = receive(state, asked(3));
    expect(besideRun(again)?.number).toBe(1);
    expect(shownRun(again)?.pictures, 'one list for the same pictures').toBe(again.runs[0].pictures);
  });

  it('tells cancelled from failed, and lets both give way to the next question', () => {
    expect(shownRun(after(asked(1), failed(1, 'cancelled')))?.status).toBe('cancelled');
    expect(shownRun(after(asked(1), failed(1, 'model')))?.status).toBe('failed');
    expect(after(asked(1), failed(1, 'model'), asked(2)).runs.map(({ number }) => number)).toEqual([2]);
  });

  it('ignores what belongs to a run that it does not know', () => {
    const state = after(asked(1));
    expect(receive(state, { type: 'answerPart', run: 9, text: 'x' })).toBe(state);
    expect(receive(state, answered(9))).toBe(state);
  });

  it('forgets the oldest runs first', () => {
    const messages = Array.from({ length: 27 }, (_, run) => [asked(run), answered(run)]).flat();
    const { runs } = after(...messages);
    expect(runs).toHaveLength(24);
    expect(runs.map(({ number }) => number)).toEqual(runs.map((_, index) => index + 3));
  });

  it('forgets sooner what takes much room, but never the last answer', () => {
    const { trace, ...rest } = SYNTHETIC.tokens64();
    const large = {
      ...rest,
      trace: {
        ...trace,
        answer: Array.from({ length: Math.ceil(10e6 / trace.decoderTokens.length) }, () => trace.answer[0]),
      },
    };
    const messages = [1, 2, 3].flatMap((run): ToTokenView[] => [
      asked(run),
      { type: 'answered', run, result: large },
    ]);
    expect(after(...messages, asked(4)).runs.map(({ number }) => number)).toEqual([3, 4]);
  });

  it('shows a new picture without the old answer', () => {
    const state = after(asked(1), answered(1), {
      type: 'picture',
      pictures: [{ ...picture, name: 'b.png' }],
    });
    expect(shownRun(state)).toBeUndefined();
    expect(state.pictures[0].name).toBe('b.png');
  });

  it('puts the answers side by side when a comparison is complete', () => {
    expect(after(asked(1), answered(1), asked(2), answered(2), { type: 'compared' }).tab).toBe('comparison');
  });

  it('is free for a question about a new picture, whatever was in progress', () => {
    const state = after(asked(1), answered(1), asked(2), { type: 'picture', pictures: [picture] });
    expect(busyRun(state)).toBeUndefined();
    expect(state.runs.map(({ number }) => number)).toEqual([1]);
  });
});

describe('the view after a reload', () => {
  const setup: ToTokenView = { type: 'setup', methods: SYNTHETIC_METHODS, reduction: 'none', fit: 'pad' };
  const state: State = {
    ...after(setup, asked(1), answered(1), asked(2), answered(2)),
    look: { image: 0, plane: 0, point: 1, token: 5, colorBy: { kind: 'word', word: 2 } },
    overlay: false,
    opacity: 0.5,
    draft: 'And now?',
  };
  const reload = (saved: unknown): State | undefined => restoredState(JSON.parse(JSON.stringify(saved)));

  it('is as it was', () => {
    const restored = reload(savedState(state));
    expect(restored).toMatchObject({
      shown: 2,
      look: state.look,
      overlay: false,
      opacity: 0.5,
      draft: 'And now?',
    });
    expect(restored?.runs.map(({ number, text }) => [number, text])).toEqual(
      state.runs.map(({ number, text }) => [number, text]),
    );
  });

  it('keeps attention to three digits, which is all that colours show', () => {
    const before = state.runs[0].result?.trace.answer[2].attention ?? [];
    const restored = reload(savedState(state))?.runs[0].result?.trace.answer[2].attention ?? [];
    expect(restored).toHaveLength(before.length);
    for (const [index, value] of restored.entries())
      expect(Math.abs(value - before[index])).toBeLessThanOrEqual(0.005 * before[index]);
  });

  it('drops the oldest answers when there is too much to save', () => {
    const large = { ...picture, dataUrl: `data:image/png;base64,${'A'.repeat(2_500_000)}` };
    const runs = state.runs.flatMap((run) =>
      [1, 2].map((n) => ({ ...run, number: run.number * 10 + n, pictures: [large] })),
    );
    const restored = reload(savedState({ ...state, runs, shown: 22 }));
    expect(restored?.runs.map(({ number }) => number)).toEqual([21, 22]);
  });

  it('starts anew from what is not its own', () => {
    for (const saved of [
      null,
      1,
      'x',
      {},
      { version: 2 },
      { version: 1, answers: [] },
      { version: 1, answers: [{ number: 1, answer: {} }] },
    ]) {
      expect(restoredState(saved)).toBeUndefined();
    }
  });

  it('looks at nothing that the trace does not have', () => {
    const saved = savedState(state) as Record<string, unknown>;
    for (const look of [null, { image: 7, plane: 0 }, { image: 0, plane: 'x' }, { image: -1, plane: 0 }]) {
      expect(restoredState({ ...saved, look })?.look).toEqual(INITIAL_STATE.look);
    }
    const odd = restoredState({
      ...saved,
      look: { image: 0, plane: 0, colorBy: { kind: 'score', stage: 99 } },
    });
    expect(odd?.look.colorBy).toEqual({ kind: 'state' });
  });
});

it('shows the last answer of a standalone page, the one before beside it', () => {
  const answers = [SYNTHETIC.allTokens(), SYNTHETIC.tokens576()].map((result) => ({
    pictures: [picture],
    question: result.question,
    reduction: result.reduction,
    fit: 'pad' as const,
    result,
  }));
  const state = stateOfPage(answers);
  expect(shownRun(state)?.reduction).toBe(SYNTHETIC.tokens576().reduction);
  expect(besideRun(state)?.reduction).toBe('none');
});
