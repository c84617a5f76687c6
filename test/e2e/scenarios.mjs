/* global atob, document, navigator, Blob, ClipboardItem, DataTransfer, DragEvent, File */
// What a user does, through the user interface only. Scenarios run in this order in one window, as a session would.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import {
  EXPLAIN,
  answerTo,
  appears,
  askInInput,
  chooseEntry,
  chooseMethod,
  chooseTheme,
  contextMenu,
  explain,
  explorerRow,
  hoverText,
  menuWith,
  openFile,
  openWorkbench,
  pickRow,
  quickInput,
  quickRows,
  notification,
  runCommand,
  shownRun,
  startExplaining,
  talk,
  tokenView,
  until,
} from './editor.mjs';
import { processesOf } from './processes.mjs';

/** Finds what people cannot read or reach, in the page. */
const AXE = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** What the walkthrough's sample is asked. */
const SAMPLE = join(import.meta.dirname, '..', '..', 'media', 'samples', 'demo.json');

export const scenarios = {
  async 'palette: pick an image, ask, and the answer streams into the token view'({
    page,
    url,
    workspace,
    screenshot,
  }) {
    await openWorkbench(page, url, workspace);
    await runCommand(page, 'Fovea: Ask About Image...');
    const offered = quickRows(page).filter({ hasText: 'login.png' }).first();
    await offered.waitFor();
    await until(
      () => offered.locator('.quick-input-list-icon').evaluate((icon) => icon.style.backgroundImage),
      (image) => image.includes('login.png'),
      'the thumbnail of the image',
    );
    await page.mouse.move(700, 600);
    await page.waitForTimeout(700); // thumbnails, for the picture only
    await screenshot('01 image picker');
    await pickRow(page, 'login.png');
    // Somebody who types needs as long, and the picture is read meanwhile.
    await askInInput(page, 'Is this a light or a dark theme?', async () => {
      await screenshot('02 question');
      await page.waitForTimeout(3000);
    });
    const answer = await answerTo(page, 'Is this a light or a dark theme?');
    await screenshot('03 answered');
    assert.match(answer, /\p{L}/u);
    await tokenView(page)
      .getByText(/tokens of the prompt were read before/u)
      .waitFor({ timeout: 10_000 });
  },

  async 'token view: selecting a word of the answer changes the patches'({ page, screenshot }) {
    const view = tokenView(page);
    const words = view.getByRole('listbox').getByRole('option');
    const map = view.getByRole('grid').first();
    const before = await map.screenshot();
    await words.first().click();
    await until(
      () => words.first().getAttribute('aria-selected'),
      (value) => value === 'true',
      'the selected word',
    );
    await until(async () => !before.equals(await map.screenshot()), Boolean, 'patches in other colours');
    await screenshot('04 word selected');
  },

  async 'token view: the keyboard walks over the patches, and each is explained'({ page, screenshot }) {
    const view = tokenView(page);
    await view.getByRole('grid').first().focus();
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('ArrowDown');
    const cell = view.getByRole('grid').first().getByRole('gridcell');
    const first = await until(() => cell.getAttribute('aria-label'), Boolean, 'a described patch');
    await page.keyboard.press('ArrowDown');
    await until(
      () => cell.getAttribute('aria-label'),
      (label) => label !== first,
      'another patch',
    );
    await screenshot('05 patch selected');
  },

  async 'token view: asking again with another method puts the two answers side by side'({
    page,
    screenshot,
  }) {
    const view = tokenView(page);
    const before = await shownRun(page);
    await chooseMethod(view, 'FastV');
    await screenshot('06 method chosen');
    await view.getByRole('button', { name: 'Ask', exact: true }).click();
    await answerTo(page, 'Is this a light or a dark theme?', before);
    await view.getByRole('table').getByText(/fastv/).first().waitFor();
    await screenshot('07 side by side');
  },

  async 'token view: zoomed in, the visible part is asked about alone, and the whole image comes back'({
    page,
    extension,
    screenshot,
  }) {
    const view = tokenView(page);
    const before = await shownRun(page);
    const part = view.getByRole('button', { name: 'Ask About Visible Part' });
    assert.equal(await part.isVisible(), false, 'the whole image is in sight');
    for (let step = 0; step < 6; step += 1) await view.getByRole('button', { name: 'Zoom in' }).click();
    await view.locator('.ask textarea').fill('What is the title?');
    await screenshot('07b zoomed in');
    // The part is cut out by the server; the view does not wait for it to say that it is at work.
    const [server] = await processesOf(extension, 'server.js');
    process.kill(server, 'SIGSTOP');
    try {
      await part.click();
      await talk(page).filter({ hasText: 'Cutting out the visible part' }).waitFor();
      assert.match(await talk(page).innerText(), /What is the title\?/);
      await screenshot('07b the part is asked about');
    } finally {
      process.kill(server, 'SIGCONT');
    }
    const answer = await answerTo(page, 'What is the title?', before);
    assert.notEqual(answer.trim(), '');
    const title = view.getByRole('heading', { name: /login\.png \(\d+ × \d+ at \d+, \d+\)/u });
    await title.waitFor();
    await screenshot('07c the part');
    await view.getByRole('button', { name: 'Whole Image' }).click();
    await view.getByRole('heading', { name: /^login\.png 1280 × 720$/u }).waitFor();
  },

  async 'hover in Markdown: facts and a link, no second picture'({ page, screenshot }) {
    await openFile(page, 'notes.md');
    const hover = await hoverText(page, 'images/login.png', /1280\s*×\s*720/u);
    await screenshot('08 hover in Markdown');
    await until(
      () => hover.innerText(),
      (text) => /Explain this image/.test(text),
      'the link of the hover',
    );
  },

  async 'hover in TypeScript: picture, facts, and the link that explains'({ page, screenshot }) {
    await openFile(page, 'page.ts');
    const hover = await hoverText(page, './images/settings-dark.png', /900\s*×\s*900/u);
    await until(
      () => hover.locator('img').count(),
      (count) => count > 0,
      'the picture in the hover',
    );
    await page.waitForTimeout(500); // it fades in
    await screenshot('09 hover in TypeScript');
    const before = await shownRun(page);
    await hover.getByText('Explain this image').click();
    const explanation = await answerTo(page, EXPLAIN, before);
    await screenshot('10 explained from the hover');
    await page.mouse.move(20, 700);
    const again = await hoverText(
      page,
      './images/settings-dark.png',
      new RegExp(escape(explanation.slice(0, 12)), 'u'),
    );
    assert.ok(await appears(again, 5000));
    await page.waitForTimeout(500); // it fades in
    await screenshot('11 hover with the explanation');
  },

  async 'hover over hostile text: nothing but our own links can be clicked'({ page, screenshot }) {
    await openFile(page, 'notes.md');
    const hover = await hoverText(page, 'images/photo.jpg', /640\s*×\s*480/u);
    await screenshot('12 hostile alternative text');
    const links = await hover
      .locator('a[data-href^="command:"]')
      .evaluateAll((found) => found.map((link) => link.dataset.href));
    for (const link of links) assert.match(link, /^command:fovea\.(ask|explain|restartInference)\b/);
  },

  async 'explorer: the menu of an image file explains it'({ page, screenshot }) {
    await page.keyboard.press('Escape');
    const row = await explorerRow(page, 'images', 'photo.jpg');
    const menu = await menuWith(page, row, 'Explain Image');
    await screenshot('13 explorer menu');
    const before = await shownRun(page);
    await chooseEntry(menu, 'Explain Image');
    await answerTo(page, EXPLAIN, before);
    await tokenView(page).getByText('photo.jpg').first().waitFor();
    await screenshot('14 explained from the explorer');
  },

  async 'explorer: no entries of ours on a text file'({ page }) {
    const menu = await contextMenu(page, await explorerRow(page, 'notes.md'));
    assert.equal(await menu.getByText('Explain Image').count(), 0);
    await page.keyboard.press('Escape');
  },

  async 'small text: the view and the hover say that it is too small for the model'({ page, screenshot }) {
    const said = /px high at the model's 192 px/;
    await explain(page, 'images', 'editor.png');
    const warning = talk(page).getByRole('note').filter({ hasText: said });
    await warning.getByRole('button', { name: 'Choose Model...' }).waitFor();
    await screenshot('14 small text');
    await openFile(page, 'style.css');
    await hoverText(page, 'images/editor.png', said);
    await page.waitForTimeout(500); // it fades in
    await screenshot('14 small text in the hover');
  },

  async 'image tab: the button in the title asks about the open image'({ page, screenshot }) {
    await (await explorerRow(page, 'images', 'photo.jpg')).dblclick();
    await page.locator('.tab.active[data-resource-name="photo.jpg"]').waitFor();
    const button = page.locator('.editor-actions .action-label[aria-label*="Ask About Image"]').first();
    await button.waitFor();
    await page.waitForTimeout(500); // the image, for the picture only
    await screenshot('15 image tab');
    await button.click();
    await until(
      () => title(page),
      (text) => text.includes('photo.jpg'),
      'the question about the open image',
    );
    // What was asked before is one key away.
    const recent = quickRows(page).filter({ hasText: 'Is this a light or a dark theme?' });
    await quickRows(page).filter({ hasText: 'recent questions' }).first().waitFor();
    await recent.locator('.codicon-history').waitFor(); // not among the suggestions
    await screenshot('16 recent questions');
    await page.keyboard.press('Escape');
    const tab = page.locator('.tab.active[data-resource-name="photo.jpg"]');
    const menu = await menuWith(page, tab, 'Ask About Image...');
    await menu.getByText('Explain Image', { exact: true }).waitFor();
    await screenshot('16 menu of the tab');
    await page.keyboard.press('Escape');
  },

  async 'editor menu: explains the image whose path was clicked, where the document mentions images'({
    page,
    screenshot,
  }) {
    await openFile(page, 'page.ts');
    const before = await shownRun(page);
    const path = page.locator('.editor-instance .view-line').getByText('./images/settings-dark.png').last();
    const menu = await menuWith(page, path, 'Explain Image');
    await screenshot('17 editor menu');
    await chooseEntry(menu, 'Explain Image');
    await answerTo(page, EXPLAIN, before);
    await tokenView(page).getByRole('heading', { name: 'settings-dark.png' }).waitFor();
    await openFile(page, 'plain.txt');
    // The context key follows the editor a moment later.
    await until(
      async () => {
        const plain = await contextMenu(page, page.locator('.editor-instance .view-line').first());
        const entries = await plain.getByText('Explain Image').count();
        await page.keyboard.press('Escape');
        return entries;
      },
      (entries) => entries === 0,
      'a menu without entries of ours',
    );
  },

  async 'settings: a change applies without a reload'(tools) {
    const { page, screenshot } = tools;
    await setSetting(tools, 'fovea.reduction', 'visionzip:dominant=54,contextual=10', screenshot);
    await explain(page, 'images', 'login.png');
    await tokenView(page)
      .getByRole('table')
      .getByText(/visionzip/)
      .first()
      .waitFor();
    await screenshot('19 setting changed');
    await setSetting(tools, 'fovea.reduction', 'none');
  },

  async 'status: the language status item tells model and device, and offers actions'({ page, screenshot }) {
    await openFile(page, 'page.ts');
    await page.locator('[id="status.languageStatus"]').click();
    await page.locator('.hover-language-status').filter({ hasText: 'Fovea' }).first().waitFor();
    await screenshot('20 language status');
    await page.locator('.hover-language-status').filter({ hasText: 'Fovea' }).getByText('Actions').click();
    await quickRows(page).filter({ hasText: 'Restart Inference' }).waitFor();
    assert.match(await quickRows(page).first().innerText(), /Ask About Image/);
    const device = quickRows(page).filter({ hasText: 'Choose Device' });
    for (const part of [/CPU/, /because/]) assert.match(await device.innerText(), part);
    await screenshot('21 status actions');
    await page.keyboard.press('Escape');
  },

  async 'log: the command shows which model was loaded where, and nothing of questions and answers'({
    page,
    screenshot,
  }) {
    await runCommand(page, 'Fovea: Show Log');
    const channel = page.locator('.part.panel').getByRole('combobox');
    await until(
      () => channel.first().inputValue(),
      (name) => name === 'Fovea',
      'the channel in the panel',
    );
    await until(
      () => logged(page),
      (text) => /\[info\] Model fovea-nano \(.*\) is ready on cpu after/.test(text),
      'the line about the model in the log',
    );
    await screenshot('21 log');
    await runCommand(page, 'View: Toggle Panel Visibility');
  },

  async 'errors: a file that is no image says what happened and what to do'({ page, screenshot }) {
    await startExplaining(page, 'images', 'broken.png');
    const alert = tokenView(page).getByRole('alert').filter({ hasText: /\S/ }).first();
    await alert.waitFor();
    await screenshot('22 not an image');
    assert.doesNotMatch(await alert.innerText(), /defect/);
  },

  async 'SVG and other formats are shown too'({ page, screenshot }) {
    await explain(page, 'images', 'vector.svg');
    await screenshot('23 vector image');
  },

  async 'compare: several reductions in one table'({ page, screenshot }) {
    const row = await explorerRow(page, 'images', 'login.png');
    await chooseEntry(await menuWith(page, row, 'Compare Reductions...'), 'Compare Reductions...');
    await askInInput(page, 'Is this a light or a dark theme?');
    await quickRows(page).filter({ hasText: 'FastV' }).first().waitFor();
    await page.locator('.quick-input-widget').getByText('3 Selected').waitFor();
    await screenshot('25 choose reductions');
    await page.keyboard.press('Enter');
    const quarter = quickRows(page).filter({ hasText: '25 %' }).first();
    await quarter.click();
    await page.locator('.quick-input-widget').getByText('2 Selected').waitFor();
    await screenshot('25b choose budgets');
    await page.keyboard.press('Enter');
    const rows = tokenView(page).getByRole('tabpanel', { name: 'Compare' }).locator('tbody tr');
    await until(
      () => rows.count(),
      (count) => count === 5,
      'five compared answers',
    );
    await screenshot('26 comparison');
    await tokenView(page).getByRole('tab', { name: 'Tokens' }).click();
  },

  async 'compare: the attention of the last answer is measured and drawn'({ page, screenshot }) {
    const view = tokenView(page);
    await view.getByRole('tab', { name: 'Attention' }).click();
    await view.getByRole('button', { name: 'Measure attention' }).click();
    const figures = view.locator('.attention figure');
    await until(
      () => figures.count(),
      (count) => count === 9,
      'nine charts',
    );
    await screenshot('26b attention');
    await figures.last().scrollIntoViewIfNeeded();
    await screenshot('26c attention of the vision tower');
    await view.getByRole('tab', { name: 'Tokens' }).click();
  },

  async 'copy: the answer as text and the map as a picture'({ page }) {
    const view = tokenView(page);
    await view.getByRole('button', { name: 'Copy answer' }).click();
    const text = (await talk(page).locator('.text').first().innerText()).trim();
    await until(
      () => page.evaluate(() => navigator.clipboard.readText()),
      (copied) => copied.trim() === text,
      'the answer in the clipboard',
    );
    await view.getByRole('button', { name: 'Copy picture' }).click();
    await until(
      () => page.evaluate(copiedTypes),
      (types) => types.includes('image/png'),
      'the picture in the clipboard',
    );
  },

  async 'export: the answer with its tokens becomes a file'({ page, workspace, screenshot }) {
    const view = tokenView(page);
    for (const [label, extension, isRight] of [
      [/JSON/, 'json', (bytes) => JSON.parse(bytes.toString()).trace !== undefined],
      [/page|HTML/, 'html', (bytes) => bytes.toString().includes("default-src 'none'")],
      [/picture|PNG/i, 'png', (bytes) => bytes.subarray(1, 4).toString() === 'PNG'],
    ]) {
      const file = join(workspace, `export.${extension}`);
      await view.locator('summary').filter({ hasText: 'Export' }).click();
      await screenshot('27 export menu');
      await view.locator('details[open]').getByRole('button', { name: label }).first().click();
      // The dialog writes its own suggestion into the input when it has come up.
      await until(
        () => quickInput(page).inputValue(),
        (value) => value.endsWith(`.${extension}`),
        'the save dialog',
      );
      await quickInput(page).fill(file);
      await page.waitForTimeout(500);
      await page.locator('.quick-input-widget .monaco-button').filter({ hasText: 'OK' }).click();
      const bytes = await until(() => readFile(file).catch(() => undefined), Boolean, `the file ${file}`);
      assert.ok(isRight(bytes), extension);
    }
  },

  async 'hidden: the token view comes back as it was left'({ page, screenshot }) {
    const view = tokenView(page);
    const word = view.getByRole('listbox').getByRole('option').first();
    await word.click();
    await until(
      () => word.getAttribute('aria-selected'),
      (value) => value === 'true',
      'the selected word',
    );
    const before = await shownRun(page);
    await page.locator('.tab[aria-label^="Tokens:"]').click();
    await openFile(page, 'data.yaml'); // opens over it, in the same group
    await until(
      () => page.locator('iframe.webview.ready[src*="extensionId=fovea.fovea"]').isVisible(),
      (seen) => !seen,
      'a hidden token view',
    );
    await runCommand(page, 'Fovea: Show Token View');
    await until(
      () => shownRun(page),
      (run) => run === before,
      'the same answer',
    );
    await until(
      () => word.getAttribute('aria-selected'),
      (value) => value === 'true',
      'the selected word',
    );
    await screenshot('27 shown again');
  },

  async 'reload: the token view comes back with an answer of a moment ago, and can be asked again'({
    page,
    screenshot,
  }) {
    const question = 'Is there a button?';
    const before = await shownRun(page);
    const row = await explorerRow(page, 'images', 'login.png');
    await chooseEntry(await menuWith(page, row, 'Ask About Image...'), 'Ask About Image...');
    await askInInput(page, question);
    const answer = await answerTo(page, question, before);
    const run = await shownRun(page);
    await page.reload();
    await page.locator('.monaco-workbench').waitFor();
    // In a browser the editor itself may come back with the tab that was in front some seconds ago.
    await page.locator('.tab[aria-label^="Tokens:"]').first().click();
    assert.equal(await answerTo(page, question, run - 1), answer);
    assert.equal(await shownRun(page), run);
    await screenshot('28 after a reload');
    await tokenView(page).getByRole('button', { name: 'Ask', exact: true }).click();
    await answerTo(page, question, run);
    await screenshot('29 asked again after the reload');
  },

  async 'pasted image: a picture from the clipboard can be asked about, also while a question runs'({
    page,
    workspace,
    screenshot,
  }) {
    const question = 'Is this a light or a dark theme?';
    const view = tokenView(page);
    await view.getByRole('button', { name: 'Ask', exact: true }).click(); // in progress when the new picture comes
    await runCommand(page, 'Fovea: Ask About Image in Clipboard');
    await view.getByText(/paste a screenshot/i).waitFor();
    await screenshot('30 paste prompt');
    const picture = (await readFile(join(workspace, 'images', 'login.png'))).toString('base64');
    await page.evaluate(copyPicture, picture);
    // The command leaves the focus where the picture goes; the editor gives it back to what had it before for a moment.
    await until(
      async () => {
        await until(() => hasFocus(view), Boolean, 'the focus in the token view');
        await page.keyboard.press('Control+v');
        return appears(view.getByRole('heading', { name: 'image.png' }), 3000);
      },
      Boolean,
      'the pasted picture',
    );
    await view.getByRole('textbox').first().fill(question);
    await screenshot('31 pasted');
    await view.getByRole('button', { name: 'Ask', exact: true }).click();
    await answerTo(page, question);
    await screenshot('32 answered about the pasted image');
  },

  async 'dropped image: a file dragged from the explorer with Shift held, and one from outside'({
    page,
    workspace,
    screenshot,
  }) {
    const view = tokenView(page);
    const row = await explorerRow(page, 'images', 'settings-dark.png');
    const from = await row.boundingBox();
    const to = await page.locator('iframe.webview.ready[src*="extensionId=fovea.fovea"]').boundingBox();
    await page.mouse.move(from.x + 40, from.y + from.height / 2);
    await page.mouse.down();
    await page.mouse.move(from.x + 60, from.y + from.height / 2 + 8, { steps: 4 });
    await page.keyboard.down('Shift');
    await page.mouse.move(to.x + to.width / 2, to.y + to.height / 2, { steps: 12 });
    await page.mouse.move(to.x + to.width / 2 + 6, to.y + to.height / 2 + 6, { steps: 6 });
    await screenshot('36 dragging');
    await page.mouse.up();
    await page.keyboard.up('Shift');
    // The editor keeps the mouse from its webviews until it sees it move without a button.
    await page.mouse.move(from.x + 60, from.y + 300, { steps: 3 });
    await view.getByRole('heading', { name: 'settings-dark.png' }).waitFor();
    await screenshot('37 dropped from the explorer');

    const bytes = (await readFile(join(workspace, 'images', 'photo.jpg'))).toString('base64');
    await view.locator('body').evaluate(dropFile, { bytes, name: 'from outside.jpg', type: 'image/jpeg' });
    await view.getByRole('heading', { name: 'from outside.jpg' }).waitFor();
    await page.mouse.move(from.x + 80, from.y + 320, { steps: 3 });
    await view.getByRole('textbox').first().fill('Which buttons are there?');
    await view.getByRole('button', { name: 'Ask', exact: true }).click();
    await answerTo(page, 'Which buttons are there?');
    await screenshot('38 answered about the dropped image');
  },

  async 'cache: an answer is there at once, until the cache is cleared'({ page, screenshot }) {
    const cached = async () => {
      await explain(page, 'images', 'photo.jpg');
      return talk(page).getByText('From the answer cache').count();
    };
    await cached();
    assert.equal(await cached(), 1, 'the second time it comes from the cache');
    await runCommand(page, 'Fovea: Clear Answer Cache');
    await notification(page, /cleared: (one answer|[1-9]\d* answers)/).waitFor();
    await screenshot('39 cache cleared');
    assert.equal(await cached(), 0, 'after clearing it is made again');
  },

  async 'themes: nothing is hard to read or to reach in the colours of any of them'({ page, screenshot }) {
    const body = tokenView(page).locator('body');
    for (const [theme, kind] of [
      ['Dark Modern', 'vscode-dark'],
      ['Dark High Contrast', 'vscode-high-contrast'],
      ['Light High Contrast', 'vscode-high-contrast-light'],
      ['Light Modern', 'vscode-light'],
    ]) {
      await chooseTheme(page, theme);
      await until(
        () => body.getAttribute('data-vscode-theme-kind'),
        (found) => found === kind,
        `the theme ${theme}`,
      );
      await body.evaluate(settled);
      assert.deepEqual(await body.evaluate(accessibilityProblems, AXE), [], theme);
      await screenshot(`33 ${theme}`);
    }
  },

  async 'keyboard: from the palette to a patch and the words that used it, without the mouse'({
    page,
    screenshot,
  }) {
    const view = tokenView(page);
    const before = await shownRun(page);
    const question = 'How many buttons are there?';
    // The palette that closes gives the focus back to the view, on a busy machine after the list has opened. Then one begins again.
    await until(
      async () => {
        await typeCommand(page, 'Fovea: Ask About Image...');
        if (!(await typeAndSee(page, 'image of', 'login', 'login.png'))) return false;
        await page.keyboard.press('Enter');
        return typeAndSee(page, 'question', question, question);
      },
      Boolean,
      'the question about the image',
    );
    await page.keyboard.press('Enter');
    await answerTo(page, question, before);

    await focusView(page);
    await tabTo(page, view.getByRole('option').first());
    await page.keyboard.press('Enter');
    await until(
      () => view.getByRole('option').first().getAttribute('aria-selected'),
      (value) => value === 'true',
      'the selected word',
    );
    await tabTo(page, view.getByRole('grid').first());
    await page.keyboard.press('Control+Home');
    await page.keyboard.press('ArrowDown');
    await view.getByRole('heading', { name: 'Row 2, column 1' }).waitFor();
    await tabTo(page, view.locator('.used-word').first());
    await screenshot('51 by keyboard');
    await tabTo(page, view.getByRole('region', { name: 'Ask again' }).getByRole('textbox').first());
    const run = await shownRun(page);
    await page.keyboard.press('Enter');
    await answerTo(page, question, run);
  },

  async 'walkthrough: the steps of the first minutes'({ page, screenshot }) {
    await runCommand(page, 'Welcome: Open Walkthrough...');
    await pickRow(page, 'Get started with Fovea');
    await page.locator('.gettingStarted').getByText('Ask about a screenshot').first().waitFor();
    const start = page.locator('.gettingStarted').getByText('Try the sample screenshot');
    await start.waitFor();
    await page.waitForTimeout(1000); // it slides in
    await screenshot('34 walkthrough');
    const before = await shownRun(page);
    const demonstration = JSON.parse(await readFile(SAMPLE, 'utf8'));
    await start.click();
    await answerTo(page, demonstration.questions[0], before);
    await tokenView(page).getByText('Sample screenshot').first().waitFor();
    await screenshot('35 sample');
  },
};

/** Runs a command without the mouse. A key is lost while an editor closes, so it is pressed until the palette is there. */
async function typeCommand(page, title) {
  await until(
    async () => {
      await page.keyboard.press('Escape');
      await page.keyboard.press('F1');
      return appears(quickInput(page), 3000);
    },
    Boolean,
    'the palette',
  );
  await page.keyboard.type(title);
  await focusedRow(page, title.replace('Fovea: ', '')).waitFor();
  await page.keyboard.press('Enter');
}

/** What the panel shows of a log: the lines that are on the screen. */
async function logged(page) {
  const lines = await page.locator('.part.panel .view-line').allInnerTexts();
  return lines.join('\n').replace(/\u00a0/g, ' ');
}

/** Types into the list whose placeholder says what is expected, and tells whether Enter would choose what was meant. */
async function typeAndSee(page, expected, typed, row) {
  const input = page.locator(`.quick-input-widget input[placeholder*="${expected}"]`);
  if (!(await appears(input, 10_000))) return false;
  await page.keyboard.type(typed);
  return appears(focusedRow(page, row), 10_000);
}

/** The row of the open list that Enter would choose. */
function focusedRow(page, text) {
  return page.locator('.quick-input-list .monaco-list-row.focused', { hasText: text }).first();
}

/** What is typed goes into the view. */
function hasFocus(view) {
  return view.locator('body').evaluate(() => document.hasFocus());
}

/**
 * Goes to an element of the view: on to its end, and back from there, because the view remembers where the focus was. What had the focus
 * before may get it back a moment after the view has got it, and then one goes to the view again.
 */
async function tabTo(page, target) {
  await until(
    async () => {
      if (!(await hasFocus(tokenView(page)))) await focusView(page);
      for (const key of ['Tab', 'Shift+Tab']) {
        for (let step = 0; step < 80; step++) {
          if (await target.evaluate(isFocused)) return true;
          await page.keyboard.press(key);
          if (key === 'Tab' && !(await hasFocus(tokenView(page)))) break;
        }
      }
      return false;
    },
    Boolean,
    `Tab to ${target}`,
  );
}

async function focusView(page) {
  await typeCommand(page, 'Fovea: Show Token View');
  await until(() => hasFocus(tokenView(page)), Boolean, 'the focus in the token view');
}

/** Runs in the view. */
function isFocused(element) {
  return element.getRootNode().activeElement === element || element.contains(document.activeElement);
}

/** Runs in the view: transitions of colours have ended. */
async function settled() {
  await Promise.allSettled(document.getAnimations().map((animation) => animation.finished));
}

/** Runs in the view. */
async function accessibilityProblems(_, source) {
  (0, globalThis.eval)(source);
  const { violations } = await globalThis.axe.run(document, { resultTypes: ['violations'] });
  return violations.map(({ id, nodes }) => [
    id,
    ...nodes.map(({ target, failureSummary }) => `${target}: ${failureSummary}`),
  ]);
}

/** Runs in the page: what was copied. */
async function copiedTypes() {
  const items = await navigator.clipboard.read();
  return items.flatMap(({ types }) => types);
}

/** Sets a text setting in the settings editor. */
async function setSetting({ page, settingsFile }, id, value, screenshot) {
  await runCommand(page, 'Preferences: Open Settings (UI)');
  await page.locator('.settings-editor .suggest-input-container').first().click();
  await page.keyboard.press('Control+a');
  await page.keyboard.type('@ext:fovea.fovea');
  await page.locator('.setting-item-contents').first().waitFor();
  await page.waitForTimeout(1500);
  await screenshot?.('18 settings editor');
  await page.locator('.settings-editor .suggest-input-container').first().click();
  await page.keyboard.press('Control+a');
  await page.keyboard.type(`@id:${id}`);
  const input = page.locator(`.setting-item-contents[data-key="${id}"] input`).first();
  await input.waitFor();
  // Settings are written after a pause, and one that is back at its default is taken out of the file. An editor that draws its
  // list anew loses what was just typed.
  const isStored = async () => (JSON.parse(await readFile(settingsFile, 'utf8'))[id] ?? 'none') === value;
  await until(
    async () => {
      await input.fill('');
      await input.fill(value);
      for (let wait = 0; wait < 25 && !(await isStored()); wait++) await page.waitForTimeout(200);
      return isStored();
    },
    Boolean,
    `the setting ${id}`,
  );
  await runCommand(page, 'View: Close Editor');
}

/** Runs in the page: what copying a picture in another program does. */
async function copyPicture(base64) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  await navigator.clipboard.write([
    new ClipboardItem({ 'image/png': new Blob([bytes], { type: 'image/png' }) }),
  ]);
}

/** Runs in the view: what a drop of a file of another program is. */
function dropFile(body, { bytes, name, type }) {
  const content = Uint8Array.from(atob(bytes), (character) => character.charCodeAt(0));
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([content], name, { type }));
  for (const kind of ['dragover', 'drop'])
    body.dispatchEvent(new DragEvent(kind, { dataTransfer, bubbles: true, cancelable: true }));
}

function title(page) {
  return page.locator('.quick-input-title').innerText();
}

function escape(text) {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
