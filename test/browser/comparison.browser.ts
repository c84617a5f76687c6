import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

import type { Browser, Page } from 'playwright-core';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { ToTokenView } from '../../server/protocol';
import { SYNTHETIC_METHODS, syntheticResult } from '../../webview/testing/syntheticResult';
import { HOSTILE_TEXTS } from '../hostile/texts';
import { openEditorView, type EditorView, type Theme } from './browser';
import { launchChromium } from '../tools/chromium.mjs';

const AXE = readFileSync(createRequire(__filename).resolve('axe-core/axe.min.js'), 'utf8');
const PNG = await sharp({ create: { width: 400, height: 200, channels: 3, background: '#14a03c' } })
  .png()
  .toBuffer();
const dataUrl = `data:image/png;base64,${PNG.toString('base64')}`;
const QUESTION = 'What does it say?';

const run = (
  number: number,
  reduction: string,
  pieces: string[],
  options: Parameters<typeof syntheticResult>[0] = {},
  question = QUESTION,
): ToTokenView[] => {
  const result = syntheticResult({ side: 8, width: 400, height: 200, pieces, question, ...options });
  return [
    {
      type: 'asked',
      run: number,
      pictures: [{ name: 'a.png', dataUrl, width: 400, height: 200 }],
      question,
      reduction,
      fit: 'pad',
    },
    { type: 'answered', run: number, result: { ...result, reduction } },
  ];
};
const setup: ToTokenView = { type: 'setup', methods: SYNTHETIC_METHODS, reduction: 'none', fit: 'pad' };
const THREE: ToTokenView[] = [
  setup,
  ...run(1, 'none', ['Save', ' the', ' file']),
  ...run(2, 'fastv:layer=2,keep=0.5', ['Save', ' a', ' file'], { fastv: { layer: 2, keep: 0.5 } }),
  ...run(3, 'visionzip:dominant=5', ['Load'], { visionzip: { dominant: 5, contextual: 3 } }),
];

let browser: Browser;
beforeAll(async () => {
  browser = await launchChromium();
});
afterAll(() => browser.close());

async function withView(
  messages: readonly unknown[],
  test: (view: EditorView) => Promise<void>,
  { theme = 'vscode-dark' as Theme, width = 1200, height = 800 } = {},
): Promise<void> {
  const context = await browser.newContext({ viewport: { width, height }, reducedMotion: 'reduce' });
  try {
    const view = await openEditorView(context, theme);
    await view.send(...messages);
    await test(view);
    expect(view.problems).toEqual([]);
  } finally {
    await context.close();
  }
}

const openTab = (page: Page): Promise<void> => page.getByRole('tab', { name: 'Compare' }).click();
const column = (page: Page, index: number): Promise<string[]> =>
  page.locator(`.comparison tbody tr > :nth-child(${index + 1})`).allInnerTexts();

describe('the answer beside the shown one', () => {
  const VISIONZIP = 'visionzip:dominant=0.2109375,contextual=0.0390625';
  const two = [
    setup,
    ...run(1, 'visionzip:dominant=54,contextual=10', ['Save'], { visionzip: { dominant: 5, contextual: 3 } }),
    ...run(2, VISIONZIP, ['Save'], { visionzip: { dominant: 6, contextual: 3 } }),
  ];

  it.each([360, 700, 1200, 1600])('has all its columns in sight in a view of %i pixels', (width) =>
    withView(
      two,
      async ({ page }) => {
        const room = page.locator('.costs-room');
        const [inner, outer] = await room.evaluate((box) => [box.scrollWidth, box.clientWidth]);
        expect(inner).toBeLessThanOrEqual(outer);
        // Shares of a split budget are shown as people read them, and told exactly.
        const [spec] = await room.locator('.spec').all();
        expect(await spec.innerText()).toBe('visionzip:dominant=21.1%,contextual=3.9%');
        expect(await spec.getAttribute('title')).toBe(VISIONZIP);
      },
      { width },
    ),
  );
});

describe('the tab "Compare"', () => {
  it('is there from two answers to the same question on', () =>
    withView(THREE.slice(0, 3), async (view) => {
      const tab = view.page.getByRole('tab', { name: 'Compare' });
      expect(await tab.count()).toBe(0);
      await view.send(...run(9, 'none', ['No'], {}, 'Another question?'));
      expect(await tab.count()).toBe(0);
      await view.send(...THREE.slice(3, 5));
      expect(await tab.count()).toBe(1);
      await openTab(view.page);
      expect(await view.page.locator('.comparison tbody tr').count()).toBe(2);
    }));

  it('shows a map, the answer with its differences, and the costs of every run', () =>
    withView(THREE, async ({ page }) => {
      await openTab(page);
      expect(await column(page, 1)).toEqual(['Save the file', 'Save the a file', 'Save the file Load']);
      const second = page.locator('.comparison tbody tr').nth(1);
      expect(await second.locator('ins').allInnerTexts()).toEqual(['a']);
      expect(await second.locator('del').allInnerTexts()).toEqual(['the']);
      expect(await page.locator('.compared').allInnerTexts()).toEqual(await column(page, 0));
      expect(await column(page, 2)).toEqual(['64', '64 → 32', '64 → 8']);
      for (const map of await page.locator('.small-map').all()) {
        const { width, height } = (await map.boundingBox())!;
        // A padded wide picture fills a square map.
        expect(width).toBeGreaterThan(100);
        expect(Math.abs(width / height - 1)).toBeLessThan(0.02);
      }
    }));

  it('sorts by any cost, both ways, and back to the order of asking', () =>
    withView(THREE, async ({ page }) => {
      await openTab(page);
      const heading = page.getByRole('button', { name: 'Image tokens' });
      await heading.click();
      expect(await column(page, 2)).toEqual(['64 → 8', '64 → 32', '64']);
      expect(await page.locator('th[aria-sort=ascending]').innerText()).toContain('Image tokens');
      await page.keyboard.press('Enter');
      expect(await column(page, 2)).toEqual(['64', '64 → 32', '64 → 8']);
      expect(await page.locator('th[aria-sort=descending]').count()).toBe(1);
      await page.getByRole('button', { name: 'Reduction', exact: true }).click();
      expect(await column(page, 2)).toEqual(['64', '64 → 32', '64 → 8']);
      expect(await page.locator('.compared').allInnerTexts()).toEqual(await column(page, 0));
    }));

  it('shows a run on the map when it is chosen', () =>
    withView(THREE, async ({ page }) => {
      await openTab(page);
      await page.locator('.comparison .compared').first().click();
      expect(await page.locator('.map').isVisible()).toBe(true);
      expect(await page.locator('.words').innerText()).toContain('Save the file');
    }));

  it('exports every answer of the table, as a page and as data', () =>
    withView(THREE, async ({ page, posted }) => {
      await openTab(page);
      await page.getByRole('button', { name: 'Export as Page (HTML)' }).click();
      await page.getByRole('button', { name: 'Export Data (JSON)' }).click();
      const exports = (await posted()).flatMap((message) =>
        message.type === 'export' && 'answer' in message ? [message] : [],
      );
      expect(exports.map(({ format }) => format)).toEqual(['html', 'json']);
      for (const { answer, earlier } of exports) {
        const answers = [...(earlier ?? []), answer.result].map((result) => result.answer);
        expect(answers.sort()).toEqual(['Load', 'Save a file', 'Save the file']);
      }
    }));

  it('shows hostile text as text', () =>
    withView(
      [setup, ...run(1, 'none', ['yes']), ...run(2, HOSTILE_TEXTS[0], [...HOSTILE_TEXTS])],
      async ({ page }) => {
        await openTab(page);
        expect(await page.locator('.comparison tbody tr').count()).toBe(2);
        expect(await page.locator('.comparison :is(script, iframe, a)').count()).toBe(0);
      },
    ));

  it.each<Theme>(['vscode-light', 'vscode-dark', 'vscode-high-contrast', 'vscode-high-contrast-light'])(
    'has no fault that axe finds (%s), also in a narrow view',
    async (theme) => {
      for (const width of [1200, 200]) {
        await withView(
          THREE,
          async ({ page }) => {
            await openTab(page);
            await page.evaluate(AXE);
            const violations = await page.evaluate(async () => {
              const { axe } = globalThis as unknown as {
                axe: { run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> };
              };
              return (await axe.run()).violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}`);
            });
            expect(violations).toEqual([]);
            const overflow = await page.evaluate<number>(
              'document.documentElement.scrollWidth - document.documentElement.clientWidth',
            );
            expect(overflow).toBeLessThanOrEqual(0);
          },
          { theme, width },
        );
      }
    },
  );
});
