// "Choose Model..." with a hub on this machine in place of the real one.
import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { makeHostileModel } from '../hostile/model.mjs';
import {
  dialog,
  explain,
  hoverText,
  openFile,
  talk,
  notification,
  pickRow,
  quickInput,
  quickRows,
  runCommand,
  until,
} from './editor.mjs';

const MODEL = 'acme/tiny-llava';

export const models = {
  async 'models: what is here, the catalogue with sizes and licences, and any folder'({
    page,
    hub,
    screenshot,
  }) {
    await runCommand(page, 'Fovea: Choose Model...');
    await quickRows(page).filter({ hasText: 'part of Fovea' }).waitFor();
    const offered = quickRows(page).filter({ hasText: 'llava-1.5-7b' });
    await offered.first().waitFor();
    const told = await offered.first().innerText();
    for (const part of [/14\.1 GB/, /llama2/, /memory/]) assert.match(told, part);
    await quickRows(page).filter({ hasText: 'Use a Folder' }).waitFor();
    await screenshot('24 choose model');
    await page.keyboard.press('Escape');
    assert.deepEqual(hub.requests, [], 'nobody was asked');
  },

  async 'models: a hub id is looked up, and nothing is downloaded without consent'({
    page,
    hub,
    screenshot,
  }) {
    await chooseTyped(page, screenshot);
    const asked = dialog(page).filter({ hasText: hub.host });
    await asked.waitFor();
    for (const part of [/apache-2\.0/, /kB|MB/]) assert.match(await asked.innerText(), part);
    await screenshot('45 consent');
    await asked.getByRole('button', { name: 'Cancel' }).click();
    await asked.waitFor({ state: 'hidden' });
    // Its config tells whether the engine can run it at all.
    const files = hub.downloads.filter(({ url }) => !url.endsWith('/config.json'));
    assert.deepEqual(files, [], 'nothing else was asked for');
  },

  async 'models: a download shows how far it is, and can be stopped'({ page, hub, screenshot }) {
    // The weights never end: what happens next does not depend on time.
    const weights = hub.files.get('model.safetensors').content;
    hub.misbehave = ({ url, response }) => {
      if (!url.startsWith('/storage/')) return false;
      response.writeHead(200, { 'content-length': weights.length });
      response.write(weights.subarray(0, 30_000));
      return true;
    };
    await chooseTyped(page);
    await dialog(page).getByRole('button', { name: 'Download' }).click();
    const progress = notification(page, /downloading acme\/tiny-llava.* of /s);
    await progress.waitFor();
    await screenshot('46 downloading');
    await progress.getByRole('button', { name: 'Cancel' }).click();
    const stopped = notification(page, /was stopped/);
    await stopped.getByRole('button', { name: 'Go On' }).waitFor();
    await screenshot('47 download stopped');
    // It goes on without asking once more; who chooses the model again meanwhile is told.
    const asked = hub.downloads.length;
    await stopped.getByRole('button', { name: 'Go On' }).click();
    await until(
      () => hub.downloads.length,
      (count) => count > asked,
      'a request for the weights',
    );
    await chooseTyped(page);
    await notification(page, /is being downloaded already/).waitFor();
    await screenshot('47b chosen twice');
    // Cancelled from the list of notifications, where a toast goes after a while.
    await runCommand(page, 'Notifications: Show Notifications');
    await page
      .locator('.notifications-center .notification-list-item')
      .filter({ hasText: /downloading acme\/tiny-llava/ })
      .getByRole('button', { name: 'Cancel' })
      .click();
    await page
      .locator('.notifications-center')
      .getByText(/was stopped/)
      .first()
      .waitFor();
    await runCommand(page, 'Notifications: Clear All Notifications');
  },

  async 'models: what the hub refuses is told with the next step'({ page, hub, screenshot }) {
    hub.misbehave = ({ response }) => {
      response.writeHead(401).end();
      return true;
    };
    await chooseTyped(page);
    const refused = notification(page, /acme\/tiny-llava.*HF_TOKEN/s);
    await refused.getByRole('button', { name: 'Try Again' }).waitFor();
    await screenshot('48 refused');
    await runCommand(page, 'Notifications: Clear All Notifications');
  },

  async 'models: after the download it answers, and the small one can be chosen again'({
    page,
    hub,
    settingsFiles,
    screenshot,
  }) {
    hub.misbehave = () => false;
    await chooseTyped(page);
    await dialog(page).getByRole('button', { name: 'Download' }).click();
    await until(
      () => setting(settingsFiles),
      (value) => /tiny-llava/.test(value ?? ''),
      'the setting of the model',
    );
    assert.ok(hub.downloads.length > 0);
    await explain(page, 'images', 'login.png');
    await screenshot('49 answered by the downloaded model');

    await runCommand(page, 'Fovea: Choose Model...');
    await quickRows(page).filter({ hasText: 'downloaded by Fovea' }).waitFor();
    await screenshot('50 choose among two');
    await pickRow(page, 'part of Fovea');
    await until(
      () => setting(settingsFiles),
      (value) => !value,
      'the setting of the embedded model',
    );
  },

  async 'models: a download is checked file by file, and removed after consent'({ page, screenshot }) {
    const row = quickRows(page).filter({ hasText: 'downloaded by Fovea' });
    await runCommand(page, 'Fovea: Choose Model...');
    await row.hover();
    await row.locator('.codicon-verified').waitFor();
    await screenshot('50b buttons of a download');
    await row.locator('.codicon-verified').click();
    await notification(page, /All \d+ files of acme\/tiny-llava/).waitFor();
    await runCommand(page, 'Notifications: Clear All Notifications');

    await runCommand(page, 'Fovea: Choose Model...');
    await row.hover();
    await row.locator('.codicon-trash').click();
    const asked = dialog(page).filter({ hasText: 'Remove acme/tiny-llava' });
    await asked.waitFor();
    await screenshot('50c remove');
    await asked.getByRole('button', { name: 'Remove' }).click();
    await quickRows(page).filter({ hasText: 'part of Fovea' }).waitFor();
    await row.waitFor({ state: 'hidden' });
    await page.keyboard.press('Escape');
  },

  async 'hostile screenshot and hostile model: nothing of the answer can be clicked, loaded or run'({
    page,
    workspace,
    settingsFiles,
    screenshot,
  }) {
    const read = await explain(page, 'images', 'hostile.png');
    assert.match(read, /\S/);
    const model = join(workspace, '..', 'hostile-model');
    await makeHostileModel(model);
    await setInFile(settingsFiles[1], 'fovea.model', model);
    await until(
      async () => (await explain(page, 'images', 'hostile.png')).includes('command:workbench.action.quit'),
      Boolean,
      'an answer of the hostile model',
    );
    await screenshot('52 hostile model');
    assert.deepEqual(await talk(page).locator('.text').evaluateAll(activeParts), []);
    await openFile(page, 'hostile.ts');
    const hover = await hoverText(page, './images/hostile.png', /command:workbench\.action\.quit/);
    await screenshot('53 hostile model in the hover');
    const active = await hover.evaluateAll(activeParts);
    const links = active.filter((html) => html.startsWith('<a'));
    assert.ok(links.length > 0);
    for (const html of links) assert.match(html, /data-href="command:fovea\.(ask|explain)\?/);
    // The picture itself is a file of the workspace.
    for (const html of active.filter((part) => !part.startsWith('<a')))
      assert.match(html, /^<img (?!.*127\.0\.0\.1:9).*hostile\.png/);
    await setInFile(settingsFiles[1], 'fovea.model', undefined);
    await until(
      async () => (await explain(page, 'images', 'hostile.png')) === read,
      Boolean,
      'the answer of the embedded model',
    );
  },
};

/** Runs in the page: what could be clicked, loaded or run in some part of it. */
function activeParts(elements) {
  return elements.flatMap((element) =>
    [...element.querySelectorAll('a, img, script, iframe, object, video')].map((found) => found.outerHTML),
  );
}

/** Sets a setting of the machine as somebody does who edits the file. @param file may not be there yet */
async function setInFile(file, id, value) {
  const settings = JSON.parse(await readFile(file, 'utf8').catch(() => '{}'));
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, JSON.stringify({ ...settings, [id]: value }, null, 2));
}

async function chooseTyped(page, screenshot) {
  await runCommand(page, 'Fovea: Choose Model...');
  await quickRows(page).filter({ hasText: 'part of Fovea' }).waitFor();
  await quickInput(page).fill(MODEL);
  await page.locator('.quick-input-list .monaco-list-row.focused', { hasText: MODEL }).waitFor();
  await screenshot?.('44 a hub id');
  await page.keyboard.press('Enter');
}

/** Settings of the machine lie beside those of the user. */
async function setting(files) {
  for (const file of files) {
    const found = JSON.parse(await readFile(file, 'utf8').catch(() => '{}'))['fovea.model'];
    if (found !== undefined) return found;
  }
  return undefined;
}
