import sharp from 'sharp';
import { describe, expect, it } from 'vitest';

import { answerStaysFrom, attentionFigures, type Figure, percent } from './attention';
import { syntheticAnalysis, type SyntheticShape } from './testing/syntheticAnalysis';

const figures = (shape: SyntheticShape = {}, pictures: string[] = []): Map<string, Figure> =>
  new Map(
    attentionFigures(syntheticAnalysis(shape), pictures).flatMap((group) =>
      group.figures.map((figure) => [figure.id, figure] as const),
    ),
  );

describe('the figures of an analysis', () => {
  it.each<SyntheticShape>([
    {},
    { layers: 1, answer: [''] },
    { layers: 32, answer: Array.from({ length: 256 }, (_, index) => ` w${index}`) },
    { patchesPerSide: 27, images: 2 },
    { patchesPerSide: 1 },
  ])('%j: all are well-formed pictures with a table of whole rows', async (shape) => {
    const found = figures(shape);
    expect(found.size).toBe(6 + 3 * (shape.images ?? 1));
    for (const { svg, table, title, explanation, finding } of found.values()) {
      const { width } = await sharp(Buffer.from(svg)).metadata();
      expect(width).toBeGreaterThan(0);
      for (const row of table.rows) expect(row).toHaveLength(table.columns.length);
      for (const text of [title, explanation, finding, ...table.rows.flat()]) {
        expect(text).not.toMatch(/NaN|undefined|Infinity|^$/);
      }
      expect(svg).not.toMatch(/NaN|undefined|Infinity/);
    }
  });

  it('say in tables what the analysis holds', () => {
    const analysis = syntheticAnalysis();
    const { table } = figures().get('layer-shares')!;
    expect(table.columns).toEqual(['Layer', 'System', 'Image', 'Instruction', 'Output']);
    expect(table.rows).toEqual(
      analysis.answerLayers.map(({ system, image, instruction, output }, layer) => [
        String(layer),
        ...[system, image, instruction, output].map(({ share }) => percent(share)),
      ]),
    );
    const steps = figures().get('step-shares')!.table;
    expect(steps.columns.at(-1)).toBe('Output');
    expect(steps.rows.map((row) => row[0])).toEqual(['1: ·', '2: A', '3: save', '4: dialog', '5: end']);
    // No token of the answer exists when its first one is chosen.
    expect(steps.rows[0].at(-1)).toBe('–');
  });

  it('tell from which layer on the image tokens can go', () => {
    expect(answerStaysFrom(syntheticAnalysis({ staysFrom: 3 }).removal)).toBe(3);
    expect(figures({ staysFrom: 3 }).get('removal')!.finding).toContain('Dropped from layer 3 or later');
    expect(figures({ staysFrom: 0 }).get('removal')!.finding).toContain('never sees the image');
    expect(figures({ staysFrom: 6 }).get('removal')!.finding).toContain('changes wherever');
    const { svg, table } = figures({ staysFrom: 3 }).get('removal')!;
    expect(table.rows).toHaveLength(7);
    expect(table.rows.map((row) => row.at(-1) === 'none')).toEqual([
      false,
      false,
      false,
      true,
      true,
      true,
      true,
    ]);
    // Per token and for the whole answer of five tokens: 4 nats less without the image.
    expect(table.rows[0].slice(1, 3)).toEqual(['−0.8', '−4']);
    expect(svg).toContain('&lt;no&gt;');
  });

  it('say what the highest patches hold', () => {
    const [vision] = syntheticAnalysis().vision;
    const { finding, table } = figures().get('tower-map-0')!;
    expect(table.rows.map((row) => row[1])).toEqual(vision.top.map(({ share }) => percent(share)));
    expect(finding).toContain('Of 144 patches the top 1 % (1)');
    let held = 0;
    const half = vision.sorted.findIndex((share) => (held += share) >= 0.5) + 1;
    expect(figures().get('tower-held-0')!.finding).toContain(`on ${half} of 144`);
  });

  it('lay the map over the picture where the tower saw it', () => {
    const { svg } = figures({}, ['data:image/png;base64,AAAA']).get('tower-map-0')!;
    const image =
      /<image href="data:image\/png;base64,AAAA" x="0" y="([\d.]+)" width="480" height="([\d.]+)"/.exec(svg)!;
    // 400 x 200 in the middle of a padded square of 400: half of the height, a quarter down (below the heading).
    expect(Number(image[2])).toBe(240);
    expect(Number(image[1])).toBe(30 + 120);
    expect(svg.match(/<title>row /g)).toHaveLength(144);
  });

  it('leave the tower out where it gave no attention', () => {
    const groups = attentionFigures({ ...syntheticAnalysis(), vision: [] });
    expect(groups.map(({ title }) => title)).toEqual(['By decoder layer', 'By answer token']);
  });
});

describe('percent', () => {
  it('keeps three digits of anything', () => {
    expect(
      [0, 1, 0.12345, 0.00012345, 4.7e-9, 1e-8].map(percent).map((text) => text.replace('\u00a0', ' ')),
    ).toEqual(['0 %', '100 %', '12.3 %', '0.0123 %', '4.7·10⁻⁷ %', '10⁻⁶ %']);
  });
});
