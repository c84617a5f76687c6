import { describe, expect, it } from 'vitest';
import { HOSTILE_TEXTS } from '../../test/hostile/texts';
import { randomNumbers, SYNTHETIC, syntheticResult } from '../../webview/testing/syntheticResult';
import { drawMap } from './drawing';
import { fatesAfter } from './fates';
import { figureOf, wrapText } from './figure';
import { planesOf } from './geometry';

describe('drawMap', () => {
  it('covers what the tower saw without gaps or overlaps, at any scale', () => {
    const random = randomNumbers(3);
    for (const make of Object.values(SYNTHETIC)) {
      const { trace } = make();
      const [layout] = trace.images;
      for (const plane of planesOf(layout)) {
        const transform = { scale: 0.05 + random(), left: 100 * random() - 50, top: 100 * random() - 50 };
        const { cells, runs } = drawMap(layout, plane, fatesAfter(trace, trace.stages.length), transform);
        const area = (boxes: readonly { width: number; height: number }[]): number =>
          boxes.reduce((sum, { width, height }) => sum + width * height, 0);
        const side = (tiles: readonly number[]): number[] =>
          tiles.map((tile) => layout.tiles[tile].rows * layout.tiles[tile].columns);
        expect(cells).toHaveLength(side(plane.tiles).reduce((a, b) => a + b, 0));
        expect(area(Object.values(runs).flat())).toBe(area(cells));
        const left = Math.min(...cells.map(({ x }) => x));
        const top = Math.min(...cells.map(({ y }) => y));
        const right = Math.max(...cells.map(({ x, width }) => x + width));
        const bottom = Math.max(...cells.map(({ y, height }) => y + height));
        expect(area(cells)).toBe((right - left) * (bottom - top));
      }
    }
  });

  it('outlines a lone kept patch on four sides and two neighbours on six', () => {
    const { trace } = SYNTHETIC.tokens64();
    const [layout] = trace.images;
    const [plane] = planesOf(layout);
    const kept = (...ids: number[]) => new Map(ids.map((id) => [id, { state: 'kept' as const }]));
    const transform = { scale: 0.1, left: 0, top: 0 };
    expect(drawMap(layout, plane, kept(9), transform).outline).toHaveLength(4);
    expect(drawMap(layout, plane, kept(9, 10), transform).outline).toHaveLength(6);
  });
});

describe('figureOf', () => {
  it.each(Object.entries(SYNTHETIC))(
    'places the picture inside the figure, in its own shape (%s)',
    (_, make) => {
      const { width, height, picture, svg } = figureOf(make());
      expect(picture.x).toBeGreaterThanOrEqual(0);
      expect(picture.x + picture.width).toBeLessThanOrEqual(width);
      expect(picture.y + picture.height).toBeLessThan(height);
      expect(picture.width / picture.height).toBeCloseTo(1920 / 1080, 1);
      expect(svg).toContain(`viewBox="0 0 ${width} ${height}"`);
    },
  );

  it('says what is needed to make it again: question, answer, method, tokens, model', () => {
    const result = SYNTHETIC.tokens576();
    const { svg } = figureOf(result);
    for (const text of [
      'What does this screenshot show',
      'settings dialog',
      result.reduction,
      '128 of 576',
      result.model.hash.slice(0, 12),
    ]) {
      expect(svg).toContain(text);
    }
  });

  it.each(HOSTILE_TEXTS)('draws hostile text as text: %j', (text) => {
    const { svg } = figureOf(syntheticResult({ question: text, pieces: [text], modelName: text }));
    const elements = new Set([...svg.matchAll(/<([a-zA-Z!?][\w-]*)/g)].map(([, name]) => name));
    expect([...elements].sort()).toEqual(
      ['circle', 'defs', 'g', 'path', 'pattern', 'rect', 'svg', 'text'].filter((name) => elements.has(name)),
    );
    // Without its text nodes, so that only real attributes are left.
    expect(svg.replace(/>[^<]*</g, '><')).not.toMatch(/\son\w+=/);
    expect(() => encodeURIComponent(svg)).not.toThrow();
  });

  it('does not grow without end for an endless answer', () => {
    const long = figureOf(
      syntheticResult({ pieces: Array.from({ length: 50 }, (_, index) => ` word${index}`.repeat(100)) }),
    );
    expect(long.height).toBeLessThan(2500);
  });
});

describe('wrapText', () => {
  it('loses nothing but the space at a break, and breaks what is longer than a line', () => {
    const text = `one two three ${'x'.repeat(200)} 漢字漢字漢字`;
    const lines = wrapText(text, 120, 15);
    expect(lines.join('').replace(/ /g, '')).toBe(text.replace(/ /g, ''));
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThan(20);
  });
});
