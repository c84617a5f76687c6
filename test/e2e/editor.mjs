/* global document, NodeFilter */
// What a person does in the workbench, as functions over a Playwright page. Names are the user interface's own.
import { setTimeout as sleep } from 'node:timers/promises';

/** Milliseconds; the first start of a workbench on a busy machine is the slowest. */
const PATIENCE = 60_000;

/** Milliseconds for a first answer: loading the model included, on a busy machine. */
export const ANSWER = 90_000;

/** Opens the workspace and waits until the explorer shows it. */
export async function openWorkbench(page, url, folder) {
  await page.goto(`${url}/?folder=${encodeURIComponent(folder)}`);
  await page.locator('.monaco-workbench').waitFor({ timeout: PATIENCE });
  await page.locator('.explorer-folders-view .monaco-list-row').first().waitFor({ timeout: PATIENCE });
}

/** Runs a command by its title. The list is not refreshed when an extension registers late, so it is opened again. */
export async function runCommand(page, title) {
  for (let attempt = 0; attempt < 10; attempt++) {
    await page.keyboard.press('Escape');
    await page.keyboard.press('F1');
    const input = quickInput(page);
    if (!(await appears(input, 3000))) continue; // a key is lost while an editor closes
    await input.fill(`>${title}`);
    const row = page.locator('.quick-input-list .monaco-list-row', { hasText: title }).first();
    if (await appears(row, 2500)) {
      await row.click();
      return;
    }
    await page.keyboard.press('Escape');
    await sleep(500);
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
  await row.waitFor({ timeout: PATIENCE });
  await row.click();
}

/** Opens a file by its name, through the quick open list. */
export async function openFile(page, name) {
  for (let attempt = 0; attempt < 5; attempt++) {
    await page.keyboard.press('Control+p');
    if (await appears(quickInput(page), 2000)) break; // a key is lost while an editor closes
  }
  await quickInput(page).fill(name);
  await quickRows(page).filter({ hasText: name }).first().click();
  await page.locator(`.tab.active[data-resource-name="${name}"]`).first().waitFor({ timeout: PATIENCE });
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
  for (let attempt = 0; attempt < 20; attempt++) {
    const box = await page.evaluate(findText, text);
    if (!box) {
      await sleep(500); // the editor has not drawn its lines yet
      continue;
    }
    await page.mouse.move(box.x + box.width / 2, box.y + 120);
    await sleep(150);
    await page.mouse.move(box.x + box.width / 2 - 3, box.y + box.height / 2);
    await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2, { steps: 2 });
    if (await appears(hover, 2500))
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

export async function askInInput(page, question, beforeTyping = async () => {}) {
  await until(
    () => quickInput(page).getAttribute('placeholder'),
    (text) => /question/.test(text ?? ''),
    'the question input',
  );
  await page.waitForTimeout(300);
  await beforeTyping();
  await quickInput(page).fill(question);
  await quickRows(page).filter({ hasText: question }).first().waitFor();
  await page.keyboard.press('Enter');
}

/** Waits for a finished answer to a question in the token view, and returns it. */
export async function answerTo(page, question) {
  const answer = tokenView(page)
    .getByRole('region', { name: 'Question and answer' })
    .filter({ hasText: question })
    .getByRole('listbox')
    .first();
  await answer.waitFor({ timeout: ANSWER });
  return (await answer.innerText()).trim();
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
  await menu.locator('.action-label').first().waitFor({ timeout: PATIENCE });
  return menu;
}

/** Opens folders of the explorer down to a file, and returns its row. */
export async function explorerRow(page, ...path) {
  for (const [index, name] of path.entries()) {
    const row = page.locator(`.explorer-folders-view .monaco-list-row[aria-label^="${name}"]`).first();
    await row.waitFor({ timeout: PATIENCE });
    if (index === path.length - 1) return row;
    if ((await row.getAttribute('aria-expanded')) !== 'true') await row.click();
  }
  throw new Error('No path was given.');
}

/** @returns {Promise<boolean>} whether it became visible in time */
export async function appears(locator, timeout) {
  return locator.waitFor({ state: 'visible', timeout }).then(
    () => true,
    () => false,
  );
}

/** Chooses a colour theme by its name. */
export async function chooseTheme(page, name) {
  await runCommand(page, 'Preferences: Color Theme');
  await quickInput(page).fill(name);
  await quickRows(page).filter({ hasText: name }).first().waitFor({ timeout: PATIENCE });
  await page.keyboard.press('Enter');
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
