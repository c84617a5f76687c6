import { describe, expect, it } from 'vitest';
import { HOSTILE_TEXTS } from '../../test/hostile/texts';
import { SYNTHETIC, SYNTHETIC_METHODS } from '../../webview/testing/syntheticResult';
import { fatesAfter } from './fates';
import {
  escapeMarkup,
  formatBytes,
  formatMacs,
  formatMilliseconds,
  formatParameters,
  readableSpec,
  formatScore,
  formatShare,
  methodNames,
  patchPixels,
  pixelWords,
  stageWords,
  summaryWords,
  tokenName,
  visibleText,
  warningWords,
  whyWords,
} from './wording';

const names = methodNames(SYNTHETIC_METHODS);

describe('numbers for people', () => {
  it('keep their meaning at every size', () => {
    expect([999, 1000, 15_123_456, 2.1e12].map(formatBytes)).toEqual([
      '999 B',
      '1.0 kB',
      '15.1 MB',
      '2.1 TB',
    ]);
    expect(formatMacs(1.31e11)).toBe('131 GMAC');
    expect([0.24, 96, 9_960].map(formatMilliseconds)).toEqual(['0.2 ms', '96 ms', '10.0 s']);
    expect([0, 0.00042, 0.0123456, 12.3456].map(formatScore)).toEqual(['0', '4.20e-4', '0.0123', '12.3']);
    expect(formatShare(64, 576)).toBe('11\u00a0%');
  });

  it('show shares of a budget without digits that nobody reads, and leave everything else as it was written', () => {
    expect(readableSpec('visionzip:dominant=0.2109375,contextual=0.0390625')).toBe(
      'visionzip:dominant=21.1%,contextual=3.9%',
    );
    expect(readableSpec('visionzip:dominant=0.0928125,contextual=0.01719+fastv:layer=2,keep=0.5')).toBe(
      'visionzip:dominant=9.3%,contextual=1.7%+fastv:layer=2,keep=0.5',
    );
    for (const spec of [
      'none',
      'mmr:keep=0.25,lambda=0.5',
      'visionzip:dominant=54,contextual=10',
      'fastv:keep=auto',
    ])
      expect(readableSpec(spec)).toBe(spec);
  });

  it('give the size of a model as people name it', () => {
    expect([4_700_000, 135_000_000, 860_000_000, 999_800_000, 7_063_427_072].map(formatParameters)).toEqual([
      '4.7 M',
      '135 M',
      '860 M',
      '1.0 B',
      '7.1 B',
    ]);
  });

  it('never print NaN', () => {
    for (const format of [formatBytes, formatMacs, formatMilliseconds, formatScore]) {
      for (const value of [NaN, Infinity]) expect(format(value)).toBe('–');
    }
  });
});

describe('what is going on', () => {
  it('is said in words, whatever a stage is called', () => {
    expect(
      ['converting', 'prefill', 'testing webgpu', 'layer 3 of 12', 'Starting', 'constructor', ''].map(
        stageWords,
      ),
    ).toEqual([
      'Converting the weights (once)',
      'Reading the question',
      'Testing WebGPU',
      'Layer 3 of 12',
      'Starting',
      'Constructor',
      '',
    ]);
  });
});

describe('why a token is where it is', () => {
  const result = SYNTHETIC.tokens576();
  const { trace } = result;

  it('names method, place, score and rank', () => {
    const fates = fatesAfter(trace, 2);
    const id = trace.stages[1].kept[3];
    expect(whyWords(result, fates.get(id), id, names)).toMatch(
      /^Kept by FastV before decoder layer 2: its attention of the last position ranks \d+ of 128\.$/,
    );
    const gone = trace.stages[1].dropped[0];
    expect(whyWords(result, fates.get(gone), gone, names)).toMatch(
      /^Dropped by FastV before decoder layer 2: .*; 64 went on\.$/,
    );
  });

  it('names the patch that another merged into', () => {
    const fates = fatesAfter(trace, 1);
    const { id: into, sources } = trace.stages[0].merged[2];
    const id = sources.at(-1)!;
    expect(whyWords(result, fates.get(id), id, names)).toContain(
      `Merged by VisionZip after the vision tower into ${tokenName(trace.images, into)} with weight`,
    );
  });

  it('counts rows and columns from one', () => {
    expect(tokenName(trace.images, 0)).toBe('row 1, column 1');
    expect(tokenName(trace.images, 25)).toBe('row 2, column 2');
    const tiled = SYNTHETIC.tokens2880().trace.images;
    expect(tokenName(tiled, 576 * 4)).toBe('detail tiles, row 25, column 25');
  });

  it('cuts pixels to the picture', () => {
    const at = (id: number): string => {
      const { layout, rect } = patchPixels(trace.images, id)!;
      return pixelWords(layout, rect);
    };
    expect(at(0)).toBe('padding only');
    expect(at(24 * 5)).toBe('x 0–80, y 0–60');
  });

  it('tells the whole run', () => {
    expect(summaryWords(result, names)).toEqual([
      '128 of 576 image tokens entered the decoder.',
      'VisionZip, after the vision tower: kept 108, merged 469 into 20.',
      'FastV, before decoder layer 2: kept 64, dropped 64.',
    ]);
    expect(summaryWords(SYNTHETIC.allTokens(), names)).toEqual(['All 576 image tokens entered the decoder.']);
  });

  it('counts a patch once that is part of several tokens', () => {
    const [stage, ...rest] = trace.stages;
    const twice = { ...stage, merged: [...stage.merged, { ...stage.merged[0], id: 576 }] };
    const again = { ...result, trace: { ...trace, stages: [twice, ...rest] } };
    expect(summaryWords(again, names)[1]).toContain('merged 469 into 21');
  });
});

it('a warning has one click that says what it does', () => {
  const warning = { code: 'reduction.fine-text', message: 'Fine text is lost.' } as const;
  expect(warningWords({ ...warning, askAgain: { reduction: 'none' } })).toEqual({
    message: 'Fine text is lost.',
    askAgain: { title: 'Ask again with all tokens', reduction: 'none' },
  });
  expect(warningWords({ ...warning, askAgain: { reduction: 'mmr' } })?.askAgain?.title).toBe(
    'Ask again with mmr',
  );
  expect(warningWords({ code: 'image.small-text', message: 'Small.' })).toEqual({
    message: 'Small. Zoom in and ask about the visible part, or choose another model.',
    action: { title: 'Choose Model...', action: 'chooseModel' },
  });
  expect(warningWords(undefined)).toBeUndefined();
});

describe('text of unknown origin', () => {
  it.each(HOSTILE_TEXTS)('is inert as markup: %j', (text) => {
    const escaped = escapeMarkup(text);
    expect(escaped).not.toMatch(/[<>"']/);
    expect(escaped).not.toMatch(/&(?!amp;|lt;|gt;|quot;|#39;)/);
    expect(() => encodeURIComponent(escaped)).not.toThrow();
  });

  it('loses what reorders or hides its surroundings, and nothing else', () => {
    expect(visibleText('a\u202eb\u0000c')).toBe('a\ufffdb\ufffdc');
    const fine = 'Zeile 1\n\tשלום, مرحبا 漢字 👩‍👩‍👧 é';
    expect(visibleText(fine)).toBe(fine);
  });
});
