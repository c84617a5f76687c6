import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SYNTHETIC } from '../../webview/testing/syntheticResult';
import { settle } from './browser';
import { launchChromium } from '../tools/chromium.mjs';
import {
  answered,
  asked,
  mapPixels,
  patchPoint,
  PICTURE_COLOR,
  setup,
  text,
  THEMES,
  withView,
  type Pixel,
} from './tokenViewPage';

/* What the map paints, read from its pixels: the picture is of one colour, so everything else on it is ours. */

let browser: Browser;
beforeAll(async () => {
  browser = await launchChromium();
});
afterAll(() => browser.close());

const result = SYNTHETIC.tokens576();
const done = [setup, asked(1), answered(1, result)];
/** Rows of patches that lie wholly inside the picture: padding is above and below. */
const inPicture = (id: number): boolean => id < 576 && id >= 6 * 24 && id < 18 * 24;
const [zip, fastV] = result.trace.stages;
const merged = zip.merged.flatMap(({ id, sources }) => sources.filter((source) => source !== id));
const dropped = fastV.dropped;
const kept = fastV.kept;

/** Pixels read in the middle of a cell of about 22: enough for two periods of each pattern. */
const SIDE = 15;

const luminance = ([r, g, b]: Pixel): number => 0.2126 * r + 0.7152 * g + 0.0722 * b;

/** Where a pattern is on a cell: pixels nearer to the extreme that is rarer. */
function marks(pixels: readonly (readonly Pixel[])[]): boolean[][] {
  const grey = pixels.map((row) => row.map(luminance));
  const all = grey.flat();
  const middle = (Math.min(...all) + Math.max(...all)) / 2;
  const bright = all.filter((value) => value > middle).length * 2 < all.length;
  return grey.map((row) => row.map((value) => value > middle === bright));
}

/** The share of marked pixels whose neighbours along a rising diagonal, three pixels away, are marked too. */
function risingDiagonals(marked: readonly (readonly boolean[])[]): number {
  let [along, count] = [0, 0];
  for (let y = 3; y < SIDE - 3; y += 1)
    for (let x = 3; x < SIDE - 3; x += 1) {
      if (!marked[y][x]) continue;
      count += 1;
      if (marked[y - 3][x + 3] && marked[y + 3][x - 3]) along += 1;
    }
  return along / count;
}

async function cells(page: Page, ids: readonly number[], point?: 'first'): Promise<Pixel[][][]> {
  if (point === 'first') {
    await page.locator('.stage-chart').focus();
    for (const key of ['Home', 'ArrowRight']) await page.keyboard.press(key);
  }
  await page.mouse.move(0, 0);
  await settle(page);
  const read: Pixel[][][] = [];
  for (const id of ids.filter(inPicture).slice(0, 4))
    read.push(await mapPixels(page, await patchPoint(page, id), SIDE));
  expect(read.length).toBeGreaterThan(0);
  return read;
}

describe.each(THEMES)('in %s', (theme) => {
  it('a kept patch is the picture itself, a dropped one is hatched, a merged one dotted, in grey too', () =>
    withView(
      browser,
      done,
      async ({ page }) => {
        // The middle of a kept patch between kept neighbours is free of outlines.
        for (const pixels of await cells(page, kept))
          expect(pixels[7][7], 'kept').toEqual([...PICTURE_COLOR]);
        for (const pixels of await cells(page, dropped)) {
          expect(pixels[7][7]).not.toEqual([...PICTURE_COLOR]);
          expect(risingDiagonals(marks(pixels)), 'hatched').toBeGreaterThan(0.8);
        }
        for (const pixels of await cells(page, merged, 'first'))
          expect(risingDiagonals(marks(pixels)), 'dotted').toBeLessThan(0.2);
      },
      { theme },
    ));
});

it('the overlay can be switched off and made fainter: the picture shows through', () =>
  withView(browser, done, async ({ page }) => {
    const distance = async (): Promise<number> => {
      const [pixels] = await cells(page, dropped);
      const far = ([r, g, b]: Pixel): number =>
        Math.abs(r - PICTURE_COLOR[0]) + Math.abs(g - PICTURE_COLOR[1]) + Math.abs(b - PICTURE_COLOR[2]);
      return pixels.flat().reduce((sum, pixel) => sum + far(pixel), 0) / pixels.flat().length;
    };
    const full = await distance();
    await page.getByRole('slider', { name: 'Overlay opacity' }).fill('30');
    const faint = await distance();
    await page.getByRole('button', { name: 'Hide the overlay' }).click();
    expect(await distance()).toBe(0);
    expect(faint).toBeGreaterThan(0);
    expect(faint).toBeLessThan(0.5 * full);
    await page.getByRole('button', { name: 'Show the overlay' }).click();
    expect(await distance()).toBeCloseTo(faint, 5);
  }));

it('the heat map of a score is brightest where the score is highest', () =>
  withView(browser, done, async ({ page }) => {
    await page.locator('.color-by').click();
    await page.getByRole('option', { name: /^FastV: / }).click();
    expect(await text(page, '.legend')).toContain('attention of the last position');
    const scores = fastV.scores!;
    const ranked = fastV.received
      .map((id, index) => ({ id, score: scores.values[index] }))
      .filter(({ id }) => inPicture(id))
      .sort((a, b) => b.score - a.score);
    await page.mouse.move(0, 0);
    await settle(page);
    const middle = async (id: number): Promise<Pixel> =>
      (await mapPixels(page, await patchPoint(page, id), 1))[0][0];
    const [red, green, blue] = await middle(ranked[0].id);
    expect(Math.min(red, green)).toBeGreaterThan(150);
    expect(blue).toBeLessThan(130);
    expect(luminance(await middle(ranked.at(-1)!.id))).toBeLessThan(luminance([red, green, blue]));
  }));

it('what padding, a crop and tiles do to a picture is to be seen', async () => {
  const above = async (page: Page): Promise<Pixel> => {
    const box = (await page.locator('.map-grid').boundingBox())!;
    return (await mapPixels(page, { x: box.x + box.width / 2, y: box.y + 30 }, 1))[0][0];
  };
  await withView(
    browser,
    [setup, asked(1), answered(1, SYNTHETIC.allTokens())],
    async ({ page }) => {
      // Padding is above the picture: it belongs to the grid, and shows nothing of the picture.
      expect(await page.getByRole('grid').getAttribute('aria-rowcount')).toBe('24');
      expect(await above(page)).not.toEqual([...PICTURE_COLOR]);
    },
    {},
  );
  await withView(browser, [setup, asked(1), answered(1, SYNTHETIC.tokens576Crop())], async ({ page }) => {
    // The sides of a wide picture are cut off: they are veiled, and no patch is there.
    const box = (await page.locator('.map-grid').boundingBox())!;
    const side = { x: box.x + 40, y: box.y + box.height / 2 };
    const [red, green, blue] = (await mapPixels(page, side, 1))[0][0];
    expect(green).toBeLessThan(PICTURE_COLOR[1] / 2 + 40);
    expect(green).toBeGreaterThan(Math.max(red, blue)); // faint, but the picture
    await page.mouse.click(side.x, side.y);
    expect(await text(page, '.inspector')).toContain('What happened');
  });
  await withView(browser, [setup, asked(1), answered(1, SYNTHETIC.tokens2880())], async ({ page }) => {
    expect(await page.getByRole('grid').getAttribute('aria-rowcount')).toBe('48');
    await page.getByRole('combobox', { name: 'Tiles' }).click();
    await page.getByRole('option', { name: 'Overview' }).click();
    expect(await page.getByRole('grid').getAttribute('aria-rowcount')).toBe('24');
  });
});
