// A workspace that the user does not trust: Fovea answers what the user asks, starts nothing by itself, and takes no orders from the
// workspace's settings.
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { explain, hoverText, openFile, openWorkbench, runCommand, until } from './editor.mjs';
import { processesOf } from './processes.mjs';

/** What a hostile repository would set. */
const WORKSPACE_SETTINGS = {
  'fovea.model': '/tmp/evil-model',
  'fovea.device': 'cuda',
  'fovea.hover.explain': 'onHover',
  'fovea.image.maxMegapixels': 500,
};

export async function prepareUntrusted(workspace) {
  await mkdir(join(workspace, '.vscode'), { recursive: true });
  await writeFile(join(workspace, '.vscode', 'settings.json'), JSON.stringify(WORKSPACE_SETTINGS));
}

export const untrusted = {
  async 'untrusted workspace: a hover has facts, and starts nothing'({
    page,
    url,
    workspace,
    extension,
    screenshot,
  }) {
    await openWorkbench(page, url, workspace);
    await page.getByText('Restricted Mode', { exact: true }).first().waitFor();
    await openFile(page, 'page.ts');
    const hover = await hoverText(page, './images/login.png', /1280\s*×\s*720/u);
    await until(
      () => hover.innerText(),
      (text) => /Explain this image/.test(text),
      'the link of the hover',
    );
    await screenshot('60 restricted mode');
    assert.deepEqual(await processesOf(extension, 'inference.js'), []);
  },

  async 'untrusted workspace: what the user asks is answered, by the model of the user'({
    page,
    screenshot,
  }) {
    assert.match(await explain(page, 'images', 'photo.jpg'), /\S/);
    await screenshot('61 asked in restricted mode');
  },

  async 'trusted after all: now the workspace may have hovers explained'({ page, screenshot }) {
    await runCommand(page, 'Workspaces: Manage Workspace Trust');
    await page.locator('.workspace-trust-editor').getByText('Trust', { exact: true }).first().click();
    await until(
      () => page.locator('.workspace-trust-editor').innerText(),
      (text) => /In a Trusted|are trusted|You trust/i.test(text),
      'a trusted workspace',
    );
    await screenshot('62 trusted');
    await openFile(page, 'page.ts');
    // The embedded model explains while the mouse rests: no link is left to ask for it.
    await hoverText(page, './images/settings-dark.png', /Show the tokens/);
    await screenshot('63 explained by itself');
  },
};
