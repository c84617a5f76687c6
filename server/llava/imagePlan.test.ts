import { describe, expect, it } from 'vitest';
import { parseConfig } from './checkpoint/parseConfig';
import { towerSquare } from './checkpoint/config';
import { planSquare, planTiles, type ImagePlan } from './imagePlan';
import { planDetails } from './vision/anyres';

const next = parseConfig({ model_type: 'llava_next' });
const onevision = parseConfig({ model_type: 'llava_onevision' });

function plan(config: typeof next, width: number, height: number, firstId = 0): ImagePlan {
  const details = planDetails({ width, height }, towerSquare(config.vision), config.anyres!);
  const source = { x: 0, y: 0, width, height };
  return planTiles(config.vision, { width, height, fit: 'crop', source }, details, firstId);
}

const SHAPES = [
  [1920, 1080],
  [1080, 1920],
  [500, 500],
  [64, 20],
  [3000, 180],
  [2304, 2304],
  [5000, 1],
] as const;

describe.each([
  ['llava-v1.6', next],
  ['llava-onevision', onevision],
])('the plan of %s', (_, config) => {
  it.each(SHAPES)(
    'gives every token of %i x %i one id, and every patch of a plane one token',
    (width, height) => {
      const { layout, raster, planes, tiles, endId } = plan(config, width, height, 100);
      const ids = layout.tiles.flatMap(({ firstId, rows, columns }, index) => [
        ...Array.from({ length: rows * columns }, (_, patch) => firstId + patch),
        tiles[index].classTokenId,
        tiles[index].contextTokenId,
      ]);
      ids.push(...(layout.newlines ?? []).map(({ id }) => id));
      expect(ids.toSorted((a, b) => a - b)).toEqual(
        Array.from({ length: ids.length }, (_, index) => 100 + index),
      );
      expect(endId).toBe(100 + ids.length);
      expect(Array.from(raster).sort((a, b) => a - b)).toEqual(
        Array.from({ length: layout.patches }, (_, i) => i),
      );
      expect(planes.reduce((sum, { rows, columns }) => sum + rows * columns, 0)).toBe(layout.patches);
    },
  );

  it.each(SHAPES)('covers all of %i x %i with the details, tile beside tile', (width, height) => {
    const { layout } = plan(config, width, height);
    const [, ...details] = layout.tiles;
    if (details.length === 0) return;
    const right = Math.max(...details.map(({ source }) => source.x + source.width));
    const bottom = Math.max(...details.map(({ source }) => source.y + source.height));
    const slack = width / 27 + 1;
    expect(Math.min(...details.map(({ source }) => source.x))).toBeLessThanOrEqual(slack);
    expect(right).toBeGreaterThanOrEqual(width - slack);
    expect(bottom).toBeGreaterThan(height * 0.9 - 1);
    for (const [i, a] of details.entries()) {
      for (const b of details.slice(i + 1)) {
        const across =
          Math.min(a.source.x + a.source.width, b.source.x + b.source.width) -
          Math.max(a.source.x, b.source.x);
        const down =
          Math.min(a.source.y + a.source.height, b.source.y + b.source.height) -
          Math.max(a.source.y, b.source.y);
        expect(Math.min(across, down)).toBeLessThan(1e-6);
      }
    }
  });

  it('ends each row of details with a newline that names the row', () => {
    const { layout, newlines, planes } = plan(config, 1920, 1080);
    const [, details] = planes;
    expect(newlines.map(({ from, to }) => to - from)).toEqual(
      new Array<number>(details.rows).fill(details.columns),
    );
    expect(layout.newlines).toHaveLength(details.rows);
    layout.newlines!.forEach(({ row }, index, all) => {
      expect(row.x).toBeCloseTo(all[0].row.x);
      if (index > 0) expect(row.y).toBeGreaterThan(all[index - 1].row.y);
    });
  });
});

describe('where tokens lie in the source', () => {
  it('v1.6: a screenshot of 1920 x 1080 has patches of 40 pixels, the first and last rows half outside', () => {
    const { layout } = plan(next, 1920, 1080);
    expect(layout.tiles.map(({ rows, columns }) => [rows, columns])).toEqual([
      [24, 24],
      [14, 24],
      [14, 24],
      [14, 24],
      [14, 24],
    ]);
    const [, topLeft, , , bottomRight] = layout.tiles;
    expect(topLeft.source).toEqual({ x: 0, y: -20, width: 960, height: 560 });
    expect(bottomRight.source).toEqual({ x: 960, y: 540, width: 960, height: 560 });
    expect(layout.newlines![27].row).toEqual({ x: 0, y: 1060, width: 1920, height: 40 });
  });

  it('OneVision: shrunk tokens have their own edges, and belong to the tile of their middle', () => {
    const { layout, tiles } = plan(onevision, 1920, 1080);
    const [, ...details] = layout.tiles;
    expect(details.reduce((sum, { rows, columns }) => sum + rows * columns, 0)).toBe(60 * 108);
    for (const tile of details) {
      const { x, y } = tile.edges!;
      expect([x.length, y.length]).toEqual([tile.columns + 1, tile.rows + 1]);
      expect(x).toEqual(x.toSorted((a, b) => a - b));
      expect([x[0], x.at(-1)! - x[0]]).toEqual([tile.source.x, expect.closeTo(tile.source.width)]);
    }
    // 135 patches in 108 tokens: 1.25 patches of 14 pixels each (17.5), on a canvas as wide as the picture.
    const { x } = details[0].edges!;
    expect(x[1] - x[0]).toBeCloseTo(17.5);
    // Every mixed token is a weighted mean.
    for (const { mix } of tiles.slice(1)) {
      for (let token = 0; token < mix!.patches.length / 4; token++) {
        const sum = mix!.weights.slice(token * 4, token * 4 + 4).reduce((a, b) => a + b, 0);
        expect(sum).toBeCloseTo(1, 5);
      }
    }
  });

  it('several pictures of OneVision end with one newline each', () => {
    const source = { x: 0, y: -5, width: 40, height: 40 };
    const { newlines, layout, endId } = planSquare(
      onevision.vision,
      { width: 40, height: 30, fit: 'pad', source },
      10,
      true,
    );
    expect(newlines).toEqual([{ id: 10 + 729 + 2, from: 0, to: 729 }]);
    expect(layout.newlines).toEqual([{ id: 741, row: source }]);
    expect(endId).toBe(742);
  });
});
