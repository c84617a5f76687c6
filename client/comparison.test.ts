import { describe, expect, it } from 'vitest';
import type { AnswerResult, ErrorData } from '../server/protocol';
import { comparisonMarkdown, escapeMarkdown, type ComparedRun } from './comparison';

/** Reads numeric character references back, as a Markdown renderer does. */
function rendered(markdown: string): string {
  return markdown.replace(/&#(\d+);/g, (_match, code: string) => String.fromCharCode(Number(code)));
}

const HOSTILE = [
  '[click](command:workbench.action.quit)',
  '![x](https://example.com/x.png)',
  '<img src=x onerror=alert(1)>',
  '| a | b |\n|---|---|',
  '`code` **bold** _it_ ~~no~~ # heading',
  'https://example.com and me@example.com',
  '&lt;script&gt;',
  '1. list\n- item\n> quote',
];

function result(overrides: Partial<AnswerResult>): AnswerResult {
  const timings = {
    load: 0,
    decode: 1,
    preprocess: 1,
    vision: 5,
    projector: 1,
    selection: 1,
    prefill: 10,
    generate: 20,
    firstToken: 18.4,
    total: 39.6,
  };
  return {
    answer: 'A login form.',
    answerTokenIds: [1],
    promptTokenIds: [1],
    firstStep: { topTokenIds: [1], topLogits: [1] },
    finish: 'stop',
    costs: {
      imageTokens: { total: 576, atDecoder: 576, perStage: [288] },
      cacheBytes: 1.5e6,
      prefillMacs: 1e9,
      prefillMacsUnreduced: 4e9,
      timings,
    },
    trace: { version: 1, images: [], decoderTokens: [], stages: [], answer: [] },
    model: { name: 'tiny', directory: 'model', family: 'llava', parameters: 1, hash: 'h' },
    device: 'cpu',
    precision: 'fp32',
    reduction: 'fastv:layer=2,keep=0.5',
    question: 'What is this?',
    ...overrides,
  };
}

describe('escaped text', () => {
  it.each(HOSTILE)('has no markup left in %j, and reads the same', (hostile) => {
    const escaped = escapeMarkdown(hostile);
    expect(escaped.replace(/&#\d+;/g, '')).toMatch(/^[\p{L}\p{N} '"=,;?%^$]*$/u);
    expect(rendered(escaped)).toBe(hostile.replace(/\s+/g, ' '));
  });
});

describe('a comparison', () => {
  const run = (answered: AnswerResult): ComparedRun => ({
    reduction: answered.reduction,
    outcome: { result: answered },
  });

  it('has one table row per run with its costs', () => {
    const imageTokens = { total: 576, atDecoder: 576, perStage: [] };
    const all = result({ reduction: 'none', costs: { ...result({}).costs, imageTokens } });
    const rows = comparisonMarkdown('login.png', 'What is this?', [run(all), run(result({}))])
      .split('\n')
      .filter((line) => line.startsWith('|'));
    expect(rows).toHaveLength(4);
    expect(rendered(rows[2])).toBe('| none | A login form. | 576 | 18\u00a0ms | 1.50\u00a0MB | 25\u00a0% |');
    expect(rendered(rows[3])).toContain('| fastv: layer=2, keep=0.5 | A login form. | 576\u00a0→\u00a0288 |');
  });

  it('says why a method could not run, in a row as wide as the others', () => {
    const error: ErrorData = { code: 'x', kind: 'model', message: 'No heads.', nextStep: 'Use | another.' };
    const markdown = comparisonMarkdown('a', 'b', [
      { reduction: 'dyrate', outcome: { error } },
      run(result({})),
    ]);
    const [, , refused, answered] = markdown.split('\n').filter((line) => line.startsWith('|'));
    expect(rendered(refused)).toContain('| dyrate | *No heads. Use | another.* |');
    expect(refused.split('|')).toHaveLength(answered.split('|').length);
  });

  it.each(HOSTILE)('keeps its columns when the answer is %j', (answer) => {
    const markdown = comparisonMarkdown(answer, answer, [run(result({ answer }))]);
    const row = markdown.split('\n').find((line) => line.includes('1.50\u00a0MB'));
    expect(row?.split('|')).toHaveLength(8);
  });
});
