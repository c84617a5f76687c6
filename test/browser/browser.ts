import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BrowserContext, Page } from 'playwright-core';
import type { FromTokenView } from '../../server/protocol';

export const ROOT = join(import.meta.dirname, '..', '..');

/** The built view. `npm run test:browser` builds it first. */
export function viewScript(): string {
  script ??= readFileSync(join(ROOT, 'dist', 'webview.js'), 'utf8');
  return script;
}
/** Read once: a build that runs beside the tests must not change what they test halfway. */
let script: string | undefined;

export type Theme = 'vscode-light' | 'vscode-dark' | 'vscode-high-contrast' | 'vscode-high-contrast-light';

export interface EditorView {
  page: Page;
  /** What the view posted, oldest first. */
  posted(): Promise<FromTokenView[]>;
  /** Sends messages as the extension host does (anything, to see what malformed ones do). */
  send(...messages: readonly unknown[]): Promise<void>;
  saved(): Promise<unknown>;
  /** Script errors and policy violations so far. */
  problems: string[];
}

/** What these tests put into the page, and the one function of it that they call. */
interface Recorder {
  record: { posted: FromTokenView[]; state: unknown };
  postMessage(message: unknown, origin: string): void;
}

/** Nothing in the view takes longer, even on a busy machine. */
const PATIENCE_MS = 30_000;

const ORIGIN = 'http://view.invalid';

/**
 * The view as the editor hosts it: the extension's document and policy, the editor's API as a recorder, the theme as a
 * class of the body. Nothing leaves the page: every request is answered here.
 */
export async function openEditorView(
  context: BrowserContext,
  theme: Theme,
  restored?: unknown,
): Promise<EditorView> {
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  const problems: string[] = [];
  page.on('pageerror', (error) => problems.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error') problems.push(message.text());
  });
  const policy =
    "default-src 'none'; script-src 'nonce-n0nce'; style-src 'nonce-n0nce' 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='; img-src data: blob:";
  const html = `<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${policy}"><title>Fovea</title></head>
<body class="standalone ${theme}" data-vscode-theme-kind="${theme}"><main id="root"></main><script nonce="n0nce" src="${ORIGIN}/view.js"></script></body></html>`;
  await page.route('**/*', (route) => {
    const { pathname } = new URL(route.request().url());
    if (pathname === '/') return route.fulfill({ contentType: 'text/html', body: html });
    if (pathname === '/view.js') return route.fulfill({ contentType: 'text/javascript', body: viewScript() });
    if (pathname !== '/favicon.ico') problems.push(`request to ${route.request().url()}`);
    return route.abort();
  });
  await page.addInitScript((state: unknown) => {
    const record: { posted: unknown[]; state: unknown } = { posted: [], state };
    Object.assign(globalThis, {
      record,
      acquireVsCodeApi: () => ({
        postMessage: (message: unknown) => record.posted.push(structuredClone(message)),
        getState: () => record.state,
        setState: (next: unknown) => (record.state = structuredClone(next)),
      }),
    });
  }, restored);
  await page.goto(`${ORIGIN}/`);
  return {
    page,
    problems,
    posted: () => page.evaluate(() => (globalThis as unknown as Recorder).record.posted),
    saved: () => page.evaluate(() => (globalThis as unknown as Recorder).record.state),
    send: async (...messages) => {
      for (const message of messages)
        await page.evaluate((data) => (globalThis as unknown as Recorder).postMessage(data, '*'), message);
      await settle(page);
    },
  };
}

/** Until the view has drawn what it was told. */
export async function settle(page: Page): Promise<void> {
  await page.evaluate(
    'new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))',
  );
}
