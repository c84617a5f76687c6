/* global document, NodeFilter */
// What a person does in the workbench, as functions over a Playwright page. Names are the user interface's own.
import { setTimeout as sleep } from 'node:timers/promises';

/** Milliseconds until something counts as not coming at all, also on a machine with twenty other things to do. */
export const PATIENCE = 150_000;

/** What "Explain Image" and hovers ask. */
export const EXPLAIN = 'Describe this screenshot.';

/** Opens the workspace and waits until the explorer shows it. */
export async function openWorkbench(page, url, folder) {
  await page.goto(`${url}/?folder=${encodeURIComponent(folder)}`);
  await page.locator('.monaco-workbench').waitFor();
  await page.locator('.explorer-folders-view .monaco-list-row').first().waitFor();
}

/**
 * Runs a command by its title. Tried again until it is there: a key is lost while an editor closes, the palette closes when the
 * focus moves, and its list is not refreshed when an extension registers late.
 */
export async function runCommand(page, title) {
  const row = quickRows(page)
    .filter({ has: page.getByText(title, { exact: true }) })
    .first();
  for (const end = Date.now() + PATIENCE; Date.now() < end;) {
    await page.keyboard.press('Escape');
    await page.keyboard.press('F1');
    if (!(await appears(quickInput(page), 3000))) continue;
    const isOpen = await succeeds(quickInput(page).fill(`>${title}`, { timeout: 3000 }));
    if (isOpen && (await appears(row, 5000)) && (await succeeds(row.click({ timeout: 3000 })))) return;
  }
  throw new Error(`The palette has no command "${title}".`);
}

export function quickInput(page) {
  return page.locator('.quick-input-widget input[type="text"]');
}

export function quickRows(page) {
  return page.locator('.quick-input-list .monaco-list-row');
}

/** Chooses the row of the open quick pick that contains a text. */
export async function pickRow(page, text) {
  const row = quickRows(page).filter({ hasText: text }).first();
  await row.waitFor();
  await row.click();
}

/** Opens a file by its name, through the quick open list. */
export async function openFile(page, name) {
  const row = quickRows(page)
    .filter({ has: page.getByText(name, { exact: true }) })
    .first();
  await until(
    async () => {
      await page.keyboard.press('Escape');
      await page.keyboard.press('Control+p');
      return (
        (await appears(quickInput(page), 3000)) && // a key is lost while an editor closes
        (await succeeds(quickInput(page).fill(name, { timeout: 3000 }))) &&
        (await appears(row, 5000)) &&
        succeeds(row.click({ timeout: 3000 }))
      );
    },
    Boolean,
    `the file ${name} in the list`,
  );
  await page.locator(`.tab.active[data-resource-name="${name}"]`).first().waitFor();
}

/**
 * Moves the mouse over a text of the open editor and waits for a hover that says what is expected.
 * @param {RegExp} expected what the hover must contain
 * @returns {Promise<import('playwright-core').Locator>} the hover
 */
export async function hoverText(page, text, expected) {
  const hover = page
    .locator('.monaco-hover:not(.hidden) .hover-contents')
    .filter({ hasText: expected })
    .last();
  for (const end = Date.now() + PATIENCE; Date.now() < end;) {
    const box = await page.evaluate(findText, text);
    if (!box) {
      await sleep(500); // the editor has not drawn its lines yet
      continue;
    }
    await page.mouse.move(box.x + box.width / 2, box.y + 120);
    await sleep(150);
    await page.mouse.move(box.x + box.width / 2 - 3, box.y + box.height / 2);
    await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2, { steps: 2 });
    if (await appears(hover, 8000))
      return page.locator('.monaco-hover:not(.hidden)').filter({ hasText: expected }).last();
  }
  throw new Error(`No hover over "${text}" said ${expected}.`);
}

/** Runs in the page: where a text is on the screen. */
function findText(text) {
  for (const line of document.querySelectorAll('.editor-instance .view-line')) {
    // The editor writes spaces as no-break spaces, each run of one colour as an element of its own.
    const content = line.textContent.replace(/\u00a0/g, ' ');
    const start = content.indexOf(text);
    if (start < 0) continue;
    const range = document.createRange();
    const walker = document.createTreeWalker(line, NodeFilter.SHOW_TEXT);
    let offset = 0;
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      const length = node.textContent.length;
      if (start >= offset && start < offset + length) range.setStart(node, start - offset);
      const end = start + text.length;
      if (end > offset && end <= offset + length) range.setEnd(node, end - offset);
      offset += length;
    }
    const { x, y, width, height } = range.getBoundingClientRect();
    if (width > 0) return { x, y, width, height };
  }
  return undefined;
}

/** The token view's document. Webviews are two frames deep. */
export function tokenView(page) {
  return page
    .frameLocator('iframe.webview.ready[src*="extensionId=fovea.fovea"]')
    .frameLocator('iframe#active-frame');
}

/** Types a question into the input that opens for it, and sends it. */
export async function askInInput(page, question, beforeTyping = async () => {}) {
  await until(
    () => quickInput(page).getAttribute('placeholder'),
    (text) => /question/.test(text ?? ''),
    'the question input',
  );
  await beforeTyping();
  // The input that closes gives its text up a moment after the new one has come.
  const first = page.locator('.quick-input-list .monaco-list-row.focused', { hasText: question });
  await until(
    async () => {
      await quickInput(page).fill(question);
      return appears(first, 5000);
    },
    Boolean,
    `the typed question "${question}"`,
  );
  await page.keyboard.press('Enter');
}

/** The question and what became of it, in the token view. */
export function talk(page) {
  return tokenView(page).getByRole('region', { name: 'Question and answer' });
}

/** Number of the run that the token view shows; 0 where it shows none. */
export async function shownRun(page) {
  const region = talk(page);
  return (await region.count()) > 0 ? Number(await region.getAttribute('data-run')) : 0;
}

/**
 * Waits for a finished answer to a question in the token view, and returns it.
 * @param {number} after a run that was there before: the answer is to be of a later one
 */
export async function answerTo(page, question, after = 0) {
  const answered = talk(page)
    .and(tokenView(page).locator('[data-status="done"]'))
    .filter({ hasText: question });
  await until(
    async () => ((await answered.count()) > 0 ? Number(await answered.getAttribute('data-run')) : 0),
    (run) => run > after,
    `the answer to "${question}" after run ${after}`,
    PATIENCE,
  );
  return (await answered.locator('.text').first().innerText()).trim();
}

/** Waits until the shown question is in a state: `waiting`, `answering`, `done`, `failed` or `cancelled`. */
export async function runIs(page, status, after = 0) {
  const found = talk(page).and(tokenView(page).locator(`[data-status="${status}"]`));
  await until(
    async () => ((await found.count()) > 0 ? Number(await found.getAttribute('data-run')) : 0),
    (run) => run > after,
    `a question that is ${status}`,
    PATIENCE,
  );
}

/** The form's method; the list opens below or above it. */
export async function chooseMethod(view, name) {
  await view.getByRole('region', { name: 'Ask again' }).getByRole('combobox').first().click();
  await view.getByRole('option', { name, exact: true }).filter({ visible: true }).first().click();
}

/** The entries of the menu that a right click opens. */
export async function contextMenu(page, target) {
  await target.click({ button: 'right' });
  const menu = page.locator('.monaco-menu');
  await menu.locator('.action-label').first().waitFor();
  return menu;
}

/** Opens the menu of a right click until it has an entry: those of an extension come when it is known, or a moment after the editor. */
export async function menuWith(page, target, label) {
  const menu = page.locator('.monaco-menu');
  await until(
    async () => {
      await page.keyboard.press('Escape');
      await contextMenu(page, target);
      return appears(menu.getByText(label, { exact: true }), 1000);
    },
    Boolean,
    `a menu with "${label}"`,
  );
  return menu;
}

/** Chooses an entry of an open menu. A menu that has just opened takes a click for the end of the one that opened it. */
export async function chooseEntry(menu, label) {
  const entry = menu.getByText(label, { exact: true });
  await until(
    async () => {
      await succeeds(entry.click({ timeout: 3000 }));
      return succeeds(entry.waitFor({ state: 'hidden', timeout: 3000 }));
    },
    Boolean,
    `the entry "${label}" of the menu`,
  );
}

/** Opens folders of the explorer down to a file, and returns its row. */
export async function explorerRow(page, ...path) {
  for (const [index, name] of path.entries()) {
    const row = page.locator(`.explorer-folders-view .monaco-list-row[aria-label^="${name}"]`).first();
    await row.waitFor();
    if (index === path.length - 1) return row;
    if ((await row.getAttribute('aria-expanded')) !== 'true') await row.click();
  }
  throw new Error('No path was given.');
}

/** Explains an image of the workspace through its menu in the explorer, and returns the answer. */
export async function explain(page, ...path) {
  const before = await shownRun(page);
  await startExplaining(page, ...path);
  return answerTo(page, EXPLAIN, before);
}

/** Asks for an explanation through the explorer, and does not wait for it. */
export async function startExplaining(page, ...path) {
  const menu = await menuWith(page, await explorerRow(page, ...path), 'Explain Image');
  await chooseEntry(menu, 'Explain Image');
}

/** @returns {Promise<boolean>} whether it became visible in time */
export function appears(locator, timeout) {
  return succeeds(locator.waitFor({ state: 'visible', timeout }));
}

function succeeds(work) {
  return work.then(
    () => true,
    () => false,
  );
}

/** Chooses a colour theme by its name. */
export async function chooseTheme(page, name) {
  await runCommand(page, 'Preferences: Color Theme');
  await quickInput(page).fill(name);
  await quickRows(page).filter({ hasText: name }).first().waitFor();
  await page.keyboard.press('Enter');
}

/** A modal dialog of the editor. */
export function dialog(page) {
  return page.locator('.monaco-dialog-box');
}

/** The toast whose text matches. */
export function notification(page, text) {
  return page.locator('.notifications-toasts .notification-list-item').filter({ hasText: text }).last();
}

/** Polls until a value satisfies a condition. */
export async function until(read, satisfied, what, timeout = PATIENCE) {
  const end = Date.now() + timeout;
  let value;
  do {
    value = await read();
    if (satisfied(value)) return value;
    await sleep(200);
  } while (Date.now() < end);
  throw new Error(`${what}: still ${JSON.stringify(value)} after ${timeout / 1000} s.`);
}
