import type { Browser, Page } from 'playwright-core';
import sharp from 'sharp';
import { expect } from 'vitest';
import type { AnswerResult, FromTokenView, ToTokenView } from '../../server/protocol';
import { SYNTHETIC_METHODS } from '../../webview/testing/syntheticResult';
import { openEditorView, type EditorView, type Theme } from './browser';

export const THEMES: readonly Theme[] = [
  'vscode-light',
  'vscode-dark',
  'vscode-high-contrast',
  'vscode-high-contrast-light',
];

export const QUESTION = 'What does this screenshot show?';

/** Red, green and blue of every pixel of the picture that the tests ask about. */
export const PICTURE_COLOR = [0x14, 0xa0, 0x3c] as const;
const [r, g, b] = PICTURE_COLOR;
const PNG = await sharp({ create: { width: 1920, height: 1080, channels: 3, background: { r, g, b } } })
  .png()
  .toBuffer();
export const dataUrl = `data:image/png;base64,${PNG.toString('base64')}`;

export const setup: ToTokenView = {
  type: 'setup',
  methods: SYNTHETIC_METHODS,
  reduction: 'none',
  fit: 'pad',
  model: 'fovea-nano',
  device: 'cpu',
};

export const asked = (run: number, question = QUESTION, name = 'screens/error.png'): ToTokenView => ({
  type: 'asked',
  run,
  pictures: [{ name, dataUrl, width: 1920, height: 1080 }],
  question,
  reduction: 'none',
  fit: 'pad',
});

export const answered = (run: number, result: AnswerResult): ToTokenView => ({
  type: 'answered',
  run,
  result,
});

export interface ViewOptions {
  theme?: Theme;
  width?: number;
  height?: number;
  restored?: unknown;
}

/** Opens the view, and fails at the end when anything in it went wrong. */
export async function withView(
  browser: Browser,
  messages: readonly unknown[],
  test: (view: EditorView) => Promise<void>,
  { theme = 'vscode-dark', width = 1200, height = 800, restored }: ViewOptions = {},
): Promise<void> {
  const context = await browser.newContext({ viewport: { width, height }, reducedMotion: 'reduce' });
  try {
    const view = await openEditorView(context, theme, restored);
    await view.send(...messages);
    await test(view);
    expect(view.problems).toEqual([]);
  } finally {
    await context.close();
  }
}

export const text = (page: Page, selector: string): Promise<string> =>
  page.locator(selector).first().innerText();

export const ofType = (messages: readonly FromTokenView[], type: FromTokenView['type']): FromTokenView[] =>
  messages.filter((message) => message.type === type);

/** Margin around the fitted map, in CSS pixels on each side. */
const MARGIN = 12;

/** Middle of a patch of a padded 1920 x 1080 picture of 24 x 24 patches, on the fitted map. */
export async function patchPoint(page: Page, id: number): Promise<{ x: number; y: number }> {
  const box = (await page.locator('.map-grid').boundingBox())!;
  const side = Math.min(box.width, box.height) - 2 * MARGIN;
  return {
    x: box.x + box.width / 2 + side * (((id % 24) + 0.5) / 24 - 0.5),
    y: box.y + box.height / 2 + side * ((Math.floor(id / 24) + 0.5) / 24 - 0.5),
  };
}

export type Pixel = readonly [red: number, green: number, blue: number];

/** Rows of pixels of the map's canvas around a point of the page. */
export async function mapPixels(
  page: Page,
  { x, y }: { x: number; y: number },
  side: number,
): Promise<Pixel[][]> {
  const bytes = await page.evaluate<number[]>(`(() => {
    const canvas = document.querySelector('.map canvas');
    const box = canvas.getBoundingClientRect();
    const at = (point, start) => Math.round(point - start - ${side} / 2);
    const context = canvas.getContext('2d');
    return [...context.getImageData(at(${x}, box.left), at(${y}, box.top), ${side}, ${side}).data];
  })()`);
  return Array.from({ length: side }, (_, row) =>
    Array.from({ length: side }, (__, column): Pixel => {
      const start = 4 * (row * side + column);
      return [bytes[start], bytes[start + 1], bytes[start + 2]];
    }),
  );
}
