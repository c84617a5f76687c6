import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

import type { Browser, Page } from 'playwright-core';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { syntheticAnalysis } from '../../server/charts/testing/syntheticAnalysis';
import type { ErrorData, FromTokenView, ToTokenView } from '../../server/protocol';
import { SYNTHETIC_METHODS, syntheticResult } from '../../webview/testing/syntheticResult';
import { HOSTILE_TEXTS } from '../hostile/texts';
import { openEditorView, type EditorView, type Theme } from './browser';
import { launchChromium } from '../tools/chromium.mjs';

const AXE = readFileSync(createRequire(__filename).resolve('axe-core/axe.min.js'), 'utf8');
const PNG = await sharp({ create: { width: 400, height: 200, channels: 3, background: '#14a03c' } })
  .png()
  .toBuffer();
const pictures = [
  {
    name: 'screens/error.png',
    dataUrl: `data:image/png;base64,${PNG.toString('base64')}`,
    width: 400,
    height: 200,
  },
];
const RUN = 7;
const QUESTION = 'What does this screenshot show?';

const answered: ToTokenView[] = [
  { type: 'setup', methods: SYNTHETIC_METHODS, reduction: 'none', fit: 'pad' },
  { type: 'asked', run: RUN, pictures, question: QUESTION, reduction: 'none', fit: 'pad' },
  { type: 'answered', run: RUN, result: syntheticResult({ width: 400, height: 200, side: 8 }) },
];
const analysis = syntheticAnalysis();
const failed = (error: Partial<ErrorData>): ToTokenView => ({
  type: 'analysisFailed',
  run: RUN,
  error: { code: 'x', kind: 'device', message: 'No memory.', nextStep: 'Close programs.', ...error },
});

let browser: Browser;
beforeAll(async () => {
  browser = await launchChromium();
});
afterAll(() => browser.close());

/** Opens the view, and fails at the end when anything in it went wrong. */
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

const openTab = (page: Page): Promise<void> => page.getByRole('tab', { name: 'Attention' }).click();
const posted = async (view: EditorView, type: FromTokenView['type']): Promise<FromTokenView[]> =>
  (await view.posted()).filter((message) => message.type === type);

describe('the tab "Attention"', () => {
  it('is there once there is an answer, and measures only when it is told to', () =>
    withView(answered.slice(0, 2), async (view) => {
      const { page } = view;
      expect(await page.getByRole('tablist').isVisible()).toBe(false);
      await view.send(answered[2]);
      await openTab(page);
      expect(await page.locator('.map').isVisible()).toBe(false);
      expect(await posted(view, 'analyze')).toEqual([]);
      await page.getByRole('button', { name: 'Measure attention' }).click();
      expect(await posted(view, 'analyze')).toEqual([
        { type: 'analyze', run: RUN, question: QUESTION, fit: 'pad' },
      ]);
    }));

  it('tells how far it is, and can be cancelled', () =>
    withView(answered, async (view) => {
      const { page } = view;
      await openTab(page);
      await view.send({ type: 'analyzing', run: RUN, message: 'without the image', fraction: 0.4 });
      const bar = page.locator('.attention').getByRole('progressbar');
      expect(await bar.getAttribute('aria-valuenow')).toBe('40');
      await page.locator('.attention').getByRole('button', { name: 'Cancel' }).click();
      expect(await posted(view, 'cancelAnalysis')).toEqual([{ type: 'cancelAnalysis', run: RUN }]);
      await view.send(failed({ kind: 'cancelled' }));
      expect(await page.locator('.attention').innerText()).toContain('Cancelled.');
      await page.getByRole('button', { name: 'Try again' }).click();
      expect(await posted(view, 'analyze')).toHaveLength(1);
    }));

  it('shows why it failed', () =>
    withView([...answered, failed({ why: 'It is full.' })], async ({ page }) => {
      await openTab(page);
      const text = await page.locator('.attention [role=alert]').innerText();
      for (const part of ['No memory.', 'It is full.', 'Close programs.']) expect(text).toContain(part);
    }));

  it('draws every chart with its words, its numbers and tooltips', () =>
    withView([...answered, { type: 'analyzed', run: RUN, analysis }], async ({ page }) => {
      await openTab(page);
      const figures = page.locator('.attention figure');
      expect(await figures.count()).toBe(9);
      for (const figure of await figures.all()) {
        const chart = figure.locator('svg[role=img]');
        const { width, height } = (await chart.boundingBox())!;
        expect(width).toBeGreaterThan(250);
        expect(height).toBeGreaterThan(80);
        expect((await chart.getAttribute('aria-label'))!.length).toBeGreaterThan(20);
        expect(await chart.locator('title').count()).toBeGreaterThan(2);
      }
      await page.locator('#figure-removal summary').click();
      const table = page.locator('#figure-removal table');
      expect(await table.locator('tbody tr').count()).toBe(7);
      expect(await table.innerText()).toContain('−0.8');
      const image = page.locator('#figure-tower-map-0 image');
      expect(await image.getAttribute('href')).toBe(pictures[0].dataUrl);
    }));

  it('saves a chart as a picture in the colours of the theme', () =>
    withView([...answered, { type: 'analyzed', run: RUN, analysis }], async (view) => {
      await openTab(view.page);
      await view.page.locator('#figure-layer-shares').getByRole('button').click();
      await expect.poll(() => posted(view, 'export')).toHaveLength(1);
      const [message] = await posted(view, 'export');
      if (message.type !== 'export' || message.format !== 'png') throw new Error('not a picture');
      expect(message.name).toBe('error-layer-shares.png');
      const picture = sharp(Buffer.from(message.dataUrl.split(',')[1], 'base64'));
      const { data, info } = await picture.removeAlpha().raw().toBuffer({ resolveWithObject: true });
      expect([info.width, info.height]).toEqual([960, 580]);
      const colors = new Set<string>();
      for (let i = 0; i < data.length; i += 3) colors.add(`${data[i]},${data[i + 1]},${data[i + 2]}`);
      // Background and the image's colour of the dark theme.
      expect(colors).toContain('31,31,31');
      expect(colors).toContain('77,170,252');
    }));

  it('exports the page and the data of the analysis', () =>
    withView([...answered, { type: 'analyzed', run: RUN, analysis }], async (view) => {
      await openTab(view.page);
      await view.page.getByRole('button', { name: 'Export Data (JSON)' }).click();
      await view.page.getByRole('button', { name: 'Export as Page (HTML)' }).click();
      await expect.poll(() => posted(view, 'export')).toHaveLength(2);
      const [data, page] = (await posted(view, 'export')).map((message) => {
        if (message.type !== 'export' || !('text' in message)) throw new Error('not the file itself');
        return message;
      });
      expect(data.name).toBe('error-attention.json');
      expect(JSON.parse(data.text)).toEqual({
        format: 'fovea-attention',
        ...analysis,
        model: { ...analysis.model, directory: '' },
      });
      expect(page.name).toBe('error-attention.html');
      expect(page.text.match(/<figure /g)).toHaveLength(9);
      expect(page.text).toContain(pictures[0].dataUrl);
    }));

  it('goes back to the map for a new question', () =>
    withView([...answered, { type: 'analyzed', run: RUN, analysis }], async (view) => {
      await openTab(view.page);
      await view.send({ ...answered[1], run: RUN + 1 });
      expect(await view.page.locator('.attention').isVisible()).toBe(false);
    }));

  it('does not measure a question about a picture that is no longer open', () =>
    withView(answered, async (view) => {
      const other = [{ ...pictures[0], name: 'other.png' }];
      await view.send({ ...answered[1], run: RUN + 1, pictures: other }, { ...answered[2], run: RUN + 1 });
      await openTab(view.page);
      const start = view.page.getByRole('button', { name: 'Measure attention' });
      expect(await start.isVisible()).toBe(true);
      await view.page.getByRole('tab', { name: 'Tokens' }).click();
      await view.page.getByRole('combobox', { name: 'Compare with' }).click();
      await view.page.getByRole('option', { name: pictures[0].name }).click();
      await view.page.getByRole('button', { name: 'Show the other on the map' }).click();
      await openTab(view.page);
      expect(await start.isVisible()).toBe(false);
      expect(await view.page.locator('.attention').innerText()).toContain('about another image');
    }));

  it('is worked with the keyboard', () =>
    withView(answered, async ({ page }) => {
      await page.getByRole('tab', { name: 'Tokens' }).focus();
      await page.keyboard.press('ArrowRight');
      expect(await page.getByRole('tab', { name: 'Attention' }).getAttribute('aria-selected')).toBe('true');
      expect(await page.evaluate('document.activeElement.id')).toBe('tab-attention');
      await page.keyboard.press('ArrowLeft');
      expect(await page.locator('.map').isVisible()).toBe(true);
    }));

  it('shows hostile text as text, and ignores what is no analysis', () =>
    withView(answered, async (view) => {
      const { page } = view;
      await openTab(page);
      const texts = HOSTILE_TEXTS.slice(0, analysis.answerTokens.length);
      const hostile = {
        ...analysis,
        answer: HOSTILE_TEXTS.join(' '),
        answerTokens: analysis.answerTokens.map((token, index) => ({ ...token, text: texts[index] ?? 'x' })),
      };
      await view.send({ type: 'analyzed', run: RUN, analysis: { ...analysis, layers: [] } });
      expect(await page.locator('.attention figure').count()).toBe(0);
      await view.send({ type: 'analyzed', run: RUN, analysis: hostile });
      expect(await page.locator('.attention figure').count()).toBe(9);
      expect(await page.locator('.attention script, .attention iframe, .attention a').count()).toBe(0);
    }));

  it.each<Theme>(['vscode-light', 'vscode-dark', 'vscode-high-contrast', 'vscode-high-contrast-light'])(
    'has no fault that axe finds (%s), also in a narrow view',
    async (theme) => {
      for (const width of [1200, 200]) {
        await withView(
          [...answered, { type: 'analyzed', run: RUN, analysis }],
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
