import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Browser } from 'playwright-core';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FromTokenView, ToTokenView } from '../../server/protocol';
import { SYNTHETIC, syntheticResult } from '../../webview/testing/syntheticResult';
import { HOSTILE_TEXTS } from '../hostile/texts';
import { settle, type EditorView } from './browser';
import { launchChromium } from '../tools/chromium.mjs';
import {
  answered,
  asked,
  dataUrl,
  ofType,
  patchPoint,
  QUESTION,
  setup,
  text,
  THEMES,
  withView as openView,
  type ViewOptions,
} from './tokenViewPage';

const AXE = readFileSync(createRequire(__filename).resolve('axe-core/axe.min.js'), 'utf8');

let browser: Browser;
beforeAll(async () => {
  browser = await launchChromium();
});
afterAll(() => browser.close());

const withView = (
  messages: readonly unknown[],
  test: (view: EditorView) => Promise<void>,
  options?: ViewOptions,
): Promise<void> => openView(browser, messages, test, options);

const failed = (run: number, kind: 'model' | 'cancelled'): ToTokenView => ({
  type: 'failed',
  run,
  error: {
    code: 'x',
    kind,
    message: 'The model folder has no tokenizer.json.',
    why: 'It was not downloaded.',
    nextStep: 'Choose another model.',
  },
  action: { title: 'Choose Model', action: 'chooseModel' },
});

describe('every state', () => {
  it('first run: says what to do, and does it', () =>
    withView([setup], async ({ page, posted }) => {
      expect(await text(page, '.first-run')).toContain('Ask about an image');
      await page.getByRole('button', { name: /Choose an Image/ }).click();
      expect(await posted()).toEqual([{ type: 'ready', runs: [] }, { type: 'pickImage' }]);
    }));

  it('loading: says what is going on, and can be cancelled', () =>
    withView(
      [setup, asked(7), { type: 'progress', run: 7, message: 'Reading weights', fraction: 0.4 }],
      async ({ page, posted }) => {
        expect(await text(page, '.working')).toContain('Reading weights');
        expect(await page.getByRole('progressbar').getAttribute('aria-valuenow')).toBe('40');
        await page.getByRole('button', { name: 'Cancel' }).click();
        expect(ofType(await posted(), 'cancel')).toEqual([{ type: 'cancel', run: 7 }]);
      },
    ));

  it('streaming: the text grows, and a screen reader is told whole pieces', () =>
    withView([setup, asked(1)], async ({ page, send }) => {
      for (const piece of ['It shows a settings dialog', '. It has', ' two buttons.'])
        await send({ type: 'answerPart', run: 1, text: piece });
      expect(await text(page, '.streaming')).toBe('It shows a settings dialog. It has two buttons.');
      expect(await page.locator('[aria-live="polite"] p').allInnerTexts()).toEqual([
        'It shows a settings dialog.',
      ]);
    }));

  it('failed: what, why, what next, and a button for it', () =>
    withView([setup, asked(1), failed(1, 'model')], async ({ page, posted }) => {
      const alert = await page.getByRole('alert').first().innerText();
      for (const part of ['no tokenizer.json', 'not downloaded', 'Choose another model'])
        expect(alert).toContain(part);
      await page.getByRole('button', { name: 'Choose Model' }).click();
      await page.getByRole('button', { name: 'Try again' }).click();
      expect((await posted()).slice(1)).toEqual([
        { type: 'action', action: 'chooseModel' },
        { type: 'ask', question: QUESTION, reduction: 'none', fit: 'pad' },
      ]);
    }));

  it('cancelled: is no failure', () =>
    withView([setup, asked(1), failed(1, 'cancelled')], async ({ page }) => {
      expect(await text(page, '.talk')).toContain('Cancelled');
      expect(await page.locator('.failure').count()).toBe(0);
    }));

  it('warned: one click asks with all tokens', () =>
    withView(
      [
        setup,
        asked(1),
        {
          ...answered(1, SYNTHETIC.tokens576()),
          warning: {
            message: 'Fine text is likely lost.',
            askAgain: { title: 'Ask with all tokens', reduction: 'none' },
          },
        },
      ],
      async ({ page, posted }) => {
        await page.getByRole('button', { name: 'Ask with all tokens' }).click();
        expect(ofType(await posted(), 'ask')).toEqual([
          { type: 'ask', question: QUESTION, reduction: 'none', fit: 'pad' },
        ]);
      },
    ));

  it('warned of small text: one click leads to a model that sees more', () =>
    withView(
      [
        setup,
        asked(1),
        {
          ...answered(1, SYNTHETIC.tokens576()),
          warning: {
            message: 'Text is only about 2 px high.',
            action: { title: 'Choose Model...', action: 'chooseModel' },
          },
        },
      ],
      async ({ page, posted }) => {
        expect(await text(page, '.warning')).toContain('about 2 px high');
        await page.getByRole('note').getByRole('button', { name: 'Choose Model...' }).click();
        expect(ofType(await posted(), 'action')).toEqual([{ type: 'action', action: 'chooseModel' }]);
      },
    ));

  it('no picture any more: the invitation alone, whatever was there before', () =>
    withView(
      [setup, asked(1), answered(1, SYNTHETIC.tokens64()), { type: 'picture', pictures: [] }],
      async ({ page }) => {
        expect(await text(page, '.first-run')).toContain('paste a screenshot');
        for (const part of ['.map', '.talk', '.ask', '.toolbar', '.tabs'])
          expect(await page.locator(part).isVisible(), part).toBe(false);
        expect(await page.evaluate<boolean>('document.documentElement.scrollHeight > innerHeight')).toBe(
          false,
        );
      },
    ));

  it('a picture that cannot be read: no map, nothing to zoom, and no answer about another picture', () =>
    withView(
      [
        setup,
        asked(1),
        answered(1, SYNTHETIC.tokens64()),
        { ...asked(2), pictures: [{ name: 'broken.png', dataUrl: '' }] },
        failed(2, 'model'),
      ],
      async ({ page }) => {
        expect(await page.getByRole('alert').first().isVisible()).toBe(true);
        for (const part of ['.map', '.zoom', '.compare', '.legend', '.stages'])
          expect(await page.locator(part).isVisible(), part).toBe(false);
        expect(await page.locator('.ask textarea').isVisible()).toBe(true);
      },
    ));

  it('a picture without a question: can be asked about', () =>
    withView(
      [setup, { type: 'picture', pictures: [{ name: 'a.png', dataUrl, width: 1920, height: 1080 }] }],
      async ({ page, posted }) => {
        await page.locator('.ask textarea').fill('Is it dark?');
        await page.locator('.ask').getByRole('button', { name: 'Ask', exact: true }).click();
        expect(ofType(await posted(), 'ask')).toEqual([
          { type: 'ask', question: 'Is it dark?', reduction: 'none', fit: 'pad' },
        ]);
      },
    ));

  it('zoomed in: can ask about what is in sight alone, and go back to the whole image', () =>
    withView(
      [setup, { type: 'picture', pictures: [{ name: 'a.png', dataUrl, width: 1920, height: 1080 }] }],
      async ({ page, posted, send }) => {
        const part = page.getByRole('button', { name: 'Ask About Visible Part' });
        await page.locator('.ask textarea').fill('Is it dark?');
        expect(await part.isVisible()).toBe(false);
        for (let step = 0; step < 6; step += 1) await page.getByRole('button', { name: 'Zoom in' }).click();
        await part.click();
        const [message] = ofType(await posted(), 'ask') as Extract<FromTokenView, { type: 'ask' }>[];
        expect(message).toMatchObject({ question: 'Is it dark?', reduction: 'none', fit: 'pad' });
        const { image, rect } = message.part!;
        expect(image).toBe(0);
        expect(rect.width * rect.height).toBeLessThan(0.6 * 1920 * 1080);
        // Zoomed about the middle.
        expect(Math.abs(rect.x + rect.width / 2 - 960)).toBeLessThan(20);
        expect(Math.abs(rect.y + rect.height / 2 - 540)).toBeLessThan(20);

        await page.getByRole('button', { name: 'Fit' }).click();
        await part.waitFor({ state: 'hidden' });

        const name = 'a.png (640 × 360 at 640, 360)';
        await send({
          type: 'asked',
          run: 1,
          pictures: [{ name, dataUrl, width: 640, height: 360, isPart: true }],
          question: 'Is it dark?',
          reduction: 'none',
          fit: 'pad',
        });
        await page.getByRole('button', { name: 'Whole Image' }).click();
        expect(ofType(await posted(), 'wholeImage')).toEqual([{ type: 'wholeImage' }]);
      },
    ));
});

describe('the map', () => {
  const done = [setup, asked(1), answered(1, SYNTHETIC.tokens576())];

  it('says of the selected patch where it is, what became of it, and which words used it', () =>
    withView(done, async ({ page }) => {
      const { trace } = SYNTHETIC.tokens576();
      const id = trace.stages[1].kept.find((candidate) => candidate < 576)!;
      const { x, y } = await patchPoint(page, id);
      await page.mouse.click(x, y);
      const told = await text(page, '.inspector');
      expect(told).toContain(`Row ${Math.floor(id / 24) + 1}, column ${(id % 24) + 1}`);
      expect(told).toContain('Kept by FastV before decoder layer 2');
      expect(await page.locator('.used li').count()).toBeGreaterThan(0);
    }));

  it('says the same of the patch under the pointer, with pixels, score and rank, and forgets it afterwards', () =>
    withView(done, async ({ page }) => {
      const { trace } = SYNTHETIC.tokens576();
      const id = trace.stages[1].dropped.find((candidate) => candidate >= 6 * 24 && candidate < 18 * 24)!;
      const { x, y } = await patchPoint(page, id);
      await page.mouse.move(x, y);
      await settle(page);
      const told = await text(page, '.inspector');
      const [left, top] = [80 * (id % 24), 80 * Math.floor(id / 24) - 420];
      expect(told).toContain(`x ${left}–${left + 80}, y ${top}–${top + 80}`);
      expect(told).toMatch(/Dropped by FastV before decoder layer 2: .* ranks \d+ of 128/);
      expect(told).toMatch(/CLS attention\s+\S+ rank \d+ of 577/);
      expect(told).toMatch(/Attention of the last position\s+\S+ rank \d+ of 128/);
      await page.mouse.move(0, 0);
      await settle(page);
      expect(await text(page, '.inspector h2')).toBe('What happened');
    }));

  it('goes from a patch to a word that used it: the map shows what the word attended to', () =>
    withView(done, async ({ page }) => {
      const id = SYNTHETIC.tokens576().trace.stages[1].kept.find((candidate) => candidate < 576)!;
      const { x, y } = await patchPoint(page, id);
      await page.mouse.click(x, y);
      const word = await text(page, '.used-word');
      await page.locator('.used-word').first().click();
      expect(await page.locator('.word[aria-selected="true"]').innerText()).toBe(word);
      expect(await text(page, '.legend')).toContain(`attention of “${word}”`);
    }));

  it('goes from a merged patch to the one that carries it', () =>
    withView(done, async ({ page }) => {
      await page.locator('.stage-chart').focus();
      for (const key of ['Home', 'ArrowRight']) await page.keyboard.press(key);
      const { id, sources } = SYNTHETIC.tokens576().trace.stages[0].merged[3];
      const { x, y } = await patchPoint(page, sources.at(-1)!);
      await page.mouse.click(x, y);
      await page.mouse.move(0, 0);
      await page.locator('.inspector button.link').click();
      expect(await text(page, '.inspector h2')).toBe(
        `Row ${Math.floor(id / 24) + 1}, column ${(id % 24) + 1}`,
      );
      expect(await text(page, '.inspector')).toContain('carries others');
    }));

  it('colours other pixels for another word', () =>
    withView(done, async ({ page }) => {
      const seen = new Set<string>();
      for (const word of [1, 6, 12]) {
        await page.locator('.word').nth(word).click();
        await settle(page);
        seen.add(await page.evaluate<string>('document.querySelector(".map canvas").toDataURL()'));
      }
      expect(seen.size).toBe(3);
    }));

  it('shows fewer tokens further along the stage bar', () =>
    withView(done, async ({ page }) => {
      const slider = page.getByRole('slider', { name: 'Stage' });
      await slider.focus();
      const told: (string | null)[] = [];
      await page.keyboard.press('Home');
      for (let point = 0; point < 4; point += 1) {
        told.push(await slider.getAttribute('aria-valuetext'));
        await page.keyboard.press('ArrowRight');
      }
      expect(told.map((words) => /\d+/.exec(words?.replace(/layer \d+/, '') ?? '')?.[0])).toEqual([
        '576',
        '128',
        '128',
        '64',
      ]);
    }));

  it('zooms with the wheel and keys, pans by dragging, and fits again', () =>
    withView(done, async ({ page }) => {
      const percent = async (): Promise<number> => Number.parseInt(await text(page, '.percent'), 10);
      const fitted = await percent();
      await page.mouse.move(400, 300);
      await page.mouse.wheel(0, -600);
      await settle(page);
      const zoomed = await percent();
      expect(zoomed).toBeGreaterThan(fitted);
      await page.mouse.down();
      await page.mouse.move(500, 380, { steps: 4 });
      await page.mouse.up();
      expect(await percent()).toBe(zoomed);
      await page.locator('.map-grid').focus();
      await page.keyboard.press('0');
      await settle(page);
      expect(await percent()).toBe(fitted);
    }));
});

describe('asking again', () => {
  it('composes a spec from the form, and keeps the previous answer beside the new one', () =>
    withView([setup, asked(1), answered(1, SYNTHETIC.allTokens())], async ({ page, posted, send }) => {
      await page.locator('.method vscode-dropdown').first().click();
      await page.getByRole('option', { name: 'FastV' }).click();
      await page.locator('.method input').nth(1).fill('25%');
      await page.locator('.ask').getByRole('button', { name: 'Ask', exact: true }).click();
      expect(ofType(await posted(), 'ask')).toEqual([
        { type: 'ask', question: QUESTION, reduction: 'fastv:layer=2,keep=25%,score=lastQuery', fit: 'pad' },
      ]);
      await send(asked(2), answered(2, SYNTHETIC.tokens576()));
      const costs = await text(page, '.costs');
      for (const part of ['576 → 128 → 64', '576', '−89 %', 'MB', 'ms', 'GMAC'])
        expect(costs).toContain(part);
    }));

  it('asks nothing while a value makes no sense, and says why', () =>
    withView(
      [setup, asked(1), { ...answered(1, syntheticResult({ fastv: { layer: 2, keep: 0.5 } })) }],
      async ({ page, posted }) => {
        await page.locator('.method input').first().fill('zero');
        await page.locator('.ask').getByRole('button', { name: 'Ask', exact: true }).click();
        expect(await text(page, '.field-problem')).toContain('layer: A whole number');
        expect(ofType(await posted(), 'ask')).toEqual([]);
      },
    ));
});

describe('with the keyboard alone', () => {
  it('everything is reached, and patches and words are walked', () =>
    withView([setup, asked(1), answered(1, SYNTHETIC.tokens576())], async ({ page }) => {
      const reached: string[] = [];
      for (let step = 0; step < 60; step += 1) {
        await page.keyboard.press('Tab');
        const name = await page.evaluate<string>(
          '((e) => e === document.body ? "" : e.getAttribute("role") === "grid" ? "grid" : e.getAttribute("aria-label") || e.textContent.trim().slice(0, 40))(document.activeElement)',
        );
        if (name === '') break;
        reached.push(name);
      }
      for (const part of [
        'grid',
        'Stage',
        'Colours show',
        'Overlay opacity',
        'Question',
        'Ask',
        'All tokens as a table',
        'Copy answer',
        'Export',
        'It',
      ]) {
        expect(reached, part).toContain(part);
      }
      const grid = page.getByRole('grid');
      await grid.focus();
      for (const key of ['Control+Home', 'ArrowDown', 'ArrowRight', 'ArrowRight'])
        await page.keyboard.press(key);
      const cell = page.locator(`#${await grid.getAttribute('aria-activedescendant')}`);
      expect(await cell.getAttribute('aria-label')).toMatch(/^row 2, column 3: /);
      expect(await page.getByRole('row').first().getAttribute('aria-rowindex')).toBe('2');
      await page.keyboard.press('Control+End');
      expect(await cell.getAttribute('aria-label')).toMatch(/^row 24, column 24: /);
      await page.locator('.word').first().focus();
      await page.keyboard.press('ArrowRight');
      expect(await page.locator('.word[aria-selected="true"]').innerText()).toBe('shows');
      await page.keyboard.press('Escape');
      expect(await page.locator('.word[aria-selected="true"]').count()).toBe(0);
    }));

  it('walks the details of a tiled picture to their last column and the newline behind it', () =>
    withView([setup, asked(1), answered(1, SYNTHETIC.tokens2880())], async ({ page }) => {
      const grid = page.getByRole('grid');
      await grid.focus();
      await page.keyboard.press('Control+Home');
      const cell = page.locator(`#${await grid.getAttribute('aria-activedescendant')}`);
      expect(await cell.getAttribute('aria-label')).toMatch(/^detail tiles, row 1, column 1: /);
      await page.keyboard.press('End');
      expect(await cell.getAttribute('aria-label')).toMatch(/^newline of row 1: /);
      await page.keyboard.press('ArrowLeft');
      expect(await cell.getAttribute('aria-label')).toMatch(/^detail tiles, row 1, column 48: /);
    }));

  it('reads all tokens as a table, page by page', () =>
    withView([setup, asked(1), answered(1, SYNTHETIC.tokens2880())], async ({ page }) => {
      await page.getByText('All tokens as a table').click();
      // The plane that is shown: all tiles of the details, with the newlines behind their rows.
      const { tiles, newlines = [] } = SYNTHETIC.tokens2880().trace.images[0];
      const patches = tiles.slice(1).reduce((sum, { rows, columns }) => sum + rows * columns, 0);
      const count = (patches + newlines.length).toLocaleString('en');
      expect(await text(page, '.tokens caption')).toBe(`Tokens 1 to 100 of ${count}`);
      await page.getByRole('button', { name: 'Next' }).click();
      expect(await text(page, '.tokens caption')).toBe(`Tokens 101 to 200 of ${count}`);
    }));
});

describe('state', () => {
  it('survives a reload', async () => {
    let saved: unknown;
    await withView([setup, asked(1), answered(1, SYNTHETIC.tokens576())], async (view) => {
      await view.page.locator('.word').nth(3).click();
      await expect.poll(view.saved).toMatchObject({ look: { colorBy: { kind: 'word', word: 3 } } });
      saved = await view.saved();
    });
    await withView(
      [],
      async ({ page, posted }) => {
        expect(await posted()).toEqual([{ type: 'ready', runs: [1] }]);
        expect(await page.locator('.word[aria-selected="true"]').innerText()).toBe('settings');
      },
      { restored: saved },
    );
  });

  it('is not disturbed by messages that make no sense', () =>
    withView([setup, asked(1), answered(1, SYNTHETIC.tokens64())], async ({ page, posted, send }) => {
      const before = await text(page, 'main');
      await send({ type: 'answered', run: 1, result: { answer: 'x' } }, { type: 'nonsense' }, null, 'x', {
        type: 'asked',
        run: 'a',
      });
      expect(await text(page, 'main')).toBe(before);
      expect(ofType(await posted(), 'log')).toHaveLength(5);
    }));
});

describe('exports', () => {
  it('post the picture, the data, and what a page is made of', () =>
    withView([setup, asked(1), answered(1, SYNTHETIC.tokens64())], async ({ page, posted }) => {
      for (const name of ['Picture (PNG)', 'Data (JSON)', 'Page (HTML)']) {
        await page.getByText('Export', { exact: true }).click();
        await page.getByRole('button', { name }).click();
      }
      await expect.poll(async () => ofType(await posted(), 'export').length).toBe(3);
      const messages = ofType(await posted(), 'export');
      expect(
        messages.map((message) => message.type === 'export' && [message.format, message.name]).sort(),
      ).toEqual([
        ['html', 'error-tokens.html'],
        ['json', 'error-tokens.json'],
        ['png', 'error-tokens.png'],
      ]);
      const png = messages.find((message) => message.type === 'export' && message.format === 'png');
      const bytes = Buffer.from((png as { dataUrl: string }).dataUrl.split(',')[1], 'base64');
      const { width, height } = await sharp(bytes).metadata();
      expect([width, height > 1200]).toEqual([1200, true]);
    }));
});

describe('hostile text', () => {
  it.each(HOSTILE_TEXTS)('stays text everywhere: %j', (hostile) =>
    withView(
      [
        setup,
        asked(1, hostile, hostile),
        answered(1, syntheticResult({ side: 8, pieces: [hostile], question: hostile, modelName: hostile })),
      ],
      async (view) => {
        const { page, send } = view;
        await send(
          asked(2, hostile, hostile),
          { type: 'progress', run: 2, message: hostile },
          { type: 'answerPart', run: 2, text: hostile },
        );
        await send({
          type: 'failed',
          run: 2,
          error: { code: hostile, kind: 'model', message: hostile, why: hostile, nextStep: hostile },
        });
        expect(await page.evaluate('globalThis.hacked')).toBeUndefined();
        expect(
          await page.locator('main a, main img, main iframe, main script, main object, main style').count(),
        ).toBe(0);
      },
    ),
  );
});

describe('accessibility', () => {
  const states: Record<string, readonly unknown[]> = {
    'first run': [setup],
    loading: [setup, asked(1), { type: 'progress', run: 1, message: 'Reading weights', fraction: 0.4 }],
    failed: [setup, asked(1), failed(1, 'model')],
    cancelled: [setup, asked(1), failed(1, 'cancelled')],
    '64 tokens': [setup, asked(1), answered(1, SYNTHETIC.tokens64())],
    done: [setup, asked(1), answered(1, SYNTHETIC.allTokens()), asked(2), answered(2, SYNTHETIC.tokens576())],
    '2,928 tokens': [setup, asked(1), answered(1, SYNTHETIC.tokens2880())],
  };
  it.each(
    THEMES.flatMap((theme) =>
      Object.keys(states).flatMap((state) => [1200, 200].map((width) => ({ theme, state, width }))),
    ),
  )('has no violations: $theme, $state, $width px', ({ theme, state, width }) =>
    withView(
      states[state],
      async ({ page }) => {
        if ((await page.locator('.word').count()) > 0) {
          await page.locator('.word').nth(2).click();
          await page.locator('.map-grid').focus();
          await page.keyboard.press('ArrowDown');
          await page.getByText('All tokens as a table').click();
        }
        await page.evaluate(AXE);
        const found = await page.evaluate<
          { id: string; nodes: { target: string[]; failureSummary: string }[] }[]
        >('axe.run(document, { resultTypes: ["violations"] }).then(({ violations }) => violations)');
        expect(
          found.map(({ id, nodes }) => [
            id,
            nodes.map(({ target, failureSummary }) => `${target.join(' ')}: ${failureSummary}`),
          ]),
        ).toEqual([]);
        const wide = await page.evaluate<number>('document.documentElement.scrollWidth');
        expect(wide, 'no sideways scrolling').toBeLessThanOrEqual(width);
      },
      { theme, width },
    ),
  );
});
