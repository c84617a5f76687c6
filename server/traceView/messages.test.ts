import { describe, expect, it } from 'vitest';
import { HOSTILE_TEXTS } from '../../test/hostile/texts';
import {
  randomNumbers,
  SYNTHETIC,
  SYNTHETIC_METHODS,
  syntheticResult,
} from '../../webview/testing/syntheticResult';
import type { FromTokenView, ToTokenView } from '../protocol';
import { parseFromTokenView, parseToTokenView } from './messages';
import { parsePage } from './page';

const picture = { name: 'a.png', dataUrl: 'data:image/png;base64,iVBORw0KGgo=', width: 1920, height: 1080 };
const question = { pictures: [picture], question: 'What?', reduction: 'none', fit: 'pad' as const };
const error = { code: 'x', kind: 'model' as const, message: 'a', why: 'b', nextStep: 'c' };

const toView: ToTokenView[] = [
  { type: 'setup', methods: SYNTHETIC_METHODS, reduction: 'none', fit: 'pad', model: 'm', device: 'cpu' },
  { type: 'picture', pictures: [{ ...picture, dataUrl: '' }] },
  { type: 'asked', run: 1, ...question },
  { type: 'progress', run: 1, message: 'Loading', fraction: 0.5 },
  { type: 'answerPart', run: 1, text: 'It' },
  ...Object.values(SYNTHETIC).map((make) => ({ type: 'answered' as const, run: 1, result: make() })),
  {
    type: 'answered',
    run: 1,
    result: syntheticResult(),
    warning: { message: 'w', askAgain: { title: 't', reduction: 'none' } },
    cached: true,
  },
  {
    type: 'answered',
    run: 1,
    result: {
      ...syntheticResult(),
      textHeight: { source: 12, seen: 1.5 },
      warning: { code: 'image.small-text', message: 'w' },
    },
    warning: { message: 'w', action: { title: 't', action: 'chooseModel' } },
  },
  { type: 'failed', run: 1, error, action: { title: 't', action: 'chooseModel' } },
  { type: 'compared' },
];
const fromView: FromTokenView[] = [
  { type: 'ready', runs: [] },
  { type: 'ask', question: 'What?', reduction: 'fastv:layer=2,keep=0.5', fit: 'crop' },
  {
    type: 'ask',
    question: 'What?',
    reduction: 'none',
    fit: 'pad',
    part: { image: 0, rect: { x: 3, y: 0, width: 40, height: 20 } },
  },
  { type: 'wholeImage' },
  { type: 'cancel', run: 3 },
  { type: 'pickImage' },
  { type: 'image', name: 'x', dataUrl: picture.dataUrl },
  { type: 'dropped', uris: ['file:///a.png'] },
  { type: 'action', action: 'showLog' },
  { type: 'export', format: 'png', name: 'a.png', dataUrl: picture.dataUrl },
  { type: 'export', format: 'json', name: 'a.json', text: '{}' },
  { type: 'export', format: 'html', name: 'a.html', answer: { ...question, result: SYNTHETIC.tokens64() } },
  { type: 'copyText', text: 'x' },
  { type: 'log', message: 'x' },
];

/** As it arrives at the other side. */
const sent = (message: unknown): unknown => JSON.parse(JSON.stringify(message));

describe('messages', () => {
  it.each(toView.map((message) => [message.type, message]))('lets %s through, as sent', (_, message) => {
    expect(parseToTokenView(sent(message))).toEqual(sent(message));
  });

  it.each(fromView.map((message) => [message.type, message]))('lets %s back, as sent', (_, message) => {
    expect(parseFromTokenView(sent(message))).toEqual(sent(message));
  });

  it('is whole: without any one of its required fields a message is none', () => {
    const optional = new Set([
      'model',
      'device',
      'width',
      'height',
      'fraction',
      'warning',
      'cached',
      'askAgain',
      'why',
      'action',
      'note',
      'scores',
      'paper',
      'default',
      'part',
    ]);
    for (const [messages, parse] of [
      [toView, parseToTokenView],
      [fromView, parseFromTokenView],
    ] as const) {
      // prettier-ignore
      for (const message of messages) {
        if (message.type === 'answered' && message.result.trace.images[0].patches > 64) continue;
        for (const path of pathsOf(message)) {
          if (optional.has(path.at(-1)!) || path.includes('askAgain')) continue;
          const broken = sent(message);
          remove(broken, path);
          expect(parse(broken), `${message.type} without ${path.join('.')}`).toBeUndefined();
        }
      }
    }
  });

  it.each(
    [
      null,
      undefined,
      0,
      'ready',
      [],
      {},
      { type: 'nope' },
      { type: 'constructor' },
      { type: '__proto__' },
      { type: 1 },
    ].map((value) => [value]),
  )('is not %j', (value) => {
    expect(parseToTokenView(value)).toBeUndefined();
    expect(parseFromTokenView(value)).toBeUndefined();
  });

  it('takes no picture from anywhere but from itself', () => {
    for (const dataUrl of [
      'https://example.invalid/a.png',
      'javascript:alert(1)',
      'data:text/html;base64,AAAA',
      'data:image/svg+xml;base64,AAAA',
      'data:image/png;base64,AA"onerror=',
      'file:///etc/passwd',
    ]) {
      expect(
        parseToTokenView({ type: 'picture', pictures: [{ ...picture, dataUrl }] }),
        dataUrl,
      ).toBeUndefined();
      expect(parseFromTokenView({ type: 'image', name: 'x', dataUrl }), dataUrl).toBeUndefined();
    }
  });

  it('takes no trace whose lists are not aligned, and no numbers that are none', () => {
    const broken: ((result: ReturnType<typeof syntheticResult>) => void)[] = [
      ({ trace }) => trace.answer[0].attention.pop(),
      ({ trace }) => trace.stages[0].scores?.values.pop(),
      ({ trace }) => trace.stages[0].merged[0].weights.pop(),
      ({ trace }) => (trace.images = []),
      ({ trace }) => (trace.images[0].tiles[0].rows = 1e9),
      ({ trace }) => (trace.images[0].tiles[0].source.width = 0),
      ({ trace }) => (trace.images[0].tiles[0].edges = { x: [0, 1], y: [0, 1] }),
      ({ trace }) => (trace.images[0].newlines = [{ id: -1, row: { x: 0, y: 0, width: 1, height: 1 } }]),
      ({ trace }) => (trace.stages[0].kept[0] = 0.5),
      ({ costs }) => (costs.cacheBytes = Infinity),
    ];
    for (const damage of broken) {
      const result = SYNTHETIC.tokens64();
      damage(result);
      expect(parseToTokenView({ type: 'answered', run: 1, result }), String(damage)).toBeUndefined();
    }
  });

  it('never throws, whatever arrives', () => {
    const random = randomNumbers(11);
    const values = [null, undefined, NaN, -1, 1e308, '', ...HOSTILE_TEXTS, [], {}, true, () => 1];
    for (const message of toView.slice(0, 6)) {
      for (let round = 0; round < 200; round += 1) {
        const broken = sent(message);
        const paths = pathsOf(broken, 40);
        const path = paths[Math.floor(random() * paths.length)];
        put(broken, path, values[Math.floor(random() * values.length)]);
        expect(() => parseToTokenView(broken)).not.toThrow();
      }
    }
  });
});

describe('data of a standalone page', () => {
  const page = {
    version: 1,
    pictures: [picture],
    methods: SYNTHETIC_METHODS,
    answers: [{ question: 'a', reduction: 'none', fit: 'pad', result: SYNTHETIC.tokens64() }],
  };

  it('gives every answer the shared pictures', () => {
    expect(parsePage(sent(page))?.answers[0].pictures).toEqual([picture]);
  });

  it('is refused when it is not ours', () => {
    for (const value of [
      null,
      {},
      { ...page, version: 2 },
      { ...page, answers: [] },
      { ...page, answers: [null] },
      { ...page, pictures: 'x' },
    ]) {
      expect(parsePage(value)).toBeUndefined();
    }
  });
});

/** Paths of all fields; of lists only the first element. */
function pathsOf(value: unknown, most = Infinity): string[][] {
  const paths: string[][] = [];
  const walk = (node: unknown, path: string[]): void => {
    if (typeof node !== 'object' || node === null || paths.length >= most) return;
    const entries = Array.isArray(node) ? Object.entries(node).slice(0, 1) : Object.entries(node);
    for (const [name, child] of entries) {
      if (!Array.isArray(node)) paths.push([...path, name]);
      walk(child, [...path, name]);
    }
  };
  walk(value, []);
  return paths;
}

function parentOf(root: unknown, path: readonly string[]): Record<string, unknown> {
  return path
    .slice(0, -1)
    .reduce((node, name) => node[name] as Record<string, unknown>, root as Record<string, unknown>);
}

function remove(root: unknown, path: readonly string[]): void {
  Reflect.deleteProperty(parentOf(root, path), path.at(-1)!);
}

function put(root: unknown, path: readonly string[], value: unknown): void {
  parentOf(root, path)[path.at(-1)!] = value;
}
