import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Browser } from 'playwright-core';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { traceToHtml } from '../../server/features/traceExport/traceExport';
import { SYNTHETIC, SYNTHETIC_METHODS, syntheticResult } from '../../webview/testing/syntheticResult';
import { HOSTILE_TEXTS } from '../hostile/texts';
import { viewScript } from './browser';
import { launchChromium } from '../tools/chromium.mjs';

let browser: Browser;
let folder: string;
let png: Uint8Array;
beforeAll(async () => {
  browser = await launchChromium();
  folder = mkdtempSync(join(tmpdir(), 'fovea-page-'));
  png = await sharp({ create: { width: 320, height: 180, channels: 3, background: '#3060a0' } })
    .png()
    .toBuffer();
});
afterAll(async () => {
  rmSync(folder, { recursive: true });
  await browser.close();
});

describe('a standalone page, opened from a file', () => {
  it.each(Object.entries(SYNTHETIC))('shows answer and map without network (%s)', async (name, make) => {
    const file = join(folder, `${name}.html`);
    writeFileSync(
      file,
      traceToHtml(make(), [{ png, name: 'a.png' }], viewScript(), {
        methods: SYNTHETIC_METHODS,
        earlier: [SYNTHETIC.allTokens()],
      }),
    );
    const page = await browser.newPage({ colorScheme: 'dark' });
    const problems: string[] = [];
    page.on('pageerror', (error) => problems.push(String(error)));
    page.on('console', (message) => problems.push(message.text()));
    page.on('request', (request) => {
      const url = request.url();
      if (!url.startsWith('file:') && !url.startsWith('data:')) problems.push(url);
    });
    await page.goto(pathToFileURL(file).href);
    expect(await page.locator('.words').innerText()).toContain('settings dialog');
    expect(await page.locator('.ask').isHidden()).toBe(true);
    expect(await page.getByRole('grid').getAttribute('aria-label')).toContain('Token map');
    await page.getByText('Export', { exact: true }).click();
    const download = page.waitForEvent('download');
    await page.getByRole('button', { name: 'Data (JSON)' }).click();
    expect((await download).suggestedFilename()).toBe('a-tokens.json');
    expect(problems).toEqual([]);
    await page.close();
  });

  it.each(HOSTILE_TEXTS)('runs nothing of what a text says: %j', async (text) => {
    const file = join(folder, 'hostile.html');
    const result = syntheticResult({ side: 8, question: text, pieces: [text], modelName: text });
    writeFileSync(file, traceToHtml(result, [{ png, name: text }], viewScript()));
    const page = await browser.newPage();
    const problems: string[] = [];
    page.on('pageerror', (error) => problems.push(String(error)));
    page.on('console', (message) => problems.push(message.text()));
    await page.goto(pathToFileURL(file).href);
    expect(await page.locator('.talk').isVisible()).toBe(true);
    expect(await page.evaluate('globalThis.hacked')).toBeUndefined();
    expect(problems).toEqual([]);
    await page.close();
  });
});
